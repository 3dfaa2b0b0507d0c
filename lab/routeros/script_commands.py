"""Scripts given through the API: `/execute`, `/import` and `/system/script/run`.

A script runs on a thread of its own, with the rights of who gave it, so that one that fetches a page does not hold up
the other connections.
"""

import asyncio
from typing import TYPE_CHECKING

from lab.routeros.commands import SCRIPT, Call, Ret, Trap
from lab.routeros.firmware import exported
from lab.routeros.script_device import terminal

if TYPE_CHECKING:
    from lab.routeros.box import Box


def install(box: "Box") -> None:
    """Teach a box to run scripts."""
    box.command("/execute", execute, "write")
    box.command("/import", import_file, "write")
    box.command("/system/script/run", run, "write")


async def execute(call: Call) -> Ret:
    """`/execute`: with `as-string` (RouterOS 7) what the script prints comes back, else the number of its job.

    Raises Trap where the script fails, unless nobody waits for it.
    """
    source = call.argument("script")
    wanted = "as-string" in call.arguments and call.box.version.major >= 7
    words = source.split()
    if wanted and words and words[0] == "/export":
        return Ret(exported(call, words))
    try:
        printed = await _run(call, source)
    except Trap:
        if wanted:
            raise
        printed = ""
    return Ret(printed if wanted else f"*{call.box.boots + 1:X}")


async def import_file(call: Call) -> None:
    """`/import`: the script in a file. Raises Trap."""
    name = call.argument("file-name")
    row = call.box.table("/file").first(name=name)
    if row is None:
        raise Trap(f"failure: file {name} not found")
    await _run(call, row.get("contents"))


async def run(call: Call) -> None:
    """`/system/script/run`: a script that the router keeps. Raises Trap."""
    row = call.box.row_named(call.table, call.argument("number", "numbers", ".id"))
    count = str(int(row.get("run-count", "0")) + 1)
    call.table.change(row, {"run-count": count, "last-started": call.box.version.instant(call.box.now)})
    await _run(call, row.get("source"))


async def _run(call: Call, source: str) -> str:
    """Run a script and return what it printed. Raises Trap."""
    shell = terminal(call.box, call.caller)
    failure = await asyncio.to_thread(shell.run_import, source)
    if failure is not None:
        raise Trap(str(failure), SCRIPT)
    return "\n".join(shell.output)
