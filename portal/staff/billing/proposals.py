"""What is tried before it is decided: another plan, price, tax or cut-off, as a form that changes nothing."""

from decimal import Decimal
from typing import Any

from flask import request
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import select
from wtforms import BooleanField

from billing.cycles import Timing
from billing.preview import Proposal
from billing.taxes import Tax
from db.models import RatePlan
from portal import context, forms
from portal.forms import Form
from portal.labels import choices


class ProposalForm(Form):
    """Filled from the URL, so that a proposal can be sent to a colleague. What is out of range counts as left out."""

    price_percent = forms.number(_l("Prices changed by"))
    plan_id = forms.choice(_l("With the plan"), numeric=True)
    tax = forms.number(_l("With one tax of"))
    tax_included = BooleanField(_l("That tax is included in the prices"))
    timing = forms.choice(_l("Billed"), default="")
    cut_off = forms.choice(_l("Cut off"), default="")
    cut_off_day = forms.whole_number(_l("With the cut-off day"))
    months = forms.whole_number(_l("Paid for so many months at once"))
    due_days = forms.whole_number(_l("Due after"))

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(formdata=request.args, **kwargs)
        plans = context.db().scalars(select(RatePlan).where(~RatePlan.archived).order_by(RatePlan.name))
        self.plan_id.choices = [("", _("As it is")), *((str(plan.id), plan.name) for plan in plans)]
        self.timing.choices = [("", _("As it is")), *choices("timing")]
        self.cut_off.choices = [("", _("As it is")), *choices("cut_off")]

    def proposal(self) -> Proposal:
        percent, tax = self.price_percent.data, self.tax.data
        taxed = tax is not None and 0 <= tax <= 100
        return Proposal(
            plan_id=self.plan_id.data,
            price_percent=percent if percent is not None and -100 <= percent <= 1000 else None,
            taxes=(Tax(_("Tax"), Decimal(tax or 0), self.tax_included.data),) if taxed else None,
            cut_off=self.cut_off.data or None,
            cut_off_day=_within(self.cut_off_day.data, 1, 31),
            timing=Timing(self.timing.data) if self.timing.data else None,
            months=_within(self.months.data, 1, 12),
            due_days=_within(self.due_days.data, 0, 60),
        )


def _within(number: int | None, low: int, high: int) -> int | None:
    return number if number is not None and low <= number <= high else None
