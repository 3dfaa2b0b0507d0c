"""Rules that belong to single menus: what RouterOS fills in, refuses or makes of what it is given."""

import ipaddress
import secrets
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lab.routeros.commands import BAD_VALUE, GENERAL, Call, Trap
from lab.routeros.policy import granted_by, merge_policies
from lab.routeros.table import Happened, Row, Table

if TYPE_CHECKING:
    from lab.routeros.box import Box

_KEY_OCTETS = 32


def install(box: "Box") -> None:
    """Give a new box its rules."""
    box.guard("/user/group", _group)
    box.guard("/user", _user)
    box.guard("/ip/dhcp-server/lease", _lease)
    box.guard("/ip/address", _address)
    box.guard("/ip/firewall/address-list", _address_list)
    box.guard("/ip/arp", _arp)
    box.guard("/ppp/secret", _secret)
    box.guard("/file", _file)
    if box.has("/interface/wireguard"):
        box.guard("/interface/wireguard", _wireguard)
        box.guard("/interface/wireguard/peers", _peer)
    for path in ("/ip/firewall/filter", "/ip/firewall/nat", "/ip/firewall/mangle", "/ip/firewall/raw"):
        box.guard(path, _not_before_dynamic)


def _group(kind: Happened, call: Call, row: Row | None, fields: dict[str, str]) -> None:
    """What is not named is denied in a new group; a set adds to what is granted."""
    if kind == "remove" and row is not None:
        if call.box.table("/user").first(group=row["name"]):
            raise Trap("failure: group has some users", GENERAL)
        return
    if "policy" not in fields:
        return
    held = row.get("policy") if row is not None else ""
    try:
        fields["policy"] = merge_policies(held, fields["policy"], call.box.version)
    except ValueError:
        raise Trap("input does not match any value of policy", BAD_VALUE) from None


def _user(kind: Happened, call: Call, row: Row | None, fields: dict[str, str]) -> None:
    """The last user with all rights stays; nobody is given more than the giver has."""
    box = call.box
    group = box.table("/user/group").first(name=fields.get("group", ""))
    if group is not None and call.caller.via == "api":
        asked = granted_by(group.get("policy"))
        if asked - call.caller.policies and "policy" not in call.caller.policies:
            raise Trap("not enough permissions (9)")
    if row is None or row.get("group") != "full":
        return
    leaves = kind == "remove" or fields.get("disabled") == "true" or fields.get("group", "full") != "full"
    others = [each for each in box.table("/user").find(group="full", disabled="false") if each is not row]
    if leaves and not others:
        raise Trap("failure: there must be at least one user with full rights", GENERAL)


def _lease(kind: Happened, call: Call, row: Row | None, fields: dict[str, str]) -> None:
    """A device has one static lease on a server, and an address one in all; `server=all` is kept as none."""
    if kind == "remove":
        return
    if fields.get("server") == "all":
        fields["server"] = ""
    merged = {**(row.fields if row is not None else {}), **fields}
    if kind == "add" and not (merged.get("mac-address") or merged.get("client-id")):
        raise Trap("failure: mac-address or client-id must be specified", GENERAL)
    if merged.get("disabled") == "true":
        return
    for other in _static_leases(call.table):
        if other is row:
            continue
        if merged.get("address") and other.get("address") == merged["address"]:
            raise Trap("failure: already have static lease with this IP address", GENERAL)
        one_server = not (other.get("server") and merged.get("server")) or other.get("server") == merged.get("server")
        if merged.get("mac-address") and other.get("mac-address") == merged["mac-address"] and one_server:
            raise Trap("failure: already have static lease for this client", GENERAL)


def _static_leases(table: Table) -> list[Row]:
    return [row for row in table if not row.is_true("dynamic") and not row.is_true("disabled")]


def _address(kind: Happened, call: Call, row: Row | None, fields: dict[str, str]) -> None:
    """The network follows from the address."""
    if kind == "remove" or "address" not in fields:
        return
    if "network" not in fields:
        fields["network"] = str(ipaddress.ip_interface(fields["address"]).network.network_address)
    interface = fields.get("interface") or (row.get("interface") if row is not None else "")
    fields["actual-interface"] = interface


def _address_list(kind: Happened, call: Call, row: Row | None, fields: dict[str, str]) -> None:
    """An entry with a timeout is dynamic."""
    if kind != "add":
        return
    fields["creation-time"] = call.box.version.instant(call.box.now)
    fields["dynamic"] = "true" if fields.get("timeout") else "false"


def _arp(kind: Happened, call: Call, row: Row | None, fields: dict[str, str]) -> None:
    """An entry that somebody made is permanent."""
    if kind == "add" and call.box.version.major >= 7:
        fields["status"] = "permanent"
    if kind == "add":
        fields["complete"] = "true"


def _secret(kind: Happened, call: Call, row: Row | None, fields: dict[str, str]) -> None:
    """Who never logged in, logged out when time began."""
    if kind == "add":
        day = "1970-01-01" if call.box.version.within((7, 10), ()) else "jan/01/1970"
        fields["last-logged-out"] = f"{day} 00:00:00"


def _file(kind: Happened, call: Call, row: Row | None, fields: dict[str, str]) -> None:
    """A file knows its size and when it was written."""
    if kind == "remove":
        return
    name = fields.get("name") or (row.get("name") if row is not None else "")
    moment = call.box.version.instant(call.box.now)
    fields["last-modified" if call.box.version.major >= 7 else "creation-time"] = moment
    fields["type"] = f".{name.rpartition('.')[2]} file" if "." in name else "file"
    contents = fields.get("contents", row.get("contents") if row is not None else "")
    fields["size"] = str(len(contents.encode("utf-8", "surrogateescape")))


def _wireguard(kind: Happened, call: Call, row: Row | None, fields: dict[str, str]) -> None:
    """The public key follows from the private one, which the router makes where none is given."""
    if kind == "remove" or (kind == "set" and "private-key" not in fields):
        return
    key = _key(fields["private-key"], "private-key") if fields.get("private-key") else secrets.token_bytes(_KEY_OCTETS)
    public = X25519PrivateKey.from_private_bytes(key).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    fields["private-key"] = b64encode(key).decode()
    fields["public-key"] = b64encode(public).decode()


def _peer(kind: Happened, call: Call, row: Row | None, fields: dict[str, str]) -> None:
    for name in ("public-key", "preshared-key"):
        if fields.get(name):
            _key(fields[name], name)


def _key(text: str, name: str) -> bytes:
    try:
        octets = b64decode(text, validate=True)
    except (NotBase64, ValueError):
        octets = b""
    if len(octets) != _KEY_OCTETS:
        raise Trap(f"invalid value for argument {name}", BAD_VALUE)
    return octets


def _not_before_dynamic(kind: Happened, call: Call, row: Row | None, fields: dict[str, str]) -> None:
    """Nothing is put in front of the rules that the router made itself."""
    place = call.arguments.get("place-before", "")
    if kind == "add" and place and call.box.row_named(call.table, place).is_true("dynamic"):
        raise Trap("failure: can not move before builtin", GENERAL)
