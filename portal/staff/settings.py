"""All settings on one page, as far as this person may open them."""

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from portal.navigation import settings_of_person
from portal.permissions import signed_in
from portal.settings_areas import GROUPS

blueprint = Blueprint("settings", __name__, url_prefix="/settings")


@blueprint.get("/")
@signed_in
def index() -> ResponseReturnValue:
    links = settings_of_person()
    groups = [
        (title, [(links.pop(endpoint), sentence) for endpoint, sentence in entries.items() if endpoint in links])
        for title, entries in GROUPS.items()
    ]
    return render_template("staff/settings.html", groups=[group for group in groups if group[1]], others=links.values())
