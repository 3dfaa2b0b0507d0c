"""The loader on a real PostgreSQL: what journals hold becomes rows, once."""

import marshal
import random
import struct
import threading
import time
import zlib
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

import radius.loader
from core.settings import Settings
from radius.batch import PositionMoved
from radius.journal import ACCOUNTING, AUTHENTICATION, JournalWriter, segments
from radius.loader import Loader, connect
from radius.maintenance import close_stale
from radius.packet import read_packet
from radius.sessions import Book, ServiceFacts, Surroundings
from radius.terms import class_value
from radius.usage import Calendar, Usage
from tests.factories import Isp

NOW = float(int(time.time()))  # whole, so that what is stored equals what is computed
TERMS = bytes.fromhex("0011223344556677")


class Journal:
    """What radiusd would write, and a loader that reads it."""

    def __init__(self, isp: Isp, directory=None):
        self.isp = isp
        self.directory = directory or isp.settings.journal_dir
        self.writer = JournalWriter(self.directory)

    def account(self, status, user="ana", sid="81600001", at=0.0, nas=None, **more):
        """Journal a packet that came `at` seconds after the test began; `more` are its attributes."""
        attributes = {
            "Acct-Status-Type": status,
            "Acct-Session-Id": sid,
            "User-Name": user,
            "Framed-Protocol": "PPP",
            "Calling-Station-Id": "AA:BB:CC:00:00:01",
            **{name.replace("_", "-"): str(value) for name, value in more.items()},
        }
        pairs = tuple(attributes.items())
        self.writer.append((ACCOUNTING, NOW + at, nas or self.isp.nas_id, self.isp.operator_id, pairs))

    def count(self, status, seconds, octets_in, octets_out, **more):
        counters = {
            "Acct_Session_Time": seconds,
            "Acct_Input_Octets": octets_in % (1 << 32),
            "Acct_Input_Gigawords": octets_in >> 32,
            "Acct_Output_Octets": octets_out % (1 << 32),
            "Acct_Output_Gigawords": octets_out >> 32,
        }
        self.account(status, **{"at": float(seconds), **counters, **more})

    def authenticate(self, user="ana", outcome="accept", reason="", at=0.0, **more):
        values = {
            "service_id": self.isp.services.get(user),
            "mac": "aa:bb:cc:00:00:01",
            "kind": "ppp",
            "method": "pap",
            "detail": None,
            "acct_session_id": "81600001",
            "terms_id": TERMS if outcome != "reject" else None,
            "called_station_id": "service1",
            "nas_port_id": "ether2",
            **more,
        }
        self.writer.append(
            (
                AUTHENTICATION, NOW + at, self.isp.nas_id, self.isp.operator_id, values["service_id"], user,
                values["mac"], values["kind"], values["method"], outcome, reason, values["detail"],
                values["acct_session_id"], values["terms_id"], values["called_station_id"], values["nas_port_id"],
            )
        )  # fmt: skip

    def load(self, keep=3600.0) -> dict[str, Any]:
        """Run a loader until everything is loaded, and return what it reports."""
        with (
            closing(connect(self.isp.settings.database_url.get_secret_value())) as connection,
            closing(Loader(self.directory, connection, keep=keep)) as loader,
        ):
            assert loader.begin()
            for _ in range(1000):
                if loader.step() == 0:
                    break
            loader.tidy()
        ((report,),) = self.isp.fetch("SELECT report -> 'loader' FROM node")
        return report


@pytest.fixture
def isp(database: Settings):
    isp = Isp.create(database)
    isp.service("ana")
    yield isp
    isp.connection.close()


@pytest.fixture
def journal(isp: Isp):
    journal = Journal(isp)
    yield journal
    journal.writer.close()


def ends(isp: Isp) -> list[tuple]:
    return isp.fetch("SELECT acct_session_id, ended_by FROM session ORDER BY started_at, id")


def changes(isp: Isp, kind: str) -> list[list[int]]:
    return [ids for (ids,) in isp.fetch("SELECT ids FROM change_log WHERE kind = %s ORDER BY seq", kind)]


def test_a_session_becomes_rows(isp, journal):
    isp.fetch("DELETE FROM change_log RETURNING 1")
    journal.account("Start", Framed_IP_Address="10.0.0.9", NAS_Identifier="tower-1", NAS_IP_Address="10.8.0.2")
    journal.count("Interim-Update", 300, 10, 5 << 32, Delegated_IPv6_Prefix="2001:db8::/56")
    journal.load()
    row = isp.fetch(
        "SELECT operator_id, nas_id, service_id, acct_session_id, user_name, calling_station_id, nas_identifier,"
        " host(nas_ip_address), kind, mac::text, host(framed_ip), delegated_ipv6_prefix::text, ended_at, session_time,"
        " octets_in, octets_out, interim_interval, extract(epoch FROM started_at)::float,"
        " extract(epoch FROM updated_at)::float FROM session"
    )
    assert row == [
        (
            isp.operator_id, isp.nas_id, isp.services["ana"], "81600001", "ana", "AA:BB:CC:00:00:01", "tower-1",
            "10.8.0.2", "ppp", "aa:bb:cc:00:00:01", "10.0.0.9", "2001:db8::/56", None, 300, 10, 5 << 32, 300,
            pytest.approx(NOW, abs=1e-5), pytest.approx(NOW + 300, abs=1e-5),
        )
    ]  # fmt: skip
    assert isp.fetch("SELECT sum(octets_in), sum(octets_out) FROM usage_hour") == [(10, 5 << 32)]
    assert isp.fetch("SELECT sum(octets_in), sum(octets_out) FROM usage_period") == [(10, 5 << 32)]
    assert changes(isp, "sessions") == [[isp.services["ana"]]]
    journal.count("Stop", 400, 20, 6 << 32, Acct_Terminate_Cause="User-Request")
    journal.load()
    assert isp.fetch("SELECT ended_by, terminate_cause, ended_at - started_at, octets_out FROM session") == [
        ("stop", "User-Request", timedelta(seconds=400), 6 << 32)
    ]
    assert isp.fetch("SELECT sum(octets_in), sum(octets_out) FROM usage_period") == [(20, 6 << 32)]
    assert changes(isp, "sessions") == [[isp.services["ana"]], [isp.services["ana"]]]
    ((heard,),) = isp.fetch("SELECT extract(epoch FROM last_packet_at)::float FROM nas_heard")
    assert heard == pytest.approx(NOW + 400, abs=1e-5)


def test_outcomes_become_events(isp, journal):
    journal.authenticate()
    journal.authenticate("eve", "reject", "wrong_password", detail={"why": 'tab\tnul\0quote"\\'})
    journal.load()
    assert isp.fetch(
        "SELECT service_id, user_name, mac::text, kind, method, outcome, reason, detail, acct_session_id, terms_id"
        " FROM auth_event ORDER BY id"
    ) == [
        (isp.services["ana"], "ana", "aa:bb:cc:00:00:01", "ppp", "pap", "accept", "", {}, "81600001", TERMS),
        (
            None, "eve", "aa:bb:cc:00:00:01", "ppp", "pap", "reject", "wrong_password",
            {"why": "tab\tnulquote\"\\"}, "81600001", None,
        ),
    ]  # fmt: skip


def test_text_from_the_network_is_stored_as_it_is(isp, journal):
    names = [
        "a\tb",
        "back\\slash",
        "\\N",
        "new\nline\rreturn",
        "'; DROP TABLE session; --",
        "%s %(x)s",
        "línea ñ 😀",
        "",
    ]
    for number, name in enumerate(names):
        journal.account("Start", user=name, sid=f"{name}{number}", Calling_Station_Id=name)
    journal.load()
    assert isp.fetch("SELECT user_name, acct_session_id, calling_station_id FROM session ORDER BY id") == [
        (name, f"{name}{number}", name) for number, name in enumerate(names)
    ]
    for number, name in enumerate(names):
        journal.count("Stop", 60, 1, 1, user=name, sid=f"{name}{number}", Calling_Station_Id=name)
    journal.load()
    assert isp.fetch("SELECT count(*), count(ended_at) FROM session") == [(len(names), len(names))]


def test_nothing_is_loaded_twice(isp, journal):
    journal.account("Start")
    journal.authenticate()
    journal.load()
    journal.load()
    assert isp.fetch("SELECT (SELECT count(*) FROM session), (SELECT count(*) FROM auth_event)") == [(1, 1)]


def test_a_loader_that_was_left_behind_stores_nothing(isp, journal):
    journal.authenticate()
    url = isp.settings.database_url.get_secret_value()
    with closing(connect(url)) as one, closing(connect(url)) as other:
        first, second = Loader(journal.directory, one), Loader(journal.directory, other)
        assert first.begin()
        assert not second.begin()
        first.step()
        with pytest.raises(PositionMoved):
            second.step()
    assert isp.fetch("SELECT count(*) FROM auth_event") == [(1,)]


def test_a_batch_that_the_database_dropped_is_loaded_again(isp, journal):
    journal.account("Start")
    journal.count("Interim-Update", 300, 10, 20)
    with closing(connect(isp.settings.database_url.get_secret_value())) as connection:
        loader = Loader(journal.directory, connection)
        loader.begin()
        isp.connection.execute("SELECT pg_terminate_backend(%s)", (connection.info.backend_pid,))
        with pytest.raises(psycopg.OperationalError):
            loader.step()
    journal.load()
    assert isp.fetch("SELECT octets_in, octets_out FROM session") == [(10, 20)]


@pytest.mark.parametrize("most", [7, 1000])
def test_batches_of_any_size_give_the_same_sessions(isp, journal, monkeypatch, most):
    """The statements for sessions outside a batch follow the same rules as the code for those inside.

    Only which of several proofs in one batch ended a session may differ.
    """
    chance = random.Random(7)
    for user in ("ben", "cat", "dan"):
        isp.service(user, session_limit=chance.choice((1, 2)))
    other_nas = isp.nas("127.0.0.2")
    packets = []
    for n in range(400):
        user = chance.choice(("ana", "ben", "cat", "dan"))
        status = chance.choice(
            ("Start", "Interim-Update", "Interim-Update", "Stop", "Accounting-On")
            if n % 60 == 0
            else ("Start", "Interim-Update", "Stop")
        )
        seconds = chance.choice((60, 600, 3000))
        packets.append(
            {
                "status": status,
                "user": user,
                "sid": f"81{chance.choice('67')}0000{chance.randrange(3)}",
                "nas": chance.choice((isp.nas_id, other_nas)),
                "at": n * 40.0,
                "Acct_Session_Time": seconds,
                "Acct_Input_Octets": seconds * 7 + n,
                "Acct_Output_Octets": seconds * 70 + n,
                "Calling_Station_Id": f"AA:BB:CC:00:00:0{chance.randrange(2)}",
            }
        )  # fmt: skip
    for packet in packets:
        journal.account(**packet)
    monkeypatch.setattr(radius.loader, "MOST", most)
    journal.load()

    services = {
        row[0]: ServiceFacts(*row[1:]) for row in isp.fetch("SELECT id, operator_id, session_limit, 300 FROM service")
    }
    book_states: dict[Any, Any] = {}
    usage = Usage(Calendar({isp.operator_id: ("UTC", 1)}).period_of)
    digits: dict[Any, Any] = {}
    for packet in packets:
        attributes = {name.replace("_", "-"): str(value) for name, value in packet.items() if name[0].isupper()}
        attributes |= {
            "Acct-Status-Type": packet["status"],
            "Acct-Session-Id": packet["sid"],
            "User-Name": packet["user"],
            "Framed-Protocol": "PPP",
        }
        one = read_packet(NOW + packet["at"], packet["nas"], isp.operator_id, attributes, describe=True)
        surroundings = Surroundings(services.get, {one.key: isp.services[packet["user"]]}, {}, frozenset())
        book = Book(book_states, surroundings, usage, digits)
        book.take(one)
    expected = sorted(
        (s.nas_id, s.acct_session_id, s.user_name, s.calling_station_id, s.started - NOW, s.ended is None,
         s.ended_by == "stop", s.octets_in, s.octets_out, s.session_time)
        for known in book_states.values() for s in known
    )  # fmt: skip
    stored = isp.fetch(
        "SELECT nas_id, acct_session_id, user_name, calling_station_id, extract(epoch FROM started_at)::float - %s,"
        " ended_at IS NULL, ended_by IS NOT DISTINCT FROM 'stop', octets_in, octets_out, session_time FROM session",
        NOW,
    )
    assert sorted(stored) == expected
    ended = {by for (by,) in isp.fetch("SELECT DISTINCT ended_by FROM session")}
    assert ended == {None, "stop", "superseded", "reboot", "accounting-on"}
    assert isp.fetch("SELECT sum(octets_in), sum(octets_out) FROM session") == isp.fetch(
        "SELECT sum(octets_in), sum(octets_out) FROM usage_hour"
    )


def test_two_nodes_that_hear_one_nas_make_one_session(isp, journal, tmp_path):
    """The Start at one node, the updates at the other, both loaded at once."""
    chance = random.Random(3)
    other = Journal(isp, tmp_path)
    users = [f"user{n}" for n in range(40)]
    for user in users:
        isp.service(user)
        journal.account("Start", user=user, sid=user)
    for step in range(1, 30):
        for user in users:
            chance.choice((journal, other)).count("Interim-Update", step * 10, step, step * 2, user=user, sid=user)
    threads = [threading.Thread(target=one.load) for one in (journal, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.writer.close()
    assert isp.fetch("SELECT count(*), sum(octets_in), sum(octets_out) FROM session") == [(40, 40 * 29, 40 * 58)]
    assert isp.fetch("SELECT sum(octets_in), sum(octets_out) FROM usage_hour") == [(40 * 29, 40 * 58)]


# Sessions outside the batch.


def test_a_nas_that_says_it_started_ends_sessions_from_earlier_batches(isp, journal):
    journal.account("Start")
    journal.load()
    journal.account("Accounting-On", user="", sid="", at=60.0)
    journal.load()
    assert ends(isp) == [("81600001", "accounting-on")]
    assert changes(isp, "sessions") == [[isp.services["ana"]], [isp.services["ana"]]]


def test_a_new_reboot_digit_ends_sessions_from_earlier_batches(isp, journal):
    journal.account("Start", user="x", sid="81600001", Calling_Station_Id="")
    journal.account("Start", user="y", sid="82600001", Calling_Station_Id="")
    journal.load()
    journal.account("Start", user="z", sid="81700000", at=600.0, Calling_Station_Id="")
    journal.load()
    assert ends(isp) == [("81600001", "reboot"), ("82600001", None), ("81700000", None)]


def test_a_device_that_comes_back_elsewhere_ends_its_session_from_an_earlier_batch(isp, journal):
    journal.account("Start")
    journal.load()
    journal.account("Start", sid="81600002", at=600.0, nas=isp.nas("127.0.0.2"))
    journal.load()
    assert ends(isp) == [("81600001", "superseded"), ("81600002", None)]


def test_what_staff_closed_stays_closed_until_it_speaks(isp, journal):
    journal.account("Start")
    journal.load()
    isp.connection.execute("UPDATE session SET ended_at = to_timestamp(%s), ended_by = 'staff'", (NOW + 100,))
    journal.count("Interim-Update", 60, 1, 1)
    journal.load()
    assert ends(isp) == [("81600001", "staff")]
    journal.count("Interim-Update", 360, 2, 2)
    journal.load()
    assert ends(isp) == [("81600001", None)]


def test_terms_that_a_coa_changed_are_not_overwritten(isp, journal):
    journal.account("Start", Class=class_value(isp.services["ana"], TERMS))
    journal.load()
    isp.connection.execute("UPDATE session SET terms_id = %s", (b"newterms",))
    journal.count("Interim-Update", 60, 1, 1, Class=class_value(isp.services["ana"], TERMS))
    journal.load()
    assert isp.fetch("SELECT terms_id FROM session") == [(b"newterms",)]


# Whose session it is.


@pytest.mark.parametrize("together", [True, False])
def test_the_accept_tells_the_terms_of_a_nas_that_does_not_return_class(isp, journal, together):
    journal.authenticate()
    if not together:
        journal.load()
    journal.account("Start", at=1.0)
    journal.load()
    assert isp.fetch("SELECT service_id, terms_id FROM session") == [(isp.services["ana"], TERMS)]


def test_services_are_found_by_the_ways_to_read_a_name(isp, journal):
    mac = isp.service("aa:bb:cc:00:00:02", password=None, access_method="mac")
    voucher = isp.service("ABC123", password=None, access_method="voucher")
    isp.service("gone", state="terminated")
    hotspot = {"Framed_Protocol": "", "Service_Type": "Login-User"}
    wireless = {"NAS_Port_Type": "Wireless-802.11"}
    journal.account("Start", user="ana", sid="1")
    journal.account("Start", user="Ana", sid="2")
    journal.account("Start", user="gone", sid="3")
    for sid, user, more in (("4", "AA-BB-CC-00-00-02", wireless), ("5", "abc-123", hotspot), ("6", "aabbcc000002", {})):
        attributes = {
            "Acct-Status-Type": "Start", "Acct-Session-Id": sid, "User-Name": user,
            "Calling-Station-Id": "AA:BB:CC:00:00:02", **{k.replace("_", "-"): v for k, v in more.items() if v},
        }  # fmt: skip
        journal.writer.append((ACCOUNTING, NOW, isp.nas_id, isp.operator_id, tuple(attributes.items())))
    journal.load()
    assert isp.fetch("SELECT acct_session_id, service_id FROM session ORDER BY acct_session_id") == [
        ("1", isp.services["ana"]), ("2", None), ("3", None), ("4", mac), ("5", voucher), ("6", mac),
    ]  # fmt: skip


def test_a_class_cannot_book_traffic_on_another_operators_service(isp, journal):
    other = Isp.create(isp.settings, address=None)
    theirs = other.service("victim")
    other.connection.close()
    journal.account("Start", user="ana2", Class=class_value(theirs, TERMS))
    journal.count("Interim-Update", 300, 10, 20, user="ana2", Class=class_value(theirs, TERMS))
    journal.load()
    assert isp.fetch("SELECT service_id, octets_in FROM session") == [(None, 10)]
    assert isp.fetch("SELECT count(*) FROM usage_hour") == [(0,)]


# What follows from what was loaded.


def test_steps_of_day_and_week_count_and_are_told_once(isp, journal):
    step = {"octets": 1000, "download": 1, "upload": 1}
    plan = isp.plan(steps=[{"span": "day", **step}, {"span": "week", **step, "octets": 2000}])
    service = isp.service("stepped", plan_id=plan)
    told = "SELECT seq FROM change_log WHERE kind = 'service' AND ids = ARRAY[%s]::bigint[]"
    before = len(isp.fetch(told, service))
    begins = datetime.fromtimestamp(NOW, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    journal.account("Start", user="stepped", at=-1.0)
    for seconds, total in ((1, 999), (2, 1000), (3, 1001), (4, 2500)):
        journal.count("Interim-Update", seconds, 0, total, user="stepped", at=seconds - 10.0)
        journal.load()
    assert isp.fetch(
        "SELECT span, begins = %s, octets FROM usage_span WHERE service_id = %s ORDER BY 1", begins, service
    )[0] == ("day", True, 2500)
    assert len(isp.fetch(told, service)) == before + 2


def test_bonus_hours_count_in_part_and_are_billed_whole(isp, journal):
    always = {"days": [1, 2, 3, 4, 5, 6, 7], "begin": 0, "until": 24, "percent": 25}
    service = isp.service("night", plan_id=isp.plan(cap_octets=1000, bonus_hours=[always]))
    journal.account("Start", user="night", at=-1.0)
    journal.count("Interim-Update", 1, 400, 2000, user="night", at=-2.0)
    journal.load()
    counted = "SELECT octets_in + octets_out, octets_free FROM usage_period WHERE service_id = %s"
    assert isp.fetch(counted, service) == [(2400, 1800)]
    assert isp.fetch("SELECT sum(octets_in + octets_out) FROM usage_hour WHERE service_id = %s", service) == [(2400,)]


def test_what_is_left_rolls_over_into_the_period_that_begins_and_lifts_its_cap(isp, journal):
    service = isp.service("saver", plan_id=isp.plan(cap_octets=1000, rollover_periods=1, rollover_most=500))
    isp.connection.execute(
        "INSERT INTO usage_period (service_id, operator_id, period_start, period_end, octets_out, cap_octets)"
        " SELECT %s, %s, date_trunc('month', now(), 'UTC') - interval '1 month', date_trunc('month', now(), 'UTC'),"
        " 300, 1000",
        (service, isp.operator_id),
    )
    journal.account("Start", user="saver", at=-1.0)
    for seconds, total in ((1, 1200), (2, 1499), (3, 1500)):
        journal.count("Interim-Update", seconds, 0, total, user="saver", at=seconds - 10.0)
        journal.load()
    rows = isp.fetch(
        "SELECT octets_out, cap_octets, rolled_over FROM usage_period WHERE service_id = %s ORDER BY period_start",
        service,
    )
    assert rows == [(300, 1000, 0), (1500, 1000, 500)]


def test_reaching_the_cap_is_a_change_of_the_service(isp, journal):
    plan = isp.plan(cap_octets=1000, cap_action="block")
    service = isp.service("capped", plan_id=plan)
    isp.fetch("DELETE FROM change_log RETURNING 1")
    octets = ((300, 900), (600, 1000), (900, 2000))
    for seconds, total in octets:
        journal.count("Interim-Update", seconds, 0, total, user="capped", at=seconds - 900.0)
        journal.load()
        journal.load()
        assert changes(isp, "service") == ([[service]] if total >= 1000 else [])


@pytest.mark.parametrize(("before", "after"), [(1, 15), (15, 1), (28, 2)])
def test_an_operator_that_moves_its_cut_off_day_has_each_service_in_one_period(isp, journal, before, after):
    isp.update("operator", isp.operator_id, cut_off_day=before)
    journal.count("Interim-Update", 60, 100, 0)
    journal.load()
    isp.update("operator", isp.operator_id, cut_off_day=after)
    journal.count("Interim-Update", 120, 300, 0)
    journal.load()
    running = isp.fetch(
        "SELECT octets_in FROM usage_period WHERE period_start <= to_timestamp(%s) AND period_end > to_timestamp(%s)",
        NOW + 120,
        NOW + 120,
    )
    assert running == [(200,)]
    assert isp.fetch("SELECT sum(octets_in) FROM usage_period") == [(300,)]


def test_the_first_devices_are_learned(isp, journal):
    learner = isp.service("learner", mac_binding="learn", max_macs=2)
    isp.service("fixed", mac_binding="fixed")
    for n in range(1, 5):
        journal.authenticate("learner", mac=f"aa:bb:cc:00:00:0{n}", at=float(n))
    journal.authenticate("learner", "reject", "wrong_password", mac="aa:bb:cc:00:00:09")
    journal.authenticate("fixed")
    journal.load()
    journal.authenticate("learner", mac="aa:bb:cc:00:00:05", at=9.0)
    journal.load()
    assert isp.fetch("SELECT service_id, mac::text, learned FROM service_mac ORDER BY mac") == [
        (learner, "aa:bb:cc:00:00:01", True),
        (learner, "aa:bb:cc:00:00:02", True),
    ]


def test_a_device_known_already_takes_no_place_from_a_new_one(isp, journal):
    isp.service("learner", mac_binding="learn", max_macs=2)
    journal.authenticate("learner", mac="aa:bb:cc:00:00:01")
    journal.load()
    for n in (1, 2):
        journal.authenticate("learner", mac=f"aa:bb:cc:00:00:0{n}", at=5.0 + n)
    journal.load()
    assert isp.fetch("SELECT mac::text FROM service_mac ORDER BY mac") == [
        ("aa:bb:cc:00:00:01",),
        ("aa:bb:cc:00:00:02",),
    ]


def test_unregistered_devices_are_kept_for_the_technician(isp, journal, monkeypatch):
    for n, port in enumerate(("ether1", "ether2")):
        journal.authenticate("x", "reject", "mac_not_registered", kind="dhcp", nas_port_id=port, at=float(n))
    journal.load()
    journal.authenticate("x", "reject", "mac_not_registered", kind="dhcp", nas_port_id="ether3", at=5.0)
    journal.load()
    assert isp.fetch("SELECT mac::text, nas_id, kind, called_station_id, nas_port_id, times FROM seen_device") == [
        ("aa:bb:cc:00:00:01", isp.nas_id, "dhcp", "service1", "ether3", 3)
    ]
    monkeypatch.setattr("radius.batch.SEEN_DEVICES", 10)
    for n in range(30):
        journal.authenticate("x", "reject", "mac_not_registered", mac=f"aa:bb:cc:00:01:{n:02x}", at=10.0 + n)
    journal.load()
    assert isp.fetch("SELECT mac::text FROM seen_device ORDER BY last_seen_at LIMIT 1") == [("aa:bb:cc:00:01:14",)]
    assert isp.fetch("SELECT count(*) FROM seen_device") == [(10,)]


def test_when_a_nas_was_heard_and_since_when_without_a_gap(isp, journal):
    for at in (0.0, 300.0, 3000.0, 3300.0):
        journal.account("Start", at=at, sid=f"x{at}")
        journal.load()
    ((last, since),) = isp.fetch(
        "SELECT extract(epoch FROM last_packet_at)::float, extract(epoch FROM talking_since)::float FROM nas_heard"
    )
    assert (last - NOW, since - NOW) == (pytest.approx(3300, abs=1e-3), pytest.approx(3000, abs=1e-3))


# What cannot be loaded.


def test_one_bad_record_does_not_stop_the_journal(isp, journal):
    for n in range(20):
        journal.account("Start", sid=f"a{n}")
    journal.authenticate(mac="no mac")
    journal.writer.append((99, NOW, 1, 1))
    journal.writer.append((AUTHENTICATION, NOW))
    for n in range(20):
        journal.account("Start", sid=f"b{n}", at=1.0)
    report = journal.load()
    assert isp.fetch("SELECT count(*) FROM session") == [(40,)]
    assert report == {"torn": 0, "unreadable": 0, "rejected": 3}
    (aside,) = journal.directory.glob("*.rejected")
    assert [line.split(",")[0] for line in aside.read_text().splitlines()] == ["(2", "(99", "(2"]


@pytest.mark.parametrize("damage", [b"\x10\0\0\0abcd", b"\0" * 4096, b"\x05\0\0\0\0\0\0\0hello"])
def test_a_torn_end_is_set_aside_and_said(isp, journal, damage):
    journal.account("Start")
    journal.writer.close()
    (torn,) = segments(journal.directory)
    with torn.open("ab") as file:
        file.write(damage)
    journal.account("Start", sid="81600002", at=5.0)
    report = journal.load(keep=0.0)
    assert isp.fetch("SELECT count(*) FROM session") == [(2,)]
    assert report["torn"] == 1
    assert torn.with_suffix(".torn").exists()
    assert not torn.exists()


def test_a_segment_of_another_python_is_set_aside(isp, journal):
    body = marshal.dumps((0, (3, 9)), 2)
    journal.directory.mkdir(exist_ok=True)
    segment = journal.directory / f"{1:020d}.journal"
    segment.write_bytes(struct.pack("<II", len(body), zlib.crc32(body)) + body)
    journal.account("Start")
    assert journal.load()["unreadable"] == 1
    assert segment.with_suffix(".unreadable").exists()
    assert isp.fetch("SELECT count(*) FROM session") == [(1,)]


def test_a_loaded_segment_is_deleted_when_a_newer_one_exists(isp, journal):
    journal.account("Start")
    journal.writer.close()
    journal.account("Start", sid="81600002")
    old, new = segments(journal.directory)
    journal.load(keep=3600.0)
    assert old.exists()
    journal.load(keep=0.0)
    assert segments(journal.directory) == [new]


def test_the_node_says_how_much_is_still_to_load(isp, journal):
    for n in range(3):
        journal.account("Start", sid=f"x{n}")
        journal.writer.close()
    url = isp.settings.database_url.get_secret_value()
    with closing(connect(url)) as connection, closing(Loader(journal.directory, connection, keep=0.0)) as loader:
        loader.begin()
        loader.tidy()
    assert isp.fetch("SELECT journal_backlog FROM node") == [
        (sum(segment.stat().st_size for segment in segments(journal.directory)),)
    ]
    journal.load()
    ((backlog, age),) = isp.fetch("SELECT journal_backlog, extract(epoch FROM now() - loaded_at)::float FROM node")
    assert backlog == 0
    assert age < 60


# Silence.

QUIET = timedelta(minutes=16)


def stale(
    isp: Isp, session_silence: timedelta, nas_silence: timedelta, talking: timedelta, interim: int = 300
) -> str | None:
    """Return how a session stands after the sweep, given how long it and its NAS have been silent."""
    now = datetime.now(UTC)
    isp.connection.execute(
        "INSERT INTO session (started_at, operator_id, nas_id, service_id, acct_session_id, user_name, kind,"
        " updated_at, interim_interval) VALUES (%s, %s, %s, %s, 'x', 'ana', 'ppp', %s, %s)",
        (now - timedelta(days=3), isp.operator_id, isp.nas_id, isp.services["ana"], now - session_silence, interim),
    )
    isp.connection.execute(
        "INSERT INTO nas_heard VALUES (%s, %s, %s, %s)", (isp.nas_id, now - nas_silence, isp.operator_id, now - talking)
    )
    closed = close_stale(isp.connection, now)
    ((ended_by, until),) = isp.fetch("SELECT ended_by, ended_at - updated_at FROM session")
    assert closed == (ended_by is not None)
    if closed:
        assert until == timedelta()
        assert changes(isp, "sessions") == [[isp.services["ana"]]]
    return ended_by


@pytest.mark.parametrize(
    ("session_silence", "nas_silence", "talking", "interim", "ended_by"),
    [
        pytest.param(QUIET, timedelta(0), timedelta(days=1), 300, "stale", id="only the session is silent"),
        pytest.param(timedelta(minutes=14), timedelta(0), timedelta(days=1), 60, None, id="not yet fifteen minutes"),
        pytest.param(QUIET, timedelta(0), timedelta(days=1), 600, None, id="not yet three long interims"),
        pytest.param(QUIET, QUIET, timedelta(days=1), 300, None, id="all of the NAS is silent"),
        pytest.param(timedelta(hours=3), timedelta(0), timedelta(minutes=5), 300, None, id="the NAS is just back"),
        pytest.param(timedelta(hours=25), timedelta(hours=25), timedelta(days=9), 300, "stale", id="silent for a day"),
    ],
)  # fmt: skip
def test_silence_ends_a_session_when_it_is_its_own(isp, session_silence, nas_silence, talking, interim, ended_by):
    assert stale(isp, session_silence, nas_silence, talking, interim) == ended_by
