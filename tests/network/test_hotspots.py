"""Hotspots of routers, over the API: where their pages are is read, and what the setup script put there is kept."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from billing.gateways.accounts import enter_account, switch_account
from billing.gateways.hosts import HOSTS
from crm.captive import CaptiveTerms, captive_terms, change_captive_terms, change_hosts, hosts_of, login_hosts
from db.audit import Actor
from db.models import CaptiveHotspot, Gateway, Nas, Router
from db.session import make_engine
from lab.routeros import Box, User
from lab.routeros.script_device import run_import
from network.scripts import Choices, RouterSide, ServerSide, script, undo_script
from network.tasks import keep_all_hotspots
from network.version import Version
from network.vpn_plan import Kind
from tests.factories import Isp

SERVER = ServerSide("vpn.example.net", 51820, "10.200.0.1", "s" * 43 + "=", 1812, 1813)
CHOICES = Choices(
    Version(7, 20), hotspot_profile="hsprof1", walled_garden=True, portal_host="portal.example.net",
    only_vpn_api=False,
)  # fmt: skip


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
    """A registered router with a hotspot at the first address of its bridge, which the script has not seen yet."""
    running = emulated_router(users={"eva": User("secret")}, version="7.20")
    box = running.box
    box.fill("/interface", {"name": "bridge1", "type": "bridge", "running": "true"})
    box.fill("/ip/address", {"address": "10.5.50.1/24", "interface": "bridge1"})
    box.fill("/ip/address", {"address": "192.0.2.9/24", "interface": "ether1"})
    box.fill("/ip/hotspot/profile", {"name": "hsprof1", "login-by": "cookie,http-chap,https"})
    box.fill("/ip/hotspot", {"name": "h1", "interface": "bridge1", "profile": "hsprof1", "disabled": "false"})
    with Session(engine) as session:
        session.execute(update(Nas).values(enabled=False))  # those of the other tests
        nas = Nas(operator_id=isp.operator_id, name=f"plaza-{running.port}",
                  address=f"10.8.{running.port >> 8}.{running.port & 255}",
                  secret=installation.keyring.seal("nas.secret", "s"))  # fmt: skip
        session.add(nas)
        session.flush()
        session.add(
            Router(nas_id=nas.id, operator_id=isp.operator_id, api_address=running.address, api_port=running.port,
                   api_user="eva", api_password=installation.keyring.seal("router.password", "secret"))
        )  # fmt: skip
        session.commit()
        side = RouterSide("plaza", Kind.WIREGUARD, "10.200.0.9", "", "k" * 43 + "=", "apipw", "radiussecret")
        place = SimpleNamespace(nas_id=nas.id, box=box, running=running, side=side)
    decide(engine, isp, 0)
    return place


def decide(engine, isp, days: int, **terms) -> None:
    with Session(engine) as session:
        change_captive_terms(
            session, Actor(isp.operator_id, "eva"), CaptiveTerms(remember_days=days, **terms)
        )  # fmt: skip
        session.commit()


def round_of(engine, installation) -> dict[str, int]:
    return keep_all_hotspots(engine, installation.keyring, "portal.example.net")


def hosts(engine, place) -> tuple[str, ...]:
    with Session(engine) as session:
        return login_hosts(session, place.nas_id)


def profile(box: Box) -> dict[str, str]:
    return next(row for row in box.rows("/ip/hotspot/profile") if row["name"] == "hsprof1")


def garden(box: Box) -> list[str]:
    return [row["dst-host"] for row in box.rows("/ip/hotspot/walled-garden")]


def test_logins_go_to_where_the_router_says_its_pages_are(engine, isp, installation, place):
    before = dict(profile(place.box))
    assert round_of(engine, installation) == {"right": 1, "changed": 0, "failed": 0}
    assert hosts(engine, place) == ("10.5.50.1",)
    assert dict(profile(place.box)) == before, "a hotspot that the script did not set up is only read"
    place.box.run("/ip/hotspot/profile/set", {"numbers": "hsprof1", "dns-name": "WiFi.Valle.example"})
    with Session(engine) as session:
        change_hosts(session, Actor(isp.operator_id, "eva"), place.nas_id, ("hotspot.lan",))
        session.commit()
    round_of(engine, installation)
    assert hosts(engine, place) == ("hotspot.lan", "wifi.valle.example", "10.5.50.1")
    place.box.run("/ip/hotspot/profile/set", {"numbers": "hsprof1", "hotspot-address": "10.5.50.254"})
    round_of(engine, installation)
    assert hosts(engine, place) == ("hotspot.lan", "wifi.valle.example", "10.5.50.254")
    with Session(engine) as session:
        assert hosts_of(session, place.nas_id) == ("hotspot.lan",), "what was entered stays apart"
    place.box.run("/ip/hotspot/set", {"numbers": "h1", "disabled": "yes"})
    round_of(engine, installation)
    assert hosts(engine, place) == ("hotspot.lan",)


def test_a_router_that_is_away_keeps_the_addresses_it_had(engine, isp, installation, place):
    round_of(engine, installation)
    with Session(engine) as session:
        session.execute(update(Router).where(Router.nas_id == place.nas_id).values(api_port=9))
        session.commit()
    assert round_of(engine, installation)["failed"] == 1
    assert hosts(engine, place) == ("10.5.50.1",)
    with Session(engine) as session:
        assert session.get_one(CaptiveHotspot, place.nas_id).look_problem == "refused"


def test_the_days_remembered_and_what_opens_without_a_login_are_kept_as_the_operator_says(
    engine, isp, installation, place
):
    setup = script(SERVER, place.side, CHOICES)
    assert run_import(place.box, setup) is None
    assert profile(place.box)["login-by"] == "http-chap,http-pap,mac"
    place.box.run("/ip/hotspot/profile/set", {"numbers": "hsprof1", "login-by": "mac,http-chap,http-pap,https"})
    assert round_of(engine, installation)["changed"] == 0
    decide(engine, isp, 7, offer_trial=True)
    assert round_of(engine, installation)["changed"] == 1
    assert profile(place.box)["login-by"] == "cookie,http-chap,http-pap,https,mac,mac-cookie,trial"
    [users] = place.box.rows("/ip/hotspot/user/profile")
    assert (users["add-mac-cookie"], users["mac-cookie-timeout"]) == ("true", "1w")
    assert round_of(engine, installation)["changed"] == 0, "right is right"
    place.box.run("/ip/hotspot/user/profile/set", {"numbers": "default", "mac-cookie-timeout": "3d"})
    assert round_of(engine, installation)["changed"] == 1, "what somebody changed on the router is put right"

    with Session(engine) as session:
        actor = Actor(isp.operator_id, "eva")
        gateway = enter_account(session, installation.keyring, actor, "stripe", "sk_test_1", "whsec_1")
        gateway_id = gateway.id
        session.commit()
    round_of(engine, installation)
    assert garden(place.box) == ["portal.example.net", *HOSTS["stripe"].patterns]
    place.box.run("/ip/hotspot/walled-garden/add", {"dst-host": "*.bank.example"})
    with Session(engine) as session:
        switch_account(session, actor, session.get_one(Gateway, gateway_id), active=False)
        session.commit()
    decide(engine, isp, 0)
    assert round_of(engine, installation)["changed"] == 1
    assert garden(place.box) == ["portal.example.net", "*.bank.example"], "rows that are not ours stay"
    [users] = place.box.rows("/ip/hotspot/user/profile")
    assert users["add-mac-cookie"] == "false"
    assert profile(place.box)["login-by"] == "http-chap,http-pap,https,mac"

    assert run_import(place.box, undo_script(place.side, CHOICES)) is None
    decide(engine, isp, 3)
    assert round_of(engine, installation)["changed"] == 0, "after the undo script the hotspot is the operator's own"
    with Session(engine) as session:
        assert captive_terms(session, isp.operator_id).remember_days == 3


def test_a_router_without_the_hotspot_package_or_with_another_name_is_nobodys_trouble(engine, installation, place):
    place.box.run("/ip/hotspot/remove", {"numbers": "h1"})
    assert round_of(engine, installation)["right"] == 1
    assert hosts(engine, place) == ()
    side = replace(place.side, name="other")
    assert run_import(place.box, script(SERVER, side, replace(CHOICES, hotspot_profile="nowhere"))) is None
    assert round_of(engine, installation)["right"] == 1
