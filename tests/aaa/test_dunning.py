"""When the passing of a paid-until date suspends a service, and when its moving on restores it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from aaa.dunning import DunningStep, dunning_step
from aaa.facts import AccessMethod, Plan, Service, ServiceState, Suspension
from core.rates import RateLimit

ASUNCION = ZoneInfo("America/Asuncion")
CUT_OFF = datetime(2027, 3, 11, 3, 0, tzinfo=UTC)  # midnight there
BEFORE, AFTER = CUT_OFF - timedelta(seconds=1), CUT_OFF
ACTIVE = Service(
    id=1,
    operator_id=1,
    access_method=AccessMethod.PPPOE,
    name="ana",
    state=ServiceState.ACTIVE,
    plan=Plan(1, "home", RateLimit(20_000_000, 5_000_000)),
    paid_until=CUT_OFF,
)
CUT = replace(
    ACTIVE,
    state=ServiceState.SUSPENDED,
    suspension=Suspension(CUT_OFF - timedelta(days=30), "overdue"),
)
BY_STAFF = replace(CUT, suspension=Suspension(CUT_OFF - timedelta(days=30), "staff"))
BY_HAND = replace(CUT, suspension=Suspension(CUT_OFF - timedelta(days=29, hours=11, minutes=3), "overdue"))


@pytest.mark.parametrize(
    ("service", "now", "expected"),
    [
        pytest.param(ACTIVE, BEFORE, None, id="paid"),
        pytest.param(ACTIVE, AFTER, DunningStep.SUSPEND, id="the date has passed"),
        pytest.param(replace(ACTIVE, paid_until=None), AFTER, None, id="no cut-off by date"),
        pytest.param(replace(ACTIVE, state=ServiceState.PAUSED), AFTER, None, id="paused"),
        pytest.param(replace(ACTIVE, state=ServiceState.PENDING), AFTER, None, id="not installed yet"),
        pytest.param(replace(ACTIVE, state=ServiceState.TERMINATED), AFTER, None, id="terminated"),
        pytest.param(CUT, AFTER, None, id="still overdue"),
        pytest.param(CUT, BEFORE, DunningStep.RESTORE, id="paid at last"),
        pytest.param(replace(CUT, paid_until=None), BEFORE, None, id="cut, and then managed by hand"),
        pytest.param(BY_STAFF, BEFORE, None, id="suspended by staff for another reason"),
        pytest.param(BY_HAND, BEFORE, None, id="suspended by a person, though for not paying"),
    ],
)
def test_dunning_step(service, now, expected):
    assert dunning_step(service, ASUNCION, now) is expected
