"""The search of the whole portal: one field takes a name, phone, user name, MAC or IP address."""

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from portal.permissions import Permission, requires

blueprint = Blueprint("search", __name__, url_prefix="/search")


@blueprint.get("/")
@requires(Permission.SUBSCRIBERS_VIEW)
def index() -> ResponseReturnValue:
    return render_template("staff/search/index.html")


@blueprint.get("/suggest")
@requires(Permission.SUBSCRIBERS_VIEW)
def suggest() -> ResponseReturnValue:
    return ""
