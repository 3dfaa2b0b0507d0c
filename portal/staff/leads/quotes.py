"""Quotes of a lead: a plan offered in writing, read as PDF, sent by e-mail or by a link in WhatsApp."""

from typing import Any
from urllib.parse import quote as quoted

import structlog
from flask import abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from billing.documents import file_name, render_document
from billing.payments import typed_amount
from billing.pdf import A4, NotRendered
from billing.quotes import QuoteTerms, mail_quote, make_quote, quote_document, quote_url
from core.i18n import LANGUAGES
from core.money import money_locale
from crm.brands import brand_of
from crm.leads import OPEN, WrongLeadState
from crm.problems import Invalid
from db.models import Lead, Quote
from portal import context
from portal.auth import by_person, limiter
from portal.errors import problem_text, put_on_form
from portal.forms import Form, choice, long_text, text, whole_number
from portal.i18n import reader_language
from portal.messages import done, refuse
from portal.pay import pdf_response
from portal.permissions import Permission, requires
from portal.staff.leads.base import blueprint, find, lead_state_text
from portal.staff.leads.sales import sold_choices

log = structlog.get_logger()
DAYS = 15


class QuoteForm(Form):
    plan_id = choice(_l("Rate plan"), numeric=True)
    days = whole_number(_l("Good for so many days"), required=True)
    installation = text(_l("Installation, once"))
    language = choice(_l("Language"))
    note = long_text(_l("Remark on the quote"))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.plan_id.choices = sold_choices()
        self.language.choices = list(LANGUAGES.items())

    def terms(self) -> QuoteTerms:
        """Return what was typed. Raises Invalid."""
        currency, typed = context.operator().currency, (self.installation.data or "").strip()
        locale = money_locale(reader_language(), currency)
        return QuoteTerms(
            plan_id=self.plan_id.data or 0,
            days=self.days.data or 0,
            installation=typed_amount(typed, currency, locale, "installation", zero=True) if typed else None,
            note=self.note.data or "",
            language=self.language.data,
        )


@blueprint.route("/<int:lead_id>/quotes/new", methods=["GET", "POST"])
@requires(Permission.LEADS_EDIT)
def new_quote(lead_id: int) -> ResponseReturnValue:
    """Offer a plan in writing."""
    lead, session = find(lead_id), context.db()
    form = QuoteForm(data={"plan_id": lead.plan_id, "days": DAYS, "language": reader_language()})
    if request.method == "POST" and form.validate():
        try:
            made = make_quote(session, context.actor(), lead, form.terms(), context.now())
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        except WrongLeadState as problem:
            session.rollback()
            refuse(lead_state_text(problem))
            return redirect(url_for(".page", lead_id=lead_id))
        else:
            session.commit()
            done(_("Quote %(number)s is made.", number=made.number))
            return redirect(url_for(".page", lead_id=lead_id) + "#quotes")
    if lead.state not in OPEN:
        refuse(lead_state_text(WrongLeadState(lead.state)))
        return redirect(url_for(".page", lead_id=lead_id))
    status = 422 if form.errors else 200
    return render_template("staff/leads/quote.html", form=form, lead=lead, currency=context.operator().currency), status


@blueprint.get("/<int:lead_id>/quotes/<int:quote_id>.pdf")
@requires(Permission.LEADS_VIEW)
def quote_pdf(lead_id: int, quote_id: int) -> ResponseReturnValue:
    """The quote as PDF: `?download=1`."""
    session, url = context.db(), context.portal().settings.public_url
    document = quote_document(session, context.keyring(), _found(lead_id, quote_id), url)
    session.commit()  # the key that signs its link, made at its first use
    try:
        content = render_document(document, A4)
    except NotRendered:
        log.exception("not_rendered", kind="quote", subject_id=quote_id)
        abort(503)
    return pdf_response(content, file_name(document), download="download" in request.args)


@blueprint.post("/<int:lead_id>/quotes/<int:quote_id>/mail")
@requires(Permission.LEADS_EDIT)
@limiter.limit("30 per hour", key_func=by_person)
def mail_now(lead_id: int, quote_id: int) -> ResponseReturnValue:
    """Send the quote's link by e-mail."""
    session, found = context.db(), _found(lead_id, quote_id)
    url, typed = context.portal().settings.public_url, request.form.get("address", "")
    try:
        to = mail_quote(session, context.keyring(), context.actor(), found, url, typed)
    except Invalid as invalid:
        session.rollback()
        refuse(" ".join(problem_text(problem) for problem in invalid.problems))
    else:
        session.commit()
        done(_("It goes to %(address)s.", address=to))
    return redirect(url_for(".page", lead_id=lead_id) + "#quotes")


@blueprint.get("/<int:lead_id>/quotes/<int:quote_id>/whatsapp")
@requires(Permission.LEADS_EDIT)
def whatsapp(lead_id: int, quote_id: int) -> ResponseReturnValue:
    """Open WhatsApp with a line to the lead and the quote's link in it, to be sent by hand."""
    session, lead, found = context.db(), find(lead_id), _found(lead_id, quote_id)
    operator = context.operator()
    base = brand_of(session, operator).base_url(context.portal().settings.public_url)
    line = _(
        "Hello %(name)s, here is the quote of %(company)s: %(url)s",
        name=lead.name, company=operator.name, url=quote_url(session, context.keyring(), base, found),
    )  # fmt: skip
    session.commit()
    number = "".join(sign for sign in lead.phone or "" if sign.isascii() and sign.isdigit()) or abort(404)
    return redirect(f"https://wa.me/{number}?text={quoted(line)}")


def _found(lead_id: int, quote_id: int) -> Quote:
    """Return a quote of this lead, or answer 404."""
    lead: Lead = find(lead_id)
    found = context.db().get(Quote, quote_id)
    if found is None or found.lead_id != lead.id:
        abort(404)
    return found
