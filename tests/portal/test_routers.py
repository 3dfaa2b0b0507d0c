"""Routers as staff see them: entering one with a test before saving, the list, the page, edit, delete."""

import re
import socket
from dataclasses import replace
from datetime import UTC, datetime
from html import unescape

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from db.models import AuditEntry, Nas, Router, RouterState, Service
from lab.routeros import User
from network.access import PASSWORD_PURPOSE
from network.check import Finding, Mark, Result, Step
from network.problems import Cause
from portal import router_words
from portal.router_words import CAUSES, FINDINGS, STEPS
from tests.lab.routeros import emulated_router, router_loop  # noqa: F401 - fixtures
from tests.network.certificates import router_certificate
from tests.network.sockets import play  # noqa: F401 - fixture
from tests.portal.conftest import add_service, add_subscriber, make_isp, post

PASSWORD = "xyzzy Ñandú "
KNOWN_VALUES = {"address", "port", "fingerprint", "pinned", "shown", "user", "identity", "version", "board"}
KNOWN_VALUES |= {"oldest", "missing", "mode", "forbidden", "servers", "ours", "services", "count", "wanted"}
"""What the findings of network.check have to say, as their comments list it."""
HOSTILE = "<script>alert(1)</script>\"'&=1+1"


@pytest.fixture
def emulated(emulated_router):  # noqa: F811
    return emulated_router(users={"portico": User(PASSWORD)}, identity="Torre Norte")


@pytest.fixture
def technician(sign_in):
    return sign_in("technical")


def form(isp, **fields):
    return {
        "name": "Torre Norte",
        "address": f"10.97.{isp.operator_id}.1",
        "coa_port": 3799,
        "api_user": "portico",
        "api_password": PASSWORD,
        "api_port": 8728,
        "watched": "y",
        **fields,
    }


def at(emulated, isp, **fields):
    """A form for an emulated router: its API is on loopback, at a port of its own."""
    return form(isp, api_address="127.0.0.1", api_port=emulated.port, **fields)


def routers_of(system, isp):
    with Session(system) as session:
        return session.scalars(select(Router).where(Router.operator_id == isp.operator_id)).all()


@pytest.fixture
def stored(technician, emulated, isp, system):
    """The id of a router that was entered by the form."""
    assert post(technician, "/routers/new", **at(emulated, isp)).status_code == 302
    return routers_of(system, isp)[0].nas_id


def actions(system, isp):
    with Session(system) as session:
        found = session.scalars(
            select(AuditEntry.action).where(AuditEntry.operator_id == isp.operator_id).order_by(AuditEntry.id)
        ).all()
    return [action for action in found if action != "staff.sign_in"]


def text_of(answer):
    return unescape(answer.text.split('id="content"')[1])


# Entering


def test_a_router_is_entered_with_its_nas_and_its_password_is_sealed(technician, isp, system, installation):
    answer = post(technician, "/routers/new", **form(isp, wan_download=["500", "M"], wan_upload=["100", "M"]))
    (router,) = routers_of(system, isp)
    assert answer.headers["Location"] == f"/routers/{router.nas_id}"
    assert installation.keyring.open(PASSWORD_PURPOSE, router.api_password) == PASSWORD
    assert (router.wan_download, router.wan_upload, router.watched) == (500_000_000, 100_000_000, True)
    with Session(system) as session:
        nas = session.get(Nas, router.nas_id)
        assert len(installation.keyring.open("nas.secret", nas.secret)) == 32
    page = technician.get(answer.headers["Location"])
    assert "Torre Norte" in page.text
    assert "Not checked yet" in page.text
    assert PASSWORD.strip() not in page.text
    assert actions(system, isp) == ["nas.create", "router.create"]


def test_what_is_wrong_on_either_side_is_said_beside_its_field_and_nothing_is_stored(technician, isp, system):
    answer = post(technician, "/routers/new", **form(isp, address="nowhere", api_password="", api_port=70000))
    assert answer.status_code == 422
    for part in ('id="address-error"', 'id="api_password-error"', 'id="api_port-error"'):
        assert part in answer.text
    assert 'value="Torre Norte"' in answer.text
    assert routers_of(system, isp) == []
    assert actions(system, isp) == []


def test_a_nas_that_radius_knows_already_is_given_its_api(technician, isp, system):
    assert f"/routers/new?nas={isp.nas_id}" in technician.get("/routers/").text
    fields = {"api_user": "portico", "api_password": PASSWORD, "api_port": 8728}
    answer = post(technician, f"/routers/new?nas={isp.nas_id}", **fields)
    assert answer.headers["Location"] == f"/routers/{isp.nas_id}"
    assert "tower-1" in technician.get(f"/routers/{isp.nas_id}").text
    assert technician.get(f"/routers/new?nas={isp.nas_id}").status_code == 404


# Testing before saving


def test_the_connection_is_tested_as_it_is_typed_and_nothing_is_stored(technician, emulated, isp, system):
    answer = post(technician, "/routers/test", **at(emulated, isp))
    said = text_of(answer)
    assert answer.status_code == 200
    assert "Logged in as portico" in said
    assert "Torre Norte: RouterOS 7.16 (stable) on" in said
    assert "The router asks no RADIUS server" in said
    assert PASSWORD.strip() not in answer.text
    assert 'value="portico"' in answer.text
    assert routers_of(system, isp) == []
    assert actions(system, isp) == []


def refuse(emulated):
    emulated.box.faults.refuse_connections = True


def reject(emulated):
    emulated.box.faults.refuse_logins = True


def talk_nonsense(emulated):
    emulated.box.faults.garbage = b"SSH-2.0-ROSSSH\r\n"


def forbid(emulated):
    emulated.box.faults.traps["/ip/firewall/address-list/set"] = "not enough permissions (9)"


@pytest.mark.parametrize(
    ("fault", "said", "advised"),
    [
        (refuse, "The router hangs up", "“Available From” of the API"),
        (reject, "Wrong user name or password", "invalid user name or password (6)"),
        (talk_nonsense, "Something else than RouterOS's API answers there", "8291 is WinBox"),
        (forbid, "The API user's group lacks: write", "System → Users → Groups"),
    ],
)
def test_a_failed_test_says_why_and_what_to_do(technician, emulated, isp, fault, said, advised):
    fault(emulated)
    answer = text_of(post(technician, "/routers/test", **at(emulated, isp)))
    assert "It cannot be used like this" in answer
    assert said in answer
    assert advised in answer


def test_a_closed_port_is_told_from_a_wrong_password(technician, emulated, isp):
    said = text_of(post(technician, "/routers/test", **{**at(emulated, isp), "api_port": 1}))
    assert "The API is switched off, or on another port" in said


def test_htmx_gets_what_cannot_be_tested_as_something_that_it_swaps_in(technician, isp):
    fields = {"csrf_token": technician.get("/routers/new").text.split('name="csrf_token" value="')[1].split('"')[0]}
    fields |= form(isp, address="")
    swapped = technician.post("/routers/test", data=fields, headers={"HX-Request": "true"})
    assert swapped.status_code == 200
    assert "This cannot be tested yet" in swapped.text.split('id="test"')[1]
    assert technician.post("/routers/test", data=fields).status_code == 422


def test_a_stored_router_is_tested_with_its_stored_password(technician, emulated, isp, stored, system):
    typed = at(emulated, isp, api_password="")
    assert "Logged in as portico" in text_of(post(technician, f"/routers/test?router={stored}", **typed))
    page = text_of(post(technician, f"/routers/{stored}/test"))
    assert "Logged in as portico" in page
    with Session(system) as session:
        state = session.get(RouterState, stored)
        assert (state.status, state.identity, state.cause) == ("online", "Torre Norte", "")


def test_a_stored_password_is_not_sent_to_where_somebody_points_it(technician, emulated, isp, stored, play):  # noqa: F811
    def script(server, connection):
        server.hear(connection)

    trap = play(script)
    elsewhere = {**at(emulated, isp, api_password=""), "api_port": trap.port}
    tested = post(technician, f"/routers/test?router={stored}", **elsewhere)
    assert tested.status_code == 422
    assert 'id="api_password-error"' in tested.text
    saved = post(technician, f"/routers/{stored}/edit", **elsewhere)
    assert saved.status_code == 422
    assert "Enter the password again" in saved.text
    assert not trap.asked


def test_nor_is_it_by_the_form_of_the_nas_which_knows_no_password(technician, isp, system):
    assert post(technician, "/routers/new", **form(isp)).status_code == 302
    nas_id = routers_of(system, isp)[0].nas_id
    given = {"name": "Torre Norte", "coa_port": 3799, "coa_window": 32, "enabled": "y"}
    moved = post(technician, f"/nas/{nas_id}/edit", **given, address="198.51.100.66")
    assert moved.status_code == 422
    assert "would be sent to the new address" in moved.text
    with Session(system) as session:
        assert str(session.get(Nas, nas_id).address) == f"10.97.{isp.operator_id}.1"
    stays = f"10.97.{isp.operator_id}.1"
    assert post(technician, f"/nas/{nas_id}/edit", **given, address=stays, notes="Mast").status_code == 302


@pytest.fixture
def guarded(app):
    """The portal as it is where no routers are emulated."""
    shared = app.extensions["portico"]
    app.extensions["portico"] = replace(shared, settings=shared.settings.model_copy(update={"local_routers": False}))
    yield
    app.extensions["portico"] = shared


def own_address():
    """The address by which this machine would go to another network; loopback where it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("198.51.100.1", 9))  # nothing is sent
        except OSError:
            return "127.0.0.1"
        return probe.getsockname()[0]


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.9.9.9",
        "::1",
        "::ffff:127.0.0.1",
        "169.254.169.254",
        "fe80::1",
        pytest.param(own_address(), id="own"),
    ],
)
def test_nobody_looks_through_the_form_at_the_server_itself(technician, emulated, isp, system, guarded, address):
    typed = at(emulated, isp) | {"api_address": address}
    for url in ("/routers/test", "/routers/new"):
        answer = post(technician, url, **typed)
        assert answer.status_code == 422
        assert "This is an address of the server itself" in answer.text
    assert routers_of(system, isp) == []
    assert not emulated.server.connections
    moved = form(isp, api_address="192.0.2.9")
    assert post(technician, "/routers/new", **moved).status_code == 302
    nas_id = routers_of(system, isp)[0].nas_id
    assert post(technician, f"/routers/{nas_id}/edit", **typed).status_code == 422


def test_a_hostile_router_changes_nothing_but_text(technician, emulated, isp, stored):
    emulated.box.settings("/system/identity").fields["name"] = HOSTILE
    emulated.box.faults.traps["/radius/print"] = HOSTILE
    for answer in (
        post(technician, f"/routers/{stored}/test"),
        technician.get(f"/routers/{stored}"),
        technician.get("/routers/"),
    ):
        assert "<script>alert" not in answer.text
        assert HOSTILE in unescape(answer.text)


def test_an_export_holds_no_formula(sign_in, technician, emulated, isp, stored):
    emulated.box.settings("/system/resource").fields["board-name"] = "=HYPERLINK(1)"
    emulated.box.compute("/system/resource", "board-name", lambda _row: "=HYPERLINK(1)")
    post(technician, f"/routers/{stored}/test")
    exported = sign_in("manager").get("/routers/?format=csv").text
    assert "HYPERLINK" in exported
    assert ",=HYPERLINK" not in exported


# The list and the page


def test_the_list_tells_the_state_and_its_likely_cause(technician, emulated, isp, stored, system):
    emulated.box.faults.refuse_logins = True
    post(technician, f"/routers/{stored}/test")
    offline = technician.get("/routers/?state=offline").text
    assert "Torre Norte" in offline
    assert "Wrong user name or password" in offline
    assert "Torre Norte" not in text_of(technician.get("/routers/?state=online"))
    emulated.box.faults.refuse_logins = False
    post(technician, f"/routers/{stored}/test")
    online = text_of(technician.get("/routers/?state=online"))
    assert "7.16 (stable)" in online
    assert "Wrong user name" not in online
    for found in ("torre", f"10.97.{isp.operator_id}", "127.0.0.1", "HEX08"):
        assert "Torre Norte" in text_of(technician.get("/routers/", query_string={"q": found}))
    assert "Nothing found" in technician.get("/routers/?q=nobody").text


def test_an_offline_router_says_what_to_do_on_its_page(technician, stored, system, isp):
    with Session(system) as session:
        state = session.get(RouterState, stored) or RouterState(nas_id=stored, operator_id=isp.operator_id)
        state.status, state.cause, state.detail = "offline", "timeout", "no answer to the connection"
        state.status_since = datetime(2027, 1, 1, tzinfo=UTC)
        session.add(state)
        session.commit()
    page = text_of(technician.get(f"/routers/{stored}"))
    assert "No answer: VPN down, router off, or a firewall in between" in page
    assert "Check that the router has power" in page
    assert "no answer to the connection" in page


def test_the_page_reads_in_spanish(technician, stored):
    post(technician, "/language", language="es", next="/")
    page = text_of(post(technician, f"/routers/{stored}/test"))
    assert "Sesión iniciada como portico" in page


# Changing and deleting


def test_the_files_of_libreqos_are_a_click_away_for_who_may_export(sign_in, stored):
    manager = sign_in("manager")
    assert "/routers/libreqos/network.json" in manager.get("/routers/").text
    tree = manager.get("/routers/libreqos/network.json")
    assert (tree.mimetype, list(tree.json)[:1] != []) == ("application/json", True)
    assert manager.get("/routers/libreqos/ShapedDevices.csv").text.startswith("Circuit ID,Circuit Name,")
    assert manager.get("/routers/libreqos/passwd").status_code == 404
    assert sign_in("technical").get("/routers/libreqos/ShapedDevices.csv").status_code == 403


def test_editing_without_a_password_keeps_the_stored_one(technician, emulated, isp, stored, system, installation):
    edited = technician.get(f"/routers/{stored}/edit")
    assert PASSWORD.strip() not in edited.text
    fields = at(emulated, isp, api_password="", name="Torre Sur", wan_interface="sfp1")
    assert post(technician, f"/routers/{stored}/edit", **fields).status_code == 302
    (router,) = routers_of(system, isp)
    assert router.wan_interface == "sfp1"
    assert installation.keyring.open(PASSWORD_PURPOSE, router.api_password) == PASSWORD
    assert actions(system, isp)[-2:] == ["nas.change", "router.change"]


def test_editing_leaves_alone_what_the_form_does_not_show(technician, emulated, isp, stored, system):
    with Session(system) as session:
        session.get(Nas, stored).swap_directions = True
        session.commit()
    assert post(technician, f"/routers/{stored}/edit", **at(emulated, isp, api_password="")).status_code == 302
    with Session(system) as session:
        assert session.get(Nas, stored).swap_directions


def test_a_new_certificate_is_taken_when_somebody_says_so(technician, isp, system, tmp_path, emulated_router):  # noqa: F811
    context, fingerprint = router_certificate(tmp_path)
    router = emulated_router(users={"portico": User(PASSWORD)}, tls=context)
    post(technician, "/routers/new", **at(router, isp, api_tls="y"))
    nas_id = routers_of(system, isp)[0].nas_id
    assert routers_of(system, isp)[0].api_fingerprint == fingerprint
    with Session(system) as session:
        session.get(Router, nas_id).api_fingerprint = "ab" * 32
        session.commit()
    changed = text_of(post(technician, f"/routers/{nas_id}/test"))
    assert "The router shows another certificate than before" in changed
    assert "ab" * 32 in changed
    assert fingerprint in changed
    assert post(technician, f"/routers/{nas_id}/certificate").status_code == 302
    assert "Logged in as portico" in text_of(post(technician, f"/routers/{nas_id}/test"))
    assert routers_of(system, isp)[0].api_fingerprint == fingerprint


def test_deleting_asks_what_becomes_of_the_services(technician, isp, system, installation, stored):
    service = add_service(
        system, installation, isp, add_subscriber(system, isp, "Ana"), "ana", nas_id=stored, state="active"
    )
    question = text_of(technician.get(f"/routers/{stored}/delete"))
    assert "1 service is tied to this router" in question
    assert post(technician, f"/routers/{stored}/delete", what="all", move_to=isp.nas_id).status_code == 302
    assert routers_of(system, isp) == []
    with Session(system) as session:
        assert session.get(Nas, stored) is None
        assert session.get(Service, service).nas_id == isp.nas_id
    assert actions(system, isp)[-2:] == ["router.delete", "nas.delete"]


def test_a_router_with_static_addresses_is_not_deleted_before_another_takes_them(
    technician, isp, system, installation, stored
):
    fixed = add_service(
        system, installation, isp, add_subscriber(system, isp, "Ana"), "ana", nas_id=stored, state="active",
        access_method="queue", framed_ip="10.20.0.9", password=None,
    )  # fmt: skip
    for path in ("routers", "nas"):
        refused = post(technician, f"/{path}/{stored}/delete", what="all", move_to="")
        assert refused.status_code == 422
        assert "Some of them have a static address" in refused.text
    assert len(routers_of(system, isp)) == 1
    assert post(technician, f"/routers/{stored}/delete", what="all", move_to=isp.nas_id).status_code == 302
    with Session(system) as session:
        assert session.get(Service, fixed).nas_id == isp.nas_id


def test_only_the_api_may_be_deleted(technician, isp, system, stored):
    assert post(technician, f"/routers/{stored}/delete", what="api", move_to="").status_code == 302
    assert routers_of(system, isp) == []
    with Session(system) as session:
        assert session.get(Nas, stored) is not None
    assert actions(system, isp)[-1] == "router.delete"


# Who may


@pytest.mark.parametrize("step", ["test", "edit", "delete", "certificate"])
def test_a_router_of_another_operator_does_not_exist_here(technician, stored, sign_in, system, installation, step, isp):
    other = make_isp(system, installation)
    stranger = sign_in("manager", other)
    assert stranger.get(f"/routers/{stored}").status_code == 404
    assert post(stranger, f"/routers/{stored}/{step}").status_code == 404
    assert post(stranger, f"/routers/test?router={stored}", **form(other)).status_code == 404
    assert stranger.get(f"/routers/new?nas={stored}").status_code == 404
    assert "Torre Norte" not in text_of(stranger.get("/routers/"))
    assert len(routers_of(system, isp)) == 1


def test_support_sees_routers_and_changes_none(sign_in, stored):
    support = sign_in("support")
    page = support.get(f"/routers/{stored}")
    assert page.status_code == 200
    assert "/edit" not in text_of(page)
    assert post(support, f"/routers/{stored}/test").status_code == 403
    assert sign_in("finance").get("/routers/").status_code == 403


# Words


def test_every_cause_finding_and_step_has_words():
    assert set(CAUSES) == set(Cause)
    assert set(FINDINGS) == set(Finding)
    assert set(STEPS) == set(Step)


@pytest.mark.parametrize("language", ["en", "es"])
def test_the_words_take_the_values_that_the_findings_have(app, language):
    """A sentence with a value that a finding does not have would fail only when it is shown."""
    names = set(re.findall(r"%\((\w+)\)s", " ".join(part for words in FINDINGS.values() for part in words)))
    values = dict.fromkeys(names & KNOWN_VALUES, "100%(x)s")
    assert names == KNOWN_VALUES
    with app.test_request_context(headers={"Accept-Language": language}):
        for finding in Finding:
            result = Result(Step.REACH, Mark.OK, finding, values)
            assert "%(" not in router_words.result_title(result).replace("100%(x)s", "")
            assert "%(" not in router_words.result_advice(result).replace("100%(x)s", "")
            assert router_words.step_title(replace(result, finding=finding))


def test_the_page_of_a_nas_with_an_api_leads_to_its_script_before_the_bare_commands(sign_in, isp, stored):
    browser = sign_in("manager")
    page = browser.get(f"/nas/{stored}").text
    script, _, commands = page.partition("Without a tunnel")
    assert f'href="/vpn/{stored}"' in script
    assert "/radius add" not in script
    assert "/radius add" in commands
    alone = browser.get(f"/nas/{isp.nas_id}").text
    assert "/radius add" in alone
    assert "Without a tunnel" not in alone
