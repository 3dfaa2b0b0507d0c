"""Bank statements: reading a file, and booking its lines one by one with proposals of who has paid."""

from pathlib import PurePath
from typing import Any

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import func, select
from wtforms import BooleanField, FileField

from billing.bank_files import BadFile, FileFlaw, read_statement
from billing.bank_lines import book, enter_lines, proposals, put_aside
from core.i18n import N_
from crm.problems import Invalid
from db.models import BankLine, PaymentMethod
from portal import context, forms
from portal.errors import problem_text
from portal.forms import Form
from portal.messages import done, refuse
from portal.permissions import Permission, requires
from portal.staff.billing import base

blueprint = Blueprint("bank", __name__, url_prefix="/billing/bank")
blueprint.record_once(base.install)

SHOWN = 25
"""Lines on a page: each of them is looked for in the books."""

FLAWS = {
    FileFlaw.EMPTY: N_("There is nothing in this file."),
    FileFlaw.NOT_OFX: N_("This OFX file cannot be read: %(detail)s"),
    FileFlaw.WRONG_CURRENCY: N_("The statement is in %(detail)s, which is not your currency."),
    FileFlaw.NO_COLUMN: N_("There is no column for this: %(detail)s. Name the file's columns below."),
    FileFlaw.BAD_DAY: N_("Line %(line)s: %(detail)s is not a date."),
    FileFlaw.BAD_AMOUNT: N_("Line %(line)s: %(detail)s is not an amount."),
    FileFlaw.TOO_LONG: N_("The file has more than %(detail)s lines. Split it."),
}


class StatementForm(Form):
    file = FileField(_l("OFX or CSV file of your bank"))
    day = forms.text(_l("Column of the date"))
    amount = forms.text(_l("Column of the amount that came in"))
    reference = forms.text(_l("Column of the reference"))
    payer = forms.text(_l("Column of the payer's name"))
    month_first = BooleanField(_l("The month stands before the day"))


@blueprint.get("/")
@requires(Permission.PAYMENTS_EDIT)
def index() -> ResponseReturnValue:
    return _page(StatementForm(formdata=None))


@blueprint.post("/")
@requires(Permission.PAYMENTS_EDIT)
def read() -> ResponseReturnValue:
    """Put the lines of a file on the list."""
    form, rules = StatementForm(), base.rules()
    sent = request.files.get("file")
    form.validate()
    columns = {name: form[name].data or "" for name in ("day", "amount", "reference", "payer")}
    try:
        content = sent.read() if sent else b""
        lines = read_statement(content, rules.currency, rules.locale, columns, month_first=form.month_first.data)
    except BadFile as bad:
        form.file.errors = [_(FLAWS[bad.flaw], line=bad.line, detail=bad.detail)]
        return _page(form), 422
    name = PurePath((sent.filename if sent else "") or "").name
    new, known = enter_lines(context.db(), context.actor(), name, lines)
    context.db().commit()
    done(_("%(new)s new lines; %(known)s were here already.", new=new, known=known))
    return redirect(url_for(".index"))


def _page(form: StatementForm) -> str:
    session, rules = context.db(), base.rules()
    waiting = select(BankLine).where(BankLine.state == "waiting")
    lines = session.scalars(waiting.order_by(BankLine.booked_on, BankLine.id).limit(SHOWN)).all()
    ended = (
        select(BankLine).where(BankLine.state != "waiting").order_by(BankLine.ended_at.desc(), BankLine.id).limit(10)
    )
    return render_template(
        "staff/dunning/bank.html",
        form=form,
        lines=[(line, proposals(session, rules.operator_id, line)) for line in lines],
        count=session.scalar(select(func.count()).select_from(waiting.subquery())),
        ended=session.scalars(ended).all(),
        methods=_methods(),
    )


def _methods() -> list[Any]:
    query = select(PaymentMethod).where(
        PaymentMethod.active, PaymentMethod.account == "bank", PaymentMethod.gateway.is_(None)
    )
    return list(context.db().scalars(query.order_by(PaymentMethod.id)))


@blueprint.get("/<int:line_id>")
@requires(Permission.PAYMENTS_EDIT)
def page(line_id: int) -> ResponseReturnValue:
    """One line whose payer nobody proposed: look for the subscriber, and book it."""
    line = context.db().get(BankLine, line_id) or abort(404)
    if line.state != "waiting":
        refuse(_("This was done already."))
        return redirect(url_for(".index"))
    words, found = base.searched_people()
    return render_template("staff/dunning/bank_line.html", line=line, words=words, found=found, methods=_methods())


@blueprint.post("/<int:line_id>/book")
@requires(Permission.PAYMENTS_EDIT)
def confirm(line_id: int) -> ResponseReturnValue:
    """Book a line as a payment of the subscriber that was chosen."""
    session = context.db()
    wanted = request.form.get("subscriber_id", "")
    method = request.form.get("method_id", "")
    if not (wanted.isascii() and wanted.isdigit() and len(wanted) < 16 and method.isascii() and method.isdigit()):
        refuse(_("Choose who has paid."))
        return redirect(url_for(".index"))
    try:
        booked = book(session, context.actor(), base.rules(), line_id, int(wanted), int(method), context.now())
    except Invalid as invalid:
        session.rollback()
        refuse(" ".join(problem_text(problem) for problem in invalid.problems))
    else:
        session.commit()
        back = [each.name for each in booked.effects.services if each.restored] if booked.effects else []
        receipt = base.number_of(booked.payment)
        if back:
            done(_("Booked as receipt %(receipt)s; %(services)s is back.", receipt=receipt, services=", ".join(back)))
        else:
            done(_("Booked as receipt %(receipt)s.", receipt=receipt))
    return redirect(url_for(".index"))


@blueprint.post("/<int:line_id>/aside")
@requires(Permission.PAYMENTS_EDIT)
def aside(line_id: int) -> ResponseReturnValue:
    if context.db().get(BankLine, line_id) is None:
        abort(404)
    try:
        put_aside(context.db(), context.actor(), line_id, context.now())
    except Invalid as invalid:
        context.db().rollback()
        refuse(" ".join(problem_text(problem) for problem in invalid.problems))
    else:
        context.db().commit()
        done(_("Put aside."))
    return redirect(url_for(".index"))
