"""The files for LibreQoS: their format, what is in them, and what a hostile name does to them."""

import csv
import io
import json
from dataclasses import replace

import pytest
from sqlalchemy.orm import Session

from core.clock import utc_now
from db.models import Nas, Operator, Router, ServiceGrant
from db.session import make_engine
from network.shaper import (
    DEVICES,
    HEADER,
    NETWORK,
    Circuit,
    Site,
    files,
    network_json,
    shaped_devices,
    tree,
    write_files,
)
from network.tasks import write_all_shaper_files
from tests.factories import Isp

NORTE = Site(1, "Torre Norte", 500_000_000, 200_000_000)
ANA = Circuit(7, "Ana Peña", "casa-ana", "Home 20", 1, "ether2", ("aa:bb:cc:00:00:01",), ("10.0.0.5", "2001:db8::/56"),
              20_000_000, 5_000_000, 2_000_000, None)  # fmt: skip


def devices(circuits: list[Circuit], sites: list[Site] | None = None) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(shaped_devices(tree(sites or [NORTE], circuits), circuits))))


def test_a_circuit_is_a_row_as_libreqos_reads_it():
    assert devices([ANA]) == [
        dict(zip(HEADER, (
            "portico-7", "Ana Peña (casa-ana)", "portico-7-1", "casa-ana", "Torre Norte / ether2",
            "aa:bb:cc:00:00:01", "10.0.0.5", "2001:db8::/56", "2", "1", "20", "5", "Home 20",
        ), strict=True))
    ]  # fmt: skip


def test_the_tree_has_routers_and_their_sectors_with_their_capacity():
    document = json.loads(network_json(tree([NORTE, Site(2, "Sur", None, None)], [ANA])))
    rates = {"downloadBandwidthMbps": 500.0, "uploadBandwidthMbps": 200.0}
    assert document["Torre Norte"] == {
        **rates, "type": "Site", "children": {"Torre Norte / ether2": {**rates, "type": "AP", "children": {}}},
    }  # fmt: skip
    assert document["Sur"]["downloadBandwidthMbps"] == 10_000


def test_every_parent_is_a_node_and_no_two_nodes_have_one_name():
    sites = [Site(1, "Torre", None, None), Site(2, "torre", None, None), Site(3, "", None, None)]
    circuits = [replace(ANA, service_id=n, nas_id=nas, sector="e1") for n, nas in enumerate((1, 2, 3, None), 1)]
    nodes = tree(sites, circuits)
    document = json.loads(network_json(nodes))
    names = [*document, *(name for site in document.values() for name in site["children"])]
    assert len(names) == len({name.casefold() for name in names}) == 6
    assert {row["Parent Node"] for row in devices(circuits, sites)} - {""} <= set(names)


def test_titles_and_numbers_are_those_that_libreqos_reads():
    """As in LibreQoS's ShapedDevices.example.csv and network.example.json: 1.4 reads whole numbers only, and from 1.5
    on a maximum is at least 0.2 and a guaranteed rate 0.1 Mbit/s.
    """
    text = shaped_devices(tree([NORTE], [ANA]), [ANA])
    assert text.splitlines()[0] == (
        "Circuit ID,Circuit Name,Device ID,Device Name,Parent Node,MAC,IPv4,IPv6,Download Min Mbps,Upload Min Mbps,"
        "Download Max Mbps,Upload Max Mbps,Comment"
    )
    assert '"downloadBandwidthMbps": 500,' in network_json(tree([NORTE], [ANA]))
    for download in (0, 64_000, 200_000, 1_500_000, 2_500_000, 1_000_000_000):
        [row] = devices([replace(ANA, download=download, minimum_download=None)])
        least, most = float(row["Download Min Mbps"]), float(row["Download Max Mbps"])
        assert 0.1 <= least <= most
        assert most >= 0.2


def test_rates_are_never_nothing_and_the_least_never_above_the_most():
    [row] = devices([replace(ANA, download=64_000, upload=None, minimum_download=1_000_000)])
    assert [row[name] for name in HEADER[8:12]] == ["0.2", "1", "0.2", "10000"]


def test_who_is_refused_or_has_no_address_is_left_out_and_the_garden_is_said():
    rows = devices([replace(ANA, outcome="reject"), replace(ANA, service_id=8, addresses=()),
                    replace(ANA, service_id=9, outcome="garden", download=128_000)])  # fmt: skip
    assert [(row["Circuit ID"], row["Comment"]) for row in rows] == [("portico-9", "walled garden")]


@pytest.mark.parametrize("name", ['=cmd|" /C calc"!A0', 'a,b"c\n#x', "\u202e\0\r\n", "-2+3", "#comment"])
def test_a_hostile_name_stays_a_name(name):
    hostile = replace(ANA, subscriber=name, name=name, plan=name, sector=name)
    sites = [replace(NORTE, name=name)]
    [row] = devices([hostile], sites)
    assert row["IPv4"] == "10.0.0.5"
    assert all(value[:1] not in ("=", "+", "-", "@", "#") for value in row.values())
    assert all(value.isprintable() for value in row.values())
    document = json.loads(network_json(tree(sites, [hostile])))
    assert row["Parent Node"] in next(iter(document.values()))["children"]


def test_the_files_follow_the_books(installation, tmp_path):
    isp = Isp.create(installation)
    service_id = isp.service("casa-ana", framed_ip="10.0.0.5")
    engine = make_engine(installation.database_url.get_secret_value())
    with Session(engine) as session:
        nas_name = session.get_one(Nas, isp.nas_id).name
        session.add(Router(nas_id=isp.nas_id, operator_id=isp.operator_id, api_user="x", api_password=b"x",
                           wan_download=300_000_000, wan_upload=100_000_000))  # fmt: skip
        session.commit()
        made = files(session, isp.operator_id)
        [row] = list(csv.DictReader(io.StringIO(made[DEVICES])))
        assert (row["Circuit ID"], row["IPv4"]) == (f"portico-{service_id}", "10.0.0.5")
        assert json.loads(made[NETWORK])[nas_name]["downloadBandwidthMbps"] == 300
        assert files(session, isp.operator_id + 1000)[DEVICES].count("\n") == 1
        assert write_files(tmp_path / "out", made) == [NETWORK, DEVICES]
        assert write_files(tmp_path / "out", made) == [], "what has not changed is not touched"
        grant = session.get(ServiceGrant, service_id)
        if grant is None:
            grant = ServiceGrant(service_id=service_id, operator_id=isp.operator_id, computed_at=utc_now())
            session.add(grant)
        grant.outcome = "reject"
        session.commit()
        assert write_files(tmp_path / "out", files(session, isp.operator_id)) == [DEVICES]
        slug = session.get_one(Operator, isp.operator_id).slug
    assert write_all_shaper_files(engine, tmp_path / "all")[slug] == [NETWORK, DEVICES]
    (tmp_path / "file").write_text("no directory")
    assert write_all_shaper_files(engine, tmp_path / "file") == {}, "a directory that cannot be written ends nothing"
    assert [path.name for path in sorted((tmp_path / "out").iterdir())] == [DEVICES, NETWORK]
    engine.dispose()
    isp.connection.close()
