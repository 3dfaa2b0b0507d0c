"""What Portico is compared with: FreeRADIUS as a limit, and FreeRADIUS as it is used today.

- `rlm_files`: users in radiusd's own memory. Nothing that looks a subscriber up can be faster.
- `rlm_sql, stock site`: Debian's configuration as it is installed, with its SQL module for PostgreSQL switched on.
- `rlm_sql, bare site`: the same queries with all else taken out of the site.
- `detail file`: accounting appended to a file under a lock, and nothing more.
"""

import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psycopg

from bench.generator import SECRET, run_load
from bench.rounds import Contender
from bench.site import Site, free_port
from core.status import udp_port_is_bound
from stack.accounts import piece_account
from stack.pieces import Piece, RunningPiece
from stack.radiusd import PROGRAM

RADDB = Path(__file__).resolve().parent / "raddb"
DEBIAN = Path("/etc/freeradius/3.0")
PLANS = 20
THREADS = 4

FILES, SQL_STOCK, SQL_BARE, DETAIL = "rlm_files", "rlm_sql, stock site", "rlm_sql, bare site", "detail file"

Attributes = tuple[tuple[str, str], ...]


def plan_attributes() -> Attributes:
    """What the subscribers of a plan have in common."""
    return (
        ("Session-Timeout", "86400"),
        ("Idle-Timeout", "600"),
        ("Acct-Interim-Interval", "300"),
        ("Mikrotik-Rate-Limit", "5M/20M"),
    )


def own_attributes(number: int) -> Attributes:
    """What each subscriber has of its own."""
    address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    return (("Framed-IP-Address", address), ("Class", f"0x{number:08x}"))


@contextmanager
def files(site: Site, users: Sequence[tuple[str, str]], users_file: Path) -> Iterator[Contender]:
    """rlm_files with all users."""
    directory = site.room("rlm_files")
    path = directory / "authorize"
    with path.open("w", encoding="utf-8") as file:
        for number, (name, password) in enumerate(users):
            lines = [f'{attribute} := "{value}"' for attribute, value in plan_attributes() + own_attributes(number)]
            file.write(f'{name} Cleartext-Password := "{password}"\n\t' + ",\n\t".join(lines) + "\n")
    path.chmod(0o644)
    auth = free_port()
    with _radiusd(site, "files", directory, auth, free_port(), environment={"BENCH_USERS": str(path)}) as piece:
        yield Contender(FILES, auth, 0, users_file, {"radiusd": piece.pid})


@contextmanager
def detail(site: Site, users_file: Path) -> Iterator[Contender]:
    """Accounting to a file."""
    auth, acct = free_port(), free_port()
    with _radiusd(site, "detail", site.room("detail"), auth, acct) as piece:
        yield Contender(DETAIL, auth, acct, users_file, {"radiusd": piece.pid})


@contextmanager
def sql_bare(site: Site, users_file: Path) -> Iterator[Contender]:
    """rlm_sql alone. The database is made by `fill_radius_database` before."""
    auth, acct = free_port(), free_port()
    with _radiusd(site, "sql", site.room("sql-bare"), auth, acct, environment=_sql_environment(site)) as piece:
        pieces = {"radiusd": piece.pid, "postgres": site.postgres.pid}
        yield Contender(SQL_BARE, auth, acct, users_file, pieces)


@contextmanager
def sql_stock(site: Site, users_file: Path) -> Iterator[Contender]:
    """Debian's configuration with the SQL module on. The database is made by `fill_radius_database` before."""
    directory = site.room("sql-stock")
    auth, acct = free_port(), free_port()
    raddb = _stock_configuration(site, directory, auth, acct)
    with _radiusd(site, "radiusd", directory, auth, acct, raddb=raddb, environment=_sql_environment(site)) as piece:
        pieces = {"radiusd": piece.pid, "postgres": site.postgres.pid}
        yield Contender(SQL_STOCK, auth, acct, users_file, pieces)


def fill_radius_database(site: Site, users: Sequence[tuple[str, str]]) -> None:
    """Make the database `radius` with Debian's schema and the users in it, each in the group of its plan."""
    url = site.create_database("radius")
    schema = (DEBIAN / "mods-config/sql/main/postgresql/schema.sql").read_text(encoding="utf-8")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(schema.encode())
        cursor = connection.cursor()
        with cursor.copy("COPY radcheck (username, attribute, op, value) FROM STDIN") as copy:
            for name, password in users:
                copy.write_row((name, "Cleartext-Password", ":=", password))
        with cursor.copy("COPY radreply (username, attribute, op, value) FROM STDIN") as copy:
            for number, (name, _) in enumerate(users):
                for attribute, value in own_attributes(number):
                    copy.write_row((name, attribute, ":=", value))
        with cursor.copy("COPY radusergroup (username, groupname, priority) FROM STDIN") as copy:
            for number, (name, _) in enumerate(users):
                copy.write_row((name, f"plan{number % PLANS}", 1))
        with cursor.copy("COPY radgroupreply (groupname, attribute, op, value) FROM STDIN") as copy:
            for plan in range(PLANS):
                for attribute, value in plan_attributes():
                    copy.write_row((f"plan{plan}", attribute, ":=", value))
        connection.execute("VACUUM ANALYZE")


@contextmanager
def _radiusd(
    site: Site,
    name: str,
    directory: Path,
    auth: int,
    acct: int,
    *,
    raddb: Path = RADDB,
    environment: Mapping[str, str] | None = None,
) -> Iterator[RunningPiece]:
    (directory / "radacct").mkdir(exist_ok=True)
    modules = directory / "mods-config"
    if raddb == RADDB:  # Debian's queries; the directory they are in is closed to all but freerad
        shutil.copytree(DEBIAN / "mods-config", modules, dirs_exist_ok=True)
    _open_to_pieces(site, directory)
    settings = {
        "BENCH_RADDB": str(raddb),
        "BENCH_RUN_DIR": str(directory),
        "BENCH_MODULE_DIR": str(modules),
        "BENCH_AUTH_PORT": str(auth),
        "BENCH_ACCT_PORT": str(acct),
        "BENCH_THREADS": str(THREADS),
        "TZ": "UTC",
        **(environment or {}),
    }
    command = (PROGRAM, "-f", "-d", str(raddb), "-n", name, "-l", "stdout")
    piece = Piece(
        name, command, settings, piece_account(site.settings), directory, ready=lambda: udp_port_is_bound(auth)
    )
    with RunningPiece(piece, directory / "output.log") as running:
        answer = run_load("status", auth, None, "-n", 1, "-d", 5)
        assert answer.answered == 1, running.last_lines()
        yield running


def _open_to_pieces(site: Site, directory: Path) -> None:
    account = piece_account(site.settings)
    for path in (directory, *directory.rglob("*")):
        shutil.chown(path, account.uid, account.gid)


def _sql_environment(site: Site) -> dict[str, str]:
    url = urlsplit(site.database_url("radius"))
    return {
        "BENCH_SQL_SERVER": str(site.settings.run_dir),
        "BENCH_SQL_PORT": "5432",
        "BENCH_SQL_LOGIN": url.username or "",
        "BENCH_SQL_PASSWORD": unquote(url.password or ""),
        "BENCH_SQL_DATABASE": "radius",
    }


def _stock_configuration(site: Site, directory: Path, auth: int, acct: int) -> Path:
    """Copy Debian's configuration and change what cannot stay: paths, ports, the user, and the SQL module on."""
    raddb = directory / "raddb"
    shutil.copytree(DEBIAN, raddb, symlinks=True)
    _replace(
        raddb / "radiusd.conf",
        ("logdir = /var/log/freeradius", f"logdir = {directory}"),
        ("raddbdir = /etc/freeradius/3.0", f"raddbdir = {raddb}"),
        ("run_dir = ${localstatedir}/run/${name}", f"run_dir = {directory}"),
        ("\tuser = freerad\n", ""),
        ("\tgroup = freerad\n", ""),
        ("max_requests = 16384", "max_requests = 262144"),
    )
    _replace(raddb / "clients.conf", ("secret = testing123", f"secret = {SECRET}"))
    default = raddb / "sites-available/default"
    text = default.read_text(encoding="utf-8").replace("ipaddr = *\n", "ipaddr = 127.0.0.1\n")
    text = text.replace("ipv6addr = ::", "ipv6addr = ::1")
    for port in (auth, acct, auth, acct):
        assert "\tport = 0\n" in text, "Debian's default site has four listeners"
        text = text.replace("\tport = 0\n", f"\tport = {port}\n", 1)
    # Its users file would be asked before the database.
    default.write_text(text.replace("\n\tfiles\n", "\n", 1), encoding="utf-8")
    (raddb / "sites-enabled/inner-tunnel").unlink()
    # The machine's own key is closed to the user that the pieces run as.
    key, certificate = raddb / "certs/bench.key", raddb / "certs/bench.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=bench"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    _replace(
        raddb / "mods-available/eap",
        ("/etc/ssl/private/ssl-cert-snakeoil.key", str(key)),
        ("/etc/ssl/certs/ssl-cert-snakeoil.pem", str(certificate)),
    )
    shutil.copy(RADDB / "sql_module.conf", raddb / "mods-enabled/sql")
    return raddb


def _replace(path: Path, *changes: tuple[str, str]) -> None:
    text = path.read_text(encoding="utf-8")
    for before, after in changes:
        assert before in text, f"{path} is not as Debian ships it: no {before!r}"
        text = text.replace(before, after)
    path.write_text(text, encoding="utf-8")
