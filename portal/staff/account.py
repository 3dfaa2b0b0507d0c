"""A staff member's own account: language and password."""

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from portal.permissions import signed_in

blueprint = Blueprint("account", __name__, url_prefix="/account")


@blueprint.get("/")
@signed_in
def index() -> ResponseReturnValue:
    return render_template("staff/account/index.html")
