from datetime import UTC, datetime, timedelta

import pytest

from network.monitoring.outage import Ended, find_gatherings, find_outages, is_over, network_is_down, was_lost

NOON = datetime(2027, 3, 14, 12, tzinfo=UTC)


def ended(count: int, sector: str = "ether2", nas_id: int = 1, begin: float = 0, apart: float = 1) -> list[Ended]:
    return [
        Ended(
            nas_id * 10_000 + hash((sector, begin, n)) % 9999, 7, nas_id, sector, n, f"user{n}",
            NOON + timedelta(seconds=begin + n * apart), "Lost-Carrier",
        )
        for n in range(count)
    ]  # fmt: skip


def shapes(lost, up):
    return [(one.nas_id, one.sector, one.before, len(one.members)) for one in find_outages(lost, up)]


def test_a_router_whose_sessions_end_inside_a_minute_is_one_outage():
    assert shapes(ended(20) + ended(20, "ether3"), {(1, "ether2"): 3}) == [(1, "", 43, 40)]


def test_a_sector_that_dies_while_others_go_on_is_the_sectors_outage():
    up = {(1, "ether2"): 1, (1, "ether3"): 30}
    assert shapes(ended(12), up) == [(1, "ether2", 13, 12)]


def test_a_sector_is_found_where_it_is_most_of_the_router():
    assert shapes(ended(80, apart=0.5), {(1, "ether3"): 4}) == [(1, "ether2", 80, 80)]


def test_sessions_that_end_one_by_one_are_no_outage():
    assert shapes(ended(20, apart=30), {(1, "ether2"): 5}) == []


def test_a_few_are_no_outage_and_neither_is_a_small_share():
    assert shapes(ended(4), {}) == []
    assert shapes(ended(20), {(1, "ether2"): 500}) == []


def test_routers_are_told_apart():
    assert shapes(ended(6) + ended(9, nas_id=2), {(1, "ether2"): 100}) == [(2, "", 9, 9)]


@pytest.mark.parametrize(
    ("cause", "by", "lost"),
    [
        ("Lost-Carrier", "stop", True),
        ("Lost-Service", "stop", True),
        ("NAS-Reboot", "stop", True),
        (None, "reboot", True),
        (None, "accounting-off", True),
        ("User-Request", "stop", False),
        ("Session-Timeout", "stop", False),
        ("Admin-Reset", "stop", False),
        (None, "staff", False),
        (None, "superseded", False),
    ],
)
def test_who_hung_up_or_was_disconnected_did_not_lose_the_network(cause, by, lost):
    assert was_lost(cause, by) is lost


def test_an_outage_is_over_when_most_are_back():
    assert not is_over(10, 7)
    assert is_over(10, 8)


def test_routers_that_fall_together_point_at_what_lies_before_them():
    assert network_is_down(3, 6)
    assert not network_is_down(2, 3)
    assert not network_is_down(3, 20)


def of_sector(count: int, sector_id: int, begin: float = 0, apart: float = 60, site_id: int = 4) -> list[Ended]:
    return [
        Ended(
            sector_id * 100 + n, 7, 1, "bridge", n, f"user{n}", NOON + timedelta(seconds=begin + n * apart),
            "Lost-Carrier", sector_id, site_id,
        )
        for n in range(count)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("lost", "up", "found"),
    [
        pytest.param(of_sector(4, 11), {(4, 11): 2, (4, 12): 9}, [(4, 11, 6, 4)], id="one after the other"),
        pytest.param(of_sector(4, 11), {(4, 11): 5}, [], id="most of them go on"),
        pytest.param(of_sector(2, 11), {}, [], id="two are a coincidence"),
        pytest.param(of_sector(4, 11, apart=200), {(4, 11): 1}, [], id="over a quarter of an hour"),
        pytest.param(
            of_sector(2, 11) + of_sector(2, 12, 30), {(4, 12): 1}, [(4, None, 5, 4)], id="two sectors are the site"
        ),
        pytest.param(
            of_sector(3, 11) + of_sector(1, 12), {(4, 12): 30}, [(4, 11, 3, 3)], id="one of another sector is none"
        ),
        pytest.param(
            of_sector(3, 11) + of_sector(3, 21, site_id=5), {}, [(4, 11, 3, 3), (5, 21, 3, 3)], id="two sites"
        ),
        pytest.param(ended(9), {}, [], id="nobody knows the sector"),
    ],
)
def test_few_of_a_sector_or_site_that_go_within_minutes_are_asked_about(lost, up, found):
    assert [(one.site_id, one.sector_id, one.before, len(one.members)) for one in find_gatherings(lost, up)] == found
