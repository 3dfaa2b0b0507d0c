"""Electronic invoices: from an issued invoice to the tax office, past everything that a provider does wrong."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from xml.etree import ElementTree as Xml

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from billing.credit_notes import credit_invoice, void_invoice
from billing.einvoice import BadDocument, FiscalDocument, Line, Party, Tax, provider, ubl
from billing.einvoice.sending import Turn, turn
from billing.einvoice.settings import AccountTerms, enter_account
from billing.rules import rules_of
from core.clock import utc_now
from core.settings import Settings
from db.audit import Actor
from db.models import AuditEntry, BillingSettings, Einvoice, EinvoiceSettings, Invoice
from db.session import make_sessions
from lab.einvoices import EinvoiceProvider, EinvoiceServer
from tests.portal.billing_isp import bill, billed_line, invoices_of, start_billing, today
from tests.portal.conftest import Isp, make_isp, post
from tests.portal.test_billing_payments import text_of

CBC = "{urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2}"
CAC = "{urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2}"


@pytest.fixture(scope="module")
def installation(new_installation: Callable[[], Settings]) -> Settings:
    """An installation that may speak to a provider on this machine."""
    return new_installation().model_copy(update={"local_gateways": True})


@dataclass
class Desk:
    """An operator with a provider, and a subscriber with two invoices; turns are taken at an instant of our own."""

    system: Engine
    settings: Settings
    isp: Isp
    provider: EinvoiceProvider
    url: str
    subscriber_id: int
    now: datetime

    def turn(self, later: timedelta = timedelta(0)) -> Turn:
        self.now += later
        return turn(make_sessions(self.system), self.settings, self.isp.operator_id, self.now)

    def rows(self) -> list[Einvoice]:
        with Session(self.system) as session:
            query = select(Einvoice).where(Einvoice.operator_id == self.isp.operator_id).order_by(Einvoice.id)
            return list(session.scalars(query))

    def states(self) -> list[str]:
        return [row.state for row in self.rows()]

    def invoices(self) -> list[Invoice]:
        return invoices_of(self.system, self.subscriber_id)

    def moved_to(self, url: str) -> None:
        terms = AccountTerms(True, today() - timedelta(days=40), "mx", url, "lab-key")
        with Session(self.system) as session:
            enter_account(session, self.settings.keyring, Actor(self.isp.operator_id, "test"), terms)
            session.commit()

    def void(self, invoice_id: int) -> None:
        with Session(self.system) as session:
            rules = rules_of(session, self.isp.operator_id)
            invoice = session.get_one(Invoice, invoice_id)
            void_invoice(session, Actor(self.isp.operator_id, "test"), rules, invoice, "twice by mistake", utc_now())
            session.commit()

    def credit(self, invoice_id: int, amount: str) -> None:
        with Session(self.system) as session:
            rules = rules_of(session, self.isp.operator_id)
            invoice = session.get_one(Invoice, invoice_id)
            actor = Actor(self.isp.operator_id, "test")
            credit_invoice(session, actor, rules, invoice, Decimal(amount), "two days off", utc_now())
            session.commit()


@pytest.fixture
def desk(system: Engine, installation: Settings, isp: Isp) -> Iterator[Desk]:
    issuer = {"legal_name": "Redes Ñandú S.A.", "tax_id": "RNA010101AB1", "address": "Av. Juárez 5\nPuebla"}
    start_billing(system, isp, taxes=[("IVA", "16", False)], **issuer)
    subscriber_id, _service = billed_line(system, installation, isp, "Ana Peña & Hijos", 45)
    bill(system, isp)
    told = EinvoiceProvider("lab-key")
    with EinvoiceServer(told) as server:
        made = Desk(system, installation, isp, told, server.url, subscriber_id, utc_now())
        made.moved_to(server.url)
        yield made


def test_each_invoice_is_sent_once_and_says_what_was_billed(desk):
    assert desk.turn() == Turn(accepted=2)
    assert desk.turn(timedelta(hours=1)) == Turn()
    first, second = desk.rows()
    assert (first.state, first.fiscal_id, desk.provider.submissions) == ("accepted", "LAB-00000001", 2)
    assert first.key != second.key
    root = Xml.fromstring(desk.provider.documents[first.key].xml)
    invoice = desk.invoices()[0]
    assert root.findtext(f"{CBC}ID") == str(invoice.number)
    assert root.findtext(f"{CBC}DueDate") == invoice.due_on.isoformat()
    assert root.findtext(f"{CAC}AccountingCustomerParty/{CAC}Party/{CAC}PartyName/{CBC}Name") == "Ana Peña & Hijos"
    total = root.find(f"{CAC}LegalMonetaryTotal/{CBC}PayableAmount")
    assert (total.text, total.get("currencyID")) == ("348.00", "MXN")
    tax = root.find(f"{CAC}TaxTotal/{CAC}TaxSubtotal")
    assert [each.text for each in tax.iter() if each.text.strip()] == ["300.00", "48.00", "16", "VAT", "IVA"]


def test_what_was_sent_into_a_broken_line_is_asked_after_and_not_sent_again(desk):
    desk.provider.mute = 1
    assert desk.turn().trouble == "unreachable"
    assert desk.states() == ["sent", "waiting"]
    assert desk.turn(timedelta(seconds=61)) == Turn(accepted=2)
    key = desk.rows()[0].key
    assert desk.provider.requests.count("PUT documents") == 2, "one for each invoice"
    assert desk.provider.documents[key].fiscal_id == "LAB-00000001"


def test_a_worker_that_died_before_it_asked_sends_after_all(desk, monkeypatch):
    class Killed(BaseException):
        pass

    def die(*_args: object, **_more: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(provider.HttpProvider, "submit", die)
        with pytest.raises(Killed):
            desk.turn()
    assert desk.states() == ["sent", "waiting"]
    assert not desk.provider.documents
    assert desk.turn() == Turn(accepted=2)
    assert desk.provider.submissions == 2


@pytest.mark.parametrize(
    ("fault", "value", "trouble"),
    [
        ("answers", 503, "unreachable"),
        ("talks", True, "confused"),
        ("key", "another", "key"),
        ("delay", 0.4, "unreachable"),
    ],
)
def test_a_provider_without_an_answer_holds_nothing_up_and_is_tried_later(desk, monkeypatch, fault, value, trouble):
    monkeypatch.setattr(provider.HttpProvider.__init__, "__kwdefaults__", {"local": False, "timeout": 0.2})
    right = getattr(desk.provider, fault)
    setattr(desk.provider, fault, value)
    assert desk.turn().trouble == trouble
    assert len(desk.provider.requests) <= 1, "the rest of the operator's documents wait"
    assert desk.rows()[0].detail.startswith(trouble)
    desk.turn(timedelta(seconds=61))
    assert desk.rows()[0].tries == 2
    setattr(desk.provider, fault, right)
    desk.turn(timedelta(seconds=61))
    assert desk.states()[0] == "sent", "the second pause is longer than the first"
    desk.turn(timedelta(minutes=2))
    assert desk.states() == ["accepted", "accepted"]
    assert desk.provider.submissions == 2


def test_a_provider_that_says_later_is_asked_when_it_said(desk):
    desk.provider.later = 3
    assert desk.turn() == Turn()
    assert desk.states() == ["sent", "sent"]
    assert desk.turn(timedelta(seconds=80)) == Turn()
    assert len(desk.provider.requests) == 2, "nobody asked before the time"
    desk.turn(timedelta(seconds=20))
    desk.turn(timedelta(seconds=100))
    assert desk.states() == ["accepted", "accepted"]
    assert desk.provider.submissions == 2


def test_a_refused_invoice_shows_why_and_is_sent_again_by_a_person(desk, sign_in):
    desk.provider.refuses = ["The customer's tax number is unknown"]
    assert desk.turn() == Turn(refused=2)
    assert desk.turn(timedelta(days=2)) == Turn(), "it does not try by itself"
    row = desk.rows()[0]
    page = text_of(sign_in("support").get(f"/invoices/{row.subject_id}").text)
    assert "Refused" in page
    assert "The customer's tax number is unknown" in page
    assert post(sign_in("support"), f"/electronic-invoices/{row.id}/again").status_code == 403
    desk.provider.refuses = []
    assert post(sign_in("finance"), f"/electronic-invoices/{row.id}/again").status_code == 302
    desk.turn(timedelta(days=3))
    assert desk.states() == ["accepted", "refused"]
    listed = text_of(sign_in("finance").get("/electronic-invoices/?state=refused").text)
    assert "The customer's tax number is unknown" in listed


def test_a_voided_invoice_is_cancelled_and_one_not_sent_yet_never_leaves(desk):
    first, second = desk.invoices()
    desk.void(second.id)
    assert desk.turn() == Turn(accepted=1), "what is taken back before it is known is not sent"
    desk.void(first.id)
    desk.provider.mute = 1
    assert desk.turn().trouble == "unreachable"
    assert desk.states() == ["cancelling"]
    assert desk.turn(timedelta(minutes=2)) == Turn(cancelled=1)
    assert desk.provider.requests.count("POST documents/cancel") == 1, "it was cancelled, though the line broke"
    assert desk.turn(timedelta(hours=1)) == Turn(), "its credit note needs no document"


def test_what_was_issued_before_the_labs_provider_was_restarted_can_be_cancelled(desk, tmp_path):
    kept = tmp_path / "einvoices.jsonl"
    with EinvoiceServer(EinvoiceProvider("lab-key", kept)) as server:
        desk.moved_to(server.url)
        assert desk.turn() == Turn(accepted=2)
    kept.write_text(kept.read_text() + '\n{"key": "cut sho')  # it was killed while it wrote
    restarted = EinvoiceProvider("lab-key", kept)
    with EinvoiceServer(restarted) as server:
        desk.moved_to(server.url)
        desk.void(desk.invoices()[0].id)
        assert desk.turn(timedelta(minutes=2)) == Turn(cancelled=1)
    assert restarted.submissions == 2
    states = [each.state for each in EinvoiceProvider("lab-key", kept).documents.values()]
    assert states == ["cancelled", "accepted"]


def test_a_part_credited_is_a_document_that_names_its_invoice(desk):
    first = desk.invoices()[0]
    desk.turn()
    desk.credit(first.id, "116")
    assert desk.turn() == Turn(accepted=1)
    note = desk.rows()[-1]
    root = Xml.fromstring(desk.provider.documents[note.key].xml)
    assert root.tag.endswith("CreditNote-2}CreditNote")
    assert root.findtext(f"{CAC}BillingReference/{CAC}InvoiceDocumentReference/{CBC}ID") == str(first.number)
    assert root.findtext(f"{CAC}LegalMonetaryTotal/{CBC}PayableAmount") == "116.00"
    assert root.findtext(f"{CAC}TaxTotal/{CBC}TaxAmount") == "16.00"


def test_where_nothing_can_be_cancelled_any_more_the_credit_note_is_issued(desk):
    first = desk.invoices()[0]
    desk.turn()
    desk.void(first.id)
    desk.provider.keeps = True
    desk.turn()
    desk.turn(timedelta(minutes=1))
    assert [(row.kind, row.state) for row in desk.rows()] == [
        ("invoice", "accepted"), ("invoice", "accepted"), ("credit_note", "accepted"),
    ]  # fmt: skip
    assert "period for cancelling" in desk.rows()[0].detail


def test_without_a_tax_number_of_the_issuer_nothing_is_sent(desk, sign_in):
    desk.turn()
    with Session(desk.system) as session:
        session.get_one(BillingSettings, desk.isp.operator_id).tax_id = ""
        session.commit()
    billed_line(desk.system, desk.settings, desk.isp, "Luis", 1)
    bill(desk.system, desk.isp)
    assert desk.turn() == Turn(refused=1)
    assert desk.provider.submissions == 2
    row = desk.rows()[-1]
    said = text_of(sign_in("finance").get(f"/invoices/{row.subject_id}").text)
    assert "no tax number of the issuer" in said


def test_the_xml_is_downloaded_as_the_provider_signed_it(desk, sign_in):
    desk.turn()
    row = desk.rows()[0]
    answer = sign_in("finance").get(f"/electronic-invoices/{row.id}.xml")
    assert answer.mimetype == "application/xml"
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert answer.data.endswith(b"-->\n")
    assert b"LAB-00000001" in answer.data
    assert Xml.fromstring(answer.data).findtext(f"{CBC}UUID") == row.key
    assert sign_in("technical").get(f"/electronic-invoices/{row.id}.xml").status_code == 403
    assert "LAB-00000001" in sign_in("finance").get(f"/invoices/{row.subject_id}").text


def test_a_new_address_needs_the_key_again_and_the_key_is_never_shown(desk, sign_in):
    browser = sign_in("manager")
    page = browser.get("/electronic-invoices/account")
    assert "lab-key" not in page.text
    assert desk.url in page.text
    entered = {"enabled": "y", "starts_on": today().isoformat(), "country": "co", "format": "ubl"}
    answer = post(browser, "/electronic-invoices/account", provider_url="https://elsewhere.example", **entered)
    assert answer.status_code == 422
    answer = post(browser, "/electronic-invoices/account", provider_url="ftp://x", api_key="k", **entered)
    assert answer.status_code == 422
    answer = post(browser, "/electronic-invoices/account", provider_url=desk.url, **entered)
    assert answer.status_code == 302
    with Session(desk.system) as session:
        kept = session.get_one(EinvoiceSettings, desk.isp.operator_id)
        assert (kept.country, desk.settings.keyring.open("einvoice.key", kept.api_key)) == ("CO", "lab-key")
        audited = session.scalars(select(AuditEntry).where(AuditEntry.operator_id == desk.isp.operator_id)).all()
        assert "lab-key" not in "".join(str(each.after) for each in audited)


def test_an_operator_without_an_account_is_asked_for_one(system, installation, sign_in):
    isp = make_isp(system, installation)
    browser = sign_in("finance", isp)
    assert today().isoformat() in browser.get("/electronic-invoices/account").text
    assert "Nothing was sent" in browser.get("/electronic-invoices/").text
    entered = {"starts_on": today().isoformat(), "country": "mx", "format": "ubl", "provider_url": "https://x.example"}
    assert post(browser, "/electronic-invoices/account", **entered).status_code == 422, "a key is needed"
    assert post(browser, "/electronic-invoices/account", api_key="k", **entered).status_code == 302
    assert turn(make_sessions(system), installation, isp.operator_id, utc_now()) == Turn(), "it is not switched on"


def test_a_private_address_is_not_asked_unless_the_installation_allows_it(desk):
    desk.settings = desk.settings.model_copy(update={"local_gateways": False})
    assert desk.turn().trouble == "unreachable"
    assert not desk.provider.requests


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"issuer": Party("R", country="MX")}, "issuer_tax_id"),
        ({"customer": Party("")}, "customer_name"),
        ({"lines": ()}, "lines"),
        ({"total": Decimal("349")}, "sums"),
        ({"taxes": ()}, "sums"),
    ],
)
def test_a_document_that_lacks_something_is_not_made(change, what):
    values = {
        "kind": "invoice", "number": "F-1", "key": "k", "issued_on": today(), "due_on": None, "currency": "MXN",
        "issuer": Party("Redes", "R1", country="MX"), "customer": Party("Ana \x0b"),
        "lines": (Line("Plan", Decimal(400), Decimal(64)), Line("Discount", Decimal(-100), Decimal(-16))),
        "taxes": (Tax("IVA", Decimal(16), Decimal(300), Decimal(48)),),
        "net": Decimal(300), "tax": Decimal(48), "total": Decimal(348),
    }  # fmt: skip
    root = Xml.fromstring(ubl.build(FiscalDocument(**values)))
    assert [each.text for each in root.iter(f"{CBC}InvoicedQuantity")] == ["1", "-1"]
    assert [each.text for each in root.iter(f"{CBC}PriceAmount")] == ["400.00", "100.00"]
    with pytest.raises(BadDocument, match=what):
        ubl.build(FiscalDocument(**{**values, **change}))


def test_nothing_of_before_the_first_day_is_sent(desk):
    with Session(desk.system) as session:
        session.get_one(EinvoiceSettings, desk.isp.operator_id).starts_on = today() + timedelta(days=1)
        session.commit()
    assert desk.turn() == Turn()
    assert not desk.rows()
