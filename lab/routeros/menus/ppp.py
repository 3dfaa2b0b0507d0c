"""PPP, simple queues and RADIUS."""

from lab.routeros.menus.kinds import (
    address,
    byte_count,
    duration,
    duration_or,
    duration_pair,
    either,
    integer,
    long_prefix,
    pair,
    port,
    rate,
    rate_pair,
    several,
)
from lab.routeros.menus.spec import Menu, choice, choices, flag, reference, told, value, values

_SERVICES = "any async pptp pppoe l2tp ovpn sstp"

SECRET = Menu(
    "/ppp/secret",
    (
        value("name", required=True),
        choice("service", _SERVICES, "any"),
        value("caller-id", default=""),
        value("password", default="", sensitive=True),
        reference("profile", "/ppp/profile", "default"),
        reference("local-address", "/ip/pool"),
        reference("remote-address", "/ip/pool"),
        value("routes", default=""),
        value("ipv6-routes", default="", since=(7,)),
        value("remote-ipv6-prefix", long_prefix),
        value("limit-bytes-in", byte_count, "0"),
        value("limit-bytes-out", byte_count, "0"),
        *told("last-logged-out"),
        *told("last-caller-id last-disconnect-reason", "", since=(7,)),
    ),
    unique=((("name", "service"), "failure: secret with the same name already exists"),),
    disables=True,
)

PROFILE = Menu(
    "/ppp/profile",
    (
        value("name", required=True),
        reference("local-address", "/ip/pool"),
        reference("remote-address", "/ip/pool"),
        reference("remote-ipv6-prefix-pool", "/ipv6/pool"),
        reference("dhcpv6-pd-pool", "/ipv6/pool", since=(7,)),
        value("rate-limit"),
        value("session-timeout", duration),
        value("idle-timeout", duration),
        choice("only-one", "default yes no", "default"),
        value("address-list"),
        reference("interface-list", "/interface/list"),
        value("parent-queue"),
        value("insert-queue-before"),
        value("queue-type"),
        value("dns-server", several(address)),
        value("wins-server", several(address)),
        choice("change-tcp-mss", "default yes no", "default"),
        choice("use-mpls", "default yes no required", "default"),
        choice("use-compression", "default yes no", "default"),
        choice("use-encryption", "default yes no required", "default"),
        choice("use-ipv6", "default yes no required", "yes"),
        choice("use-upnp", "default yes no", "default"),
        value("incoming-filter"),
        value("outgoing-filter"),
        reference("bridge", "/interface"),
        choice("bridge-learning", "default yes no", "default"),
        value("on-up"),
        value("on-down"),
        *values("bridge-horizon bridge-path-cost bridge-port-priority bridge-port-vid", since=(6, 45)),
        *values("dhcpv6-lease-time dhcpv6-use-radius remote-ipv6-prefix-reuse bridge-port-trusted", since=(7, 18)),
        flag("default", readonly=True),
    ),
    unique=((("name",), "failure: profile with the same name already exists"),),
    first=(
        {".id": "*0", "name": "default", "default": "true", "change-tcp-mss": "yes"},
        {".id": "*FFFFFFFE", "name": "default-encryption", "default": "true", "use-encryption": "yes"}
        | {"change-tcp-mss": "yes"},
    ),
)

ACTIVE = Menu(
    "/ppp/active",
    told("name service caller-id address uptime encoding session-id limit-bytes-in limit-bytes-out radius"),
    adds=False,
    sets=False,
    comments=False,
)

AAA = Menu(
    "/ppp/aaa",
    (
        flag("use-radius"),
        flag("accounting", "true"),
        value("interim-update", duration, "0s"),
        flag("use-circuit-id-in-nas-port-id"),
        flag("enable-ipv6-accounting", since=(7, 13)),
    ),
    single=True,
)

PPPOE_SERVER = Menu(
    "/interface/pppoe-server/server",
    (
        value("service-name", default="service1"),
        reference("interface", "/interface", required=True),
        value("max-mtu", either(integer, lambda word: word), "auto"),
        value("max-mru", either(integer, lambda word: word), "auto"),
        value("mrru", default="disabled"),
        choices("authentication", "pap chap mschap1 mschap2", "pap,chap,mschap1,mschap2"),
        value("keepalive-timeout", duration_or("disabled"), "10s"),
        flag("one-session-per-host"),
        value("max-sessions", default="unlimited"),
        value("pado-delay", integer, "0"),
        reference("default-profile", "/ppp/profile", "default"),
        flag("accept-empty-service", "true"),
        *values("accept-untagged pppoe-over-vlan-range", since=(7, 17)),
    ),
    disables=True,
)

QUEUE = Menu(
    "/queue/simple",
    (
        value("name"),
        value("target", several(either(long_prefix, lambda word: word)), ""),
        value("dst"),
        reference("parent", "/queue/simple /interface", "none", words="none"),
        value("packet-marks", default=""),
        value("priority", pair, "8/8"),
        value("queue", pair, "default-small/default-small"),
        value("limit-at", rate_pair, "0/0"),
        value("max-limit", rate_pair, "0/0"),
        value("burst-limit", rate_pair, "0/0"),
        value("burst-threshold", rate_pair, "0/0"),
        value("burst-time", duration_pair, "0s/0s"),
        value("bucket-size", pair, "0.1/0.1", since=(6, 35)),
        value("time"),
        value("total-priority", integer),
        value("total-queue"),
        value("total-limit-at", rate),
        value("total-max-limit", rate),
        value("total-burst-limit", rate),
        value("total-burst-threshold", rate),
        value("total-burst-time", duration),
        value("total-bucket-size"),
        *told("bytes", "0/0"),
        *told("total-bytes", "0"),
        *told("packets", "0/0"),
        *told("total-packets", "0"),
        *told("dropped", "0/0"),
        *told("total-dropped", "0"),
        *told("rate", "0/0"),
        *told("total-rate", "0"),
        *told("packet-rate", "0/0"),
        *told("total-packet-rate", "0"),
        *told("queued-packets", "0/0"),
        *told("total-queued-packets", "0"),
        *told("queued-bytes", "0/0"),
        *told("total-queued-bytes", "0"),
        flag("invalid", readonly=True),
    ),
    unique=((("name",), "failure: already have such name"),),
    ordered=True,
    disables=True,
    dynamic=True,
)

QUEUE_TYPE = Menu(
    "/queue/type",
    (
        value("name", required=True),
        choice("kind", "bfifo pfifo red sfq pcq mq-pfifo none fq-codel codel cake", required=True),
        value("pcq-rate", rate),
        value("pcq-limit"),
        value("pcq-classifier"),
        value("pcq-total-limit"),
        value("pfifo-limit", integer),
        *values("bfifo-limit red-limit red-min-threshold red-max-threshold red-burst red-avg-packet sfq-perturb"),
        *values("sfq-allot mq-pfifo-limit pcq-burst-rate pcq-burst-threshold pcq-burst-time"),
        *values("pcq-src-address-mask pcq-dst-address-mask pcq-src-address6-mask pcq-dst-address6-mask"),
        *values("fq-codel-limit fq-codel-target fq-codel-interval fq-codel-quantum fq-codel-flows", since=(7,)),
        *values("cake-bandwidth cake-rtt cake-diffserv cake-flowmode cake-nat cake-overhead", since=(7,)),
        flag("default", readonly=True),
    ),
    comments=False,
    unique=((("name",), "failure: already have such name"),),
    first=(
        {"name": "default", "kind": "pfifo", "pfifo-limit": "50", "default": "true"},
        {"name": "default-small", "kind": "pfifo", "pfifo-limit": "10", "default": "true"},
        {
            "name": "pcq-upload-default",
            "kind": "pcq",
            "pcq-rate": "0",
            "pcq-classifier": "src-address",
            "default": "true",
        },
        {"name": "pcq-download-default", "kind": "pcq", "pcq-rate": "0", "pcq-classifier": "dst-address"}
        | {"default": "true"},
    ),
)

RADIUS = Menu(
    "/radius",
    (
        choices("service", "ppp login hotspot wireless dhcp ipsec dot1x"),
        value("called-id", default=""),
        value("domain", default=""),
        value("address", address, "0.0.0.0"),  # noqa: S104 - what RouterOS has before one is named
        value("secret", default="", sensitive=True),
        value("authentication-port", port, "1812"),
        value("accounting-port", port, "1813"),
        value("timeout", duration, "300ms"),
        flag("accounting-backup"),
        value("realm", default=""),
        choice("protocol", "udp radsec", "udp"),
        reference("certificate", "/certificate", "none", words="none"),
        value("src-address", address, "0.0.0.0"),  # noqa: S104
        choice("require-message-auth", "no yes-for-request-resp", "yes-for-request-resp", since=(7, 15)),
        *values("radsec-timeout", since=(7, 17)),
        *told("status"),
    ),
    ordered=True,
    disables=True,
)

RADIUS_INCOMING = Menu(
    "/radius/incoming",
    (flag("accept"), value("port", port, "3799"), value("vrf", default="main", since=(7, 15))),
    single=True,
)

MENUS = (SECRET, PROFILE, ACTIVE, AAA, PPPOE_SERVER, QUEUE, QUEUE_TYPE, RADIUS, RADIUS_INCOMING)
