"""VPN and script of a router: its tunnel, how it is, and the text to paste into the router.

The script holds secrets, so it is made by a POST and answered at once: it stands in no address, no cookie and no
redirect, and the audit log says who took it. Without asking, the page shows no secret.
"""

from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Response, abort, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import force_locale
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import select
from sqlalchemy.orm import joinedload
from wtforms import BooleanField, StringField
from wtforms.validators import Regexp

from billing.gateways.hosts import to_pay_at
from core.i18n import LANGUAGES, translator
from crm.brands import brand_of
from crm.captive import captive_terms
from crm.policy import garden_lists
from crm.problems import Invalid
from db.models import Nas, Router, RouterState, VpnPeer, VpnPeerState, VpnServer
from network.scripts import Choices, RadiusService, RouterSide, ServerSide, script, undo_script
from network.version import MESSAGE_AUTHENTICATOR, WIREGUARD, Version, parse_version
from network.vpn import (
    NetworkFull,
    PeerSecrets,
    change_keys,
    create_peer,
    open_secrets,
    peer_of,
    remove_peer,
    state_of,
    take_public_key,
    use_tunnel,
    uses_tunnel,
)
from network.vpn_plan import API_USER, Kind, Status, half
from portal import context, forms
from portal.captive.place import hotspot_token
from portal.errors import problem_text
from portal.i18n import reader_language
from portal.messages import done, refuse
from portal.permissions import Permission, public, requires
from portal.router_page import tabs_of
from portal.tables import Column, Table, show

blueprint = Blueprint("vpn", __name__, url_prefix="/vpn")

HIDDEN = "••••••••"
"""Stands in the script where a secret would."""
SILENT = 60.0
"""Seconds after which a VPN server that wrote no heartbeat is taken not to run."""
_VERSIONS = {"7.15": MESSAGE_AUTHENTICATOR, "7": WIREGUARD, "6": Version(6)}
_HOST = Regexp(r"^[A-Za-z0-9.:-]{1,253}$", message=_l("This is not a name or an address, such as portal.example.net."))
_OPTIONAL_HOST = [forms.OPTIONAL, _HOST]

TABLE = Table(
    name="vpn",
    columns=(
        Column("router", _l("Router"), lambda row: row.VpnPeer.nas.name, Nas.name),
        Column("address", _l("Private address"), lambda row: str(row.VpnPeer.address), VpnPeer.address),
        Column("kind", _l("Kind"), lambda row: row.VpnPeer.kind, VpnPeer.kind),
        Column("since", _l("Connected since"), lambda row: _of(row, "connected_since"), VpnPeerState.connected_since),
        Column("handshake", _l("Last handshake"), lambda row: _of(row, "handshake_at"), VpnPeerState.handshake_at,
               wide=True),
        Column("endpoint", _l("Comes from"), lambda row: _of(row, "endpoint"), wide=True),
    ),
    order="router",
    tie=VpnPeer.id,
    search=lambda text: Nas.name.icontains(text, autoescape=True),
    search_hint=_l("Name of a router"),
)  # fmt: skip


def _of(row: Any, name: str) -> Any:
    return None if row.VpnPeerState is None else getattr(row.VpnPeerState, name)


class PeerForm(forms.Form):
    """For which RouterOS the tunnel is."""

    kind = forms.choice(_l("RouterOS on this router"))


class ScriptForm(forms.Form):
    """What the script does beside the tunnel. Names are those on the router."""

    version = forms.choice(_l("RouterOS"))
    ppp = BooleanField("PPPoE, L2TP, PPTP")
    hotspot = BooleanField(_l("Hotspot"))
    dhcp = BooleanField("DHCP")
    wireless = BooleanField(_l("Wireless by MAC address"))
    only_vpn_api = BooleanField(_l("Nobody else may use the router's API"))
    hotspot_profile = forms.text(_l("Hotspot profile"))
    dhcp_server = forms.text(_l("DHCP server"))
    security_profile = forms.text(_l("Security profile"))
    wifi = BooleanField(_l("WiFi: an interface of the newer driver asks RADIUS"))
    wifi_interface = forms.text(_l("WiFi interface"))
    walled_garden = BooleanField(_l("The portal opens without a login"))
    suspended_redirect = BooleanField(_l("Suspended subscribers see the portal's notice"))
    captive_option = BooleanField(_l("Phones are told of the captive page by DHCP (option 114)"))
    captive_network = forms.text(_l("DHCP network of the hotspot"))
    login_page = BooleanField(_l("Fetch the hotspot's login page from the portal"))
    portal_host = StringField(_l("Name of the portal"), _OPTIONAL_HOST, filters=[forms.stripped])
    portal_address = forms.text(_l("Address of the portal"))
    portal_port = forms.whole_number(_l("Port of the portal"))
    ntp = BooleanField(_l("Set the clock by NTP"))
    ntp_server = StringField(_l("NTP server"), _OPTIONAL_HOST, filters=[forms.stripped])
    staff_login = BooleanField(_l("Logins to the router itself ask RADIUS"))


@blueprint.get("/")
@requires(Permission.ROUTERS_VIEW)
def index() -> ResponseReturnValue:
    query = (
        select(VpnPeer, VpnPeerState)
        .join(VpnPeer.nas)
        .outerjoin(VpnPeerState, VpnPeerState.peer_id == VpnPeer.id)
        .options(joinedload(VpnPeer.nas))
    )
    return show(context.db(), TABLE, query, "staff/vpn/index.html", server=_server())


@blueprint.get("/<int:nas_id>")
@requires(Permission.ROUTERS_VIEW)
def router(nas_id: int) -> ResponseReturnValue:
    return _page(_nas(nas_id))


@blueprint.get("/<int:nas_id>/state")
@requires(Permission.ROUTERS_VIEW)
def state_part(nas_id: int) -> ResponseReturnValue:
    """Return the part of the page that moves: whether the router is in."""
    nas = _nas(nas_id)
    peer = peer_of(context.db(), nas) or abort(404)
    return render_template("staff/vpn/state.html", nas=nas, **_state(nas, peer))


@blueprint.post("/<int:nas_id>/create")
@requires(Permission.VPN_EDIT)
def create(nas_id: int) -> ResponseReturnValue:
    nas = _nas(nas_id)
    form = _peer_form(nas)
    if form.validate_on_submit():
        kind = Kind.OPENVPN if form.kind.data == "6" else Kind.WIREGUARD
        portal = context.portal()
        try:
            create_peer(context.db(), context.actor(), portal.keyring, portal.settings, nas, kind)
        except NetworkFull as full:
            refuse(_("Every private address of %(network)s is in use. Remove tunnels that nobody needs.",
                     network=str(full)))  # fmt: skip
        except Invalid:
            refuse(_("This router has a tunnel already."))
        else:
            context.db().commit()
            done(_("The server knows this router now. Make the script and paste it into the router."))
    return redirect(url_for("vpn.router", nas_id=nas.id))


@blueprint.post("/<int:nas_id>/script")
@requires(Permission.VPN_EDIT)
def make_script(nas_id: int) -> ResponseReturnValue:
    """Answer with the script: in the page, or as a file; the undo script holds no secret."""
    nas = _nas(nas_id)
    peer = peer_of(context.db(), nas) or abort(404)
    form = _script_form(nas, peer)
    chosen = form.validate_on_submit() and _choices(form, nas)
    if not chosen:
        return _page(nas, form=form), 422
    wanted = request.form.get("wanted", "show")
    if wanted in ("undo", "undo_file"):
        text = undo_script(_router_side(nas, peer, None), chosen, translator(reader_language()))
        return _file(nas, text, "undo") if wanted == "undo_file" else _page(nas, form=form, text=text, undo=True)
    server = _server_side(peer)
    if server is None:
        refuse(_("The VPN server has not run yet, so its key is not known. Start it and try again."))
        return _page(nas, form=form), 409
    opened = open_secrets(context.db(), context.actor(), context.keyring(), nas, peer)
    context.db().commit()
    text = script(server, _router_side(nas, peer, opened), chosen, translator(reader_language()))
    return _file(nas, text, "setup") if wanted == "file" else _page(nas, form=form, text=text)


@blueprint.post("/<int:nas_id>/use")
@requires(Permission.VPN_EDIT)
def use(nas_id: int) -> ResponseReturnValue:
    nas = _nas(nas_id)
    peer = peer_of(context.db(), nas) or abort(404)
    try:
        use_tunnel(context.db(), context.actor(), nas, peer)
    except Invalid as invalid:
        refuse(problem_text(invalid.problems[0]))
    else:
        context.db().commit()
        done(_("RADIUS, CoA and the API of %(nas)s go through its tunnel now.", nas=nas.name))
    return redirect(url_for("vpn.router", nas_id=nas.id))


@blueprint.post("/<int:nas_id>/keys")
@requires(Permission.VPN_EDIT)
def new_keys(nas_id: int) -> ResponseReturnValue:
    nas = _nas(nas_id)
    peer = peer_of(context.db(), nas) or abort(404)
    change_keys(context.db(), context.actor(), context.keyring(), peer)
    context.db().commit()
    done(_("The old keys are refused from now on. Paste the new script into the router."))
    return redirect(url_for("vpn.router", nas_id=nas.id))


@blueprint.post("/<int:nas_id>/public-key")
@requires(Permission.VPN_EDIT)
def own_key(nas_id: int) -> ResponseReturnValue:
    nas = _nas(nas_id)
    peer = peer_of(context.db(), nas) or abort(404)
    if peer.kind != Kind.WIREGUARD:
        abort(404)
    try:
        take_public_key(context.db(), context.actor(), peer, request.form.get("public_key", ""))
    except Invalid as invalid:
        refuse(problem_text(invalid.problems[0]))
    else:
        context.db().commit()
        done(_("The router's own key is taken; the script leaves the key on the router alone from now on."))
    return redirect(url_for("vpn.router", nas_id=nas.id))


@blueprint.post("/<int:nas_id>/remove")
@requires(Permission.VPN_EDIT)
def remove(nas_id: int) -> ResponseReturnValue:
    nas = _nas(nas_id)
    peer = peer_of(context.db(), nas) or abort(404)
    remove_peer(context.db(), context.actor(), peer)
    context.db().commit()
    done(_("The tunnel of %(nas)s is removed; the router is cut off.", nas=nas.name))
    return redirect(url_for("vpn.router", nas_id=nas.id))


@blueprint.get("/login-<language>.html")
@public
def login_page(language: str) -> ResponseReturnValue:
    """Return the page that a hotspot shows, for the router to fetch; its variables are filled in by the router."""
    if language not in LANGUAGES:
        abort(404)
    with force_locale(language):
        return render_template("staff/vpn/login.html", language=language)


def _nas(nas_id: int) -> Nas:
    return context.db().get(Nas, nas_id) or abort(404)


def _page(nas: Nas, *, form: ScriptForm | None = None, text: str = "", undo: bool = False) -> str:
    session = context.db()
    peer = peer_of(session, nas)
    found = session.scalar(select(Router).where(Router.nas_id == nas.id))
    values: dict[str, Any] = {"peer_form": _peer_form(nas)}
    if peer is not None:
        values = {**_state(nas, peer), "form": form or _script_form(nas, peer)}
    return render_template(
        "staff/vpn/router.html",
        nas=nas,
        router=found,
        state=session.get(RouterState, nas.id),
        tabs=tabs_of(nas.id) if found is not None else [],
        server=_server(),
        peer=peer,
        text=text,
        undo=undo,
        api_user=API_USER,
        garden_lists=_garden_lists(),
        **{key: value for key, value in values.items() if key not in ("peer", "server")},
    )


def _state(nas: Nas, peer: VpnPeer) -> dict[str, Any]:
    session = context.db()
    return {
        "peer": peer,
        "seen": state_of(session, peer),
        "used": uses_tunnel(session, nas, peer),
        "server": _server(),
    }


def _server() -> dict[str, str]:
    """Return how the two halves of the server are: a word of network.vpn.Status, empty while it does not run."""
    row = context.db().execute(
        select(VpnServer.wireguard_status, VpnServer.openvpn_status, VpnServer.seen_at)
    ).one_or_none()  # fmt: skip
    if row is None or (context.now() - row.seen_at).total_seconds() > SILENT:
        return {Kind.WIREGUARD.value: "", Kind.OPENVPN.value: "", "seen": "" if row is None else "once"}
    return {Kind.WIREGUARD.value: row.wireguard_status, Kind.OPENVPN.value: row.openvpn_status, "seen": Status.ON}


def _peer_form(nas: Nas) -> PeerForm:
    form = PeerForm()
    form.kind.choices = [("7", _("RouterOS 7: WireGuard")), ("6", _("RouterOS 6: OpenVPN over TCP"))]
    if form.kind.data is None:
        form.kind.data = "6" if 0 < _version_of(nas).major < 7 else "7"
    return form


def _version_of(nas: Nas) -> Version:
    state = context.db().get(RouterState, nas.id)
    return parse_version(state.version if state is not None else "")


def _script_form(nas: Nas, peer: VpnPeer) -> ScriptForm:
    host, port = _asked_host()
    known = _version_of(nas)
    form = ScriptForm(
        version="7" if WIREGUARD <= known < MESSAGE_AUTHENTICATOR else "7.15",
        ppp=True,
        only_vpn_api=True,
        hotspot_profile="hsprof1",
        dhcp_server="",
        security_profile="",
        wifi_interface="wifi1",
        portal_host=host,
        portal_address=host if _is_ipv4(host) else "",
        portal_port=port,
        ntp_server="pool.ntp.org",
    )
    if peer.kind == Kind.OPENVPN:
        form.version.choices = [("6", "RouterOS 6.43 – 6.49")]
        form.version.data = "6"
    else:
        form.version.choices = [("7.15", _("RouterOS 7.15 or newer")), ("7", "RouterOS 7.1 – 7.14")]
    return form


def _choices(form: ScriptForm, nas: Nas) -> Choices | None:
    """Return what was chosen; None when a step lacks what it needs, with the problems put on the form."""
    needed = {
        "hotspot_profile": form.hotspot.data,
        "dhcp_server": form.dhcp.data,
        "security_profile": form.wireless.data,
        "wifi_interface": form.wifi.data,
        "portal_host": form.walled_garden.data or form.login_page.data,
        "captive_network": form.captive_option.data,
        "portal_address": form.suspended_redirect.data,
        "portal_port": form.suspended_redirect.data or form.login_page.data,
        "ntp_server": form.ntp.data,
    }
    for name, wanted in needed.items():
        if wanted and not form[name].data:
            form[name].errors = [_("This is needed.")]
    if form.suspended_redirect.data and form.portal_address.data and not _is_ipv4(form.portal_address.data):
        form.portal_address.errors = [_("An IPv4 address is needed here, such as 10.20.0.15.")]
    public_url = context.portal().settings.public_url
    if form.captive_option.data and not public_url.startswith("https://"):
        form.captive_option.errors = [_("Phones ask there by https only, and this portal is reached without it.")]
    if form.captive_option.data and form.captive_network.data and not _is_network(form.captive_network.data):
        form.captive_network.errors = [_("A network is needed here, such as 10.5.50.0/24.")]
    if form.portal_port.data is not None and not 1 <= form.portal_port.data <= 65535:
        form.portal_port.errors = [_("A number from %(low)s to %(high)s is needed.", low=1, high=65535)]
    if form.wifi.data and form.version.data != "7.15":
        form.version.errors = [_("The driver called wifi needs RouterOS 7.15 or newer here.")]
    if form.errors:
        return None
    services = {service for service in RadiusService if form[service.value].data}
    if form.wifi.data:
        services.add(RadiusService.WIRELESS)
    scheme = "https" if context.portal().settings.portal_https else "http"
    host, port = form.portal_host.data, form.portal_port.data or 80
    terms = captive_terms(context.db(), nas.operator_id)
    to_pay = to_pay_at(context.db(), nas.operator_id)
    own = (urlsplit(public_url).hostname or "", brand_of(context.db(), context.operator()).host or "")
    return Choices(
        version=_VERSIONS[form.version.data],
        services=frozenset(services),
        only_vpn_api=form.only_vpn_api.data,
        hotspot_profile=form.hotspot_profile.data if form.hotspot.data else None,
        dhcp_server=form.dhcp_server.data if form.dhcp.data else None,
        security_profile=form.security_profile.data if form.wireless.data else None,
        wifi_interface=form.wifi_interface.data if form.wifi.data else None,
        remember_days=terms.remember_days,
        offer_trial=terms.offer_trial,
        open_hosts=tuple(dict.fromkeys(filter(None, (*own, *to_pay.patterns)))),
        open_names=to_pay.names,
        captive_api=f"{public_url}{_captive_path(nas, 'captive.api')}" if form.captive_option.data else None,
        captive_network=form.captive_network.data if form.captive_option.data else None,
        portal_host=host or None,
        portal_address=form.portal_address.data,
        portal_port=port,
        suspended_lists=_garden_lists(),
        suspended_redirect=form.suspended_redirect.data,
        walled_garden=form.walled_garden.data,
        login_page=f"{scheme}://{host}:{port}{_captive_path(nas, 'captive.router_page')}"
        if form.login_page.data
        else None,
        ntp=form.ntp_server.data if form.ntp.data else None,
        staff_login=form.staff_login.data,
    )


def _captive_path(nas: Nas, endpoint: str) -> str:
    """Return where something of a router's captive page is: the login page to fetch, what phones ask by themselves."""
    token = hotspot_token(context.db(), nas.operator_id, nas.id)
    context.db().commit()
    return url_for(endpoint, token=token)


def _garden_lists() -> tuple[str, ...]:
    """Return the operator's lists of people in the walled garden, the usual one first."""
    operator = context.operator()
    usual = operator.garden_address_list
    return (usual, *sorted(garden_lists(operator) - {usual}))


def _server_side(peer: VpnPeer) -> ServerSide | None:
    """Return this installation as a router sees it; None before the server made its key."""
    settings = context.portal().settings
    key = context.db().scalar(select(VpnServer.wireguard_public))
    if key is None:
        return None
    mine = half(settings, Kind(peer.kind))
    return ServerSide(
        endpoint=settings.vpn_endpoint or _asked_host()[0],
        port=mine.port,
        address=str(mine.server),
        public_key=key,
        auth_port=settings.auth_port,
        acct_port=settings.acct_port,
    )


def _router_side(nas: Nas, peer: VpnPeer, opened: PeerSecrets | None) -> RouterSide:
    side = RouterSide(
        nas.name, Kind(peer.kind), str(peer.address), peer.user_name or "", HIDDEN, HIDDEN, HIDDEN, nas.coa_port
    )
    if opened is None:
        return side
    return replace(
        side, vpn_secret=opened.vpn, api_password=opened.api_password, radius_secret=opened.radius
    )  # fmt: skip


def _asked_host() -> tuple[str, int]:
    """Return the name and port by which the browser came."""
    parts = urlsplit(f"//{request.host}")
    return parts.hostname or request.host, parts.port or (443 if request.is_secure else 80)


def _is_network(text: str) -> bool:
    address, slash, length = text.partition("/")
    return _is_ipv4(address) and bool(slash) and length.isascii() and length.isdigit() and int(length) <= 32


def _is_ipv4(text: str) -> bool:
    parts = text.split(".")
    return len(parts) == 4 and all(part.isascii() and part.isdigit() and int(part) < 256 for part in parts)


def _file(nas: Nas, text: str, suffix: str) -> Response:
    response = make_response(text)
    response.mimetype = "text/plain"
    response.headers["Content-Disposition"] = f'attachment; filename="portico-{nas.id}-{suffix}.rsc"'
    return response
