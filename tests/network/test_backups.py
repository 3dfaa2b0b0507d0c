"""Backups of routers: the same configuration gives the same text, a changed one is kept, and secrets stay hidden."""

from datetime import timedelta
from types import SimpleNamespace

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from core.clock import utc_now
from core.crypto import Keyring
from crm.jobs import start_job
from db.audit import Actor
from db.models import Job, JobLine, Nas, Router, RouterBackup, RouterBackupState
from db.session import make_engine
from lab.routeros import Box, User
from lab.routeros.menus import MENUS as KNOWN
from lab.routeros.script_device import run_import
from network import backups
from network.api import open_router
from network.backups import due_routers, keep, opened, router_access, shown
from network.backups_text import MENUS, _is_set, masked, read_configuration
from network.jobs import JOBS
from network.problems import Cause, RouterProblem
from network.tasks import back_up_due
from tests.factories import Isp
from tests.network.certificates import router_certificate  # noqa: F401 - a fixture
from worker.jobs import run_job

PASSWORD = "xyzzy-Ñandú"
SECRET = 'p"a$s\\s; /x'


@pytest.fixture(scope="module")
def engine(installation):
    made = make_engine(installation.database_url.get_secret_value())
    yield made
    made.dispose()


@pytest.fixture(scope="module")
def isp(installation):
    made = Isp.create(installation)
    yield made
    made.connection.close()


@pytest.fixture
def place(engine, isp, installation, emulated_router):
    """A router that is registered, emulated and lived in; `box` is the emulated one."""
    running = emulated_router(users={"portico": User(PASSWORD)}, version="7.20")
    lived_in(running.box)
    with Session(engine) as session:
        session.execute(update(Nas).values(enabled=False))  # those of the other tests
        address = f"10.9.{running.port >> 8}.{running.port & 255}"
        nas = Nas(operator_id=isp.operator_id, name=f"torre-{running.port}", address=address,
                  secret=installation.keyring.seal("nas.secret", "s"))  # fmt: skip
        session.add(nas)
        session.flush()
        session.add(
            Router(nas_id=nas.id, operator_id=isp.operator_id, api_address=running.address, api_port=running.port,
                   api_user="portico", api_password=installation.keyring.seal("router.password", PASSWORD))
        )  # fmt: skip
        session.commit()
        return SimpleNamespace(nas_id=nas.id, box=running.box, running=running, isp=isp)


def lived_in(box: Box) -> None:
    box.fill("/ppp/secret", {"name": "ana peña", "password": SECRET, "comment": "niño <b>"})
    box.fill("/ppp/secret", {"name": "beto", "password": "otra", "comment": b"\xf1".decode("latin-1")})
    box.fill("/ip/pool", {"name": "lan", "ranges": "10.0.0.2-10.0.0.9"})
    box.fill("/queue/simple", {"name": "q1", "target": "10.0.0.2/32", "max-limit": "5000000/20000000"})
    box.fill("/ip/firewall/filter", {"chain": "input", "action": "drop", "comment": 'x" password="not one'})
    box.fill("/system/script", {"name": "mail", "source": 'fetch user=a password="zz top" url=b\nput password=loose'})


def text_of(place, engine, installation) -> str:
    with Session(engine) as session:
        access = router_access(session, installation.keyring, place.isp.operator_id, place.nas_id)
    with open_router(access) as router:
        return read_configuration(router)


def run(engine, installation, place) -> tuple[Job, list[JobLine]]:
    with Session(engine, expire_on_commit=False) as session:
        job = start_job(session, Actor(place.isp.operator_id, "eva"), backups.TAKE, {"nas_id": place.nas_id})
        session.commit()
        run_job(engine, installation, job.id, JOBS)
        session.refresh(job)
        return job, list(session.scalars(select(JobLine).where(JobLine.job_id == job.id)))


def kept(engine, place) -> list[RouterBackup]:
    with Session(engine, expire_on_commit=False) as session:
        return list(
            session.scalars(select(RouterBackup).where(RouterBackup.nas_id == place.nas_id).order_by(RouterBackup.id))
        )


def state(engine, place) -> RouterBackupState:
    with Session(engine, expire_on_commit=False) as session:
        return session.get_one(RouterBackupState, place.nas_id)


def test_the_same_configuration_gives_the_same_text_whatever_was_counted(place, engine, installation):
    before = text_of(place, engine, installation)
    box = place.box
    box.fill("/ppp/active", {"name": "beto", "address": "10.0.0.3"})
    box.fill("/queue/simple", {"name": "<pppoe-beto>", "dynamic": "true", "target": "10.0.0.3/32"})
    box.fill("/log", {"message": "hello"})
    for row in box.table("/queue/simple"):
        row.fields["bytes"] = "12345/67890"
    assert text_of(place, engine, installation) == before
    box.run("/queue/simple/set", {"numbers": "q1", "max-limit": "5M/30M"})
    after = text_of(place, engine, installation)
    [removed, added] = [line for line in backups.difference(before, after)[2:] if line[:1] in "+-"]
    assert ('max-limit="5000000/20000000"' in removed, 'max-limit="5000000/30000000"' in added) == (True, True)


@pytest.mark.parametrize("version", ["6.49.10", "7.20"])
def test_what_is_told_and_what_is_set_are_told_apart_as_the_router_does(version):
    box = Box(version=version, packages=("wireless",))
    wrong = []
    for menu in MENUS:
        if menu.path in KNOWN and box.has(menu.path):
            for name, field in box.fields(menu.path).items():
                if f"{menu.path} {name}" == "/interface/wireless mac-address":
                    continue  # may be set on a real one
                if name != menu.named and name != "default-name" and _is_set(menu.path, name) == field.readonly:
                    wrong.append(f"{menu.path} {name}")
    assert wrong == []


def test_a_backup_puts_a_router_back(place, engine, installation):
    text = text_of(place, engine, installation)
    fresh = Box(version="7.20")
    wanted = {path: place.box.rows(path) for path in ("/ppp/secret", "/ip/pool", "/queue/simple")}
    for path in wanted:
        part = text[text.index("\n" + path.replace("/", " ").replace(" ", "/", 1) + "\n") + 1 :]
        title, *rest = part.split("\n")
        commands = rest[: next(number for number, line in enumerate(rest) if line[:1] in ("/", ""))]
        assert run_import(fresh, "\n".join(f"{title} {line}" for line in commands)) is None
    for path, rows in wanted.items():
        settings = [{name: row[name] for name in row if _is_set(path, name)} for row in rows]
        restored = [{name: row[name] for name in row if _is_set(path, name)} for row in fresh.rows(path)]
        assert sorted(restored, key=lambda row: row["name"]) == sorted(settings, key=lambda row: row["name"])


def test_what_is_shown_has_no_secret_but_tells_when_one_changed(place, engine, installation):
    text = text_of(place, engine, installation)
    page = masked(text, b"key")
    assert "ana peña" in page
    assert "niño <b>" in page
    for hidden in ("p\\22a\\24s", "otra", "zz top", "loose"):
        assert (hidden in text, hidden in page) == (True, False)
    assert "x\\22 password=\\22not one" in page, "a comment is no secret"
    place.box.run("/ppp/secret/set", {"numbers": "beto", "password": "nueva"})
    again = masked(text_of(place, engine, installation), b"key")
    changed = [line for line in backups.difference(page, again)[2:] if line[:1] in "+-"]
    assert len(changed) == 2
    assert all("beto" in line and "nueva" not in line for line in changed)
    assert masked(text, b"another key") != page


def test_only_what_has_changed_is_kept(place, engine, installation):
    job, lines = run(engine, installation, place)
    assert (job.state, job.outcome["kept"]) == ("done", True)
    job, lines = run(engine, installation, place)
    assert [line.message for line in lines] == ["Nothing has changed since the last backup."]
    [only] = kept(engine, place)
    assert only.seen_at > only.taken_at
    assert PASSWORD.encode() not in only.content
    place.box.run("/ppp/secret/add", {"name": "caro", "password": "tercera"})
    run(engine, installation, place)
    _first, second = kept(engine, place)
    assert (second.added, second.removed, second.version) == (1, 0, "7.20")
    assert "tercera" in opened(installation.keyring, second)
    assert "tercera" not in shown(installation.keyring, second)
    assert state(engine, place).cause == ""


def test_the_oldest_go_when_there_are_too_many(place, engine, installation, monkeypatch):
    monkeypatch.setattr(backups, "KEPT", 3)
    with Session(engine) as session:
        for number in range(5):
            keep(session, installation.keyring, place.isp.operator_id, place.nas_id, "7", f"/x\n{number}\n", utc_now())
        session.commit()
    assert [opened(installation.keyring, each)[-2] for each in kept(engine, place)] == ["2", "3", "4"]


def test_a_backup_whose_key_is_gone_is_followed_by_another(place, engine, installation):
    foreign = Keyring.parse(Keyring.generate(9))
    with Session(engine) as session:
        keep(session, foreign, place.isp.operator_id, place.nas_id, "7", "/x\n", utc_now())
        session.commit()
    run(engine, installation, place)
    assert len(kept(engine, place)) == 2


@pytest.mark.parametrize(
    ("fault", "cause"), [("password", Cause.PASSWORD), ("closed", Cause.REFUSED), ("silent", Cause.SILENT)]
)
def test_a_router_that_cannot_be_read_says_so_and_keeps_its_backups(
    place, engine, installation, monkeypatch, fault, cause
):
    run(engine, installation, place)
    monkeypatch.setattr(backups, "TIMEOUT", 1.0)
    with Session(engine) as session:
        router = session.get_one(Router, place.nas_id)
        if fault == "password":
            router.api_password = installation.keyring.seal("router.password", "wrong")
        elif fault == "closed":
            router.api_port = 9
        else:
            place.box.faults.silent = True
        session.commit()
    job, lines = run(engine, installation, place)
    assert (job.failed, job.outcome) == (1, {"problem": cause.value})
    assert (state(engine, place).cause, len(kept(engine, place))) == (cause.value, 1)
    assert PASSWORD not in repr([(line.message, line.values) for line in lines])


def test_a_user_that_may_read_nothing_is_a_failure_and_no_empty_backup(emulated_router):
    class Refusing:
        def rows(self, path):
            raise RouterProblem(Cause.PERMISSION, "not enough permissions (9)")

    with pytest.raises(RouterProblem) as caught:
        read_configuration(Refusing())
    assert caught.value.cause is Cause.PERMISSION


def test_each_router_is_read_once_a_day_and_a_dead_one_holds_up_nobody(place, engine, installation, monkeypatch):
    monkeypatch.setattr(backups, "TIMEOUT", 2.0)
    with Session(engine) as session:
        address = f"10.8.{place.nas_id % 250}.1"
        dead = Nas(operator_id=place.isp.operator_id, name=f"dead-{place.nas_id}", address=address, secret=b"x")
        session.add(dead)
        session.flush()
        session.add(Router(nas_id=dead.id, operator_id=place.isp.operator_id, api_address="127.0.0.1", api_port=9,
                           api_user="x", api_password=installation.keyring.seal("router.password", "y")))  # fmt: skip
        session.commit()
        dead_id = dead.id
    assert back_up_due(engine, installation.keyring) == {"kept": 1, "unchanged": 0, "failed": 1}
    assert back_up_due(engine, installation.keyring) == {"kept": 0, "unchanged": 0, "failed": 0}
    with Session(engine) as session:
        later = utc_now() + timedelta(hours=1, minutes=1)
        assert due_routers(session, later, 10) == [(place.isp.operator_id, dead_id)]
        assert len(due_routers(session, later + timedelta(days=1), 10)) == 2
