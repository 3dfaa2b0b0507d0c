"""Testing a connection: how far it came, what was found on the way, and that nothing on the router changes by it."""

import time
from dataclasses import replace

import pytest
from pydantic import SecretStr

from lab.routeros import User
from network import check as checking
from network.api import RouterAccess
from network.check import Check, Finding, Mark, Step, check_router
from network.problems import Cause
from tests.lab.routeros import emulated_router, router_loop  # noqa: F401 - fixtures
from tests.network.certificates import router_certificate
from tests.network.sockets import nobody

ENOUGH = frozenset({"api", "read", "write", "test", "sensitive"})
OURS = "10.200.0.1"


@pytest.fixture
def small(emulated_router):  # noqa: F811
    """A function that starts a router with an API user of these policies, set up as it should be."""

    def start(policies=ENOUGH, **options):
        users = {"portico": User("secret", group="portico", policies=frozenset(policies))}
        router = emulated_router(users=users, identity="Torre Norte", **options)
        box = router.box
        box.table("/radius").put({"service": "ppp,hotspot", "address": OURS, "secret": "xyzzyxyzzyxyzzyxyzzy"})
        box.settings("/radius/incoming").fields.update(accept="true", port="3799")
        box.settings("/ppp/aaa").fields.update({"use-radius": "true", "accounting": "true"})
        return router

    return start


def access_to(router, **values):
    return replace(RouterAccess("127.0.0.1", router.port, False, None, "portico", SecretStr("secret"), 3.0), **values)


def found(check: Check) -> dict[Step, tuple[Mark, object]]:
    return {result.step: (result.mark, result.finding) for result in check.results}


def result_of(check, step):
    (result,) = [result for result in check.results if result.step is step]
    return result


@pytest.mark.parametrize("version", ["6.42.12", "6.49.10", "7.16", "7.20"])
def test_a_router_that_is_set_up_has_nothing_to_complain_of(small, version):
    check = check_router(access_to(small(version=version)), OURS, 3799)
    assert check.good
    assert check.logged_in
    assert {mark for mark, _finding in found(check).values()} == {Mark.OK}
    assert (check.identity, check.version) == ("Torre Norte", f"{version} (stable)")
    assert check.board
    assert check.serial


def test_nothing_on_the_router_changes(small):
    router = small()
    paths = ("/radius", "/ppp/secret", "/ip/firewall/address-list", "/system/identity", "/ppp/aaa", "/radius/incoming")
    before = {path: [dict(row.fields) for row in router.box.table(path)] for path in paths}
    changes = []
    for path in paths:
        router.box.table(path).watchers.append(changes.append)
    assert check_router(access_to(router), OURS, 3799).good
    assert {path: [dict(row.fields) for row in router.box.table(path)] for path in paths} == before
    assert not changes


@pytest.mark.parametrize("lacking", ["read", "write", "test", "sensitive"])
def test_a_policy_that_is_missing_is_named(small, lacking):
    check = check_router(access_to(small(ENOUGH - {lacking})), OURS, 3799)
    result = result_of(check, Step.POLICIES)
    assert (result.mark, result.finding) == (Mark.FAILED, Finding.POLICIES_MISSING)
    assert result.values["missing"] == lacking
    assert not check.good
    assert check.logged_in


def test_without_the_policy_api_the_login_is_refused(small):
    check = check_router(access_to(small(ENOUGH - {"api"})), OURS, 3799)
    assert found(check)[Step.LOGIN] == (Mark.FAILED, Cause.PASSWORD)


def test_without_passwords_on_the_router_it_is_not_known_whether_they_would_show(small):
    router = small(ENOUGH - {"sensitive"})
    radius = router.box.table("/radius")
    for row in list(radius):
        radius.drop(row)
    check = check_router(access_to(router), OURS, 3799)
    assert found(check)[Step.POLICIES] == (Mark.UNKNOWN, Finding.POLICIES_UNSURE)
    assert check.good


def test_a_version_that_is_too_old_is_said(small):
    router = small(version="6.42.12")
    router.box.compute("/system/resource", "version", lambda _row: "5.26")
    check = check_router(access_to(router), OURS, 3799)
    assert found(check)[Step.SYSTEM] == (Mark.FAILED, Finding.TOO_OLD)
    assert result_of(check, Step.SYSTEM).values["version"] == "5.26"


def test_a_device_mode_that_forbids_the_hotspot_is_a_warning(small):
    router = small(version="7.20")
    router.box.settings("/system/device-mode").fields.update(mode="home", hotspot="false", scheduler="false")
    result = result_of(check_router(access_to(router)), Step.DEVICE_MODE)
    assert (result.mark, result.finding) == (Mark.WARNING, Finding.MODE_FORBIDS)
    assert result.values == {"mode": "home", "forbidden": "hotspot, scheduler"}


@pytest.mark.parametrize(
    ("rows", "mark", "finding"),
    [
        ([], Mark.WARNING, Finding.RADIUS_NONE),
        ([{"address": "192.0.2.9", "service": "ppp"}], Mark.WARNING, Finding.RADIUS_ELSEWHERE),
        ([{"address": OURS, "service": "ppp", "disabled": "true"}], Mark.WARNING, Finding.RADIUS_OFF),
        ([{"address": OURS, "service": "ppp"}] * 2, Mark.WARNING, Finding.RADIUS_TWICE),
        ([{"address": OURS, "service": "ppp"}, {"address": OURS, "service": "dhcp"}], Mark.OK, Finding.RADIUS_HERE),
    ],
)
def test_the_routers_radius_list_is_told_as_it_is(small, rows, mark, finding):
    router = small()
    table = router.box.table("/radius")
    for row in list(table):
        table.drop(row)
    for row in rows:
        table.put({"disabled": "false", **row})
    assert found(check_router(access_to(router), OURS, 3799))[Step.RADIUS] == (mark, finding)


def test_what_would_keep_coa_and_ppp_from_working_is_a_warning(small):
    router = small()
    router.box.settings("/radius/incoming").fields["port"] = "1700"
    router.box.settings("/ppp/aaa").fields["accounting"] = "false"
    check = check_router(access_to(router), OURS, 3799)
    assert result_of(check, Step.INCOMING).values == {"port": "1700", "wanted": "3799"}
    assert found(check)[Step.AAA] == (Mark.WARNING, Finding.AAA_NO_ACCOUNTING)
    router.box.settings("/radius/incoming").fields["accept"] = "false"
    router.box.settings("/ppp/aaa").fields["use-radius"] = "false"
    check = check_router(access_to(router), OURS, 3799)
    assert found(check)[Step.INCOMING] == (Mark.WARNING, Finding.INCOMING_OFF)
    assert found(check)[Step.AAA] == (Mark.WARNING, Finding.AAA_OFF)
    assert check.good


def test_a_refusal_of_one_question_does_not_stop_the_others(small):
    router = small()
    router.box.faults.traps["/radius/print"] = "no such command prefix"
    check = check_router(access_to(router), OURS, 3799)
    result = result_of(check, Step.RADIUS)
    assert (result.mark, result.finding, result.words) == (
        Mark.UNKNOWN,
        Finding.NOT_READ,
        "no such command prefix",
    )
    assert found(check)[Step.AAA] == (Mark.OK, Finding.AAA_ON)


def test_the_first_certificate_is_told_and_another_one_stops_everything(small, tmp_path):
    context, fingerprint = router_certificate(tmp_path)
    router = small(tls=context)
    first = check_router(access_to(router, tls=True))
    assert result_of(first, Step.TLS).finding is Finding.TLS_FIRST
    assert first.fingerprint == fingerprint
    again = check_router(access_to(router, tls=True, fingerprint=fingerprint))
    assert result_of(again, Step.TLS).finding is Finding.TLS_PINNED
    changed = check_router(access_to(router, tls=True, fingerprint="00" * 32))
    assert list(found(changed)) == [Step.REACH, Step.TLS]
    assert result_of(changed, Step.TLS).values == {"pinned": "00" * 32, "shown": fingerprint}
    assert not changed.logged_in


def test_each_failure_is_that_of_its_step(small):
    router = small()
    assert found(check_router(access_to(router, password=SecretStr("wrong")))) == {
        Step.REACH: (Mark.OK, Finding.REACHED),
        Step.LOGIN: (Mark.FAILED, Cause.PASSWORD),
    }
    assert found(check_router(access_to(router, tls=True))).keys() == {Step.REACH, Step.TLS}
    router.box.faults.refuse_connections = True
    assert found(check_router(access_to(router)))[Step.LOGIN] == (Mark.FAILED, Cause.CLOSED)
    with nobody() as port:
        silent = check_router(access_to(router, port=port, timeout=0.3))
    assert found(silent) == {Step.REACH: (Mark.FAILED, Cause.TIMEOUT)}
    assert found(check_router(access_to(router, port=port))) == {Step.REACH: (Mark.FAILED, Cause.REFUSED)}


def test_a_router_that_falls_silent_in_the_middle_is_not_waited_for_at_each_step(small, monkeypatch):
    monkeypatch.setattr(checking, "PATIENCE", 0.8)
    router = small()
    router.box.faults.stall_after = 150
    began = time.monotonic()
    check = check_router(access_to(router))
    assert time.monotonic() - began < 2
    assert check.problem is not None
    assert check.problem.cause is Cause.SILENT
    assert check.logged_in
    assert not check.good


def test_slow_answers_use_up_one_patience(small, monkeypatch):
    monkeypatch.setattr(checking, "PATIENCE", 1.0)
    router = small()
    router.box.faults.reply_delay = 0.3
    began = time.monotonic()
    check = check_router(access_to(router))
    assert time.monotonic() - began < 2
    assert check.problem is not None
    assert check.problem.cause is Cause.SILENT


def test_what_a_hostile_router_says_is_kept_as_text(small):
    router = small()
    router.box.settings("/system/identity").fields["name"] = "<script>alert(1)</script>\"'%(x)s\n=1+1"
    check = check_router(access_to(router))
    assert check.identity == "<script>alert(1)</script>\"'%(x)s\n=1+1"
