"""A FreeRADIUS with a users file, as anybody's would be: an independent judge of what the emulated NAS sends."""

import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SECRET = "plain-secret"

_CONFIGURATION = """
prefix = /usr
libdir = /usr/lib/freeradius
raddbdir = {directory}
logdir = {directory}
run_dir = {directory}
db_dir = {directory}
pidfile = {directory}/radiusd.pid
cleanup_delay = 2
max_requests = 65536
security {{
    max_attributes = 200
    reject_delay = 0
    status_server = yes
}}
client lab {{
    ipaddr = 127.0.0.0/8
    secret = {secret}
    require_message_authenticator = no
}}
thread pool {{
    start_servers = 2
    max_servers = 2
    min_spare_servers = 1
    max_spare_servers = 2
}}
modules {{
    always ok {{
        rcode = ok
    }}
    pap {{
    }}
    chap {{
    }}
    mschap {{
    }}
    files {{
        usersfile = {directory}/users
    }}
    detail {{
        filename = {directory}/detail
        permissions = 0600
    }}
    detail requests {{
        filename = {directory}/requests
        permissions = 0600
    }}
}}
server plain {{
    listen {{
        type = auth
        ipaddr = 127.0.0.1
        port = {auth_port}
    }}
    listen {{
        type = acct
        ipaddr = 127.0.0.1
        port = {acct_port}
    }}
    authorize {{
        requests
        chap
        mschap
        files
        pap
    }}
    authenticate {{
        Auth-Type PAP {{
            pap
        }}
        Auth-Type CHAP {{
            chap
        }}
        Auth-Type MS-CHAP {{
            mschap
        }}
    }}
    post-auth {{
        if (&User-Name != "unsigned") {{
            update reply {{
                &Message-Authenticator := 0x00
            }}
        }}
        Post-Auth-Type REJECT {{
            update reply {{
                &Message-Authenticator := 0x00
            }}
        }}
    }}
    preacct {{
    }}
    accounting {{
        detail
        ok
    }}
}}
"""


@dataclass(frozen=True)
class PlainRadiusd:
    """A running server; it writes each Accounting-Request to `detail` and each Access-Request to `requests`."""

    directory: Path
    auth_port: int
    acct_port: int

    def accounting(self, name: str) -> list[dict[str, str]]:
        """Return what accounting said about a user name, packet by packet, attributes in their order."""
        return _records(self.directory / "detail", name)

    def requests(self, name: str) -> list[dict[str, str]]:
        return _records(self.directory / "requests", name)


def _records(file: Path, name: str) -> list[dict[str, str]]:
    if not file.exists():
        return []
    records = []
    for block in file.read_text().split("\n\n"):
        pairs = re.findall(r"^\t([\w-]+) = (.*)$", block, re.MULTILINE)
        record = {key: value.strip('"') for key, value in pairs}
        if record.get("User-Name") == name:
            records.append(record)
    return records


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def plain_radiusd(directory: Path, users: str) -> Iterator[PlainRadiusd]:
    """Start FreeRADIUS on that users file, and stop it in the end."""
    auth_port, acct_port = _free_port(), _free_port()
    (directory / "users").write_text(users)
    (directory / "radiusd.conf").write_text(
        _CONFIGURATION.format(directory=directory, secret=SECRET, auth_port=auth_port, acct_port=acct_port)
    )
    directory.chmod(0o750)
    log = directory / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["/usr/sbin/freeradius", "-f", "-l", "stdout", "-d", str(directory), "-n", "radiusd"], stdout=output
        )
    try:
        deadline = time.monotonic() + 30
        while "Ready to process requests" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield PlainRadiusd(directory, auth_port, acct_port)
    finally:
        process.terminate()
        process.wait(10)
