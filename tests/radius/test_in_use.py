from dataclasses import replace
from datetime import UTC, datetime, timedelta

from aaa.facts import AccessMethod, OpenSession, OpenUse, Plan, Service, ServiceState, Voucher
from core.rates import RateLimit
from radius.in_use import CLAIM, SESSIONS, SILENT, InUse

AT = 1_800_000_000.0
HERE, THERE = 1, 2
PHONE = "aa:bb:cc:00:00:01"
PLAN = Plan(1, "hotspot", RateLimit(5_000_000, 1_000_000))


def service(**voucher) -> Service:
    return Service(
        7, 1, AccessMethod.VOUCHER, "#1-1", ServiceState.ACTIVE, PLAN, voucher=Voucher("l", **voucher), session_limit=1
    )


def packet(status: str, session: str, seconds: int = 0, octets: int = 0) -> dict[str, str]:
    return {
        "Acct-Status-Type": status,
        "Acct-Session-Id": session,
        "Acct-Session-Time": str(seconds),
        "Acct-Input-Octets": str(octets & 0xFFFFFFFF),
        "Acct-Input-Gigawords": str(octets >> 32),
    }


def test_an_accept_counts_as_a_session_until_accounting_or_a_minute_says_otherwise():
    in_use, stored = InUse(), service(lasts=timedelta(hours=1))
    in_use.granted(stored, HERE, "plaza", "80000001", PHONE, AT)
    found, sessions = in_use.add_to(stored, (), AT + 1)
    assert sessions == (OpenSession(HERE, "plaza", "80000001", PHONE),)
    assert found.voucher.first_login == datetime.fromtimestamp(AT, UTC)
    assert in_use.add_to(stored, (), AT + CLAIM + 1)[1] == (), "the phone never came"
    in_use.accounted(7, HERE, packet("Start", "80000001"), AT + 2)
    assert in_use.add_to(stored, (), AT + CLAIM + 1)[1] == sessions
    assert in_use.add_to(stored, (), AT + SILENT + 3)[1] == ()
    in_use.accounted(7, HERE, packet("Stop", "80000001", 30), AT + 32)
    assert in_use.add_to(stored, sessions, AT + 33)[1] == (), "also when the image has not heard of it"


def test_what_the_image_knows_is_not_counted_twice():
    in_use, stored = InUse(), service(online=timedelta(hours=1), octets=10**12)
    in_use.granted(stored, HERE, "plaza", "80000001", PHONE, AT)
    in_use.accounted(7, HERE, packet("Interim-Update", "80000001", 60, 5 << 32), AT + 60)
    began, heard = datetime.fromtimestamp(AT, UTC), datetime.fromtimestamp(AT + 60, UTC)
    image = service(online=timedelta(hours=1), octets=10**12, octets_used=5 << 32, open=(OpenUse(began, heard, PHONE),))
    live = (OpenSession(HERE, "plaza", "80000001", PHONE),)
    found, sessions = in_use.add_to(image, live, AT + 61)
    assert (found.voucher.octets_used, found.voucher.open, sessions) == (5 << 32, image.voucher.open, live)


def test_while_the_database_is_away_what_was_used_counts_for_the_next_login():
    in_use, stored = InUse(), service(online=timedelta(minutes=10), octets=1000, octets_used=100)
    for number in range(SESSIONS + 5):
        begun, name = AT + 20 * number, f"8{number:07}"
        in_use.granted(stored, HERE, "plaza", name, PHONE, begun)
        in_use.accounted(7, HERE, packet("Stop", name, 10, 8), begun + 10)
    found, sessions = in_use.add_to(stored, (), begun + 11)
    assert sessions == ()
    assert found.voucher.online_used == timedelta(seconds=10 * (SESSIONS + 5))
    assert found.voucher.octets_used == 100 + 8 * (SESSIONS + 5)
    caught_up = replace(stored, voucher=replace(stored.voucher, octets_used=900, online_used=timedelta(minutes=10)))
    assert in_use.add_to(caught_up, (), begun + 12)[0].voucher.octets_used == 900


def test_a_device_that_roams_leaves_its_session_behind():
    in_use, stored = InUse(), service(online=timedelta(hours=1))
    in_use.granted(stored, HERE, "plaza", "80000001", PHONE, AT)
    in_use.accounted(7, HERE, packet("Interim-Update", "80000001", 60), AT + 60)
    in_use.granted(stored, THERE, "cafe", "80000009", PHONE, AT + 90)
    _found, sessions = in_use.add_to(stored, (), AT + 91)
    assert [session.nas_name for session in sessions] == ["cafe"]
    assert 7 in in_use
    assert 8 not in in_use


def test_malformed_and_foreign_accounting_changes_nothing():
    in_use, stored = InUse(), service(octets=1000)
    in_use.granted(stored, HERE, "plaza", "80000001", PHONE, AT)
    bad = {"Acct-Status-Type": "Stop", "Acct-Session-Id": "other", "Acct-Input-Octets": "-5"}
    in_use.accounted(7, HERE, bad, AT + 1)
    in_use.accounted(99, HERE, packet("Stop", "80000001"), AT + 1)
    in_use.accounted(
        7, HERE, {"Acct-Session-Id": "80000001", "Acct-Input-Octets": "x", "Acct-Session-Time": "²"}, AT + 1
    )
    found, sessions = in_use.add_to(stored, (), AT + 2)
    assert (found.voucher.octets_used, len(sessions)) == (0, 1)
