"""Vouchers through the real thing: publisher, radiusd, loader and worker, with emulated hotspots that speak UDP."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session as OrmSession

from aaa.facts import AccessKind
from core.clock import utc_now
from core.codes import grouped, is_concealed
from crm.vouchers import CODE_PURPOSE, BatchTerms, create_batch, void_vouchers
from db.audit import Actor
from db.models import Voucher
from db.session import make_engine
from lab.nas import Refused
from lab.network import Cpe
from lab.session import Session
from lab.subscriber import Demand, Method, Subscriber
from tests.system.client import Answer, Client
from tests.system.conftest import wait_until
from tests.system.test_access import HOTSPOT
from tests.system.test_enforcement import Site, site

__all__ = ["site"]

pytestmark = pytest.mark.system

_numbers = count(1)


def sell(site: Site, vouchers: int = 1, **terms: Any) -> list[str]:
    """Make vouchers that are active from the beginning; return their codes."""
    engine = make_engine(site.settings.database_url.get_secret_value())
    keyring = site.settings.keyring
    with OrmSession(engine) as session:
        values = {"plan_id": site.isp.plan_id, "activation": "now", "lasts": timedelta(hours=1), **terms}
        batch = create_batch(
            session,
            Actor(site.isp.operator_id, "test"),
            keyring,
            BatchTerms(f"batch {next(_numbers)}", vouchers, **values),
            utc_now(),
        )
        query = select(Voucher).where(Voucher.batch_id == batch.id).order_by(Voucher.number)
        codes = {voucher.service_id: keyring.open(CODE_PURPOSE, voucher.code) for voucher in session.scalars(query)}
        session.commit()
    engine.dispose()
    site.isp.services |= {code: service_id for service_id, code in codes.items()}
    site.controller.settle()
    return list(codes.values())


@pytest.fixture
def asks(site: Site) -> Client:
    """A client at a hotspot of its own, which asks and sends no accounting."""
    address = f"127.0.43.{next(_numbers)}"
    site.isp.nas(address)
    site.controller.settle()
    return Client(site.settings.auth_port, site.settings.acct_port, source=address)


def login(client: Client, code: str, mac: str, **values: Any) -> Answer:
    return client.login(code, "", mac=mac, method="chap", **HOTSPOT, **values)


def guest(site: Site, nas, code: str, mac: str, **values: Any) -> tuple[Cpe, Session | Refused]:
    """Let a phone type a code at a hotspot."""
    phone = Subscriber(code, "", AccessKind.HOTSPOT, Method.CHAP, mac, redial_after=None, retry_after=None, **values)
    cpe = site.network.add_subscriber(phone, nas.profile.name)
    return cpe, site.network.dial(cpe)


def voucher(site: Site, code: str, columns: str) -> tuple[Any, ...]:
    return site.isp.fetch(f"SELECT {columns} FROM voucher WHERE service_id = %s", site.isp.services[code])[0]


def test_a_code_is_let_in_however_it_was_typed_and_its_clock_runs_from_the_first_login(site, asks):
    (code,) = sell(site, lasts=timedelta(minutes=90), octets=5 << 30, rate_download=8_000_000, rate_upload=2_000_000)
    first = login(asks, code, "02:00:00:01:00:01")
    assert (first.code, first["Mikrotik-Rate-Limit"]) == (2, "2M/8M")
    assert first["Session-Timeout"] == 5400
    assert (first["Mikrotik-Total-Limit"], first["Mikrotik-Total-Limit-Gigawords"]) == (1 << 30, 1)
    wait_until(lambda: voucher(site, code, "first_login_at")[0], 5, "the first login to be stored")
    site.isp.connection.execute(
        "UPDATE voucher SET first_login_at = first_login_at - interval '1 hour' WHERE service_id = %s",
        (site.isp.services[code],),
    )
    site.controller.settle()
    again = login(asks, f" {grouped(code).lower()} ", "02:00:00:01:00:01")
    assert again.code == 2
    assert 1790 <= again["Session-Timeout"] <= 1800
    assert login(asks, code + "X", "02:00:00:01:00:01").code == 3


def test_of_two_phones_that_type_a_code_in_the_same_instant_one_is_let_in(site, asks):
    codes = sell(site, 5)
    macs = ("02:00:00:02:00:01", "02:00:00:02:00:02")
    with ThreadPoolExecutor(2) as pool:
        for code in codes:
            answers = list(pool.map(lambda mac, code=code: login(asks, code, mac), macs))
            assert sorted(answer.code for answer in answers) == [2, 3]
            refused = next(answer for answer in answers if answer.code == 3)
            assert refused["Reply-Message"] == "This code is already in use on another device."


def test_a_second_device_is_refused_and_the_first_goes_on_at_another_router(site):
    _, here = site.nas()
    _, there = site.nas()
    (code,) = sell(site)
    _cpe, session = guest(site, here, code, "02:00:00:03:00:01")
    assert isinstance(session, Session)
    wait_until(lambda: site.sessions(code), 5, "the session to be loaded")
    site.isp.connection.execute(  # Event-Timestamp counts seconds: within one, nobody knows which session came first
        "UPDATE session SET started_at = started_at - interval '9 seconds' WHERE service_id = %s",
        (site.isp.services[code],),
    )
    _, other = guest(site, there, code, "02:00:00:03:00:02")
    assert isinstance(other, Refused)
    assert other.message == "This code is already in use on another device."
    _, roamed = guest(site, there, code, "02:00:00:03:00:01")
    assert isinstance(roamed, Session)
    assert 3500 < roamed.grant.session_timeout <= 3600, "the same hour goes on"
    wait_until(
        lambda: site.sessions(code, "ended_by") == [("superseded",), (None,)], 5, "the old session to be superseded"
    )


def test_time_online_stands_still_between_sessions_and_the_session_ends_on_the_second(site):
    _, nas = site.nas()
    (code,) = sell(site, lasts=None, online=timedelta(minutes=1))
    cpe, session = guest(site, nas, code, "02:00:00:04:00:01")
    assert session.grant.session_timeout == 60
    site.network.call(lambda _: cpe.nas.log_out(session))
    wait_until(lambda: site.sessions(code, "ended_by") == [("stop",)], 5, "the Stop")
    site.isp.connection.execute(
        "WITH used AS (UPDATE session SET session_time = 58 WHERE service_id = %(id)s)"
        " UPDATE voucher SET online_seconds = 58, first_login_at = now() - interval '1 day' WHERE service_id = %(id)s",
        {"id": site.isp.services[code]},
    )
    site.controller.settle()
    begun = time.monotonic()
    _, again = guest(site, nas, code, "02:00:00:04:00:01")
    assert again.grant.session_timeout == 2
    site.network.call(lambda _: again.stop_timers())  # the router forgets it
    ended = wait_until(
        lambda: site.isp.fetch(
            "SELECT 1 FROM enforcement_order WHERE service_id = %s AND kind = 'disconnect'", site.isp.services[code]
        ),
        6,
        "the worker to end it",
    )
    assert ended
    assert 1.9 < time.monotonic() - begun < 4
    wait_until(lambda: site.sessions(code, "ended_by")[-1] == ("stop",), 5, "the router to obey")
    site.controller.settle()
    _, refused = guest(site, nas, code, "02:00:00:04:00:01")
    assert isinstance(refused, Refused)
    assert refused.message == "The time of this code is used up."


def test_late_accounting_ends_a_session_whose_volume_is_used_up(site):
    _, nas = site.nas()
    (code,) = sell(site, octets=10_000_000)
    cpe, session = guest(site, nas, code, "02:00:00:05:00:01", demand=Demand())
    assert session.grant.total_limit == 10_000_000
    unlimited = replace(session.grant, total_limit=None)  # a router that ends nothing by itself
    site.network.call(lambda _: cpe.nas.change(session, unlimited))
    session.count(6_000_000, 6_000_000)
    site.interim(cpe)
    wait_until(lambda: site.sessions(code, "ended_by") == [("stop",)], 5, "the session to be ended")
    assert voucher(site, code, "octets") == (12_000_000,)
    _, refused = guest(site, nas, code, "02:00:00:05:00:01")
    assert isinstance(refused, Refused)
    assert refused.message == "The data of this code is used up."


def test_a_cancelled_code_is_thrown_off_and_told_so(site):
    _, nas = site.nas()
    (code,) = sell(site)
    _cpe, session = guest(site, nas, code.lower(), "02:00:00:06:00:01")
    assert isinstance(session, Session)
    wait_until(lambda: site.sessions(code), 5, "the session to be loaded")
    engine = make_engine(site.settings.database_url.get_secret_value())
    with OrmSession(engine) as rows:
        found = rows.get_one(Voucher, site.isp.services[code])
        void_vouchers(rows, Actor(site.isp.operator_id, "test"), [found], "stolen", utc_now())
        rows.commit()
    engine.dispose()
    wait_until(lambda: site.sessions(code, "ended_by") == [("stop",)], 5, "the guest to be thrown off")
    _, refused = guest(site, nas, code, "02:00:00:06:00:01")
    assert refused.message == "This code was cancelled. Ask where you bought it."


def test_a_code_is_good_at_its_routers_only_and_not_before_it_is_activated(site, asks):
    nas_id, nas = site.nas()
    (tied,), (waiting,) = sell(site, nas_ids=(nas_id,)), sell(site, activation="sale")
    assert (
        login(asks, tied, "02:00:00:07:00:01")["Reply-Message"]
        == "This code is for another place. Ask where you got it."
    )
    _, session = guest(site, nas, tied, "02:00:00:07:00:01")
    assert isinstance(session, Session)
    assert (
        login(asks, waiting, "02:00:00:07:00:02")["Reply-Message"]
        == "This code is not active yet. Ask where you got it."
    )


def test_codes_cannot_be_guessed_by_one_device_and_others_are_not_kept_out(site, asks):
    (code,) = sell(site)
    thief, honest = "02:00:00:08:00:01", "02:00:00:08:00:02"
    for number in range(12):
        login(asks, f"WRONG{number:05}", thief)
    for typed in (code, "WRONG77777"):
        assert "Too many wrong codes" in login(asks, typed, thief)["Reply-Message"]
    assert login(asks, code, honest).code == 2


def test_the_database_never_holds_a_code_that_was_typed(site):
    _, nas = site.nas()
    (code,) = sell(site)
    cpe, session = guest(site, nas, code, "02:00:00:09:00:01")
    assert isinstance(session, Session)
    site.interim(cpe)
    wait_until(lambda: site.sessions(code), 5, "the session to be loaded")
    ((name,),) = site.sessions(code, "user_name")
    ((asked,),) = site.isp.fetch(
        "SELECT user_name FROM auth_event WHERE service_id = %s AND outcome = 'accept'", site.isp.services[code]
    )
    assert is_concealed(name)
    assert asked == name
    assert code not in name
    assert voucher(site, code, "code") == (None,), "it was kept for printing only until the first login"
    tables = site.isp.fetch(
        "SELECT quote_ident(table_name) FROM information_schema.tables"
        " WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"
    )
    for (table,) in tables:
        assert not site.isp.fetch(f"SELECT 1 FROM {table} t WHERE t::text ILIKE %s LIMIT 1", f"%{code}%"), table


def test_a_mistyped_code_is_kept_so_that_nobody_guesses_the_right_one_and_a_name_as_it_is(site, asks):
    (code,) = sell(site)
    nearly = code[:-1] + ("3" if code[-1] == "2" else "2")
    for number, method in enumerate(("chap", "pap")):
        asks.login(nearly.lower(), "", mac=f"02:00:00:0A:00:0{number}", method=method, **HOTSPOT)
    asks.login(nearly, nearly, mac="02:00:00:0A:00:03", method="chap", **HOTSPOT)
    asks.login(nearly, "something", mac="02:00:00:0A:00:04", method="pap", **HOTSPOT)
    asks.login("rosalinda", "secret", mac="02:00:00:0A:00:05", method="chap", **HOTSPOT)
    query = "SELECT user_name FROM auth_event WHERE mac::text LIKE '02:00:00:0a:%%' ORDER BY id"
    wait_until(lambda: len(site.isp.fetch(query)) == 5, 5, "the requests to be loaded")
    kept = [name for (name,) in site.isp.fetch(query)]
    assert kept == [code[:2] + "*" * (len(code) - 2)] * 4 + ["rosalinda"]


def test_two_devices_that_share_a_volume_are_granted_it_once_and_end_when_both_together_used_it(site):
    _, nas = site.nas()
    (code,) = sell(site, lasts=None, octets=10_000_000, devices=2)
    first, one = guest(site, nas, code, "02:00:00:0B:00:01", demand=Demand())
    second, two = guest(site, nas, code, "02:00:00:0B:00:02", demand=Demand())
    assert (one.grant.total_limit, two.grant.total_limit) == (10_000_000, 5_000_000)
    assert one.grant.interim_interval == two.grant.interim_interval == 60
    one.count(3_500_000, 3_500_000)
    site.interim(first)
    wait_until(lambda: voucher(site, code, "octets") == (7_000_000,), 5, "the first device's use")
    two.count(2_000_000, 1_500_000)
    site.interim(second)
    wait_until(lambda: site.sessions(code, "ended_by") == [("stop",)] * 2, 5, "both to be ended")
    _, refused = guest(site, nas, code, "02:00:00:0B:00:01")
    assert refused.message == "The data of this code is used up."
