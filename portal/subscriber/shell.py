"""What makes the pages an operator's own, and an application on a phone: colours, logo, icons, manifest, worker.

None of it is about a subscriber. The service worker keeps styles, scripts and a page that says "no connection", and
nothing else: pages with somebody's data are never kept.
"""

from flask import Response, abort, g, jsonify, render_template, url_for
from flask.typing import ResponseReturnValue

from core.colours import parts
from crm.brands import ICON_SIZES, icon, logo_of
from portal.assets import STATIC
from portal.permissions import public
from portal.subscriber.frame import blueprint, brand, db, operator

A_DAY = 24 * 3600


def _kept(response: Response, seconds: int = A_DAY) -> Response:
    """Let browsers keep what carries the brand's version in its address."""
    response.headers["Cache-Control"] = f"public, max-age={seconds}"
    return response


@blueprint.get("/<slug>/brand.css")
@public
def colours() -> ResponseReturnValue:
    found = brand()
    themes = ((":root", found.link), ('[data-bs-theme="dark"]', found.link_dark))
    lines = [f":root {{ --my-colour: {found.colour}; --my-on-colour: {found.on_colour}; }}"]
    for selector, link in themes:
        numbers = ", ".join(map(str, parts(link)))
        lines.append(
            f"{selector} {{ --tblr-primary: {link}; --tblr-primary-rgb: {numbers}; --tblr-link-color: {link};"
            f" --tblr-link-color-rgb: {numbers}; --tblr-link-hover-color: {link};"
            f" --tblr-link-hover-color-rgb: {numbers}; }}"
        )
    return _kept(Response("\n".join(lines) + "\n", mimetype="text/css"))


@blueprint.get("/<slug>/logo.png")
@public
def logo() -> ResponseReturnValue:
    content = logo_of(db(), operator().id) or abort(404)
    return _kept(Response(content, mimetype="image/png"))


@blueprint.get("/<slug>/icon-<int:size>.png")
@public
def app_icon(size: int) -> ResponseReturnValue:
    if size not in ICON_SIZES:
        abort(404)
    content = icon(brand(), logo_of(db(), operator().id), size)
    return _kept(Response(content, mimetype="image/png"))


@blueprint.get("/<slug>/manifest.webmanifest")
@public
def manifest() -> ResponseReturnValue:
    found = brand()
    icons = [
        {
            "src": url_for(".app_icon", size=size, v=found.version),
            "sizes": f"{size}x{size}",
            "type": "image/png",
            "purpose": purpose,
        }
        for size in ICON_SIZES
        for purpose in ("any", "maskable")
    ]
    response = jsonify(
        id=url_for(".home"),
        name=found.name,
        short_name=found.name,  # phones shorten it themselves, and not within a word
        lang=g.language,
        start_url=url_for(".home"),
        scope=url_for(".home"),
        display="standalone",
        theme_color=found.colour,
        background_color="#ffffff",
        icons=icons,
    )
    response.mimetype = "application/manifest+json"
    return _kept(response, 3600)


@blueprint.get("/<slug>/worker.js")
@public
def worker() -> ResponseReturnValue:
    """The service worker, from below the pages that it works for: that is as far as it may reach."""
    response = Response((STATIC / "my-worker.js").read_text(), mimetype="text/javascript")
    response.headers["Cache-Control"] = "no-cache"
    return response


@blueprint.get("/<slug>/offline")
@public
def offline() -> ResponseReturnValue:
    """What the service worker shows where there is no connection; the same for everybody."""
    return _kept(Response(render_template("subscriber/offline.html")), 3600)
