"""A real IMAP server, Dovecot, on a port of the loopback interface, with one mailbox in a directory of its own."""

import grp
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DOVECOT = "/usr/sbin/dovecot"
USER, PASSWORD = "soporte@valle.example", 'Ñandú 1\\"x'

_CONFIGURATION = """
base_dir = {home}/run
state_dir = {home}/run
log_path = {home}/log
protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_failure_delay = 0
first_valid_uid = 0
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
mail_location = maildir:{home}/mail
mail_uid = {user}
mail_gid = {group}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service anvil {{
  chroot =
}}
passdb {{
  driver = passwd-file
  args = {home}/passwd
}}
userdb {{
  driver = static
  args = uid={user} gid={group} home={home}
}}
"""


class Dovecot:
    """The server: where it listens, and its mailbox as files."""

    def __init__(self, home: Path, port: int) -> None:
        self.home, self.port = home, port
        self._count = 0

    def put(self, mail: bytes) -> None:
        """Have a mail arrive."""
        self._count += 1
        path = self.home / "mail" / "new" / f"{int(time.time())}.{self._count}.test"
        path.write_bytes(mail)
        _give(path)

    def unseen(self) -> int:
        """Return how many mails are not marked as seen."""
        files = [*(self.home / "mail" / "new").iterdir(), *(self.home / "mail" / "cur").iterdir()]
        return sum("S" not in file.name.partition(":2,")[2] for file in files)

    def unmark(self) -> None:
        """Take the marks off again, as one who looks at the mailbox might."""
        for file in (self.home / "mail" / "cur").iterdir():
            file.rename(file.with_name(file.name.partition(":2,")[0] + ":2,"))


@contextmanager
def running_dovecot(port: int) -> Iterator[Dovecot]:
    """Start Dovecot in a directory of its own, and stop it after use."""
    home = Path(tempfile.mkdtemp(prefix="portico-imap-", dir="/tmp"))
    person = pwd.getpwuid(os.getuid()) if os.getuid() else pwd.getpwnam("dovecot")
    for name in ("run", "mail/new", "mail/cur", "mail/tmp"):
        (home / name).mkdir(parents=True)
    (home / "passwd").write_text(f"{USER}:{{PLAIN}}{PASSWORD}::::::\n")
    (home / "dovecot.conf").write_text(
        _CONFIGURATION.format(home=home, port=port, user=person.pw_name, group=grp.getgrgid(person.pw_gid).gr_name)
    )
    for path in (home, *home.rglob("*")):
        _give(path)
    server = subprocess.Popen(
        [DOVECOT, "-F", "-c", str(home / "dovecot.conf")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait(server, port, home)
        yield Dovecot(home, port)
    finally:
        server.terminate()
        server.wait(10)
        shutil.rmtree(home, ignore_errors=True)


def _wait(server: subprocess.Popen[bytes], port: int, home: Path) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise RuntimeError(f"Dovecot ended: {(home / 'log').read_text()}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise RuntimeError(f"Dovecot does not listen: {(home / 'log').read_text()}")


def _give(path: Path) -> None:
    if os.getuid() == 0:
        shutil.chown(path, "dovecot", "dovecot")
