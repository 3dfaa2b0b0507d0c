"""The chart of accounts: codes and names that the journal has for accounting software."""

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing.chart import MEANINGS, change_chart, chart_of
from crm.problems import Invalid
from portal import context
from portal.errors import problem_text
from portal.messages import done
from portal.permissions import Permission, requires
from portal.staff.billing import base

blueprint = Blueprint("chart", __name__, url_prefix="/reports/accounts")
blueprint.record_once(base.install)


@blueprint.route("/", methods=["GET", "POST"])
@requires(Permission.BILLING_SETTINGS)
def index() -> ResponseReturnValue:
    session = context.db()
    chart, problems = chart_of(session, context.staff().operator_id), {}
    if request.method == "POST":
        chart = {account: (_typed(f"code-{account}"), _typed(f"name-{account}")) for account in chart}
        try:
            change_chart(session, context.actor(), chart)
        except Invalid as invalid:
            session.rollback()
            problems = {each.field: problem_text(each) for each in invalid.problems}
        else:
            session.commit()
            done(_("Saved. The journal has these codes from now on, for earlier months too."))
            return redirect(url_for(".index"))
    page = render_template(
        "staff/billing/chart.html", chart=chart, problems=problems,
        meanings={account: _(text) for account, text in MEANINGS.items() if account in chart},
    )  # fmt: skip
    return page, 422 if problems else 200


def _typed(name: str) -> str:
    return request.form.get(name, "").replace("\0", "")
