"""Random facts for property tests: every field of a service, plan and policy may be anything that is allowed."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from aaa.facts import (
    AccessMethod,
    Boost,
    CapAction,
    DataCap,
    Garden,
    GardenCause,
    MacBinding,
    OpenUse,
    OutageAction,
    Plan,
    Policy,
    Service,
    ServiceState,
    Span,
    Step,
    SuspendedAction,
    Suspension,
    TimeWindow,
    UsedIn,
    Voucher,
)
from core.rates import Burst, RateLimit

NOW = datetime(2027, 3, 10, 15, 0, tzinfo=UTC)
MACS = ("aa:bb:cc:00:00:01", "02:00:00:00:00:01")

bits = st.integers(1, 10_000_000_000)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40)
lengths = st.integers(60, 86_400).map(lambda seconds: timedelta(seconds=seconds))
instants = st.integers(-5_000_000, 5_000_000).map(lambda seconds: NOW + timedelta(seconds=seconds))
bursts = st.builds(Burst, bits, bits, bits, bits, st.integers(1, 60))
rates = st.builds(RateLimit, bits, bits, st.none() | bursts, st.none() | st.integers(1, 8), st.none() | bits, st.none())
windows = st.builds(
    TimeWindow,
    st.frozensets(st.integers(1, 7), min_size=1),
    st.integers(0, 23).map(time),
    st.integers(0, 23).map(time),
    rates,
)
extras = st.lists(st.tuples(texts, st.sampled_from([":=", "+="]), texts), max_size=2).map(tuple)
plans = st.builds(
    Plan,
    id=st.integers(1, 5),
    name=texts,
    rate=rates,
    cap=st.none() | st.builds(DataCap, st.integers(1, 1 << 50), st.sampled_from(CapAction), st.none() | rates),
    windows=st.lists(windows, max_size=2).map(tuple),
    steps=st.lists(st.builds(Step, st.sampled_from(Span), st.integers(1, 1 << 50), rates), max_size=3).map(tuple),
    pool=st.none() | texts,
    ipv6_pool=st.none() | texts,
    delegated_ipv6_pool=st.none() | texts,
    address_list=st.none() | texts,
    session_timeout=st.none() | lengths,
    idle_timeout=st.none() | lengths,
    interim_interval=lengths,
    extra=extras,
)
policies = st.builds(
    Policy,
    id=st.just(1),
    name=texts,
    zone=st.sampled_from([ZoneInfo("America/Mexico_City"), ZoneInfo("UTC")]),
    active=st.booleans(),
    suspended_action=st.sampled_from(SuspendedAction),
    outage_action=st.sampled_from(OutageAction),
    outage_after=lengths,
    garden_rate=rates,
    garden_pool=st.none() | texts,
    gardens=st.dictionaries(
        st.sampled_from(GardenCause), st.builds(Garden, address_list=st.none() | texts, pool=st.none() | texts)
    ),
    garden_timeout=lengths,
    dhcp_timeout=lengths,
)
vouchers = st.builds(
    Voucher,
    lookup=texts,
    lasts=st.none() | lengths,
    online=st.none() | lengths,
    ends=st.none() | instants,
    octets=st.none() | st.integers(1, 1 << 50),
    best_before=st.none() | instants,
    nas_ids=st.frozensets(st.integers(1, 3)),
    first_login=st.none() | instants,
    online_used=st.integers(0, 90_000).map(lambda seconds: timedelta(seconds=seconds)),
    octets_used=st.integers(0, 1 << 50),
    open=st.lists(st.builds(OpenUse, instants, instants, st.none() | st.sampled_from(MACS)), max_size=3).map(tuple),
)
services = st.builds(
    Service,
    id=st.integers(1, 1 << 40),
    operator_id=st.just(1),
    access_method=st.sampled_from(AccessMethod),
    name=texts,
    state=st.sampled_from(ServiceState),
    plan=plans,
    language=st.sampled_from(["en", "es"]),
    suspension=st.none() | st.builds(Suspension, instants, st.sampled_from(["overdue", "staff"]), texts),
    paid_until=st.none() | instants,
    router_id=st.none() | st.integers(1, 5),
    rate=st.none() | rates,
    boost=st.none() | st.builds(Boost, rates, instants),
    paying_until=st.none() | instants,
    framed_ip=st.none() | st.ip_addresses(v=4).map(str),
    framed_routes=st.lists(texts, max_size=2).map(tuple),
    framed_ipv6_prefix=st.none() | st.just("2001:db8:1::/64"),
    delegated_ipv6_prefix=st.none() | st.just("2001:db8:2::/56"),
    pool=st.none() | texts,
    session_limit=st.integers(0, 3),
    mac_binding=st.sampled_from(MacBinding),
    macs=st.frozensets(st.sampled_from(MACS)),
    max_macs=st.integers(1, 3),
    used_octets=st.integers(0, 1 << 50),
    extra_octets=st.integers(0, 1 << 50),
    period_ends=st.none() | instants,
    used_today=st.none() | st.builds(UsedIn, st.integers(0, 1 << 50), instants),
    used_this_week=st.none() | st.builds(UsedIn, st.integers(0, 1 << 50), instants),
    octets_left=st.none() | st.integers(0, 1 << 40),
    extra=extras,
    voucher=st.none() | vouchers,
)
