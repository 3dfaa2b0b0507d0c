"""`portico`: the one command of the software.

Each module in `stack/commands/` is a command: its file name is the command's name (`_` for `-`), its attribute
`command` the click command or group. A module is imported only when its command is used, so `portico --help` and
`portico explain` stay quick however much the others need.
"""

import importlib
import pkgutil
import sys

import click

import stack.commands
from core.settings import BadSettings
from stack.pieces import PieceFailed


class Commands(click.Group):
    """The commands found in `stack/commands/`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(stack.commands.__path__))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        command = importlib.import_module(f"stack.commands.{cmd_name.replace('-', '_')}").command
        assert isinstance(command, click.Command), f"stack/commands/{cmd_name}.py has no click command named command"
        return command


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
def portico() -> None:
    """Portico: access controller and back office for wireless internet providers.

    Settings are read from the environment (PORTICO_…); `portico settings` lists them.
    """


def main() -> None:
    """Run the command line. A setting that cannot be used gets one clear line, and exit status 2."""
    try:
        portico(prog_name="portico")
    except (BadSettings, PieceFailed) as problem:
        for line in str(problem).splitlines():
            print(f"portico: {line}", file=sys.stderr)
        sys.exit(2 if isinstance(problem, BadSettings) else 1)
