"""The publisher: nothing committed is missed, in whatever order, and an image that cannot go on is made anew."""

import time

import psycopg
import pytest

from radius.image import CURRENT, DAMAGED
from radius.image import verify as verify_image
from tests.system.client import NoAnswer
from tests.system.conftest import Controller, wait_until

pytestmark = pytest.mark.system


def accepted(controller: Controller, name: str) -> bool:
    try:
        return controller.client.login(name, "x", timeout=0.5).code == 2
    except NoAnswer:
        return False


def test_a_transaction_that_commits_after_a_later_one_is_not_missed(controller: Controller):
    isp = controller.isp
    late = isp.service("tarde", "x", state="pending")
    early = isp.service("pronto", "x", state="pending")
    controller.settle()
    with psycopg.connect(controller.settings.database_url.get_secret_value()) as slow:
        slow.execute("UPDATE service SET state = 'active' WHERE id = %s", (late,))
        isp.update("service", early, state="active")
        controller.settle()
        assert (accepted(controller, "pronto"), accepted(controller, "tarde")) == (True, False)
        slow.commit()
    wait_until(lambda: accepted(controller, "tarde"), 1, "the transaction that committed late")


def test_a_long_transaction_does_not_hold_up_others(controller: Controller):
    isp = controller.isp
    held = isp.service("retenida", "x")
    quick = isp.service("rapida", "x", state="pending")
    controller.settle()
    with psycopg.connect(controller.settings.database_url.get_secret_value()) as slow:
        slow.execute("UPDATE service SET pool = 'p' WHERE id = %s", (held,))
        isp.update("service", quick, state="active")
        wait_until(lambda: accepted(controller, "rapida"), 1, "a change beside a long transaction")


def test_a_rolled_back_change_never_reaches_a_router(controller: Controller):
    service_id = controller.isp.service("quieta", "x")
    controller.settle()
    with psycopg.connect(controller.settings.database_url.get_secret_value()) as connection:
        connection.execute("UPDATE service SET state = 'terminated' WHERE id = %s", (service_id,))
        time.sleep(0.3)
        connection.rollback()
    controller.settle()
    assert accepted(controller, "quieta")


def test_a_killed_publisher_goes_on_where_it_was(controller: Controller):
    controller.publisher.kill()
    before = (controller.settings.image_dir / CURRENT).resolve()
    controller.isp.service("mientras", "x")
    assert not accepted(controller, "mientras")
    controller.publisher.start()
    wait_until(lambda: accepted(controller, "mientras"), 10, "the publisher to catch up")
    assert (controller.settings.image_dir / CURRENT).resolve() == before, "the image was made anew without need"


def test_a_damaged_image_is_made_anew_while_radiusd_runs(controller: Controller):
    controller.isp.service("sigue", "x")
    controller.settle()
    before = (controller.settings.image_dir / CURRENT).resolve()
    (controller.settings.image_dir / DAMAGED).touch()
    wait_until(lambda: (controller.settings.image_dir / CURRENT).resolve() != before, 10, "a new image")
    wait_until(lambda: accepted(controller, "sigue"), 3, "radiusd to take it up")
    assert not (controller.settings.image_dir / DAMAGED).exists()
    assert verify_image(controller.settings.image_dir, controller.settings.keyring) > 5


def test_an_answer_that_time_changes_is_prepared_again(controller: Controller):
    """A used-up cap ends with its period: the rate changes for the next login without any row changing."""
    isp = controller.isp
    plan_id = isp.plan(cap_octets=1000, cap_action="throttle", throttle_download=256_000, throttle_upload=128_000)
    service_id = isp.service("tope", "x", plan_id=plan_id)
    isp.connection.execute(
        "INSERT INTO usage_period (service_id, operator_id, period_start, period_end, octets_in, octets_out)"
        " VALUES (%s, %s, now() - interval '1 day', now() + interval '4 seconds', 600, 600)",
        (service_id, isp.operator_id),
    )
    isp.update("service", service_id, pool="otra")
    controller.settle()
    assert controller.client.login("tope", "x")["Mikrotik-Rate-Limit"] == "128k/256k"
    wait_until(lambda: controller.client.login("tope", "x")["Mikrotik-Rate-Limit"] == "5M/20M", 6, "the period to end")
