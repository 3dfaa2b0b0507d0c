"""An online payment that is not what was asked for: book it, give it back, or close it with a note."""

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from wtforms import HiddenField

from billing.gateways import ProviderTrouble
from billing.gateways.accounts import TITLES
from billing.gateways.mismatches import book_mismatch, close_mismatch, return_mismatch, what_came
from core.money import format_money, money_locale
from crm.problems import Invalid
from db.models import Checkout, Gateway, Subscriber
from portal import context, forms
from portal.errors import put_on_form
from portal.forms import Form
from portal.i18n import reader_language
from portal.messages import done
from portal.permissions import Permission, requires
from portal.staff.billing.base import amount_of, as_typed, searched_people
from portal.staff.provider_words import trouble_text

blueprint = Blueprint("mismatches", __name__, url_prefix="/gateways/mismatches")


class BookForm(Form):
    subscriber_id = HiddenField()
    amount = forms.text(_l("Amount"), required=True)
    note = forms.text(_l("Note"))


class NoteForm(Form):
    note = forms.text(_l("Note"))


@blueprint.get("/<int:checkout_id>")
@requires(Permission.PAYMENTS_UNDO)
def page(checkout_id: int) -> ResponseReturnValue:
    return _page(_checkout(checkout_id))


@blueprint.post("/<int:checkout_id>/book")
@requires(Permission.PAYMENTS_UNDO)
def book(checkout_id: int) -> ResponseReturnValue:
    """Register what came for the subscriber that was named."""
    session, checkout, form = context.db(), _checkout(checkout_id), BookForm()
    amount = amount_of(form) if form.validate() else None
    if amount is None:
        return _page(checkout, form), 422
    try:
        payment = book_mismatch(
            session,
            context.portal().settings,
            context.actor(),
            checkout,
            number_typed(form.subscriber_id.data),
            amount,
            form.note.data or "",
            context.now(),
        )
    except Invalid as invalid:
        session.rollback()
        put_on_form(form, invalid)
        return _page(_checkout(checkout_id), form), 422
    except ProviderTrouble as trouble:
        return _no_answer(checkout_id, trouble)
    session.commit()
    done(_("The payment is registered."))
    return redirect(url_for("payments.page", payment_id=payment.id))


@blueprint.post("/<int:checkout_id>/return")
@requires(Permission.PAYMENTS_UNDO)
def give_back(checkout_id: int) -> ResponseReturnValue:
    """Have the provider give the money back."""
    session, settings, form = context.db(), context.portal().settings, NoteForm()
    try:
        return_mismatch(session, settings, context.actor(), _checkout(checkout_id), form.note.data or "", context.now())
    except Invalid as invalid:
        return _refused(checkout_id, form, invalid)
    except ProviderTrouble as trouble:
        return _no_answer(checkout_id, trouble)
    done(_("The provider gives the money back."))
    return redirect(url_for("gateways.index"))


@blueprint.post("/<int:checkout_id>/close")
@requires(Permission.PAYMENTS_UNDO)
def close(checkout_id: int) -> ResponseReturnValue:
    """Close it with a note; no money moves."""
    session, form = context.db(), NoteForm()
    try:
        close_mismatch(session, context.actor(), _checkout(checkout_id), form.note.data or "", context.now())
    except Invalid as invalid:
        return _refused(checkout_id, form, invalid)
    session.commit()
    done(_("It is closed, with your note."))
    return redirect(url_for("gateways.index"))


def number_typed(text: object) -> int:
    """Return the number of a subscriber as it came from a page, or 0, which is nobody's."""
    typed = str(text or "")
    return int(typed) if typed.isascii() and typed.isdigit() and len(typed) < 16 else 0


def _checkout(checkout_id: int) -> Checkout:
    return context.db().get(Checkout, checkout_id) or abort(404)


def _refused(checkout_id: int, form: NoteForm, invalid: Invalid) -> ResponseReturnValue:
    context.db().rollback()
    put_on_form(form, invalid)
    return _page(_checkout(checkout_id), None, form), 422


def _no_answer(checkout_id: int, trouble: ProviderTrouble) -> ResponseReturnValue:
    context.db().rollback()
    flash(trouble_text(trouble), "warning")
    return redirect(url_for(".page", checkout_id=checkout_id))


def _page(checkout: Checkout, book_form: BookForm | None = None, note_form: NoteForm | None = None) -> str:
    session = context.db()
    words, found = searched_people()
    came = None
    if checkout.state == "mismatch":
        try:
            came = what_came(session, context.portal().settings, checkout)
        except ProviderTrouble as trouble:
            flash(trouble_text(trouble), "warning")
    if book_form is None:
        same = came is not None and came.currency == context.operator().currency
        amount = as_typed(came.amount) if came is not None and same else ""
        payer = number_typed(request.args.get("for")) or checkout.subscriber_id
        book_form = BookForm(formdata=None, data={"subscriber_id": payer, "amount": amount})
    return render_template(
        "staff/documents/mismatch.html",
        checkout=checkout,
        came=came,
        provider=TITLES[session.get_one(Gateway, checkout.gateway_id).kind],
        subscriber=session.get_one(Subscriber, checkout.subscriber_id),
        amount=format_money(came.amount, came.currency, money_locale(reader_language(), came.currency)) if came else "",
        payer=session.get(Subscriber, number_typed(book_form.subscriber_id.data)),
        words=words,
        found=found,
        book_form=book_form,
        note_form=note_form or NoteForm(formdata=None),
    )
