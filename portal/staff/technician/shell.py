"""What makes the page an application: the frame that the phone keeps, its manifest, its service worker.

The frame holds words and no data: the phone fills it with the orders that it keeps itself. Manifest and worker say
nothing of anybody, so they are given to whoever asks, also to a phone whose sign-in ran out.
"""

import json

from flask import Response, g, jsonify, make_response, render_template, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from crm.work_steps import PHOTO_SUBJECTS
from portal.assets import STATIC, asset
from portal.permissions import Permission, public, requires
from portal.staff.technician.day import blueprint

ASSETS = ("technician.css", "technician-store.js", "technician-media.js", "technician.js", "portico.svg")
ICON_SIZES = (192, 512)


@blueprint.get("/")
@requires(Permission.WORK_ORDERS_OWN)
def page() -> ResponseReturnValue:
    response = make_response(render_template("staff/technician/page.html", subjects=PHOTO_SUBJECTS))
    # The picture of a label is read by the camera here, and nowhere else in the portal.
    response.headers["Permissions-Policy"] = "camera=(self), microphone=(), geolocation=(self)"
    return response


@blueprint.get("/manifest.webmanifest")
@public
def manifest() -> ResponseReturnValue:
    icons = [
        {"src": asset(f"technician-{size}.png"), "sizes": f"{size}x{size}", "type": "image/png", "purpose": purpose}
        for size in ICON_SIZES
        for purpose in ("any", "maskable")
    ]
    response = jsonify(
        id=url_for(".page"),
        name=_("Portico: on the road"),
        short_name=_("On the road"),
        lang=g.language,
        start_url=url_for(".page"),
        scope=url_for(".page"),
        display="standalone",
        orientation="portrait",
        theme_color="#0b4f60",
        background_color="#ffffff",
        icons=icons,
    )
    response.mimetype = "application/manifest+json"
    return response


@blueprint.get("/worker.js")
@public
def worker() -> ResponseReturnValue:
    """The service worker, from below the page that it works for, with the files that it is to keep."""
    files = [asset(name) for name in ASSETS] + [asset(f"technician-{size}.png") for size in ICON_SIZES]
    told = {"page": url_for(".page"), "store": asset("technician-store.js"), "files": files}
    script = (STATIC / "technician-worker.js").read_text()
    response = Response(f"self.PORTICO = {json.dumps(told)};\n{script}", mimetype="text/javascript")
    response.headers["Cache-Control"] = "no-cache"
    return response
