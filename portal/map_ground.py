"""What maps stand on: an operator's tile server, or a plain grid where there is none.

A page with a map may load pictures from that one host and nothing else from anywhere. Without a tile server, which is
how an operator begins, a map asks nobody: who lives where is told to no stranger.
"""

from flask import Response, make_response

from crm.sites import tile_host
from db.models import MapSettings
from portal import context
from portal.content_policy import with_pictures_from


def ground() -> MapSettings:
    """Return where the operator's maps come from."""
    return context.db().get(MapSettings, context.operator().id) or MapSettings(
        operator_id=context.operator().id, tiles="", attribution=""
    )


def on_ground(page: str) -> Response:
    """Return a page with a map, which may show pictures of the operator's tile server."""
    response = make_response(page)
    host = tile_host(ground().tiles)
    if host is not None:
        response.headers["Content-Security-Policy"] = with_pictures_from(f"https://{host}")
        # Tile servers want to know which site asks; they learn its name and no path.
        response.headers["Referrer-Policy"] = "strict-origin-when-cross-origin"
    return response
