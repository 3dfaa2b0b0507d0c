"""Home: where everybody lands after signing in, made for the day's work of their role.

A person with several roles has a home for each, as tabs. What stands there comes from `portal.home_tiles`: every area
puts its own there. What a role begins with (the search for who is on the phone, the field that leads to a payment)
stands above them.
"""

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from db.models import ROLES
from portal import context
from portal.home_tiles import Content, Figure, Figures, Lines, Tile, tiles_of
from portal.permissions import signed_in
from portal.staff import tiles  # noqa: F401 - they put themselves on the homes

blueprint = Blueprint("home", __name__)


@blueprint.get("/")
@signed_in
def index() -> ResponseReturnValue:
    roles = roles_in_order()
    role = request.args.get("role", "")
    if role not in roles:
        role = roles[0] if roles else ""
    figures: list[Figure] = []
    cards: list[tuple[Tile, Content]] = []
    quiet: list[tuple[Tile, Lines]] = []
    for each in tiles_of(role):
        content = each.function()
        if isinstance(content, Figures):
            figures += content.figures
        elif isinstance(content, Lines) and not content.lines:
            quiet.append((each, content))  # a line for each, below what there is to do
        elif content is not None:
            cards.append((each, content))
    return render_template("staff/home/index.html", role=role, roles=roles, figures=figures, cards=cards, quiet=quiet)


def roles_in_order() -> list[str]:
    """Return the roles of who is signed in, in the order of ROLES; those that are no longer known are left out."""
    mine = context.staff().roles
    return [role for role in ROLES if role in mine]
