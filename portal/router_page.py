"""The pages of one router: the frame that they share, and the tabs that lead from one to the other.

A tab is shown where its page is part of this portal and open to the person who looks.
"""

from dataclasses import dataclass
from typing import Any

from flask import abort, current_app, render_template, request, url_for
from flask_babel import gettext as _
from sqlalchemy import select
from sqlalchemy.orm import joinedload

from core.i18n import N_
from db.models import Router, RouterState
from network.routers import RouterTerms, refuse_own_address
from portal import context
from portal.navigation import may_open


@dataclass(frozen=True, slots=True)
class Tab:
    """One page of a router. Its route takes `nas_id`."""

    endpoint: str
    title: str
    icon: str


TABS = (
    Tab("routers.page", N_("Overview"), "router"),
    Tab("monitoring.router", N_("Status and graphs"), "chart-line"),
    Tab("clients.router", N_("Clients"), "users"),
    Tab("provisioning.router", N_("Queues"), "adjustments-horizontal"),
    Tab("imports.new_page", N_("Import"), "file-import"),
    Tab("vpn.router", N_("VPN and script"), "shield-lock"),
    Tab("pools.router", N_("Pools"), "address-book"),
    Tab("backups.router", N_("Backups"), "archive"),
)


def router_or_404(nas_id: int) -> Router:
    """Return a router of this operator with its NAS."""
    found = context.db().scalar(select(Router).where(Router.nas_id == nas_id).options(joinedload(Router.nas)))
    return found if found is not None else abort(404)


def router_page(template: str, router: Router, **values: Any) -> str:
    """Return a page that extends `staff/routers/frame.html`, whose block is `tab`.

    The template gets `router`, `nas`, `state` (None until the router was looked at) and `values`.
    """
    return render_template(template, **frame_values(router), **values)


def frame_values(router: Router) -> dict[str, Any]:
    """Return what the frame needs, for pages that are rendered by others (lists)."""
    state = context.db().get(RouterState, router.nas_id)
    return {"router": router, "nas": router.nas, "state": state, "tabs": tabs_of(router.nas_id)}


def tabs_of(nas_id: int) -> list[tuple[str, str, str, bool]]:
    """Return the tabs as the macro draws them. On a page without a tab, that of its blueprint is current."""
    shown = [tab for tab in TABS if tab.endpoint in current_app.view_functions and may_open(tab.endpoint)]
    exact = any(tab.endpoint == request.endpoint for tab in shown)
    return [
        (
            _(tab.title),
            tab.icon,
            url_for(tab.endpoint, nas_id=nas_id),
            tab.endpoint == request.endpoint if exact else tab.endpoint.partition(".")[0] == request.blueprint,
        )
        for tab in shown
    ]


def check_place(nas_address: str, terms: RouterTerms) -> None:
    """Raise Invalid where the API would be asked at this machine itself, unless routers are emulated there."""
    settings = context.portal().settings
    if not (settings.local_routers or settings.demo):
        refuse_own_address(nas_address, terms)
