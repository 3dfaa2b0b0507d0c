"""What the operator decides for all of its subscribers: when they are cut off, and how the walled garden is."""

from typing import Any

from flask import Blueprint, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from wtforms import Field

from aaa.facts import Garden, GardenCause
from crm.policy import PolicyTerms, change_policy, terms_of_policy
from crm.problems import Invalid
from portal import context, forms
from portal.errors import put_on_form
from portal.fields import MinutesField, RateField, seconds
from portal.labels import choices, label
from portal.messages import done
from portal.permissions import Permission, requires

blueprint = Blueprint("policy", __name__, url_prefix="/settings/policy")


class PolicyForm(forms.Form):
    suspended_action = forms.choice(_l("Who may not go on line"))
    cut_off_day = forms.whole_number(_l("Cut-off day"), required=True)
    grace_days = forms.whole_number(_l("Days of grace"), required=True)
    garden_download = RateField(_l("Download in the garden"))
    garden_upload = RateField(_l("Upload in the garden"))
    garden_address_list = forms.text(_l("Address list of the garden"), required=True)
    active_address_list = forms.text(_l("Address list of everybody else"), required=True)
    garden_pool = forms.text(_l("Address pool of the garden"))
    garden_timeout = MinutesField(_l("Ask again after"))
    dhcp_timeout = MinutesField(_l("DHCP lease at most"))
    outage_action = forms.choice(_l("Without news from the database"))
    outage_after = MinutesField(_l("That long after the last news"))
    overdue_address_list = forms.text(_l("Address list"))
    overdue_pool = forms.text(_l("Address pool"))
    staff_address_list = forms.text(_l("Address list"))
    staff_pool = forms.text(_l("Address pool"))
    paused_address_list = forms.text(_l("Address list"))
    paused_pool = forms.text(_l("Address pool"))
    used_up_address_list = forms.text(_l("Address list"))
    used_up_pool = forms.text(_l("Address pool"))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.suspended_action.choices = choices("suspended_action")
        self.outage_action.choices = choices("outage_action")

    def of_cause(self, cause: GardenCause) -> tuple[Field, Field]:
        """Return the two fields of a cause."""
        return self[f"{cause.value}_address_list"], self[f"{cause.value}_pool"]

    def terms(self) -> PolicyTerms:
        gardens = {}
        for cause in GardenCause:
            address_list, pool = self.of_cause(cause)
            gardens[cause] = Garden(address_list.data or None, pool.data or None)
        return PolicyTerms(
            suspended_action=self.suspended_action.data,
            cut_off_day=self.cut_off_day.data or 0,
            grace_days=-1 if self.grace_days.data is None else self.grace_days.data,
            garden_download=self.garden_download.data or 0,
            garden_upload=self.garden_upload.data or 0,
            garden_address_list=self.garden_address_list.data or "",
            active_address_list=self.active_address_list.data or "",
            garden_pool=self.garden_pool.data or None,
            garden_timeout=self.garden_timeout.length,
            dhcp_timeout=self.dhcp_timeout.length,
            outage_action=self.outage_action.data,
            outage_after=self.outage_after.length,
            gardens=gardens,
        )


@blueprint.get("/")
@requires(Permission.SETTINGS_EDIT)
def index() -> ResponseReturnValue:
    terms = terms_of_policy(context.operator())
    typed = {name: getattr(terms, name) for name in PolicyTerms.__slots__ if name != "gardens"}
    typed |= {name: seconds(typed[name]) for name in ("garden_timeout", "dhcp_timeout", "outage_after")}
    for cause, garden in terms.gardens.items():
        typed[f"{cause.value}_address_list"] = garden.address_list
        typed[f"{cause.value}_pool"] = garden.pool
    return _page(PolicyForm(data=typed))


@blueprint.post("/")
@requires(Permission.SETTINGS_EDIT)
def change() -> ResponseReturnValue:
    form = PolicyForm()
    if form.validate():
        try:
            change_policy(context.db(), context.actor(), context.operator(), form.terms())
        except Invalid as invalid:
            context.db().rollback()
            put_on_form(form, invalid)
        else:
            context.db().commit()
            done(_("Saved. Who is on line now gets the new terms within seconds."))
            return redirect(url_for(".index"))
    return _page(form), 422


def _page(form: PolicyForm) -> str:
    causes = [(label("garden_cause", cause), *form.of_cause(cause)) for cause in GardenCause]
    own = any(address_list.data or pool.data for _title, address_list, pool in causes)
    return render_template("staff/policy/index.html", form=form, causes=causes, own=own)
