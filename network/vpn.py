"""The VPN that routers dial: one tunnel for each router, with a private address of its own.

The server never dials. A router behind any NAT opens the tunnel and keeps it open, so nothing at the ISP has to be
reachable from outside; RADIUS, CoA and the API all pass through it. RouterOS 7 brings WireGuard; RouterOS 6 has only
OpenVPN over TCP, with a user name and a password.

The rows are the truth; the server (network.vpn_server) makes itself equal to them within a second.
"""

import base64
import binascii
import secrets
import string
from collections.abc import Collection
from dataclasses import dataclass, replace

from sqlalchemy import cast, func, literal, select
from sqlalchemy.dialects.postgresql import CIDR
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core.clock import utc_now
from core.crypto import Keyring
from core.settings import Settings
from crm.nas import SECRET_PURPOSE, change_nas, terms_of_nas
from crm.problems import FieldProblem, Invalid, Problem
from db.audit import Actor, record
from db.models import Nas, Router, VpnPeer, VpnPeerState
from network.vpn_plan import API_PORT, API_PURPOSE, API_USER, PEER_PURPOSE, Kind, half
from network.wireguard import new_key_pair


class NetworkFull(Exception):
    """Every address of one half of the VPN's network is given away."""


@dataclass(frozen=True, slots=True)
class PeerSecrets:
    """What stands in a router's script in clear. `vpn` is empty where the router made its own key."""

    vpn: str
    api_password: str
    radius: str


def new_password() -> str:
    """Return 32 letters and digits: 190 bits, so a fast hash of it is as good as a slow one."""
    alphabet = string.ascii_letters + string.digits
    return "".join(secrets.choice(alphabet) for _ in range(32))


def create_peer(session: Session, actor: Actor, keyring: Keyring, settings: Settings, nas: Nas, kind: Kind) -> VpnPeer:
    """Give a router its tunnel: keys or credentials, and the next free address.

    Raises NetworkFull; and Invalid when somebody else gave it one at the same moment.
    """
    mine = half(settings, kind)
    address = session.scalar(select(func.next_vpn_address(cast(literal(str(mine.network)), CIDR), 2)))
    if address is None:
        raise NetworkFull(str(mine.network))
    peer = VpnPeer(
        operator_id=nas.operator_id,
        nas_id=nas.id,
        kind=kind.value,
        address=address,
        api_password=keyring.seal(API_PURPOSE, new_password()),
    )
    _give_keys(keyring, peer)
    try:
        with session.begin_nested():
            session.add(peer)
            session.flush()
    except IntegrityError:
        raise Invalid(FieldProblem("kind", Problem.TAKEN)) from None
    record(session, actor, "vpn.create", "nas", nas.id, None, {"kind": peer.kind, "address": str(peer.address)})
    return peer


def change_keys(session: Session, actor: Actor, keyring: Keyring, peer: VpnPeer) -> None:
    """Make new keys or a new password. The old ones are refused within a second, and the router is cut off until it
    has run the new script."""
    _give_keys(keyring, peer)
    peer.keys_at = utc_now()
    session.flush()
    record(session, actor, "vpn.change_keys", "nas", peer.nas_id, None, {"kind": peer.kind})


def take_public_key(session: Session, actor: Actor, peer: VpnPeer, text: str) -> None:
    """Take the public key that a router made itself; its private key then never leaves the router. Raises Invalid."""
    key = text.strip()
    if not is_wireguard_key(key):
        raise Invalid(FieldProblem("public_key", Problem.NOT_A_KEY))
    peer.public_key, peer.secret, peer.keys_at = key, None, utc_now()
    try:
        with session.begin_nested():
            session.flush()
    except IntegrityError:
        raise Invalid(FieldProblem("public_key", Problem.TAKEN)) from None
    record(session, actor, "vpn.take_key", "nas", peer.nas_id, None, {"public_key": key})


def remove_peer(session: Session, actor: Actor, peer: VpnPeer) -> None:
    """Take a router's tunnel away; it is cut off within a second."""
    record(session, actor, "vpn.remove", "nas", peer.nas_id, {"kind": peer.kind, "address": str(peer.address)}, None)
    session.delete(peer)
    session.flush()


def use_tunnel(session: Session, actor: Actor, nas: Nas, peer: VpnPeer) -> None:
    """Let everything for a router go through its tunnel: RADIUS, CoA and the API, with the script's API user.

    From then on packets that come from the NAS's former address are not answered. Raises Invalid.
    """
    change_nas(session, actor, nas, replace(terms_of_nas(nas), address=str(peer.address), coa_address=None))
    router = session.get(Router, nas.id)
    if router is None:
        router = Router(nas_id=nas.id, operator_id=nas.operator_id)
        session.add(router)
    router.api_address, router.api_port, router.api_tls, router.api_fingerprint = None, API_PORT, False, None
    router.api_user, router.api_password = API_USER, peer.api_password
    session.flush()
    record(session, actor, "vpn.use", "nas", nas.id, None, {"address": str(peer.address), "api_user": API_USER})


def uses_tunnel(session: Session, nas: Nas, peer: VpnPeer) -> bool:
    """Tell whether RADIUS and the API of a router go through its tunnel already."""
    router = session.get(Router, nas.id)
    return (
        nas.address == peer.address
        and router is not None
        and router.api_address in (None, peer.address)
        and router.api_user == API_USER
    )


def open_secrets(session: Session, actor: Actor, keyring: Keyring, nas: Nas, peer: VpnPeer) -> PeerSecrets:
    """Return what the script needs in clear, and write down who took it. Raises core.crypto.SecretUnreadable."""
    opened = PeerSecrets(
        keyring.open(PEER_PURPOSE, peer.secret) if peer.secret else "",
        keyring.open(API_PURPOSE, peer.api_password),
        keyring.open(SECRET_PURPOSE, nas.secret),
    )
    record(session, actor, "vpn.script", "nas", nas.id)
    return opened


def peer_of(session: Session, nas: Nas) -> VpnPeer | None:
    return session.scalar(select(VpnPeer).where(VpnPeer.nas_id == nas.id))


def state_of(session: Session, peer: VpnPeer) -> VpnPeerState | None:
    return session.scalar(
        select(VpnPeerState).where(VpnPeerState.peer_id == peer.id).execution_options(populate_existing=True)
    )


def tunnels_down(session: Session, nas_ids: Collection[int]) -> frozenset[int]:
    """Return which of these routers would be reached through a tunnel that is down: why they do not answer."""
    query = (
        select(VpnPeer.nas_id)
        .join(Nas, Nas.id == VpnPeer.nas_id)
        .join(Router, Router.nas_id == Nas.id)
        .outerjoin(VpnPeerState, VpnPeerState.peer_id == VpnPeer.id)
        .where(
            VpnPeer.nas_id.in_(nas_ids),
            func.coalesce(Router.api_address, Nas.address) == VpnPeer.address,
            VpnPeerState.connected_since.is_(None),
        )
    )
    return frozenset(session.scalars(query))


def is_wireguard_key(text: str) -> bool:
    """Tell whether a text is a key as WireGuard writes them: 32 octets in base64."""
    try:
        return len(base64.b64decode(text, validate=True)) == 32 and len(text) == 44
    except (binascii.Error, ValueError):
        return False


def _give_keys(keyring: Keyring, peer: VpnPeer) -> None:
    if peer.kind == Kind.WIREGUARD:
        pair = new_key_pair()
        peer.public_key, secret = pair.public, pair.private
    else:
        # RouterOS 6 takes user names of up to 27 characters.
        peer.user_name, secret = f"router-{peer.nas_id}", new_password()
    peer.secret = keyring.seal(PEER_PURPOSE, secret)
