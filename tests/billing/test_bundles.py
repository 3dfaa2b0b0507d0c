"""Bundles: what is sold with a plan, on invoices, prorated, and when the plan changes."""

from datetime import date
from decimal import Decimal

import pytest
from sqlalchemy import select

from billing.charges import DiscountTerms, add_discount
from billing.ledger import balance_of, broken_entries, discrepancies
from billing.preview import Proposal, next_invoices
from billing.reports import monthly_recurring
from crm.plan_items import ItemTerms, add_item, end_item, items_of_plans, monthly_price
from crm.problems import Invalid
from crm.services import change_plan_of, terminate
from db.models import CreditNote, InvoiceLine, RatePlan
from tests.billing.isp import BillingIsp, noon

BEGIN = date(2027, 1, 5)
HALF = date(2027, 1, 21)  # 16 of January's 31 days are used, 15 are left


@pytest.fixture
def isp(rows):
    return BillingIsp.create(rows, issue_days=0, first_due_days=0, taxes=[("IVA", "16", False)])


@pytest.fixture
def bundle(isp):
    """A plan of 310 with a static address in its price, television for 62 and a taxfree insurance for 31 a month."""
    plan = isp.session.get_one(RatePlan, isp.plan("310"))
    plan.name = "Hogar"
    isp.session.flush()
    items = (
        ItemTerms("IP fija"),
        ItemTerms("TV", Decimal(62)),
        ItemTerms("Seguro", Decimal(31), tax_exempt=True),
        ItemTerms("Instalación", Decimal(500), once=True),
    )
    for item in items:
        add_item(isp.session, isp.actor, plan, item)
    return plan


def lines(isp, invoice):
    query = select(InvoiceLine).where(InvoiceLine.invoice_id == invoice.id).order_by(InvoiceLine.position)
    return [(line.description, line.net, line.tax) for line in isp.session.scalars(query)]


def sound(isp):
    isp.commit_checks()
    return not broken_entries(isp.session, isp.operator_id) and not discrepancies(isp.session, isp.operator_id)


def test_each_part_stands_on_the_invoice_with_its_own_tax_and_the_installation_once(isp, bundle):
    service = isp.service(date(2027, 1, 6), "310")
    isp.run_until(date(2027, 1, 6), date(2027, 2, 5))
    first, second = isp.invoices(service)
    assert lines(isp, first) == [
        ("Hogar + IP fija", 300, 48),
        ("TV", 60, Decimal("9.6")),
        ("Seguro", 30, 0),
        ("Instalación", 500, 80),
    ]
    assert lines(isp, second) == [
        ("Hogar + IP fija", 310, Decimal("49.6")),
        ("TV", 62, Decimal("9.92")),
        ("Seguro", 31, 0),
    ]
    assert monthly_price(bundle, items_of_plans(isp.session, [bundle])[bundle.id]) == 403
    assert monthly_recurring(isp.session, isp.operator_id, BEGIN) == 403
    assert sound(isp)


def test_a_discount_is_of_the_plan_alone(isp, bundle):
    service = isp.service(BEGIN, "310")
    add_discount(isp.session, isp.actor, isp.rules, service, DiscountTerms("Half", percent=Decimal(50)), noon(BEGIN))
    isp.run(BEGIN)
    (invoice,) = isp.invoices(service)
    assert [(what, net) for what, net, _ in lines(isp, invoice)][:2] == [("Hogar + IP fija", 310), ("Half", -155)]
    assert invoice.net == 310 - 155 + 62 + 31 + 500


def test_what_ends_early_gives_back_its_share_of_every_part(isp, bundle):
    service = isp.service(BEGIN, "310")
    isp.run(BEGIN)
    terminate(isp.session, isp.actor, service, noon(date(2027, 1, 20)))
    isp.run(date(2027, 1, 20))
    note = isp.session.scalars(select(CreditNote).where(CreditNote.subscriber_id == service.subscriber_id)).one()
    share = Decimal(15) / 31
    assert note.total == (310 + 62) * share * Decimal("1.16") + 31 * share
    assert sound(isp)


@pytest.mark.parametrize("into", [True, False], ids=["into a bundle", "out of a bundle"])
def test_a_change_of_plan_changes_what_is_sold_with_it_for_the_days_that_are_left(isp, bundle, into):
    plain = isp.plan("372")  # what the parts with taxes cost together, so that the insurance makes the difference
    service = isp.service(BEGIN, "372" if into else "310")
    isp.run(BEGIN)
    before = balance_of(isp.session, service.subscriber_id)
    change_plan_of(isp.session, isp.actor, service, bundle.id if into else plain)
    isp.run(HALF)
    change = balance_of(isp.session, service.subscriber_id) - before
    assert change == (15 if into else -15)
    isp.run(date(2027, 2, 5))
    assert isp.invoices(service)[-1].net == (403 if into else 372)
    assert sound(isp)


def test_a_plan_that_is_proposed_shows_what_is_sold_with_it(isp, bundle):
    service = isp.service(BEGIN, "100")
    isp.run(BEGIN)
    drafts = next_invoices(isp.session, isp.rules, service.id, BEGIN, 1, Proposal(plan_id=bundle.id))
    assert [line.description for line in drafts[0].lines] == ["Hogar + IP fija", "TV", "Seguro"]


def test_an_item_taken_out_is_on_no_further_invoice(isp, bundle):
    service = isp.service(BEGIN, "310")
    isp.run(BEGIN)
    tv = items_of_plans(isp.session, [bundle])[bundle.id][1]
    end_item(isp.session, isp.actor, tv, noon(HALF))
    isp.run(date(2027, 2, 5))
    assert isp.invoices(service)[-1].net == 341
    with pytest.raises(Invalid):
        end_item(isp.session, isp.actor, tv, noon(HALF))


@pytest.mark.parametrize(
    "terms",
    [
        ItemTerms(" "),
        ItemTerms("x" * 101),
        ItemTerms("tv", Decimal(1)),
        ItemTerms("A", Decimal(0)),
        ItemTerms("A", Decimal(-1)),
        ItemTerms("A", Decimal("1.001")),
        ItemTerms("A", Decimal(10**10)),
        ItemTerms("A", once=True),
    ],
    ids=["no name", "long", "twice", "nothing", "negative", "too precise", "too much", "once for nothing"],
)
def test_an_item_that_cannot_be_sold_is_refused(isp, bundle, terms):
    with pytest.raises(Invalid):
        add_item(isp.session, isp.actor, bundle, terms)
