"""Registering routers: both sides at once or not at all, and where a stored password may go."""

from dataclasses import replace

import pytest
from sqlalchemy import select

from core.clock import utc_now
from crm.nas import NasTerms, create_nas, new_secret
from crm.problems import Invalid, Problem
from db.audit import Actor
from db.models import AuditEntry, Nas, Router, RouterState
from lab.routeros import User
from lab.routeros.wire import text
from network.access import access_of
from network.check import check_router
from network.routers import (
    RouterTerms,
    attach_router,
    change_router,
    create_router,
    delete_router,
    detach_router,
    entered_access,
    forget_certificate,
    note_check,
    terms_of_router,
)
from tests.factories import Isp
from tests.lab.routeros import emulated_router, router_loop  # noqa: F401 - fixtures
from tests.network.certificates import router_certificate

NAS = NasTerms(name="Torre Norte", address="10.200.0.23")
API = RouterTerms(api_user="portico")
PASSWORD = "xyzzy-Ñandú"


@pytest.fixture(scope="module")
def isp(installation):
    made = Isp.create(installation)
    yield made
    made.connection.close()


@pytest.fixture
def actor(isp):
    return Actor(isp.operator_id, "eva@isp.example")


@pytest.fixture
def keyring(installation):
    return installation.keyring


@pytest.fixture
def router(rows, actor, keyring):
    return create_router(rows, actor, keyring, NAS, new_secret(), API, PASSWORD)


def problems_of(call, *arguments):
    with pytest.raises(Invalid) as caught:
        call(*arguments)
    return {(problem.field, problem.problem) for problem in caught.value.problems}


def audited(rows, action):
    return rows.scalars(select(AuditEntry).where(AuditEntry.action == action)).all()


def test_a_router_is_a_nas_and_its_api(rows, actor, keyring, router):
    assert router.nas.name == "Torre Norte"
    access = access_of(router, keyring)
    assert (access.address, access.port, access.tls, access.user) == ("10.200.0.23", 8728, False, "portico")
    assert access.password.get_secret_value() == PASSWORD
    assert PASSWORD not in repr(access)
    assert PASSWORD.encode() not in router.api_password
    (entry,) = audited(rows, "router.create")
    assert entry.after["api_user"] == "portico"
    assert PASSWORD not in str(entry.after)


def test_the_api_may_be_at_another_address(rows, actor, keyring):
    terms = replace(API, api_address="2001:DB8::7", api_port=8729, api_tls=True)
    made = create_router(rows, actor, keyring, NAS, new_secret(), terms, PASSWORD)
    assert access_of(made, keyring).address == "2001:db8::7"


def test_everything_that_is_wrong_on_either_side_is_said_at_once_and_nothing_stays(rows, actor, keyring):
    terms = replace(API, api_port=0, api_address="nowhere", wan_download=0)
    found = problems_of(create_router, rows, actor, keyring, replace(NAS, name=""), new_secret(), terms, "")
    assert found >= {
        ("name", Problem.REQUIRED),
        ("api_port", Problem.OUT_OF_RANGE),
        ("api_address", Problem.NOT_AN_ADDRESS),
        ("api_password", Problem.REQUIRED),
        ("wan_download", Problem.NOT_POSITIVE),
    }
    found = problems_of(create_router, rows, actor, keyring, NAS, new_secret(), terms, PASSWORD)
    assert ("api_port", Problem.OUT_OF_RANGE) in found
    assert rows.scalar(select(Nas).where(Nas.name == NAS.name)) is None
    assert not audited(rows, "nas.create")


def test_a_nas_that_is_there_is_given_its_api(rows, actor, keyring):
    nas = create_nas(rows, actor, keyring, NAS, new_secret())
    made = attach_router(rows, actor, keyring, nas, API, PASSWORD)
    assert made.nas_id == nas.id
    assert terms_of_router(made) == API


def test_an_empty_password_keeps_the_stored_one(rows, actor, keyring, router):
    change_router(
        rows, actor, keyring, router, replace(NAS, name="Torre Sur"), replace(API, wan_interface="sfp1"), None
    )
    assert access_of(router, keyring).password.get_secret_value() == PASSWORD
    (entry,) = audited(rows, "router.change")
    assert entry.after == {"wan_interface": "sfp1"}
    change_router(rows, actor, keyring, router, NAS, API, "another")
    assert access_of(router, keyring).password.get_secret_value() == "another"
    assert "another" not in str(audited(rows, "router.change")[-1].after)


@pytest.mark.parametrize(
    ("nas_terms", "terms"),
    [
        (replace(NAS, address="10.200.0.99"), API),
        (NAS, replace(API, api_address="192.0.2.66")),
        (NAS, replace(API, api_port=8080)),
    ],
)
def test_a_stored_password_is_not_sent_elsewhere_than_it_was_entered_for(
    rows, actor, keyring, router, nas_terms, terms
):
    found = problems_of(change_router, rows, actor, keyring, router, nas_terms, terms, None)
    assert found == {("api_password", Problem.PASSWORD_AGAIN)}
    assert (str(router.nas.address), router.api_port, router.api_address) == ("10.200.0.23", 8728, None)
    router.api_fingerprint = "aa" * 32
    change_router(rows, actor, keyring, router, nas_terms, terms, PASSWORD)
    assert router.api_fingerprint is None


def test_the_nas_of_a_router_with_its_own_api_address_moves_without_the_password(rows, actor, keyring, router):
    change_router(rows, actor, keyring, router, NAS, replace(API, api_address="192.0.2.66"), PASSWORD)
    moved = replace(NAS, address="10.200.0.99")
    change_router(rows, actor, keyring, router, moved, replace(API, api_address="192.0.2.66"), None)
    assert str(router.nas.address) == "10.200.0.99"


def test_what_is_typed_is_checked_before_it_is_tried():
    assert entered_access(" 10.0.0.1 ", API, "x", 5.0).address == "10.0.0.1"
    for address in ("", "router.example", "0.0.0.0", "224.0.0.1"):
        assert {field for field, _problem in problems_of(entered_access, address, API, "x", 5.0)} == {"address"}
    assert problems_of(entered_access, "10.0.0.1", replace(API, api_user=" "), "", 5.0) == {
        ("api_user", Problem.REQUIRED),
        ("api_password", Problem.REQUIRED),
    }


def test_only_the_api_is_forgotten_and_the_nas_stays(rows, actor, keyring, router):
    nas_id = router.nas_id
    detach_router(rows, actor, router)
    assert rows.get(Router, nas_id) is None
    assert rows.get(Nas, nas_id) is not None
    (entry,) = audited(rows, "router.delete")
    assert entry.before["nas"] == "Torre Norte"


def test_a_deleted_router_takes_its_nas_along_and_its_services_move(rows, actor, keyring, isp, router):
    other = rows.get(Nas, isp.nas_id)
    nas_id = router.nas_id
    note_check(rows, router, check_router(entered_access("127.0.0.1", replace(API, api_port=1), "x", 0.5)), utc_now())
    delete_router(rows, actor, router, other, utc_now())
    rows.flush()
    rows.expunge_all()
    assert [rows.get(model, nas_id) for model in (Nas, Router, RouterState)] == [None, None, None]
    assert audited(rows, "nas.delete")
    assert audited(rows, "router.delete")


def test_a_look_at_a_router_is_kept(rows, actor, keyring, router, emulated_router, tmp_path):  # noqa: F811
    context, fingerprint = router_certificate(tmp_path)
    emulated = emulated_router(users={"portico": User(PASSWORD)}, identity="Torre Norte 2", tls=context)
    terms = replace(API, api_address="127.0.0.1", api_port=emulated.port, api_tls=True)
    change_router(rows, actor, keyring, router, NAS, terms, PASSWORD)

    first = utc_now()
    state = note_check(rows, router, check_router(access_of(router, keyring)), first)
    assert (state.status, state.cause, state.status_since, state.checked_at) == ("online", "", first, first)
    assert (state.identity, state.version) == ("Torre Norte 2", "7.16 (stable)")
    assert router.api_fingerprint == fingerprint

    later = utc_now()
    state = note_check(rows, router, check_router(access_of(router, keyring)), later)
    assert (state.status_since, state.checked_at) == (first, later)

    emulated.box.faults.refuse_logins = True
    state = note_check(rows, router, check_router(access_of(router, keyring)), later)
    assert (state.status, state.cause, state.status_since) == ("offline", "password", later)
    assert "password" in state.detail
    assert state.identity == "Torre Norte 2"


def test_a_name_that_is_no_utf_8_is_kept_as_it_reads(rows, actor, keyring, router, emulated_router):  # noqa: F811
    emulated = emulated_router(users={"portico": User(PASSWORD)}, identity=text("Peñón\0".encode("cp1252")))
    terms = replace(API, api_address="127.0.0.1", api_port=emulated.port)
    change_router(rows, actor, keyring, router, NAS, terms, PASSWORD)
    note_check(rows, router, check_router(access_of(router, keyring)), utc_now())
    rows.expire_all()
    assert rows.get(RouterState, router.nas_id).identity == "Peñón�"


def test_a_new_certificate_is_taken_only_when_somebody_says_so(
    rows,
    actor,
    keyring,
    router,
    emulated_router,  # noqa: F811
    tmp_path,
):
    context, fingerprint = router_certificate(tmp_path)
    emulated = emulated_router(users={"portico": User(PASSWORD)}, tls=context)
    terms = replace(API, api_address="127.0.0.1", api_port=emulated.port, api_tls=True)
    change_router(rows, actor, keyring, router, NAS, terms, PASSWORD)
    router.api_fingerprint = "aa" * 32
    state = note_check(rows, router, check_router(access_of(router, keyring)), utc_now())
    assert (state.status, state.cause) == ("offline", "tls")
    assert "aa" * 32 in state.detail
    assert fingerprint in state.detail
    forget_certificate(rows, actor, router)
    assert audited(rows, "router.certificate")
    note_check(rows, router, check_router(access_of(router, keyring)), utc_now())
    assert router.api_fingerprint == fingerprint
