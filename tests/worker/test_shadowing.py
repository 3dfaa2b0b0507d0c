"""Shadow mode over time: what an emulated router lets in by its own secrets, beside what Portico would have said."""

from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.clock import utc_now
from core.rates import RateLimit
from db.models import RatePlan, Service, ShadowEvent, ShadowSecret
from network.shadow import GIVE_BACK, TAKE_OVER
from network.shadow_look import Login, Said, logins, said
from tests.lab.routeros import emulated_router, router_loop
from tests.network.importing.conftest import Importer, importer, importers
from worker.shadowing import follow_all

__all__ = ["emulated_router", "importer", "importers", "router_loop"]

AT = datetime(2027, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def router(importer: Importer, emulated_router):
    """A router with two secrets that were imported, of the speed that their plan has."""
    made = emulated_router()
    made.box.fill("/ppp/profile", {"name": "Home", "rate-limit": "5M/20M"})
    for name in ("ana", "ben"):
        made.box.fill("/ppp/secret", {"name": name, "password": "pw", "service": "pppoe", "profile": "Home"})
    importer.connect(made)
    with Session(importer.engine) as session:
        plans = session.scalars(select(RatePlan).where(RatePlan.operator_id == importer.isp.operator_id)).all()
        assert [(plan.download, plan.upload) for plan in plans] == [(20_000_000, 5_000_000)]
    importer.write(importer.read("secrets"))
    return made


def online(router, name: str, session: str = "0x81000001", uptime: str = "10m", **values: str):
    row = {"name": name, "address": "10.40.0.9", "caller-id": "4C:5E:0C:12:34:56", "session-id": session,
           "uptime": uptime, "radius": "false", **values}  # fmt: skip
    return router.box.fill("/ppp/active", row)


def round_of(importer: Importer) -> list[tuple[str, str, str, str, str]]:
    """Look once, and return what was written: kind, secret, what the router says, what Portico says, the difference."""
    with Session(importer.engine) as session:
        before = session.scalars(select(ShadowEvent.id)).all()
        follow_all(importer.engine, importer.settings.keyring)
        new = session.scalars(
            select(ShadowEvent)
            .where(ShadowEvent.id.not_in(before), ShadowEvent.operator_id == importer.isp.operator_id)
            .order_by(ShadowEvent.id)
        )
        return [(event.kind, event.secret, event.there, event.outcome, event.differs) for event in new]


def change(importer: Importer, name: str, **values: object) -> None:
    with Session(importer.engine) as session:
        service = session.scalars(
            select(Service).where(Service.operator_id == importer.isp.operator_id, Service.name == name)
        ).one()
        for column, value in values.items():
            setattr(service, column, value)
        session.commit()


def test_the_first_look_notes_every_answer_and_the_next_nothing(importer, router):
    assert round_of(importer) == [
        ("answer", "ana", "accept", "accept", ""),
        ("answer", "ben", "accept", "accept", ""),
    ]
    assert round_of(importer) == []


def test_a_login_that_the_router_let_in_is_noted_once_with_what_portico_would_have_said(importer, router):
    change(importer, "ana", paid_until=date(2020, 1, 1))
    row = online(router, "ana")
    assert ("login", "ana", "accept", "garden", "outcome") in round_of(importer)
    with Session(importer.engine) as session:
        event = session.scalars(
            select(ShadowEvent).where(ShadowEvent.operator_id == importer.isp.operator_id, ShadowEvent.kind == "login")
        ).one()
        assert (event.mac, str(event.address), event.reason) == ("4c:5e:0c:12:34:56", "10.40.0.9", "overdue")
        assert abs(event.at - (utc_now() - timedelta(minutes=10))) < timedelta(seconds=30)
    assert round_of(importer) == [], "the same login is no other one"
    router.box.table("/ppp/active").drop(row)
    online(router, "ana", session="0x81000002", uptime="1s")
    assert round_of(importer) == [("login", "ana", "accept", "garden", "outcome")]


def test_a_device_that_portico_would_refuse_is_told_of_its_login_only(importer, router):
    change(importer, "ana", mac_binding="fixed")
    online(router, "ana")
    noted = round_of(importer)
    assert ("login", "ana", "accept", "reject", "outcome") in noted
    assert ("answer", "ana", "accept", "accept", "") in noted


def test_every_change_of_either_answer_is_noted(importer, router):
    round_of(importer)
    change(importer, "ben", rate_download=8_000_000, rate_upload=2_000_000)
    assert round_of(importer) == [("answer", "ben", "accept", "accept", "rate")]
    for row in router.box.table("/ppp/secret"):
        if row["name"] == "ana":
            router.box.run("/ppp/secret/set", {"numbers": row.id, "disabled": "yes"})
    assert round_of(importer) == [("answer", "ana", "reject", "accept", "outcome")], "the ISP cut them off by hand"
    change(importer, "ana", state="suspended", suspended_at=utc_now(), suspension_cause="staff")
    assert round_of(importer) == [("answer", "ana", "reject", "garden", "")]
    with Session(importer.engine) as session:
        differing = session.scalars(
            select(ShadowSecret.secret).where(
                ShadowSecret.operator_id == importer.isp.operator_id, ShadowSecret.differs != ""
            )
        ).all()
    assert differing == ["ben"]


def test_ten_megabits_written_as_10240k_are_no_other_speed(importer, router):
    for row in router.box.table("/ppp/profile"):
        if row["name"] == "Home":
            router.box.run("/ppp/profile/set", {"numbers": row.id, "rate-limit": "5120k/20480k"})
    assert {difference for *_, difference in round_of(importer)} == {""}


def test_who_was_taken_over_is_not_followed_and_who_came_back_is(importer, router):
    round_of(importer)
    importer.do(TAKE_OVER, nas_id=importer.isp.nas_id)
    change(importer, "ana", paid_until=date(2020, 1, 1))
    assert round_of(importer) == []
    importer.do(GIVE_BACK, nas_id=importer.isp.nas_id)
    assert round_of(importer) == [("answer", "ana", "accept", "garden", "outcome")]


def test_a_router_that_is_away_or_hangs_up_leaves_the_others(importer, importers, router, emulated_router):
    other = importers()
    gone = emulated_router()
    gone.box.fill("/ppp/secret", {"name": "zoe", "password": "pw", "service": "pppoe"})
    other.connect(gone)
    other.write(other.read("secrets"))
    gone.box.faults.refuse_connections = True
    assert len(round_of(importer)) == 2


def test_old_events_go(importer, router):
    round_of(importer)
    with Session(importer.engine) as session:
        for event in session.scalars(select(ShadowEvent).where(ShadowEvent.operator_id == importer.isp.operator_id)):
            event.at = utc_now() - timedelta(days=91)
        session.commit()
    round_of(importer)
    with Session(importer.engine) as session:
        left = session.scalars(select(ShadowEvent).where(ShadowEvent.operator_id == importer.isp.operator_id)).all()
    assert left == []


def test_what_a_router_says_by_itself():
    secrets = [
        {"name": "a", "profile": "Home"}, {"name": "b", "profile": "none"}, {"name": "c", "disabled": "true"},
    ]  # fmt: skip
    assert said(secrets, [{"name": "Home", "rate-limit": "5M/20M"}, {"name": "none"}]) == {
        "a": Said("accept", RateLimit(20_000_000, 5_000_000)),
        "b": Said("accept"),
        "c": Said("reject"),
    }


def test_rows_of_garbage_are_logins_of_nobody_in_particular():
    [(name, login)] = logins([{"name": "a", "uptime": "soon", "address": "<b>", "caller-id": "x"}], AT).items()
    assert (name, login) == ("a", Login("", AT, None, None))
    assert logins([{"name": "a", "radius": "true"}], AT) == {}


@pytest.mark.parametrize(
    ("session", "moved", "same"),
    [("0x1", 60, True), ("0x1", 120, False), ("0x2", 0, False)],
    ids=["a late reading", "the router began anew", "another session"],
)
def test_when_a_login_is_the_one_that_was_noted(session, moved, same):
    noted = Login("0x1", AT, None, None).note()
    assert Login(session, AT + timedelta(seconds=moved), None, None).is_the_same(noted) is same
