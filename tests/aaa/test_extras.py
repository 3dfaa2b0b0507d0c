"""What a placeholder in an extra attribute is filled in with, as a table."""

from dataclasses import replace
from datetime import time

import pytest

from aaa.authorize import authorize
from aaa.extras import PLACEHOLDERS
from aaa.facts import AccessMethod, Plan, Service, ServiceState
from core.rates import RateLimit
from crm.attributes import parse_extra
from tests.aaa.test_authorize import NIGHT, NOW, POLICY

SERVICE = Service(
    7, 1, AccessMethod.PPPOE, "ana", ServiceState.ACTIVE, Plan(1, "Hogar 20", RateLimit(20_000_000, 5_000_000))
)


def granted(service, value):
    terms = authorize(replace(service, extra=(("Filter-Id", ":=", value),)), POLICY, NOW).terms
    return [filled for _, _, filled in terms.extra]


@pytest.mark.parametrize(
    ("value", "filled"),
    [
        ("{name}", ["ana"]),
        ("{plan} of {name}, line {service}", ["Hogar 20 of ana, line 7"]),
        ("{download}/{upload}", ["20000000/5000000"]),
        ("{download_kbps}k/{upload_kbps}k", ["20000k/5000k"]),
        ("{address}", []),
        ("kept {Name} {} {nobody}", ["kept {Name} {} {nobody}"]),
        ("{name}" * 82, ["ana" * 82]),
        ("{name}" * 83, []),
    ],
)
def test_a_placeholder_is_the_services_own(value, filled):
    assert granted(SERVICE, value) == filled


def test_a_name_in_braces_is_not_filled_in_again():
    assert granted(replace(SERVICE, name="{plan}"), "{name}") == ["{plan}"]


def test_the_rate_is_what_was_bought_so_that_no_session_ends_with_a_time_window():
    night = replace(NIGHT, begin=time(0), until=time(23))
    service = replace(SERVICE, plan=replace(SERVICE.plan, windows=(night,)), framed_ip="192.0.2.7")
    assert authorize(service, POLICY, NOW).terms.rate == night.rate
    assert granted(service, "{download} {address}") == ["20000000 192.0.2.7"]
    assert granted(replace(service, rate=RateLimit(8_000_000_000, 1)), "{download}") == ["4294967295"]


def test_every_placeholder_is_tried_when_it_is_saved():
    for placeholder in PLACEHOLDERS:
        parse_extra(f"Filter-Id := {{{placeholder}}}")
