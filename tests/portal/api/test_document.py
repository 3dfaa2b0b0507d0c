"""The API does what its document says, whatever it is sent."""

import random
from collections import Counter
from decimal import Decimal
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance
from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.credit_notes import credit_invoice
from billing.rules import rules_of
from core.clock import utc_now
from crm.plan_items import ItemTerms, add_item
from crm.tickets import open_ticket
from crm.vouchers import BatchTerms, create_batch
from crm.work_orders import WorkOrderDetails, create_work_order
from db.audit import Actor
from db.models import Invoice, RatePlan, Router, TicketCategory, UsageHour, Voucher
from portal.api.document import document
from portal.api.operations import OPERATIONS
from tests.portal.api.conftest import make_token
from tests.portal.billing_isp import bill, billed_line, pay, start_billing
from tests.portal.conftest import add_service, make_isp
from tests.rows import add_session

EXAMPLES = {GenerationMode.POSITIVE: 3, GenerationMode.NEGATIVE: 1}
_SETTINGS = hypothesis.settings(
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def stocked(app, system, installation):
    """An operator that has one of everything: its token of all scopes, and the ids by the names of parameters."""
    isp = make_isp(system, installation)
    methods = start_billing(system, isp)
    subscriber_id, service_id = billed_line(system, installation, isp, "Ana", 20)
    add_service(system, installation, isp, subscriber_id, "second")
    bill(system, isp)
    payment_id = pay(system, isp, subscriber_id, methods["Cash"], "10")
    ids = {
        "subscriber_id": subscriber_id, "service_id": service_id, "plan_id": isp.plan_id, "nas_id": isp.nas_id,
        "payment_id": payment_id, "method_id": methods["Cash"],
    }  # fmt: skip
    actor = Actor(isp.operator_id, "test")
    with Session(system) as session:
        session.add(Router(nas_id=isp.nas_id, operator_id=isp.operator_id, api_user="p", api_password=b"x"))
        session.add(TicketCategory(operator_id=isp.operator_id, name="Line"))
        session.add(
            UsageHour(
                operator_id=isp.operator_id,
                service_id=service_id,
                hour=utc_now().replace(minute=0, second=0, microsecond=0),
                octets_in=1,
                octets_out=2,
            )
        )
        session.flush()
        ids["session_id"] = add_session(session, isp.operator_id, service_id, "1", nas_id=isp.nas_id).id
        ids["ticket_id"] = open_ticket(session, actor, subscriber_id, None, "Slow", "It is slow").id
        ids["order_id"] = create_work_order(session, actor, WorkOrderDetails("repair", subscriber_id=subscriber_id)).id
        terms = BatchTerms("Summer", 3, isp.plan_id, octets=1000)
        batch = create_batch(session, actor, installation.keyring, terms, utc_now())
        ids["batch_id"] = batch.id
        ids["voucher_id"] = session.execute(_first_voucher(batch.id)).scalar_one()
        invoice = session.execute(_first_invoice(isp.operator_id)).scalar_one()
        note, _changes = credit_invoice(
            session, actor, rules_of(session, isp.operator_id), invoice, Decimal(1), "Rain", utc_now()
        )
        ids["invoice_id"], ids["note_id"] = invoice.id, note.id
        ids["item_id"] = add_item(session, actor, session.get_one(RatePlan, isp.plan_id), ItemTerms("Router")).id
        session.commit()
    return make_token(system, installation, isp)[1], ids


def _first_voucher(batch_id: int) -> Any:
    return select(Voucher.service_id).where(Voucher.batch_id == batch_id).order_by(Voucher.number).limit(1)


def _first_invoice(operator_id: int) -> Any:
    return select(Invoice).where(Invoice.operator_id == operator_id).limit(1)


def test_the_document_is_one_of_openapi_3_1():
    OpenAPIV31SpecValidator(document()).validate()


def test_requests_made_from_the_document_find_nothing_that_it_does_not_say(app, stocked):
    token, ids = stocked
    served = app.test_client().get("/api/v1/openapi.json").json
    assert served.pop("security") == [{"token": []}]  # every request below has a good token; test_tokens has others
    schema = schemathesis.openapi.from_dict(served)
    schema.app = app
    dice, mode = random.Random(7), GenerationMode.POSITIVE

    def pointed(values):
        """Let most numbers that point at rows point at rows that there are, so that more than 404 is seen."""
        if mode is GenerationMode.NEGATIVE:
            return values
        return {
            name: ids[name] if name in ids and value is not None and dice.random() < 0.9 else value
            for name, value in values.items()
        }

    @schema.hook("map_path_parameters")
    def real_rows(_context, parameters):
        return pointed(parameters or {})

    @schema.hook("map_body")
    def real_references(_context, body):
        return pointed(body) if isinstance(body, dict) else body

    statuses: Counter[tuple[GenerationMode, int]] = Counter()

    def ask(case):
        response = case.call(headers={"Authorization": f"Bearer {token}"})
        statuses[mode, response.status_code] += 1
        # What a schema cannot say (a cursor of ours, a plan that exists) is refused with 422 and the like.
        case.validate_response(
            response, headers={"Authorization": f"Bearer {token}"}, excluded_checks=[positive_data_acceptance]
        )

    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) == len(OPERATIONS)
    for mode, examples in EXAMPLES.items():
        for operation in operations:
            asking = given(operation.as_strategy(generation_mode=mode))(ask)
            hypothesis.settings(_SETTINGS, max_examples=examples)(asking)()
    tried = sum(count for (kind, _status), count in statuses.items() if kind is GenerationMode.POSITIVE)
    taken = sum(count for (kind, status), count in statuses.items() if kind is GenerationMode.POSITIVE and status < 300)
    assert taken > 0.3 * tried, statuses
