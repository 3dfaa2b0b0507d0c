"""Whether a router has lately seen a device below IP: on the radio, by DHCP, by ARP.

Where a menu is not there (no radio, another version) or may not be read, nothing is seen in it. Every function here
raises RouterProblem where the router can no longer be talked to.
"""

from collections.abc import Sequence
from datetime import timedelta

from core.mac import NotAMac, parse_mac
from network.api import RouterApi
from network.problems import RouterProblem
from network.values import NotAValue, parse_duration
from network.words import Row

LEASE_FRESH = timedelta(minutes=15)
"""A lease says that its device is there when the device was heard within this time; it lasts far longer."""
_REGISTRATIONS = (
    "/interface/wifi/registration-table",
    "/interface/wireless/registration-table",
    "/caps-man/registration-table",
)


def find_device(router: RouterApi, macs: Sequence[str], address: str | None) -> dict[str, object] | None:
    """Return where a device with one of these MAC addresses, or this address, is seen; None where it is not.

    `where` is radio, lease or arp; beside it the MAC address, the interface, and what else is told there.
    """
    return _on_radio(router, macs, address) or _by_lease(router, macs, address) or _by_arp(router, macs, address)


def leased_address(router: RouterApi, macs: Sequence[str]) -> str | None:
    """Return the address that the router's DHCP server gave to one of the devices."""
    for mac in macs:
        for row in _rows(router, "/ip/dhcp-server/lease", "active-address", "status", **{"mac-address": mac.upper()}):
            if row.get("status") == "bound" and row.get("active-address"):
                return row["active-address"]
    return None


def _on_radio(router: RouterApi, macs: Sequence[str], _address: str | None) -> dict[str, object] | None:
    for menu in _REGISTRATIONS:
        for mac in macs:
            rows = _rows(
                router, menu, "interface", "signal-strength", "signal", "rx-signal", **{"mac-address": mac.upper()}
            )
            for row in rows:
                signal = row.get("signal-strength") or row.get("signal") or row.get("rx-signal") or ""
                return {"where": "radio", "mac": mac, "interface": row.get("interface", ""), "signal": signal}
    return None


def _by_lease(router: RouterApi, macs: Sequence[str], _address: str | None) -> dict[str, object] | None:
    for mac in macs:
        rows = _rows(router, "/ip/dhcp-server/lease", "status", "last-seen", "server", **{"mac-address": mac.upper()})
        for row in rows:
            ago = _duration(row.get("last-seen", ""))
            if row.get("status") == "bound" and ago is not None and ago <= LEASE_FRESH:
                return {
                    "where": "lease",
                    "mac": mac,
                    "interface": row.get("server", ""),
                    "ago": int(ago.total_seconds()),
                }
    return None


def _by_arp(router: RouterApi, macs: Sequence[str], address: str | None) -> dict[str, object] | None:
    asked = [{"mac-address": mac.upper()} for mac in macs] + ([{"address": address}] if address else [])
    for equals in asked:
        for row in _rows(
            router, "/ip/arp", "mac-address", "interface", "complete", "status", "dynamic", "DHCP", **equals
        ):
            if _is_alive(row):
                mac = _mac(row.get("mac-address", ""))
                return {"where": "arp", "mac": mac, "interface": row.get("interface", "")}
    return None


def _is_alive(row: Row) -> bool:
    """Tell whether an ARP row says that a device answered. One that somebody entered says nothing."""
    if not row.get("mac-address") or row.get("complete") == "false" or row.get("dynamic") == "false":
        return False
    return row.get("status") not in ("failed", "incomplete", "permanent")


def _rows(router: RouterApi, menu: str, *fields: str, **equals: str) -> list[Row]:
    """Return the rows of a menu; none where this router has no such menu, or does not let us read it."""
    try:
        return router.rows(menu, *fields, **equals)
    except RouterProblem as problem:
        if problem.out_of_reach:
            raise
        return []


def _duration(text: str) -> timedelta | None:
    try:
        return parse_duration(text)
    except NotAValue:
        return None


def _mac(text: str) -> str:
    try:
        return parse_mac(text)
    except NotAMac:
        return text
