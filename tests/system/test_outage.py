"""A RADIUS server whose news has stopped: each operator has what it chose, and all is as before once there is news."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from radius.journal import AUTHENTICATION, read_records, segments
from tests.system.client import NoAnswer
from tests.system.conftest import Controller, wait_until

pytestmark = pytest.mark.system


def answer_to(controller: Controller, name: str, password: str = "x") -> str:
    try:
        answer = controller.client.login(name, password, timeout=0.4)
    except NoAnswer:
        return "silence"
    if answer.code == 3:
        return "reject"
    return "garden" if answer["Mikrotik-Address-List"] == "portico-suspended" else "accept"


def test_without_news_the_good_are_kept_spared_or_refused_as_chosen_and_the_cut_stay_cut(controller: Controller):
    isp = controller.isp
    isp.service("buena", "x")
    isp.service("cortada", "x", state="suspended", suspended_at=datetime.now(UTC), suspension_cause="overdue")

    def choose(action: str) -> None:
        isp.update("operator", isp.operator_id, outage_action=action, outage_after=timedelta(seconds=6))

    choose("refuse")
    controller.settle()
    assert (answer_to(controller, "buena"), answer_to(controller, "cortada")) == ("accept", "garden")
    controller.publisher.kill()
    stopped = time.monotonic()
    assert answer_to(controller, "buena") == "accept", "the news is missing for a moment only"
    wait_until(lambda: answer_to(controller, "buena") == "silence", 12, "the image to be too old")
    assert time.monotonic() - stopped > 4
    assert answer_to(controller, "cortada") == "garden"
    assert answer_to(controller, "buena", "falsch") == "reject"
    records = [
        record
        for segment in segments(controller.settings.journal_dir)
        for _, record in read_records(segment, 0, 10_000)
    ]
    assert any(record[0] == AUTHENTICATION and record[10] == "out_of_date" for record in records)
    controller.publisher.start()
    wait_until(lambda: answer_to(controller, "buena") == "accept", 10, "news")
