from datetime import UTC, datetime, timedelta

from network.monitoring.states import Standing, after_poll, is_unstable, pause_after, worth_telling
from network.problems import Cause

NOON = datetime(2027, 3, 14, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def polled(outcomes: str, begin: Standing | None = None) -> list[Standing]:
    """Return the standing after each poll, one a minute: `+` worked, `-` timed out."""
    standing, standings = begin or Standing(), []
    for number, outcome in enumerate(outcomes):
        standing = after_poll(standing, None if outcome == "+" else Cause.TIMEOUT, NOON + number * MINUTE)
        standings.append(standing)
    return standings


def statuses(outcomes: str) -> list[str]:
    return [standing.status for standing in polled(outcomes)]


def test_one_missed_poll_changes_nothing():
    assert statuses("+-+--+") == ["online"] * 6


def test_three_missed_polls_are_an_outage_that_dates_from_the_first():
    last = polled("++---")[-1]
    assert (last.status, last.since, last.cause) == ("offline", NOON + 2 * MINUTE, Cause.TIMEOUT)


def test_a_router_is_back_after_two_polls_that_worked():
    assert statuses("+---+-++") == ["online"] * 3 + ["offline"] * 4 + ["online"]


def test_a_router_never_seen_is_unknown_until_three_polls_failed():
    assert statuses("---") == ["unknown", "unknown", "offline"]


def test_the_cause_follows_while_it_is_offline():
    down = polled("+---")[-1]
    assert after_poll(down, Cause.PASSWORD, NOON + 5 * MINUTE).cause is Cause.PASSWORD


def test_a_suspicion_is_settled_sooner_than_the_next_poll_would_be():
    assert pause_after(polled("+")[-1], MINUTE) == MINUTE
    assert pause_after(polled("+-")[-1], MINUTE) == timedelta(seconds=20)


def test_a_router_that_comes_and_goes_is_told_of_only_when_it_stays_down():
    last = polled("+---++---++---")[-1]
    assert is_unstable(len(last.went_down))
    assert not worth_telling(last.since, len(last.went_down), last.since + 2 * MINUTE)
    assert worth_telling(last.since, len(last.went_down), last.since + 15 * MINUTE)
    assert worth_telling(last.since, 1, last.since)
