"""The captive pages as staff set them up: what they do, where each hotspot's login page is, and what it is called here.

A login goes only to the addresses entered here. Where a phone named another one, it stands beside the router, so that
a hotspot whose name changed is found out; nobody but a person takes it over.
"""

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import select
from wtforms import BooleanField, SelectMultipleField

from crm.captive import CaptiveTerms, captive_terms, change_captive_terms, change_hosts
from crm.problems import Invalid
from db.models import CaptiveHotspot, Nas, VoucherBatch
from portal import context, forms
from portal.captive.place import hotspot_token
from portal.captive.variables import host_of
from portal.errors import put_on_form
from portal.forms import Form
from portal.messages import done, refuse
from portal.permissions import Permission, requires

blueprint = Blueprint("captive_settings", __name__, url_prefix="/settings/captive")


class CaptiveForm(Form):
    ask_terms = BooleanField(_l("Terms of use have to be accepted"))
    offer_trial = BooleanField(_l("Offer the free trial of the hotspot"))
    remember_days = forms.whole_number(_l("Days that a hotspot remembers a device"), required=True)
    paying_minutes = forms.whole_number(_l("Minutes that who is paying is on line"), required=True)
    batch_ids = SelectMultipleField(_l("Codes that are sold on the page"), coerce=int)


@blueprint.route("/", methods=["GET", "POST"])
@requires(Permission.SETTINGS_EDIT)
def index() -> ResponseReturnValue:
    session, operator_id = context.db(), context.staff().operator_id
    kept = captive_terms(session, operator_id)
    form = CaptiveForm(
        data={
            "ask_terms": kept.ask_terms,
            "offer_trial": kept.offer_trial,
            "remember_days": kept.remember_days,
            "batch_ids": list(kept.batch_ids),
            "paying_minutes": kept.paying_minutes,
        }
    )
    batches = session.scalars(
        select(VoucherBatch)
        .where(VoucherBatch.voided_at.is_(None), VoucherBatch.price > 0)
        .order_by(VoucherBatch.id.desc())
        .limit(100)
    ).all()
    form.batch_ids.choices = [(batch.id, batch.name) for batch in batches]
    if request.method == "POST" and form.validate():
        wanted = CaptiveTerms(
            form.ask_terms.data,
            form.offer_trial.data,
            form.remember_days.data or 0,
            tuple(form.batch_ids.data or ()),
            form.paying_minutes.data or 0,
        )
        try:
            change_captive_terms(session, context.actor(), wanted)
        except Invalid as invalid:
            session.rollback()
            put_on_form(form, invalid)
        else:
            session.commit()
            done(_("Saved. Phones see it within seconds."))
            return redirect(url_for(".index"))
    rows = session.execute(
        select(Nas, CaptiveHotspot)
        .outerjoin(CaptiveHotspot, CaptiveHotspot.nas_id == Nas.id)
        .where(Nas.enabled)
        .order_by(Nas.name)
        .limit(200)
    ).all()
    base = context.portal().settings.public_url
    places = [(nas, hotspot, f"{base}/captive/{hotspot_token(session, operator_id, nas.id)}") for nas, hotspot in rows]
    session.commit()  # the key of links is made at its first use
    page = render_template("staff/captive.html", form=form, batches=batches, places=places)
    return page, 422 if form.errors else 200


@blueprint.post("/<int:nas_id>/hosts")
@requires(Permission.SETTINGS_EDIT)
def hosts(nas_id: int) -> ResponseReturnValue:
    """Say under which names and addresses the login page of a hotspot is."""
    session = context.db()
    nas = session.get(Nas, nas_id) or abort(404)
    typed = request.form.get("hosts", "").replace(",", " ").split()
    read = [host_of(each) for each in typed]
    if None in read:
        refuse(_("%(host)s is no name or address, such as 10.5.50.1.", host=typed[read.index(None)][:60]))
        return redirect(url_for(".index"))
    try:
        change_hosts(session, context.actor(), nas.id, tuple(each for each in read if each))
    except Invalid:
        session.rollback()
        refuse(_("A hotspot has at most ten names and addresses."))
    else:
        session.commit()
        done(_("Saved. Logins at %(nas)s go there and nowhere else.", nas=nas.name))
    return redirect(url_for(".index"))
