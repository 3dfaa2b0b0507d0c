from hypothesis import given

from radius.facts_codec import (
    pack_service,
    plain_plan,
    plain_policy,
    plan_id_of,
    read_plan,
    read_policy,
    unpack_service,
)
from tests.radius.facts import plans, policies, services


@given(services)
def test_a_service_comes_back_from_the_image_as_it_was(service):
    packed = pack_service(service)
    assert plan_id_of(packed) == service.plan.id
    assert unpack_service(packed, service.plan) == service


@given(plans)
def test_a_plan_comes_back_as_it_was(plan):
    assert read_plan(plain_plan(plan)) == plan


@given(policies)
def test_a_policy_comes_back_as_it_was(policy):
    assert read_policy(plain_policy(policy, "es")) == (policy, "es")
