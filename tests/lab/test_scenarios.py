"""The routers that imports are tried on: as big and as untidy as real ones, and the same every time."""

from collections import Counter

import pytest

from lab.routeros import Box
from lab.routeros.scenarios import AWKWARD_NAMES, LARGE, SMALL, Size, fill

KEPT = ("/queue/simple", "/ppp/secret", "/ip/dhcp-server/lease", "/ppp/profile", "/ip/firewall/address-list")


def filled(size: Size = SMALL, seed: int = 1, version: str = "7.16") -> Box:
    box = Box(version=version, clock=lambda: 1_700_000_000.0)
    fill(box, size, seed=seed)
    return box


def everything(box: Box) -> list[object]:
    return [(path, [(row.id, row.fields) for row in box.table(path)]) for path in KEPT]


@pytest.mark.parametrize(("size", "counts"), [(SMALL, (25, 40, 15)), (LARGE, (2_000, 1_500, 800))])
def test_a_router_has_as_many_clients_as_its_size_says(size: Size, counts: tuple[int, int, int]) -> None:
    box = filled(size)
    assert tuple(len(box.table(path)) for path in KEPT[:3]) == counts


def test_the_same_seed_makes_the_same_router_and_another_seed_another() -> None:
    assert everything(filled()) == everything(filled())
    assert everything(filled()) != everything(filled(seed=2))


def test_the_large_router_has_the_mess_of_a_real_one() -> None:
    box = filled(LARGE)
    queues, secrets, leases = ([row.fields for row in box.table(path)] for path in KEPT[:3])
    names = {secret["name"] for secret in secrets}
    assert names >= set(AWKWARD_NAMES)
    assert max(Counter(name.lower() for name in names).values()) > 1
    assert len(names) == len(secrets)
    limits = {queue["max-limit"] for queue in queues}
    assert limits >= {"0/0", "10000000/10000000", "10485760/10485760"}
    targets = [queue["target"] for queue in queues]
    assert any("," in target for target in targets)
    assert max(Counter(targets).values()) > 1
    assert any(queue["burst-limit"] != "0/0" for queue in queues)
    assert any(queue["parent"] != "none" for queue in queues)
    for rows in (secrets, queues, leases):
        assert {row.get("disabled", "false") for row in rows} == {"true", "false"}
    assert {lease["dynamic"] for lease in leases} == {"true", "false"}
    rates = {lease.get("rate-limit") for lease in leases}
    assert rates >= {"10M/10M", "10240k/10240k", "0/0", None}
    comments = "".join(row.get("comment", "") for rows in (secrets, queues, leases) for row in rows)
    for part in ("ñ", "<script>", "=HYPERLINK", "@SUM", '"', "\n", "DROP TABLE"):
        assert part in comments
    assert b"Pe\xf1a Nieto" in comments.encode("utf-8", "surrogateescape")


@pytest.mark.parametrize("version", ["6.49.10", "7.16"])
def test_every_row_has_only_fields_that_its_version_knows(version: str) -> None:
    box = filled(version=version)
    for path in KEPT:
        table = box.table(path)
        assert all(set(row.fields) <= table.known for row in table)


def test_profiles_named_by_clients_exist() -> None:
    box = filled(LARGE)
    profiles = {row["name"] for row in box.table("/ppp/profile")}
    assert {row["profile"] for row in box.table("/ppp/secret")} <= profiles
