"""Portico under measurement: its radiusd, publisher, loader and PostgreSQL, started as `portico run` starts them."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from bench.generator import run_load
from bench.rounds import Contender
from bench.seed import LOOPBACK, seed, system_url
from bench.site import Site
from db.migrate import migrate
from radius.journal import segments
from stack.pieces import Piece, PieceFailed, RunningPiece
from stack.programs import loader_piece, publisher_piece
from stack.radiusd import radiusd_piece

IMAGE_SECONDS = 120.0
PORTICO, PORTICO_LOADING = "Portico, loader halted", "Portico"


@dataclass
class Portico:
    """The pieces of one installation. A piece is started when it is first asked for, and stopped with the others."""

    site: Site
    _stack: ExitStack
    _pieces: dict[str, RunningPiece] = field(default_factory=dict)

    @property
    def radiusd(self) -> RunningPiece:
        return self._piece(radiusd_piece(self.site.settings))

    @property
    def loader(self) -> RunningPiece:
        return self._piece(loader_piece(self.site.settings))

    @property
    def publisher(self) -> RunningPiece:
        return self._piece(publisher_piece(self.site.settings))

    def backlog(self) -> int:
        """Return the octets of the journal that are not in PostgreSQL yet."""
        with psycopg.connect(system_url(self.site.settings)) as connection:
            rows = connection.execute("SELECT segment, position FROM journal_position").fetchall()
        loaded: dict[str, int] = dict(rows)
        total = 0
        for segment in segments(self.site.settings.journal_dir):
            try:
                size = segment.stat().st_size
            except FileNotFoundError:  # loaded and removed meanwhile
                continue
            total += max(0, size - loaded.get(segment.name, 0))
        return total

    def contenders(self, users_file: Path) -> tuple[Contender, Contender]:
        """Return Portico with its loader standing still, and with its loader at work on the same cores."""
        settings = self.site.settings
        radiusd, loader = self.radiusd.pid, self.loader.pid
        pieces = {"radiusd": radiusd, "loader": loader, "postgres": self.site.postgres.pid}
        common = (settings.auth_port, settings.acct_port, users_file)
        return (
            Contender(PORTICO, *common, {"radiusd": radiusd}, self.backlog, halted=(loader,)),
            Contender(PORTICO_LOADING, *common, pieces, self.backlog),
        )

    def _piece(self, piece: Piece) -> RunningPiece:
        if piece.name not in self._pieces:
            log = self.site.settings.log_dir / f"{piece.name}.log"
            self._pieces[piece.name] = self._stack.enter_context(RunningPiece(piece, log))
        return self._pieces[piece.name]


@contextmanager
def portico(
    site: Site, users: Sequence[tuple[str, str]], nas: Sequence[tuple[str, int]] = LOOPBACK, *, session_limit: int = 0
) -> Iterator[Portico]:
    """Migrate and seed the site, publish its image, start radiusd and the loader. All stop at the end."""
    migrate(site.settings)
    seed(site.settings, users, nas, session_limit=session_limit)
    with ExitStack() as stack:
        running = Portico(site, stack)
        wait_for_image(running)
        assert running.radiusd.running
        assert running.loader.running
        yield running


def wait_for_image(running: Portico) -> None:
    """Start the publisher and wait until there is an image."""
    publisher = running.publisher
    current = running.site.settings.image_dir / "current"
    deadline = time.monotonic() + IMAGE_SECONDS
    while not current.exists():
        if not publisher.running or time.monotonic() > deadline:
            raise PieceFailed(f"the publisher made no image:\n{publisher.last_lines()}")
        time.sleep(0.05)


def first_login(running: Portico, users_file: Path) -> None:
    """Send one Access-Request, so that a radiusd that does not answer is noticed before anything is measured."""
    load = run_load("pap", running.site.settings.auth_port, users_file, "-n", 1, "-d", 5)
    assert load.accepted == 1, f"{load}\n{running.radiusd.last_lines()}"
