"""What the NAS half of a box takes from its menus, each time it matters.

Local records come first, as on RouterOS: an enabled `/ppp/secret`, hotspot user or static lease answers without RADIUS;
a disabled one is as if it were not there. Then `/ppp/aaa`, the hotspot's profile, the DHCP server or the security
profile says whether RADIUS is asked at all, and the first enabled `/radius` row of the service says where. A second
row is never tried, so a stale one in front keeps everybody out, as it does in the field.
"""

from collections.abc import Sequence
from dataclasses import replace

from aaa.facts import AccessKind
from core.mac import parse_mac
from lab.grant import BadGrant, Grant, parse_rate_limit
from lab.profile import Local, NasProfile, RadiusRow, Server, Terms
from lab.routeros.box import Box
from lab.routeros.menus.kinds import seconds_of
from lab.routeros.table import Row
from lab.subscriber import Subscriber

_SERVICES = {
    AccessKind.PPP: "ppp",
    AccessKind.HOTSPOT: "hotspot",
    AccessKind.DHCP: "dhcp",
    AccessKind.WIRELESS: "wireless",
}
_UNSET = ("", "0.0.0.0")  # noqa: S104 - what RouterOS has where no address was named


class MenuTerms(Terms):
    """The terms that a box's menus make. `profile` gives what no menu has."""

    def __init__(self, profile: NasProfile, box: Box) -> None:
        super().__init__(profile)
        self._box = box

    @property
    def identifier(self) -> str:
        """The NAS-Identifier: `/system/identity`."""
        return self._box.settings("/system/identity").get("name")

    # Local records.

    def local(self, subscriber: Subscriber, name: str) -> Local | None:
        """Return the record of a menu that lets this subscriber in."""
        match subscriber.kind:
            case AccessKind.PPP:
                return self._secret(subscriber, name)
            case AccessKind.HOTSPOT:
                return self._hotspot_user(name)
            case AccessKind.DHCP:
                return self._static_lease(subscriber)
            case AccessKind.WIRELESS:
                return None

    def _secret(self, subscriber: Subscriber, name: str) -> Local | None:
        mac = parse_mac(subscriber.mac)
        for row in self._box.table("/ppp/secret").find(name=name):
            if row.is_true("disabled") or row.get("service", "any") not in ("any", "pppoe"):
                continue
            caller = row.get("caller-id")
            if caller and _mac(caller) != mac:
                continue
            grant = self._profile_grant(row.get("profile", "default"), Grant())
            address, pool = self._remote(row.get("remote-address"))
            return Local(
                row.get("password"),
                replace(
                    grant,
                    address=address or grant.address,
                    pool=pool or (None if address else grant.pool),
                    upload_limit=_number(row.get("limit-bytes-in")),
                    download_limit=_number(row.get("limit-bytes-out")),
                ),
            )
        return None

    def _hotspot_user(self, name: str) -> Local | None:
        if not self._box.has("/ip/hotspot/user"):
            return None
        for row in self._box.table("/ip/hotspot/user").find(name=name):
            if row.is_true("disabled"):
                continue
            profile = self._box.table("/ip/hotspot/user/profile").first(name=row.get("profile", "default"))
            rate = profile.get("rate-limit") if profile is not None else ""
            limits = Grant(
                address=row.get("address") if row.get("address") not in _UNSET else None,
                address_list=(profile.get("address-list") if profile is not None else "") or None,
                session_timeout=_seconds(row.get("limit-uptime")),
                total_limit=_number(row.get("limit-bytes-total")),
            )
            return Local(row.get("password"), _with_rate(limits, rate))
        return None

    def _static_lease(self, subscriber: Subscriber) -> Local | None:
        row = self.static_lease(subscriber)
        if row is None:
            return None
        grant = Grant(address=row.get("address") or None, address_list=row.get("address-lists") or None)
        return Local(None, _with_rate(grant, row.get("rate-limit")))

    def static_lease(self, subscriber: Subscriber) -> Row | None:
        """Return the lease that was made for a device by hand."""
        mac = parse_mac(subscriber.mac).upper()
        for row in self._box.table("/ip/dhcp-server/lease").find(mac_address=mac):
            if not row.is_true("dynamic") and not row.is_true("disabled"):
                return row
        return None

    # What a profile adds.

    def completed(self, kind: AccessKind, grant: Grant) -> Grant:
        """Return what RADIUS granted, with the default profile's rate and address list where it named none."""
        if kind is AccessKind.PPP:
            return self._profile_grant(self._ppp_profile(), grant)
        if kind is AccessKind.HOTSPOT and grant.rate is None and (profile := self._hotspot_profile()) is not None:
            return _with_rate(grant, profile.get("rate-limit"))
        return grant

    def _ppp_profile(self) -> str:
        server = next(iter(self._box.table("/interface/pppoe-server/server")), None)
        return server.get("default-profile", "default") if server is not None else "default"

    def _profile_grant(self, name: str, grant: Grant) -> Grant:
        row = self._box.table("/ppp/profile").first(name=name)
        if row is None:
            return grant
        if grant.rate is None:
            grant = _with_rate(grant, row.get("rate-limit"))
        address, pool = self._remote(row.get("remote-address"))
        if grant.address is None and grant.pool is None:
            grant = replace(grant, address=address, pool=pool)
        return replace(
            grant,
            address_list=grant.address_list or row.get("address-list") or None,
            session_timeout=grant.session_timeout or _seconds(row.get("session-timeout")),
            idle_timeout=grant.idle_timeout or _seconds(row.get("idle-timeout")),
        )

    def _remote(self, written: str) -> tuple[str | None, str | None]:
        """Return the address and the pool that a `remote-address` means."""
        if written in _UNSET:
            return None, None
        if self._box.table("/ip/pool").first(name=written) is not None:
            return None, written
        return written, None

    # RADIUS.

    def radius(self, kind: AccessKind) -> Sequence[RadiusRow]:
        """Return the first row of `/radius` for a service; none where the service does not ask."""
        if not self._asks(kind):
            return ()
        for row in self._box.table("/radius"):
            if row.is_true("disabled") or _SERVICES[kind] not in row.get("service").split(","):
                continue
            source = row.get("src-address")
            first = RadiusRow(
                Server(row["address"], int(row["authentication-port"]), int(row["accounting-port"])),
                row.get("secret"),
                seconds_of(row["timeout"]),
                self.profile.address if source in _UNSET else source,
            )
            return (first,)
        return ()

    def _asks(self, kind: AccessKind) -> bool:
        match kind:
            case AccessKind.PPP:
                return self._box.settings("/ppp/aaa").is_true("use-radius")
            case AccessKind.HOTSPOT:
                profile = self._hotspot_profile()
                return profile is not None and profile.is_true("use-radius")
            case AccessKind.DHCP:
                server = next(iter(self._box.table("/ip/dhcp-server")), None)
                return server is not None and server.get("use-radius") == "yes"
            case AccessKind.WIRELESS:
                if not self._box.has("/interface/wireless/security-profiles"):
                    return True  # the newer driver asks by its access list, which is not played here
                table = self._box.table("/interface/wireless/security-profiles")
                return any(row.is_true("radius-mac-authentication") for row in table)

    def accounts(self, kind: AccessKind) -> bool:
        """Whether accounting is sent for a service."""
        match kind:
            case AccessKind.PPP:
                return self._box.settings("/ppp/aaa").is_true("accounting")
            case AccessKind.HOTSPOT:
                profile = self._hotspot_profile()
                return profile is not None and profile.is_true("radius-accounting")
            case AccessKind.DHCP:
                return self._box.settings("/ip/dhcp-server/config").get("accounting", "true") == "true"
            case AccessKind.WIRELESS:
                return True

    def interim_update(self, kind: AccessKind) -> int:
        """Return the interval that the menu of a service names, in seconds."""
        match kind:
            case AccessKind.PPP:
                return _seconds(self._box.settings("/ppp/aaa").get("interim-update"))
            case AccessKind.HOTSPOT:
                profile = self._hotspot_profile()
                return _seconds(profile.get("radius-interim-update")) if profile is not None else 0
            case AccessKind.DHCP:
                return _seconds(self._box.settings("/ip/dhcp-server/config").get("interim-update"))
            case AccessKind.WIRELESS:
                return self.profile.interim_update

    def _hotspot_profile(self) -> Row | None:
        server = next(iter(self._box.table("/ip/hotspot")), None)
        name = server.get("profile", "default") if server is not None else "default"
        return self._box.table("/ip/hotspot/profile").first(name=name)

    def incoming_secret(self, source: str) -> bytes | None:
        """Return the secret of the `/radius` row with that address."""
        for row in self._box.table("/radius"):
            if not row.is_true("disabled") and (row["address"] == source or not self.profile.coa_from_server_only):
                return row.get("secret").encode()
        return None


def _with_rate(grant: Grant, written: str) -> Grant:
    """Return a grant with the rate that a profile or lease names; one that cannot be read is none."""
    if not written:
        return grant
    try:
        rate = parse_rate_limit(written)
    except BadGrant:
        return grant
    return replace(grant, rate=rate, rate_text=written)


def _mac(written: str) -> str | None:
    try:
        return parse_mac(written)
    except ValueError:
        return None


def _number(written: str) -> int | None:
    return int(written) or None if written.isdigit() else None


def _seconds(written: str) -> int:
    try:
        return int(seconds_of(written))
    except ValueError:  # none, received
        return 0
