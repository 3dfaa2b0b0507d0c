"""Entering an operator by its consent: for the platform, and for a reseller's parent."""

from flask import abort
from flask_babel import gettext as _

from crm.accounts import holds
from db.audit import Actor, record
from db.models import Consent, Staff
from portal import context
from portal.auth import let_in
from portal.i18n import reader_language


def enter_by(operator_id: int, consent_id: int) -> bool:
    """Sign this browser in to an operator as the staff member that its consent made; False where it does not hold.

    What was asked by others, or of others, is not found. Commits.
    """
    session, actor = context.db(), context.actor()
    consent = session.get(Consent, consent_id)
    if consent is None or consent.operator_id != operator_id or consent.asker_operator_id != actor.operator_id:
        abort(404)
    if not holds(consent, context.now()) or consent.staff_id is None:
        return False
    staff_id, until = consent.staff_id, consent.until
    after = {"consent": consent.id, "until": until}
    record(session, actor, "consent.enter", "operator", operator_id, None, after)
    session.flush()
    name = _("%(name)s (%(company)s)", name=context.staff().name, company=context.operator().name)[:200]
    language = reader_language()
    with context.portal().tenancy.acting_for(session, operator_id):
        them = Actor(operator_id, actor.name, None, actor.address)
        record(session, them, "consent.enter", "consent", consent.id, None, {"who": actor.name, "until": until})
        person = session.get_one(Staff, staff_id)
        person.name, person.language = name, language
        session.flush()
    session.commit()
    context.leave_operator()
    let_in(context.open_for(operator_id).get_one(Staff, staff_id), "password")
    return True
