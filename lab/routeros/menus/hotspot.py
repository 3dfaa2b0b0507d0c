"""The hotspot."""

from lab.routeros.menus.kinds import (
    address,
    address_or_range,
    byte_count,
    duration,
    duration_or,
    integer,
    mac,
    negated,
)
from lab.routeros.menus.spec import Menu, choice, choices, flag, reference, told, value, values

SERVER = Menu(
    "/ip/hotspot",
    (
        value("name"),
        reference("interface", "/interface", required=True),
        reference("address-pool", "/ip/pool", "none", words="none"),
        reference("profile", "/ip/hotspot/profile", "default"),
        value("idle-timeout", duration_or("none"), "5m"),
        value("keepalive-timeout", duration_or("none"), "none"),
        value("login-timeout", duration_or("none"), "none"),
        value("addresses-per-mac", default="2"),
        *told("proxy-status ip-of-dns-name"),
        flag("invalid", readonly=True),
        flag("HTTPS", readonly=True),
    ),
    unique=((("name",), "failure: already have hotspot with such name"),),
    disables=True,
    comments=False,
)
PROFILE = Menu(
    "/ip/hotspot/profile",
    (
        value("name", required=True),
        value("hotspot-address", address, "0.0.0.0"),  # noqa: S104 - what RouterOS has before one is named
        value("dns-name"),
        value("html-directory", default="hotspot"),
        value("html-directory-override"),
        value("rate-limit"),
        value("http-proxy", default="0.0.0.0:0"),
        value("smtp-server", address, "0.0.0.0"),  # noqa: S104
        choices("login-by", "cookie http-chap http-pap https mac mac-cookie trial", "cookie,http-chap"),
        choice("mac-auth-mode", "mac-as-username mac-as-username-and-password", "mac-as-username"),
        value("mac-auth-password"),
        value("http-cookie-lifetime", duration, "3d"),
        flag("split-user-domain"),
        flag("use-radius"),
        flag("radius-accounting", "true"),
        value("radius-interim-update", duration_or("received"), "received"),
        value("radius-default-domain"),
        value("radius-location-id"),
        value("radius-location-name"),
        value("radius-mac-format", default="XX:XX:XX:XX:XX:XX"),
        value("nas-port-type", default="wireless-802.11"),
        reference("ssl-certificate", "/certificate", words="none"),
        value("trial-uptime-limit", duration, "30m"),
        value("trial-uptime-reset", duration, "1d"),
        value("trial-user-profile", default="default"),
        value("install-hotspot-queue", default="false"),
        flag("default", readonly=True),
    ),
    unique=((("name",), "failure: already have profile with such name"),),
    comments=False,
    first=({".id": "*0", "name": "default", "default": "true"},),
)
WALLED_GARDEN = Menu(
    "/ip/hotspot/walled-garden",
    (
        choice("action", "allow deny", "allow"),
        reference("server", "/ip/hotspot"),
        value("src-address", negated(address)),
        value("method"),
        value("dst-host"),
        value("dst-port"),
        value("path"),
        *told("dst-address hits"),
    ),
    ordered=True,
    disables=True,
    dynamic=True,
)
WALLED_GARDEN_IP = Menu(
    "/ip/hotspot/walled-garden/ip",
    (
        choice("action", "accept drop reject", "accept"),
        reference("server", "/ip/hotspot"),
        value("src-address", negated(address_or_range)),
        value("dst-address", negated(address_or_range)),
        value("dst-address-list", negated(str)),
        value("src-address-list", negated(str)),
        value("dst-host"),
        value("dst-port"),
        value("protocol"),
        flag("invalid", readonly=True),
    ),
    ordered=True,
    disables=True,
    dynamic=True,
)
IP_BINDING = Menu(
    "/ip/hotspot/ip-binding",
    (
        value("mac-address", mac),
        value("address", address_or_range),
        value("to-address", address_or_range),
        reference("server", "/ip/hotspot", words="all"),
        choice("type", "regular bypassed blocked", "regular"),
        flag("blocked", readonly=True),
        flag("bypassed", readonly=True),
    ),
    ordered=True,
    disables=True,
)
USER = Menu(
    "/ip/hotspot/user",
    (
        reference("server", "/ip/hotspot", words="all"),
        value("name", required=True),
        value("password", sensitive=True),
        value("address", address),
        value("mac-address", mac),
        reference("profile", "/ip/hotspot/user/profile", "default"),
        value("routes"),
        value("email"),
        value("otp-secret", sensitive=True, since=(7, 18)),
        value("limit-uptime", duration),
        value("limit-bytes-in", byte_count),
        value("limit-bytes-out", byte_count),
        value("limit-bytes-total", byte_count),
        *told("uptime", "0s"),
        *told("bytes-in bytes-out packets-in packets-out", "0"),
        flag("default", None, readonly=True),
    ),
    unique=((("name", "server"), "failure: already have user with this name for this server"),),
    disables=True,
    dynamic=True,
    first=(
        {".id": "*0", "name": "default-trial", "default": "true", "comment": "counters and limits for trial users"},
    ),
)
USER_PROFILE = Menu(
    "/ip/hotspot/user/profile",
    (
        value("name", required=True),
        reference("address-pool", "/ip/pool", words="none"),
        value("idle-timeout", duration_or("none"), "none"),
        value("keepalive-timeout", duration_or("none"), "2m"),
        value("status-autorefresh", duration, "1m"),
        value("session-timeout", duration),
        value("shared-users", default="1"),
        value("rate-limit"),
        flag("add-mac-cookie", "true"),
        value("mac-cookie-timeout", duration, "3d"),
        value("address-list"),
        value("incoming-filter"),
        value("outgoing-filter"),
        value("parent-queue"),
        value("insert-queue-before"),
        value("queue-type"),
        value("advertise", default="false"),
        *values("advertise-interval advertise-timeout advertise-url incoming-packet-mark outgoing-packet-mark"),
        value("open-status-page", default="always"),
        flag("transparent-proxy"),
        value("on-login"),
        value("on-logout"),
        flag("default", readonly=True),
    ),
    unique=((("name",), "failure: already have profile with such name"),),
    comments=False,
    first=({".id": "*0", "name": "default", "default": "true"},),
)
ACTIVE = Menu(
    "/ip/hotspot/active",
    told(
        "server user domain address mac-address login-by uptime session-time-left idle-time idle-timeout "
        "keepalive-timeout bytes-in bytes-out packets-in packets-out limit-bytes-in "
        "limit-bytes-out limit-bytes-total radius blocked"
    ),
    adds=False,
    sets=False,
    comments=False,
)
HOST = Menu(
    "/ip/hotspot/host",
    told(
        "mac-address address to-address server uptime idle-time idle-timeout keepalive-timeout found-by host-dead-time "
        "bytes-in bytes-out packets-in packets-out authorized bypassed static DHCP bridge-port"
    ),
    adds=False,
    sets=False,
    comments=False,
    dynamic=True,
)
COOKIE = Menu(
    "/ip/hotspot/cookie",
    told("user domain mac-address expires-in mac-cookie"),
    adds=False,
    sets=False,
    comments=False,
)
SERVICE_PORT = Menu(
    "/ip/hotspot/service-port",
    (value("name", readonly=True), value("ports", integer)),
    adds=False,
    removes=False,
    disables=True,
    comments=False,
)

MENUS = (
    *(SERVER, PROFILE, WALLED_GARDEN, WALLED_GARDEN_IP, IP_BINDING, USER, USER_PROFILE, ACTIVE, HOST, COOKIE),
    SERVICE_PORT,
)
