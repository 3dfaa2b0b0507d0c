"""Two nodes and two database servers: one of each is killed, and subscribers, accounting, billing and the portal go on.

Both nodes have everything (publisher, radiusd, loader, worker with its beat) and share one database: a primary and a
standby that streams from it, which every piece knows by one URL with two hosts.
"""

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
import requests
from pydantic import SecretStr
from sqlalchemy.orm import Session as DatabaseSession

from billing.ledger import broken_entries, discrepancies
from core.clock import utc_now
from core.settings import Settings
from db.migrate import migrate
from db.session import make_engine
from lab.network import BlockingNetwork
from lab.profile import NasProfile, Server
from lab.session import Session
from lab.subscriber import Demand, Subscriber
from stack.accounts import prepare_directories
from stack.installation import (
    DATABASE,
    OWNER_ROLE,
    PORTAL_ROLE,
    SUPERUSER,
    SYSTEM_ROLE,
    complete,
    make_secrets,
    password_name,
    private_redis_url,
    private_url,
    read_secrets,
    write_secrets,
)
from stack.pieces import Piece, RunningPiece
from stack.postgres import Cluster, program
from stack.programs import loader_piece, portal_piece, publisher_piece, worker_piece
from stack.radiusd import radiusd_piece
from stack.redis import redis_piece
from tests.billing.isp import BillingIsp
from tests.conftest import fresh_settings, new_directory
from tests.factories import Isp
from tests.system.client import Client
from tests.system.conftest import wait_until

pytestmark = [pytest.mark.system, pytest.mark.fault]

NAS = "127.0.23.1"
ACCEPT, REJECT = 2, 3
REPLICATION = "local all all scram-sha-256\nlocal replication postgres scram-sha-256\n"
SESSIONS = "SELECT acct_session_id, ended_at IS NOT NULL, session_time FROM session WHERE user_name = %s"

INVOICES = (
    "SELECT count(*), count(DISTINCT (service_id, period_first)), max(number) FROM invoice WHERE operator_id = %s"
)


@dataclass
class Node:
    """One machine that answers RADIUS."""

    settings: Settings
    publisher: RunningPiece
    radiusd: RunningPiece
    loader: RunningPiece
    worker: RunningPiece

    @property
    def server(self) -> Server:
        return Server("127.0.0.1", self.settings.auth_port, self.settings.acct_port)

    @property
    def client(self) -> Client:
        return Client(self.settings.auth_port, self.settings.acct_port)


@dataclass
class Two:
    """Two nodes, the portal, and the two database servers."""

    one: Node
    other: Node
    portal: RunningPiece
    primary: RunningPiece
    primary_settings: Settings
    standby_settings: Settings

    @property
    def url(self) -> str:
        assert self.one.settings.database_url is not None
        return self.one.settings.database_url.get_secret_value()

    def fetch(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            return connection.execute(query, parameters).fetchall()

    def settle(self) -> None:
        """Wait until both images have what is committed now."""
        ((now,),) = self.fetch("SELECT pg_snapshot_xmax(pg_current_snapshot())::text")
        follow = "SELECT count(*) FROM node WHERE pg_snapshot_xmax(image_position::pg_snapshot) >= %s::xid8"
        wait_until(lambda: self.fetch(follow, now) == [(2,)], 20, "both images to follow")


def as_superuser(settings: Settings, *statements: str) -> None:
    with psycopg.connect(private_url(settings, SUPERUSER, "postgres"), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def run_once(settings: Settings, cluster: Cluster, *command: str) -> None:
    """Run one of PostgreSQL's programs as the pieces' user."""
    server = cluster.piece()
    environment = {**server.environment, "PGPASSWORD": read_secrets(settings)[password_name(SUPERUSER)]}
    piece = Piece(command[0], (str(program(command[0])), *command[1:]), environment, server.account, server.directory)
    subprocess.run(piece.full_command(), env=environment, cwd=piece.directory, check=True, capture_output=True)


def start_primary(settings: Settings, stack: ExitStack) -> tuple[Cluster, RunningPiece]:
    cluster = Cluster(settings, durable=False)
    cluster.prepare()
    access = settings.data_dir / "postgres" / "replication.conf"
    access.write_text(REPLICATION)
    access.chmod(0o644)
    local = cluster.directory / "postgresql.local.conf"
    local.write_text(f"hba_file = '{access}'\n")
    local.chmod(0o644)
    cluster.prepare()
    running = stack.enter_context(RunningPiece(cluster.piece(), settings.log_dir / "postgres.log"))
    cluster.ensure_roles()
    return cluster, running


def start_standby(settings: Settings, primary: Settings, stack: ExitStack) -> None:
    cluster = Cluster(settings, durable=False)
    run_once(
        primary, Cluster(primary), "pg_basebackup", f"--host={primary.run_dir}", f"--username={SUPERUSER}",
        f"--pgdata={cluster.directory}", "--write-recovery-conf", "--checkpoint=fast", "--wal-method=stream",
    )  # fmt: skip
    cluster.prepare()  # its own socket
    stack.enter_context(RunningPiece(cluster.piece(), settings.log_dir / "postgres.log"))


def shared(settings: Settings, name: str, hosts: tuple[Path, Path], redis: str) -> Settings:
    """Return a node's settings: the database that can be written to, wherever it is."""
    kept = read_secrets(settings)

    def url(role: str) -> SecretStr:
        where = quote(",".join(map(str, hosts)), safe="/,")
        password = quote(kept[password_name(role)], safe="")
        return SecretStr(f"postgresql://{role}:{password}@/{DATABASE}?host={where}&target_session_attrs=read-write")

    return complete(settings).model_copy(
        update={
            "node_name": name,
            "journal_keep": 120.0,
            "database_url": url(SYSTEM_ROLE),
            "portal_database_url": url(PORTAL_ROLE),
            "owner_database_url": url(OWNER_ROLE),
            "redis_url": SecretStr(redis),
        }
    )


def start_node(settings: Settings, stack: ExitStack) -> Node:
    def start(piece: Piece) -> RunningPiece:
        return stack.enter_context(RunningPiece(piece, settings.log_dir / f"{piece.name}.log"))

    publisher = start(publisher_piece(settings))
    wait_until((settings.image_dir / "current").exists, 30, "the first image")
    radiusd, loader, worker = (start(make(settings)) for make in (radiusd_piece, loader_piece, worker_piece))
    return Node(settings, publisher, radiusd, loader, worker)


@pytest.fixture(scope="module")
def two() -> Iterator[Two]:
    with ExitStack() as stack:
        first, second = (fresh_settings(new_directory()) for _ in range(2))
        for settings in (first, second):
            prepare_directories(settings)
        make_secrets(first)
        write_secrets(second, read_secrets(first))
        _, primary = start_primary(first, stack)
        stack.enter_context(RunningPiece(redis_piece(first), first.log_dir / "redis.log"))
        migrate(complete(first))
        start_standby(second, first, stack)
        hosts = first.run_dir, second.run_dir
        one, other = (
            shared(settings, name, hosts, private_redis_url(first))
            for settings, name in ((first, "one"), (second, "other"))
        )
        nodes = start_node(one, stack), start_node(other, stack)
        portal = stack.enter_context(RunningPiece(portal_piece(one), one.log_dir / "portal.log"))
        yield Two(*nodes, portal, primary, first, second)
        for node in nodes:
            node.worker.kill()  # its orderly end waits for a broker that is gone by then


@pytest.fixture(scope="module")
def isp(two: Two) -> Iterator[Isp]:
    """An operator whose NAS asks the first node, and the second when the first is silent."""
    isp = Isp.create(two.one.settings)
    isp.nas(NAS)
    yield isp
    isp.connection.close()


@pytest.fixture
def network(two: Two, isp: Isp) -> Iterator[BlockingNetwork]:
    with BlockingNetwork() as network:
        profile = NasProfile(
            "tower", NAS, isp.secret, two.one.server, (two.other.server,), coa_port=0, timeout=0.2, tries=2
        )
        network.add_nas(profile)
        isp.connection.execute(
            "UPDATE nas SET coa_port = %s WHERE host(address) = %s", (network.coa_port("tower"), NAS)
        )
        yield network


def interim(network: BlockingNetwork, session: Session) -> None:
    network.call(lambda lab: lab.nas["tower"].send_interim(session))


def test_a_nas_goes_to_the_other_node_and_no_octet_is_lost_or_counted_twice(
    two: Two, isp: Isp, network: BlockingNetwork
) -> None:
    for name in ("ana", "beto"):
        isp.service(name)
    two.settle()
    ana = network.add_subscriber(Subscriber("ana", "secret", demand=Demand(download=8_000_000)), "tower")
    session = network.dial(ana)
    assert isinstance(session, Session)
    counters = network.call(lambda lab: lab.nas["tower"].counters)
    network.eventually(lambda: counters.accounting_acknowledged == 1)

    two.one.radiusd.kill()
    begun = time.monotonic()
    beto = network.connect(Subscriber("beto", "secret"), "tower")
    assert isinstance(beto, Session), beto
    assert time.monotonic() - begun < 2
    interim(network, session)
    network.eventually(lambda: counters.accounting_acknowledged == 3)
    two.one.radiusd.start()
    interim(network, session)
    network.eventually(lambda: counters.accounting_acknowledged == 4)
    network.hang_up(ana)
    network.eventually(lambda: counters.accounting_acknowledged == 5)
    assert counters.accounting_forgotten == 0

    found = wait_until(
        lambda: [row for row in two.fetch(SESSIONS, "ana") if row[1]], 15, "the Stop to be loaded by either node"
    )
    assert [row[0] for row in two.fetch(SESSIONS, "ana")] == [session.id] == [row[0] for row in found]
    counted = "SELECT sum(octets_in), sum(octets_out) FROM {} WHERE service_id = %s"
    service = isp.services["ana"]
    assert two.fetch(counted.format("usage_hour"), service) == two.fetch(counted.format("session"), service)
    ((nodes,),) = two.fetch("SELECT count(*) FROM node WHERE loaded_at > now() - interval '1 minute'")
    assert nodes == 2


def test_two_workers_and_their_beats_bill_once(two: Two, isp: Isp) -> None:
    operator_id = operator_with_months_to_bill(two, 40)
    send(two, "billing.tasks.issue_invoices", 12)
    wait_until(lambda: two.fetch(INVOICES, operator_id)[0][0] >= 80, 40, "the invoices of two months")
    wait_until(idle(two), 20, "the workers to finish")
    ((count, periods, number),) = two.fetch(INVOICES, operator_id)
    assert count == periods == number
    assert count % 40 == 0


def test_workers_killed_between_an_invoice_and_its_lines_leave_neither_and_the_next_bills_all(two: Two) -> None:
    operator_id = operator_with_months_to_bill(two, 40)
    with psycopg.connect(two.url) as holder:
        holder.execute("LOCK TABLE invoice_line IN SHARE MODE")  # invoices can be written, their lines cannot
        send(two, "billing.tasks.issue_invoices", 2)
        waiting = (
            "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND relation = 'invoice_line'::regclass"
            " AND pid IN (SELECT pid FROM pg_locks WHERE granted AND relation = 'invoice'::regclass)"
        )
        wait_until(lambda: two.fetch(waiting) == [(True,)], 30, "a worker to be in the middle of an invoice")
        for node in (two.one, two.other):
            node.worker.kill()
    for node in (two.one, two.other):
        node.worker.start()
    send(two, "billing.tasks.issue_invoices", 2)
    wait_until(lambda: two.fetch(INVOICES, operator_id)[0][0] >= 80, 40, "the invoices of two months")
    wait_until(idle(two), 20, "the workers to finish")
    ((count, periods, number),) = two.fetch(INVOICES, operator_id)
    assert count == periods == number
    assert count % 40 == 0
    bare = (
        "SELECT count(*) FROM invoice i WHERE operator_id = %s"
        " AND NOT EXISTS (SELECT FROM invoice_line WHERE invoice_id = i.id)"
    )
    assert two.fetch(bare, operator_id) == [(0,)]
    engine = make_engine(two.url)
    with DatabaseSession(engine) as session:
        assert broken_entries(session, operator_id) == []
        assert discrepancies(session, operator_id) == []
    engine.dispose()


def operator_with_months_to_bill(two: Two, services: int) -> int:
    """Enter an operator with services of 70 days, none of them billed yet; return its id."""
    engine = make_engine(two.url)
    with DatabaseSession(engine) as session:
        started = (utc_now() - timedelta(days=70)).date()
        billing = BillingIsp.create(session, starts_on=started.replace(day=1))
        for _ in range(services):
            billing.service(started)
        session.commit()
        operator_id = billing.operator_id
    engine.dispose()
    return operator_id


def send(two: Two, task: str, count: int) -> None:
    """Let the workers be told a task so many times at once."""
    from celery import Celery

    broker = Celery("portico", broker=private_redis_url(two.primary_settings))
    broker.conf.task_default_queue = "portico"
    for _ in range(count):
        broker.send_task(task)
    broker.close()


def idle(two: Two) -> Any:
    """Tell by how many transactions of workers are open."""
    busy = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND state <> 'idle' AND query LIKE '%%invoice%%'"
        " AND pid <> pg_backend_pid()"
    )
    return lambda: two.fetch(busy, DATABASE) == [(0,)]


def test_a_standby_takes_over_and_what_it_lacked_comes_back(two: Two, isp: Isp, network: BlockingNetwork) -> None:
    isp.service("carla")
    two.settle()
    carla = network.connect(Subscriber("carla", "secret", demand=Demand(download=8_000_000)), "tower")
    assert isinstance(carla, Session)
    wait_until(lambda: two.fetch(SESSIONS, "carla"), 15, "her session to be stored")
    ((position,),) = two.fetch("SELECT pg_current_wal_lsn()::text")
    replayed = f"SELECT pg_last_wal_replay_lsn() >= '{position}'"
    wait_until(lambda: standby_says(two, replayed), 15, "the standby to have it")

    # The standby hears no more. What follows is only on the server that is about to die.
    as_superuser(two.standby_settings, "ALTER SYSTEM SET primary_conninfo = ''", "SELECT pg_reload_conf()")
    wait_until(lambda: standby_says(two, "SELECT count(*) = 0 FROM pg_stat_wal_receiver"), 10, "the stream to end")
    isp.service("lost")
    two.settle()
    assert two.one.client.login("lost", "secret").code == ACCEPT
    dario = network.add_subscriber(Subscriber("beto", "secret"), "tower")
    late = network.dial(dario)
    assert isinstance(late, Session)
    wait_until(lambda: late.id in {row[0] for row in two.fetch(SESSIONS, "beto")}, 15, "his session to be stored")
    two.primary.kill()

    # Nobody can write now. Subscribers notice nothing.
    counters = network.call(lambda lab: lab.nas["tower"].counters)
    forgotten, acknowledged = counters.accounting_forgotten, counters.accounting_acknowledged
    assert two.one.client.login("ana", "secret").code == ACCEPT
    assert two.other.client.login("ana", "wrong").code == REJECT
    interim(network, carla)
    network.hang_up(dario)
    network.eventually(lambda: counters.accounting_acknowledged == acknowledged + 2)
    assert counters.accounting_forgotten == forgotten

    begun = time.monotonic()
    as_superuser(two.standby_settings, "SELECT pg_promote()")
    isp.connection.close()
    isp.connection = psycopg.connect(two.url, autocommit=True)
    assert two.fetch("SELECT pg_is_in_recovery()") == [(False,)]

    # A service that the new server never knew is not let in, and a new one is: the image was made again on both nodes.
    isp.service("new")
    for node in (two.one, two.other):
        wait_until(lambda node=node: node.client.login("new", "secret").code == ACCEPT, 20, "the image to follow")
        assert node.client.login("lost", "secret").code == REJECT
    print(f"the images followed {time.monotonic() - begun:.1f} s after the promotion")

    # The session that only the old server had is loaded again from the journal, and its Stop with it.
    stopped = wait_until(
        lambda: [row for row in two.fetch(SESSIONS, "beto") if row[0] == late.id and row[1]], 30, "the journal's rest"
    )
    assert len(stopped) == 1
    service = isp.services["carla"]
    counted = "SELECT sum(octets_in), sum(octets_out) FROM {} WHERE service_id = %s"
    assert two.fetch(counted.format("usage_hour"), service) == two.fetch(counted.format("session"), service)

    # The worker cuts by the new server's orders, and the portal answers from it.
    isp.update("service", service, state="suspended", suspended_at=datetime.now(UTC), suspension_cause="staff")
    wait_until(
        lambda: carla.id not in online(network) or carla.grant.address_list == "portico-suspended", 30, "the cut-off"
    )
    page = requests.get(f"{two.one.settings.public_url}/sign-in", timeout=10)
    assert page.status_code == 200
    for node in (two.one, two.other):
        for piece in (node.publisher, node.radiusd, node.loader, node.worker):
            assert piece.running, piece.last_lines()


def online(network: BlockingNetwork) -> set[str]:
    return network.call(lambda lab: set(lab.nas["tower"].sessions))


def standby_says(two: Two, query: str) -> bool:
    with psycopg.connect(private_url(two.standby_settings, SUPERUSER, "postgres"), autocommit=True) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return bool(row[0])
