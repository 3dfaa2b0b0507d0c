"""Running from a copy when the pieces' user cannot read the project.

    python -m stack.elsewhere COMMAND…    runs a command in the project, or in a copy that is removed after it

A clone in `/root` is closed to everyone but root, and the pieces do not run as root. What they need of it is then
copied to where they can read, and the command starts again from there; radiusd, the portal and the rest all use the
copy, which belongs to root and is renewed at every start.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from core.settings import BadSettings, Settings, read_settings
from stack.accounts import Account, piece_account
from stack.installation import PROJECT

_LEFT_OUT = shutil.ignore_patterns(
    ".git",
    ".venv",
    ".portico",
    "node_modules",
    "__pycache__",
    "*.pyc",
    ".*_cache",
    ".hypothesis",
    "*.egg-info",
)


def run_where_pieces_can_read(settings: Settings, *arguments: str) -> None:
    """Return when the pieces' user can read the project; else start `portico` again from a copy in the data directory.

    Raises BadSettings when the user cannot use the virtual environment either: that is not copied.
    """
    account = piece_account(settings)
    if can_read(account, PROJECT):
        return
    if not can_read(account, Path(sys.prefix)):
        raise BadSettings(
            f"PORTICO_USER: {account.name} cannot read {sys.prefix}; remove it and let `stack/setup.sh` make another"
        )
    copy = settings.data_dir / "app"
    copy_project(copy)
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    os.chdir(copy)
    os.execve(sys.executable, [sys.executable, "-m", "stack", *arguments], environment)  # noqa: S606


def can_read(account: Account, directory: Path) -> bool:
    """Tell whether a user can enter and list a directory."""
    if os.geteuid() != 0:
        return os.access(directory, os.R_OK | os.X_OK)
    command = ["setpriv", f"--reuid={account.uid}", f"--regid={account.gid}", "--clear-groups", "--"]
    return subprocess.run([*command, "ls", str(directory)], capture_output=True, check=False).returncode == 0


def copy_project(copy: Path) -> None:
    """Copy the project's files, for everyone to read; what an earlier copy held is gone."""
    unfinished = copy.with_name(f"{copy.name}.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(PROJECT, unfinished, ignore=_LEFT_OUT, symlinks=True)
    for path in (unfinished, *unfinished.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    shutil.rmtree(copy, ignore_errors=True)
    unfinished.rename(copy)


def main(command: list[str]) -> int:
    """Run a command where the pieces' user can read the project, and return its exit status."""
    if can_read(piece_account(read_settings()), PROJECT):
        return subprocess.run(command, cwd=PROJECT, check=False).returncode
    with tempfile.TemporaryDirectory(prefix="portico-project-", dir="/tmp") as directory:
        Path(directory).chmod(0o755)
        copy = Path(directory) / "app"
        copy_project(copy)
        environment = {**os.environ, "PYTHONPATH": str(copy)}
        return subprocess.run(command, cwd=copy, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
