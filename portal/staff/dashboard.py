"""The first page: is the network up, who gets in, what waits."""

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from portal.permissions import Permission, requires

blueprint = Blueprint("dashboard", __name__)


@blueprint.get("/")
@requires(Permission.DASHBOARD_VIEW)
def index() -> ResponseReturnValue:
    return render_template("staff/dashboard/index.html")
