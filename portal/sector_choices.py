"""The sectors as a form offers them: those in use, by the name of their site."""

from typing import Any

from flask_babel import gettext as _
from sqlalchemy import or_, select

from db.models import Sector, Site
from portal import context


def sector_choices(kept: Any = None) -> list[tuple[Any, str]]:
    """Return ids and names, after an empty choice; `kept` is offered even when it is out of use."""
    rows = context.db().execute(
        select(Sector.id, Site.name.label("site"), Sector.name)
        .join(Site, Site.id == Sector.site_id)
        .where(or_(Sector.in_use, Sector.id == kept))
        .order_by(Site.name, Sector.name)
    )
    return [("", _("Not known")), *((row.id, f"{row.site} · {row.name}") for row in rows)]
