"""Reading a router's clients over its API, writing them, undoing that, and who decides about a secret."""

import time

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from core.clock import utc_now
from crm.jobs import Cancelled
from db.models import ImportBatch, Service, ShadowSecret, Subscriber
from lab.routeros.scenarios import LARGE, SMALL, fill, old_winbox
from network.importing.candidate import Finding
from network.importing.jobs import READ
from network.importing.writing import write
from network.provisioning.jobs import SYNC
from network.provisioning.want import marked
from network.shadow import GIVE_BACK, LOOK, MARKER, TAKE_OVER
from radius.reconcile import reconcile
from tests.network.importing.conftest import LIMITED


def services(importer) -> dict[str, Service]:
    with Session(importer.engine) as session:
        found = session.scalars(select(Service).where(Service.operator_id == importer.isp.operator_id))
        return {service.name: service for service in found}


def subscribers(importer) -> list[str]:
    with Session(importer.engine) as session:
        return list(
            session.scalars(
                select(Subscriber.name)
                .where(Subscriber.operator_id == importer.isp.operator_id)
                .order_by(Subscriber.id)
            )
        )


def secrets_of(router) -> dict[str, dict[str, str]]:
    return {row["name"]: row for row in router.box.rows("/ppp/secret")}


def with_secrets(router, *secrets: dict[str, str]) -> None:
    router.box.fill("/ppp/profile", {"name": "Home", "rate-limit": "5M/20M"})
    for secret in secrets:
        router.box.fill("/ppp/secret", {"service": "pppoe", "profile": "Home", "password": "pw", **secret})


def findings(row) -> set[str]:
    return {finding for finding, _detail in row.findings}


def test_secrets_become_services_that_have_the_same_name_and_password(importer, emulated_router):
    router = emulated_router()
    with_secrets(
        router,
        {
            "name": "ana.nunez",
            "password": "007",
            "comment": "Ana Núñez - tel 55 1234 5678",
            "remote-address": "10.9.0.7",
        },
        {"name": "no", "password": "123", "caller-id": "4C:5E:0C:12:34:56"},
    )
    importer.connect(router)
    batch = importer.read("secrets")
    job = importer.write(batch)
    assert job.outcome == {"created": 2, "updated": 0, "ignored": 0, "bad": 0, "url": f"/imports/{batch}"}
    ana, no = services(importer)["ana.nunez"], services(importer)["no"]
    keyring = importer.settings.keyring
    assert keyring.open("service.password", ana.password) == "007"
    assert keyring.open("service.password", no.password) == "123"
    assert (ana.plan_id, str(ana.framed_ip), ana.state) == (importer.isp.plan_id, "10.9.0.7", "active")
    assert no.mac_binding == "fixed"
    assert subscribers(importer) == ["Ana Núñez", "no"]
    assert all(row.password is None for row in importer.rows(batch).values())


def test_passwords_that_the_router_hides_are_never_imported(importer, emulated_router):
    router = emulated_router(users={"limited": LIMITED})
    with_secrets(router, {"name": "ana", "password": "geheim"}, {"name": "ben", "password": "*****"})
    importer.connect(router, "limited")
    rows = importer.rows(importer.read("secrets"))
    assert {Finding.MASKED_PASSWORD in findings(row) for row in rows.values()} == {True}
    assert {row.password for row in rows.values()} == {None}
    assert {row.action for row in rows.values()} == {"ignore"}


def test_a_disabled_secret_stays_cut_off_under_portico(importer, emulated_router):
    router = emulated_router()
    with_secrets(router, {"name": "moroso", "disabled": "true"})
    importer.connect(router)
    importer.write(importer.read("secrets"))
    service = services(importer)["moroso"]
    assert (service.state, service.suspension_cause) == ("suspended", "staff")


def test_queues_become_static_addresses_tied_to_their_router(importer, emulated_router):
    router = emulated_router()
    for queue in (
        {"name": "Juan Pérez - 20M", "target": "10.20.1.5/32", "max-limit": "5000000/20000000"},
        {"name": "two", "target": "10.20.1.6/32,10.20.1.7/32", "max-limit": "5000000/20000000"},
        {"name": "net", "target": "10.20.2.0/24", "max-limit": "5000000/20000000"},
        {"name": "vlan", "target": "vlan20", "max-limit": "5000000/20000000"},
        {"name": "<pppoe-ana>", "target": "10.20.1.8/32", "max-limit": "1M/1M", "dynamic": "true"},
        {"name": "ours", "target": "10.20.1.9/32", "max-limit": "1M/1M", "comment": "portico:7"},
    ):
        router.box.fill("/queue/simple", queue)
    importer.connect(router)
    batch = importer.read("queues", tie=True)
    rows = importer.rows(batch)
    assert findings(rows["two"]) == {"several_addresses"}
    assert findings(rows["net"]) == {"network"}
    assert findings(rows["vlan"]) == {"interface"}
    assert "<pppoe-ana>" not in rows
    importer.write(batch)
    (service,) = services(importer).values()
    assert (service.access_method, str(service.framed_ip)) == ("queue", "10.20.1.5")
    assert (service.nas_id, service.plan_id) == (importer.isp.nas_id, importer.isp.plan_id)
    assert subscribers(importer) == ["Juan Pérez"]


def test_leases_become_mac_services_and_those_of_passers_by_are_left_out(importer, emulated_router):
    router = emulated_router()
    server = {"server": "dhcp1", "rate-limit": "5M/20M"}
    router.box.fill(
        "/ip/dhcp-server/lease",
        {
            **server,
            "address": "10.30.0.5",
            "mac-address": "4C:5E:0C:00:00:01",
            "comment": "Rosa Díaz",
            "dynamic": "false",
        },
    )
    router.box.fill(
        "/ip/dhcp-server/lease",
        {
            **server,
            "address": "10.30.0.6",
            "mac-address": "4C:5E:0C:00:00:02",
            "host-name": "iPhone",
            "dynamic": "true",
        },
    )
    importer.connect(router)
    batch = importer.read("leases")
    rows = importer.rows(batch)
    assert (rows["10.30.0.6"].action, rows["10.30.0.6"].framed_ip) == ("ignore", None)
    importer.write(batch)
    (service,) = services(importer).values()
    assert (service.name, service.access_method, str(service.framed_ip)) == ("4c:5e:0c:00:00:01", "mac", "10.30.0.5")


def test_hostile_and_foreign_texts_change_nothing_but_text(importer, emulated_router):
    router = emulated_router()
    comments = {
        "a": "<script>alert(1)</script>",
        "b": '=HYPERLINK("http://x","y")',
        "c": "line 1\nline 2",
        "d": "'; DROP TABLE subscriber; --",
        "e": old_winbox("Peña Nieto"),
    }
    with_secrets(router, *({"name": name, "comment": comment} for name, comment in comments.items()))
    importer.connect(router)
    batch = importer.read("secrets")
    rows = importer.rows(batch)
    assert rows["c"].comment == "line 1\nline 2"
    assert rows["e"].comment == "Peña Nieto"
    assert Finding.FOREIGN_TEXT in findings(rows["e"])
    assert importer.write(batch).outcome["created"] == 5
    assert subscribers(importer)[:2] == ["a", "b"]  # markup and formulas are nobody's name


def test_a_router_that_fails_is_a_problem_of_the_import_with_its_cause(importer, emulated_router, monkeypatch):
    router = emulated_router()
    importer.connect(router)
    with_secrets(router, {"name": "ana"})
    causes = []
    for fault, value in (("refuse_logins", True), ("garbage", b"HTTP/1.1 400 Bad Request"), ("cut_after", 100)):
        with monkeypatch.context() as injected:
            injected.setattr(router.box.faults, fault, value)
            batch = importer.batch("secrets")
            job = importer.do(READ, batch_id=batch)
        assert (job.state, job.failed) == ("done", 1)
        with Session(importer.engine) as session:
            found = session.get_one(ImportBatch, batch)
            causes.append((found.state, found.problem))
    assert causes == [("failed", "password"), ("failed", "garbage"), ("failed", "closed")]


def test_an_update_changes_what_is_there_and_undoing_puts_it_back(importer, emulated_router):
    router = emulated_router()
    with_secrets(router, {"name": "ana", "password": "new", "comment": "tel 55 1234 5678"})
    importer.connect(router)
    other = importer.isp.plan(name="Old", download=1_000_000, upload=1_000_000)
    ana = importer.isp.service("ana", "old", plan_id=other)
    batch = importer.read("secrets")
    assert (importer.rows(batch)["ana"].action, importer.rows(batch)["ana"].target_id) == ("update", ana)
    assert importer.write(batch).outcome["updated"] == 1
    keyring = importer.settings.keyring
    service = services(importer)["ana"]
    assert (keyring.open("service.password", service.password), service.plan_id) == ("new", importer.isp.plan_id)
    with Session(importer.engine) as session:
        assert session.get_one(Subscriber, service.subscriber_id).phone == "55 1234 5678"
    assert importer.undo(batch).outcome["put_back"] == 1
    service = services(importer)["ana"]
    assert (keyring.open("service.password", service.password), service.plan_id) == ("old", other)
    with Session(importer.engine) as session:
        assert session.get_one(Subscriber, service.subscriber_id).phone is None


def test_a_whole_import_is_undone_and_leaves_nothing(importer, emulated_router):
    router = emulated_router()
    with_secrets(router, *({"name": f"client{number}", "caller-id": "4C:5E:0C:12:34:56"} for number in range(3)))
    importer.connect(router)
    batch = importer.read("secrets")
    for key in ("client1", "client2"):
        importer.decide(batch, key, action="add")
    importer.write(batch)
    assert len(services(importer)) == 3
    assert importer.undo(batch).outcome["removed"] == 3
    assert services(importer) == {}
    assert subscribers(importer) == []
    actions = importer.isp.fetch(
        "SELECT action FROM audit_entry WHERE operator_id = %s AND entity = 'import' ORDER BY id",
        importer.isp.operator_id,
    )
    assert actions == [("import.write",), ("import.undo",)]


def test_an_import_that_something_depends_on_stays_and_says_why(importer, emulated_router):
    router = emulated_router()
    with_secrets(router, *({"name": name} for name in ("edited", "online", "untouched")))
    importer.connect(router)
    batch = importer.read("secrets")
    importer.write(batch)
    made = services(importer)
    with Session(importer.engine) as session:
        session.get_one(Service, made["edited"].id).plan_id = importer.isp.plan()
        session.execute(
            text(
                "INSERT INTO session (operator_id, started_at, nas_id, acct_session_id, user_name, kind, updated_at,"
                " service_id) VALUES (:operator, '2027-01-01Z', :nas, '1', 'online', 'ppp', '2027-01-01Z', :service)"
            ),
            {"operator": importer.isp.operator_id, "nas": importer.isp.nas_id, "service": made["online"].id},
        )
        session.commit()
    job = importer.undo(batch)
    assert job.outcome == {"problem": "depended_on"}
    assert importer.lines(job) == ["1 were edited since the import.", "1 have been online."]
    assert set(services(importer)) == {"edited", "online", "untouched"}


def test_an_import_that_is_cancelled_halfway_writes_nothing(importer, emulated_router, monkeypatch):
    monkeypatch.setattr("network.importing.writing.STEP", 2)
    router = emulated_router()
    with_secrets(router, *({"name": f"c{number}"} for number in range(5)))
    importer.connect(router)
    batch = importer.read("secrets")
    steps = []

    def progress(done, failed):
        steps.append(done)
        if sum(steps) == 4:
            raise Cancelled

    with Session(importer.engine) as session, pytest.raises(Cancelled):
        write(session, importer.actor, session.get_one(ImportBatch, batch), utc_now(), progress)
    assert steps == [0, 2, 2]
    assert services(importer) == {}
    assert subscribers(importer) == []
    assert importer.write(batch).outcome["created"] == 5


def test_taking_over_disables_the_secret_and_giving_back_enables_only_ours(importer, emulated_router):
    router = emulated_router()
    with_secrets(
        router,
        {"name": "ana", "comment": "Ana"},
        {"name": "ben"},
        {"name": "cut", "disabled": "true", "comment": "debe"},
    )
    importer.connect(router)
    batch = importer.read("secrets")
    importer.write(batch)
    nas = importer.isp.nas_id
    assert importer.do(TAKE_OVER, nas_id=nas).outcome == {"changed": 3}
    held = secrets_of(router)
    assert {name: secret["disabled"] for name, secret in held.items()} == {"ana": "true", "ben": "true", "cut": "true"}
    assert (held["ana"]["comment"], held["ben"]["comment"]) == (f"Ana {MARKER}", MARKER)
    job = importer.do(GIVE_BACK, nas_id=nas)
    assert (job.done, job.failed) == (2, 1)  # "cut" was not disabled by us
    held = secrets_of(router)
    assert {name: secret["disabled"] for name, secret in held.items()} == {
        "ana": "false",
        "ben": "false",
        "cut": "true",
    }
    assert (held["ana"]["comment"], held["ben"].get("comment", "")) == ("Ana", "")
    importer.undo(batch)  # nothing of ours is left on the router, so nothing keeps the import
    assert services(importer) == {}


def test_one_secret_that_cannot_be_changed_leaves_the_others(importer, emulated_router):
    router = emulated_router()
    with_secrets(router, *({"name": name} for name in ("ana", "gone", "zoe")))
    importer.connect(router)
    importer.write(importer.read("secrets"))
    table = router.box.table("/ppp/secret")
    table.drop(table.first(name="gone"))
    job = importer.do(TAKE_OVER, nas_id=importer.isp.nas_id)
    assert (job.outcome, job.failed) == ({"changed": 2}, 1)
    with Session(importer.engine) as session:
        shadows = {
            shadow.secret: (shadow.state, shadow.problem)
            for shadow in session.scalars(
                select(ShadowSecret).where(ShadowSecret.operator_id == importer.isp.operator_id)
            )
        }
    assert shadows == {"ana": ("portico", ""), "gone": ("local", "gone"), "zoe": ("portico", "")}


def test_users_of_a_hotspot_become_hotspot_services(importer, emulated_router):
    router = emulated_router()
    router.box.fill("/ip/hotspot/user/profile", {"name": "dia", "rate-limit": "5M/20M"})
    router.box.fill("/ip/hotspot/user", {"name": "default-trial"})
    router.box.fill("/ip/hotspot/user", {"name": "ana", "password": "pw", "profile": "dia", "comment": "up-12-x"})
    importer.connect(router)
    batch = importer.read("hotspot")
    assert importer.write(batch).state == "done"
    (service,) = services(importer).values()
    assert (service.name, service.access_method) == ("ana", "hotspot")
    assert importer.settings.keyring.open("service.password", service.password) == "pw"


def test_who_is_online_by_the_routers_own_secret_is_seen(importer, emulated_router):
    router = emulated_router()
    with_secrets(router, {"name": "ana"}, {"name": "ben"})
    router.box.fill(
        "/ppp/active", {"name": "ana", "address": "10.40.0.9", "caller-id": "4C:5E:0C:12:34:56", "radius": "false"}
    )
    importer.connect(router)
    importer.write(importer.read("secrets"))
    assert importer.do(LOOK, nas_id=importer.isp.nas_id).outcome == {"online": 1}
    with Session(importer.engine) as session:
        seen = dict(
            session.execute(
                select(ShadowSecret.secret, ShadowSecret.seen).where(
                    ShadowSecret.operator_id == importer.isp.operator_id
                )
            ).all()
        )
    assert seen == {"ana": {"address": "10.40.0.9", "caller_id": "4C:5E:0C:12:34:56", "radius": False}, "ben": None}


def test_the_router_of_a_small_isp_is_read_with_all_its_mess(importer, emulated_router):
    router = emulated_router()
    fill(router.box, SMALL)
    importer.connect(router)
    found = {}
    for source, tie in (("secrets", False), ("leases", False), ("queues", True)):
        batch = importer.read(source, tie=tie)
        found[source] = importer.rows(batch)
        job = importer.write(batch)
        assert job.state == "done"
        assert job.done + job.failed == len(found[source])
        assert importer.undo(batch).state == "done"
    assert services(importer) == {}
    assert {source: len(rows) > 10 for source, rows in found.items()} == {
        "secrets": True,
        "leases": True,
        "queues": True,
    }


def test_the_router_of_a_large_isp_is_read_in_seconds(importer, emulated_router):
    router = emulated_router()
    fill(router.box, LARGE)
    importer.connect(router)
    began = time.monotonic()
    assert len(importer.rows(importer.read("queues", tie=True))) > 1_900
    assert time.monotonic() - began < 30


def test_imported_queues_are_kept_as_they_stand_and_not_made_again(importer, emulated_router):
    router = emulated_router()
    queue = {"name": "Juan", "target": "10.20.1.5/32", "max-limit": "5000000/20000000", "comment": "azotea"}
    router.box.fill("/queue/simple", queue)
    importer.connect(router)
    batch = importer.read("queues", tie=True)
    importer.write(batch)
    (service,) = services(importer).values()
    reconcile(importer.isp.connection, utc_now())
    assert importer.do(SYNC, nas_id=importer.isp.nas_id).state == "done"
    (kept,) = router.box.rows("/queue/simple")
    assert (kept["name"], kept["target"], marked(kept["comment"])) == ("Juan", "10.20.1.5/32", service.id)
    assert kept["comment"].startswith("azotea ")
    assert importer.rows(importer.read("queues", tie=True)) == {}  # it is ours now
    importer.undo(batch)
    (found,) = importer.rows(importer.read("queues", tie=True)).values()
    assert (found.name, found.comment, found.action) == ("Juan", "azotea", "new")


def test_a_name_that_somebody_takes_during_the_writing_spares_the_other_rows(importer, emulated_router):
    router = emulated_router()
    with_secrets(router, {"name": "ana"}, {"name": "ben"})
    importer.connect(router)
    batch = importer.read("secrets")
    taken = []

    def progress(_done, _failed):
        if not taken:
            taken.append(importer.isp.service("ana"))

    with Session(importer.engine) as session:
        counts = write(session, importer.actor, session.get_one(ImportBatch, batch), utc_now(), progress)
        session.commit()
    assert counts == {"created": 1, "updated": 0, "ignored": 0, "bad": 1}
    assert services(importer)["ana"].id == taken[0]
    assert importer.rows(batch)["ana"].problems[0]["problem"] == "taken"
    assert subscribers(importer) == ["ben", "Subscriber ana"] or subscribers(importer) == ["Subscriber ana", "ben"]


def test_a_writing_that_is_begun_again_finds_itself_done(importer, emulated_router):
    router = emulated_router()
    with_secrets(router, {"name": "ana"}, {"name": "ben"})
    importer.connect(router)
    batch = importer.read("secrets")
    assert importer.write(batch).outcome == importer.write(batch).outcome
    assert set(services(importer)) == {"ana", "ben"}
