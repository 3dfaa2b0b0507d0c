"""`portico`: the one command of the software.

Each module in `stack/commands/` is a command: its file name is the command's name (`_` for `-`), its attribute
`command` the click command or group. A module is imported only when its command is used, so `portico --help` and
`portico explain` stay quick however much the others need.

Help is in the language of the terminal, where there is a catalogue of it. click's own words go the same way, since it
asks gettext's usual domain, which is ours.
"""

import gettext
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterator

import click

import stack.commands
from core.i18n import TRANSLATIONS, translator
from core.settings import BadSettings
from stack.pieces import PieceFailed
from stack.terminal import CLICKS, terminal_language


def translate_help(command: click.Command, say: Callable[[str], str]) -> None:
    """Put the help of a command, of its options and of the commands under it into a language."""
    if command.help:
        command.help = say(inspect.cleandoc(command.help))
    for option in command.params:
        if isinstance(option, click.Option) and option.help:
            option.help = say(option.help)
    if isinstance(command, click.Group):
        for each in command.commands.values():
            translate_help(each, say)


def help_texts() -> Iterator[str]:
    """Yield every text of help, for the catalogue."""
    yield from CLICKS
    for name in ("", *portico.list_commands(click.Context(portico))):
        command = importlib.import_module(f"stack.commands.{name.replace('-', '_')}").command if name else portico
        waiting = [command]
        while waiting:
            one = waiting.pop()
            if one.help:
                yield inspect.cleandoc(one.help)
            yield from (option.help for option in one.params if isinstance(option, click.Option) and option.help)
            waiting += one.commands.values() if isinstance(one, click.Group) else ()


class Commands(click.Group):
    """The commands found in `stack/commands/`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(stack.commands.__path__))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        command = importlib.import_module(f"stack.commands.{cmd_name.replace('-', '_')}").command
        assert isinstance(command, click.Command), f"stack/commands/{cmd_name}.py has no click command named command"
        translate_help(command, translator(terminal_language()))
        return command


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
def portico() -> None:
    """Portico: access controller and back office for wireless internet providers.

    Settings are read from the environment (PORTICO_…); `portico settings` lists them.
    """


def main() -> None:
    """Run the command line. A setting that cannot be used gets one clear line, and exit status 2."""
    gettext.bindtextdomain("messages", str(TRANSLATIONS))
    translate_help(portico, translator(terminal_language()))
    try:
        portico(prog_name="portico")
    except (BadSettings, PieceFailed) as problem:
        for line in str(problem).splitlines():
            print(f"portico: {line}", file=sys.stderr)
        sys.exit(2 if isinstance(problem, BadSettings) else 1)
