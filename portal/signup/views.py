"""Opening an account: name and address, the link in the mail, then password, company and country.

The first page answers the same whoever asks. The mail's link may be opened as often as somebody likes, since programs
that check mail open it first; the account is opened by sending its form, once.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from zoneinfo import ZoneInfo

from flask import Blueprint, abort, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from wtforms import EmailField

from billing.first_rules import first_rules
from core.clock import local_date
from core.i18n import LANGUAGES
from crm.accounts import contact_of
from crm.countries import COUNTRIES, Country, country_of
from crm.message_settings import ChannelTerms, change_channels
from crm.password_rules import require_strong
from crm.problems import FieldProblem, Invalid, Problem
from crm.sign_up import LINK_HOLDS, LinkSpent, Opened, Opening, asked_by, begin, check_asker, check_opening, open_asked
from db.audit import Actor
from db.models import SignUp, Staff
from portal import context, forms
from portal.auth import hasher, let_in, limiter
from portal.errors import put_on_form
from portal.i18n import LANGUAGE_COOKIE, reader_language
from portal.messages import done
from portal.permissions import public
from portal.signup.mails import send_known, send_link

blueprint = Blueprint("sign_up", __name__, url_prefix="/sign-up")


class AskForm(forms.Form):
    name = forms.text(_l("Your full name"), required=True)
    email = EmailField(_l("E-mail address"), [forms.REQUIRED], filters=[forms.stripped])


class OpenForm(forms.Form):
    company = forms.text(_l("Name of your company"), required=True)
    country = forms.choice(_l("Country"), validate_choice=False)
    zone = forms.choice(_l("Time zone"), validate_choice=False)
    tax_id = forms.text(_l("Tax number of the company"))
    password = forms.password(_l("Your password"), required=True)
    again = forms.password(_l("The same once more"), required=True)

    def opening(self) -> Opening:
        return Opening(
            self.company.data or "", self.country.data or "", self.zone.data or "", (self.tax_id.data or "").strip()
        )


@blueprint.before_request
def _only_where_open() -> None:
    if not context.portal().settings.sign_up_open:
        abort(404)


@blueprint.get("")
@public
def page() -> ResponseReturnValue:
    return render_template("signup/ask.html", form=AskForm())


@blueprint.post("")
@public
@limiter.limit("20 per hour; 60 per day")
def ask() -> ResponseReturnValue:
    form = AskForm()
    if not form.validate_on_submit():
        return render_template("signup/ask.html", form=form), 422
    name, email = form.name.data or "", (form.email.data or "").strip()
    try:
        check_asker(name, email)
    except Invalid as invalid:
        put_on_form(form, invalid)
        return render_template("signup/ask.html", form=form), 422
    with _platform() as (session, platform_id):
        language = reader_language()
        known = session.execute(text("SELECT * FROM staff_login(:email)"), {"email": email}).one_or_none() is not None
        token = begin(session, platform_id, name, email, language, request.remote_addr, context.now())
        if token is not None and known:
            send_known(session, platform_id, name, email, language)
        elif token is not None:
            send_link(session, platform_id, name, email, language, token)
        session.commit()
    return render_template("signup/sent.html", email=email, hours=int(LINK_HOLDS.total_seconds() // 3600))


@blueprint.get("/<token>")
@public
@limiter.limit("60 per minute")
def opening(token: str) -> ResponseReturnValue:
    with _platform() as (session, platform_id):
        try:
            asked = asked_by(session, platform_id, token, context.now())
        except LinkSpent:
            return _spent()
        return _form_page(asked, _with_choices(OpenForm(country=_guessed_country(), zone=request.args.get("zone"))))


@blueprint.post("/<token>")
@public
@limiter.limit("30 per minute")
def open_account(token: str) -> ResponseReturnValue:
    with _platform() as (session, platform_id):
        try:
            asked = asked_by(session, platform_id, token, context.now(), lock=True)
        except LinkSpent:
            return _spent()
        form = _with_choices(OpenForm())
        if not form.validate_on_submit():
            return _form_page(asked, form), 422
        try:
            made = _open(session, asked, form)
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
            return _form_page(asked, form), 422
        except IntegrityError:
            session.rollback()
            form.form_errors.append(_("Somebody signs in with this e-mail address already. Sign in instead."))
            return _form_page(asked, form), 422
        session.commit()
    context.leave_operator()
    let_in(context.open_for(made.operator_id).get_one(Staff, made.staff_id), "password")
    done(_("Welcome. %(company)s is ready: this is a demo for up to ten subscribers, with everything in it.",
           company=form.company.data))  # fmt: skip
    return redirect(url_for("first_steps.index"))


def _open(session: Session, asked: SignUp, form: OpenForm) -> Opened:
    """Open the account that a form describes. Raises Invalid."""
    typed, opening = form.password.data or "", form.opening()
    country = check_opening(opening)
    if typed != form.again.data:
        raise Invalid(FieldProblem("again", Problem.NOT_THE_SAME))
    require_strong(typed, asked.name, asked.email, opening.company)
    act_for, now = context.portal().tenancy.acting_for, context.now()
    made = open_asked(session, act_for, asked, opening, hasher.hash(typed), now)
    with act_for(session, made.operator_id):
        person = session.get_one(Staff, made.staff_id)
        actor = Actor(made.operator_id, person.email, person.id, request.remote_addr)
        _first_settings(session, actor, country, opening, person.email)
    return made


def _first_settings(session: Session, actor: Actor, country: Country, opening: Opening, email: str) -> None:
    today = local_date(context.now(), ZoneInfo(opening.zone or country.zones[0]))
    first_rules(session, actor, country, today, legal_name=opening.company.strip(), tax_id=opening.tax_id, email=email)
    change_channels(session, context.portal().settings, actor, ChannelTerms(dial_prefix=country.phone_prefix))


@contextmanager
def _platform() -> Iterator[tuple[Session, int]]:
    """Yield a session that acts for the platform, whoever is signed in in this browser; 404 where there is none."""
    tenancy = context.portal().tenancy
    with tenancy.session(None) as unbound:
        contact = contact_of(unbound)
    if contact is None:
        abort(404)
    with tenancy.session(contact.operator_id) as session:
        yield session, contact.operator_id


def _with_choices(form: OpenForm) -> OpenForm:
    names = sorted(((code, str(_(each.name))) for code, each in COUNTRIES.items()), key=lambda pair: pair[1])
    form.country.choices = [("", _("Choose …")), *names]
    form.zone.choices = [
        ("", _("the usual one of the country")),
        *((zone, f"{zone.rpartition('/')[2].replace('_', ' ')} ({code})") for code, each in COUNTRIES.items()
          for zone in each.zones if len(each.zones) > 1),
    ]  # fmt: skip
    return form


def _guessed_country() -> str:
    """Return the country that the browser's language names, such as es-MX; empty where it names none of ours."""
    for value in request.accept_languages.values():
        _language, _sign, region = value.partition("-")
        if country_of(region.upper()):
            return region.upper()
    return ""


def _form_page(asked: SignUp, form: OpenForm) -> str:
    if asked.language in LANGUAGES and LANGUAGE_COOKIE not in request.cookies:
        g.language = asked.language
    return render_template("signup/open.html", form=form, asked=asked, countries=COUNTRIES.values())


def _spent() -> ResponseReturnValue:
    return render_template("signup/spent.html"), 404
