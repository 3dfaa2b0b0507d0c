"""The forms of a ticket's page. Those that stand on it together have prefixes of their own."""

from typing import Any

from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import or_, select
from sqlalchemy.orm import Session
from wtforms import HiddenField

from crm.help_desk import categories
from crm.incidents import place_of
from crm.ticket_clock import OPEN_STATES
from crm.tickets import TicketDetails
from db.models import Incident, Staff, Ticket
from portal import context, forms
from portal.fields import Option
from portal.labels import choices, label


class NewForm(forms.Form):
    subject = forms.text(_l("Subject"), required=True)
    category = forms.choice(_l("Category"), numeric=True)
    priority = forms.choice(_l("Priority"))
    text = forms.long_text(_l("What is it about?"))
    incident_id = forms.choice(_l("Incident"), numeric=True)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        mine = categories(context.db(), context.staff().operator_id)
        self.category.choices = [Option("", _("None")), *(Option(each.id, each.name) for each in mine)]
        self.priority.choices = [Option("", _("as the category says")), *_options("ticket_priority")]
        self.incident_id.choices = _incidents(None)


class AnswerForm(forms.Form):
    text = forms.long_text(_l("Answer"))
    state = forms.choice(_l("Then it is"))
    seen_entry = HiddenField()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.state.choices = [
            Option("waiting_subscriber", _("waiting for the subscriber")),
            Option("solved", _("solved")),
            Option("waiting_others", _("waiting for others")),
            Option("open", _("still in work")),
        ]


class NoteForm(forms.Form):
    text = forms.long_text(_l("Note"))


class CallForm(forms.Form):
    direction = forms.choice(
        _l("Who rang"), choices=[Option("in", _l("The subscriber rang us")), Option("out", _l("We rang"))]
    )
    minutes = forms.whole_number(_l("Minutes"))
    said = forms.long_text(_l("What was said"))


class EscalateForm(forms.Form):
    queue = forms.choice(_l("To"))
    reason = forms.long_text(_l("Reason"))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.queue.choices = _options("role")


class MergeForm(forms.Form):
    into = forms.text(_l("Number of the other ticket"), required=True)


class TicketForm(forms.Form):
    subject = forms.text(_l("Subject"), required=True)
    category_id = forms.choice(_l("Category"), numeric=True)
    priority = forms.choice(_l("Priority"))
    queue = forms.choice(_l("Queue"))
    assigned_id = forms.choice(_l("Assigned to"), numeric=True)
    state = forms.choice(_l("State"))
    incident_id = forms.choice(_l("Incident"), numeric=True)
    version = HiddenField()

    def fill(self, ticket: Ticket) -> None:
        """Give the choices, among them what the ticket has now even if it is out of use."""
        session, operator_id = context.db(), context.staff().operator_id
        found = categories(session, operator_id, all_of_them=True)
        self.category_id.choices = [
            Option("", _("None")),
            *(Option(each.id, each.name) for each in found if each.active or each.id == ticket.category_id),
        ]
        self.priority.choices = _options("ticket_priority")
        self.queue.choices = _options("role")
        people = session.scalars(
            select(Staff).where(Staff.active | (Staff.id == ticket.assigned_id)).order_by(Staff.name)
        )
        self.assigned_id.choices = [Option("", _("Nobody")), *(Option(each.id, each.name) for each in people)]
        states = [*OPEN_STATES, ticket.state] if ticket.state not in OPEN_STATES else OPEN_STATES
        self.state.choices = [Option(state, label("ticket_state", state)) for state in states]
        self.incident_id.choices = _incidents(ticket.incident_id)

    def details(self) -> TicketDetails:
        return TicketDetails(
            subject=self.subject.data or "",
            category_id=self.category_id.data,
            priority=self.priority.data,
            queue=self.queue.data,
            assigned_id=self.assigned_id.data,
            state=self.state.data,
            incident_id=self.incident_id.data,
        )


def _options(kind: str) -> list[Option]:
    return [Option(value, text) for value, text in choices(kind)]


def incident_title(session: Session, incident: Incident) -> str:
    """Return what an incident is called where it is one word of many: what it is, and where."""
    place = " · ".join(part for part in place_of(session, incident) if part)
    title = incident.title or label("incident_scope", incident.scope)
    return f"#{incident.id} {title}, {place}" if place else f"#{incident.id} {title}"


def _incidents(present: int | None) -> list[Option]:
    """Return the open incidents, and the one that a ticket has."""
    query = select(Incident).where(or_(Incident.closed_at.is_(None), Incident.id == present))
    return [
        Option("", _("None")),
        *(
            Option(each.id, incident_title(context.db(), each))
            for each in context.db().scalars(query.order_by(Incident.id.desc()).limit(50))
        ),
    ]
