"""Addresses, routes, pools, ARP, DHCP, DNS and services."""

from lab.routeros.menus.kinds import (
    address,
    duration,
    duration_or,
    either,
    integer,
    interface_address,
    long_prefix,
    mac,
    port,
    prefix,
    ranges,
    several,
)
from lab.routeros.menus.spec import Menu, choice, flag, reference, told, value, values

ADDRESS = Menu(
    "/ip/address",
    (
        value("address", interface_address, required=True),
        value("network", address),
        reference("interface", "/interface", required=True),
        flag("invalid", readonly=True),
        *told("actual-interface"),
    ),
    unique=((("address", "interface"), "failure: already have such address"),),
    disables=True,
    dynamic=True,
)

ROUTE = Menu(
    "/ip/route",
    (
        value("dst-address", long_prefix, "0.0.0.0/0"),
        value("gateway", required=True),
        value("distance", integer, "1"),
        value("scope", integer, "30"),
        value("target-scope", integer, "10"),
        value("routing-table", default="main", since=(7,)),
        value("routing-mark", until=(7,)),
        value("pref-src", address),
        choice("check-gateway", "none arp ping bfd", "none"),
        *values("blackhole vrf-interface", since=(7,)),
        value("type", until=(7,)),
        flag("active", "true", readonly=True),
        flag("static", "true", readonly=True),
        *told("connect immediate-gw local-address gateway-status"),
    ),
    disables=True,
    dynamic=True,
)

POOL = Menu(
    "/ip/pool",
    (
        value("name", required=True),
        value("ranges", ranges, required=True),
        reference("next-pool", "/ip/pool", words="none"),
    ),
    unique=((("name",), "failure: pool with such name exists"),),
)
POOL6 = Menu(
    "/ipv6/pool",
    (value("name", required=True), value("prefix", long_prefix), value("prefix-length", integer)),
    unique=((("name",), "failure: pool with such name exists"),),
)
POOL_USED = Menu(
    "/ip/pool/used", told("pool address owner info"), adds=False, removes=False, sets=False, comments=False
)

ARP = Menu(
    "/ip/arp",
    (
        value("address", address, required=True),
        value("mac-address", mac),
        reference("interface", "/interface", required=True),
        flag("published"),
        flag("DHCP", readonly=True),
        flag("complete", readonly=True),
        flag("invalid", readonly=True),
        *told("status", since=(7,)),
    ),
    disables=True,
    dynamic=True,
)

DHCP_SERVER = Menu(
    "/ip/dhcp-server",
    (
        value("name", required=True),
        reference("interface", "/interface", required=True),
        reference("address-pool", "/ip/pool", "static-only", words="static-only"),
        value("lease-time", duration_or("infinity"), "10m"),
        value("relay", address),
        value("src-address", address, until=(7,)),
        value("delay-threshold"),
        choice("authoritative", "after-10sec-delay after-2sec-delay yes no", "yes"),
        choice("use-radius", "yes no accounting", "no", since=(7,)),
        choice("use-radius", "yes no", "no", until=(7,)),
        flag("add-arp"),
        choice("bootp-support", "none static dynamic", "static"),
        value("lease-script"),
        flag("conflict-detection", "true", since=(6, 45)),
        value("address-lists", since=(7, 16)),
        value("insert-queue-before"),
        value("parent-queue"),
        flag("always-broadcast"),
        flag("use-framed-as-classless", "true"),
        *values("allow-dual-stack-queue bootp-lease-time client-mac-limit dhcp-option-set server-address"),
        *values("dynamic-lease-identifiers support-broadband-tr101 use-reconfigure", since=(7, 18)),
        flag("invalid", readonly=True),
    ),
    unique=((("name",), "failure: server with such name already exists"),),
    disables=True,
)
DHCP_CONFIG = Menu(
    "/ip/dhcp-server/config",
    (
        value("store-leases-disk", duration_or("immediately", "never"), "5m"),
        flag("accounting", "true", since=(6, 45)),
        value("interim-update", duration, "0s", since=(6, 45)),
        value("radius-password", default="empty", since=(7, 15)),
    ),
    single=True,
)
DHCP_OPTION = Menu(
    "/ip/dhcp-server/option",
    (
        value("name", required=True),
        value("code", integer, required=True),
        value("value"),
        *told("raw-value"),
        flag("force"),
    ),
    unique=((("name",), "failure: option with such name already exists"),),
)
DHCP_NETWORK = Menu(
    "/ip/dhcp-server/network",
    (
        value("address", long_prefix, required=True),
        value("gateway", several(address)),
        value("netmask", integer),
        value("dns-server", several(address)),
        value("domain"),
        value("ntp-server", several(address)),
        value("next-server"),
        value("boot-file-name"),
        *values("caps-manager dhcp-option-set dns-none ntp-none wins-server"),
        value("dhcp-option"),
    ),
    unique=((("address",), "failure: such network already exists"),),
)
LEASE = Menu(
    "/ip/dhcp-server/lease",
    (
        reference("address", "/ip/pool"),
        value("mac-address", mac),
        value("client-id"),
        reference("server", "/ip/dhcp-server", words="all"),
        value("rate-limit"),
        value("address-lists", default=""),
        flag("block-access", None),
        value("lease-time", duration),
        flag("use-src-mac", None),
        flag("always-broadcast", None),
        value("dhcp-option", default=""),
        value("dhcp-option-set"),
        value("insert-queue-before"),
        value("parent-queue", since=(7, 13)),
        *values("queue-type routes", since=(7, 13)),
        choice("allow-dual-stack-queue", "true false", since=(6, 45)),
        *told("status", "waiting"),
        *told("last-seen", "never"),
        *told("expires-after active-address active-mac-address active-client-id active-server"),
        *told("host-name class-id age src-mac-address agent-circuit-id agent-remote-id"),
        flag("radius", readonly=True),
        flag("blocked", readonly=True),
    ),
    disables=True,
    dynamic=True,
    keeps_dynamic=True,
)

DNS = Menu(
    "/ip/dns",
    (
        value("servers", several(address)),
        flag("allow-remote-requests"),
        value("cache-size", default="2048KiB"),
        value("cache-max-ttl", duration, "1w"),
        *values("max-udp-packet-size query-server-timeout query-total-timeout max-concurrent-queries"),
        *values("use-doh-server verify-doh-cert doh-timeout address-list-extra-time vrf", since=(7,)),
        *told("dynamic-servers cache-used"),
    ),
    single=True,
)

DNS_STATIC = Menu(
    "/ip/dns/static",
    (
        value("name"),
        value("regexp"),
        choice("type", "A AAAA CNAME MX NS SRV TXT FWD NXDOMAIN", "A", since=(6, 47)),
        value("address", address),
        *values(
            "cname forward-to mx-exchange mx-preference ns srv-port srv-priority srv-target srv-weight", since=(6, 47)
        ),
        *values("text match-subdomain address-list", since=(6, 47)),
        value("ttl", duration, "1d"),
    ),
    unique=((("name", "type", "address", "cname", "text", "forward-to"), "failure: entry already exists"),),
    clashes_disabled=False,
    ordered=True,
    disables=True,
    dynamic=True,
)
ROUTING_TABLE = Menu(
    "/routing/table",
    (value("name", required=True), value("fib"), flag("invalid", readonly=True)),
    unique=((("name",), "failure: already have such name"),),
    disables=True,
    dynamic=True,
    since=(7,),
    first=({".id": "*0", "name": "main", "dynamic": "true"},),
)

SERVICE = Menu(
    "/ip/service",
    (
        value("name", readonly=True),
        value("port", port),
        value("address", several(prefix), ""),
        reference("certificate", "/certificate", words="none"),
        value("max-sessions", integer, since=(7, 16)),
        value("vrf", since=(7,)),
        choice("tls-version", "any only-1.2", since=(6, 40)),
        flag("invalid", readonly=True),
        flag("connection", None, readonly=True, since=(7, 18)),
        *told("proto local remote", since=(7, 18)),
    ),
    adds=False,
    removes=False,
    disables=True,
    dynamic=True,
    comments=False,
)

NEIGHBOR = Menu(
    "/ip/neighbor",
    told("address mac-address interface identity platform version board uptime"),
    adds=False,
    removes=False,
    sets=False,
    comments=False,
)
CLOUD = Menu(
    "/ip/cloud",
    (
        value("ddns-enabled", either(lambda word: word), "no"),
        flag("update-time", "true"),
        *told("public-address dns-name"),
    ),
    single=True,
)

MENUS = (
    *(ADDRESS, ROUTE, POOL, POOL6, POOL_USED, ARP, DHCP_SERVER, DHCP_CONFIG, DHCP_OPTION, DHCP_NETWORK, LEASE, DNS),
    *(DNS_STATIC, ROUTING_TABLE, SERVICE, NEIGHBOR, CLOUD),
)
