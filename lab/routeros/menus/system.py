"""The system: identity, resources, clock, users, files, log, certificates, SNMP."""

from lab.routeros.menus.kinds import address, duration, integer, long_prefix, port, prefix, several
from lab.routeros.menus.spec import Menu, choice, flag, reference, told, value

_MODES = (
    *("scheduler", "socks", "fetch", "pptp", "l2tp", "bandwidth-test", "traffic-gen", "sniffer", "ipsec", "romon"),
    *("proxy", "hotspot", "smb", "email", "zerotier", "container", "install-any-version", "partitions", "routerboard"),
)
IDENTITY = Menu("/system/identity", (value("name", default="MikroTik"),), single=True)
RESOURCE = Menu(
    "/system/resource",
    told(
        "uptime version build-time factory-software free-memory total-memory cpu cpu-count cpu-frequency cpu-load "
        "free-hdd-space total-hdd-space write-sect-since-reboot write-sect-total architecture-name board-name platform"
    ),
    single=True,
    sets=False,
)
CLOCK = Menu(
    "/system/clock",
    (
        value("time-zone-name", default="manual"),
        flag("time-zone-autodetect", "true"),
        *told("date time gmt-offset dst-active"),
    ),
    single=True,
)
HEALTH = Menu("/system/health", told("name value type voltage temperature"), adds=False, removes=False, comments=False)
ROUTERBOARD = Menu(
    "/system/routerboard",
    told("routerboard board-name model serial-number firmware-type factory-firmware current-firmware upgrade-firmware"),
    single=True,
    sets=False,
)
PACKAGE = Menu(
    "/system/package",
    told("name version build-time scheduled size disabled"),
    adds=False,
    removes=False,
    comments=False,
)
LICENSE = Menu(
    "/system/license",
    told("software-id nlevel features level deadline-at system-id"),
    single=True,
    sets=False,
)
NTP_CLIENT = Menu(
    "/system/ntp/client",
    (
        flag("enabled"),
        choice("mode", "unicast broadcast multicast manycast", "unicast"),
        value("servers", since=(7,)),
        value("vrf", default="main", since=(7,)),
        value("primary-ntp", address, "0.0.0.0", until=(7,)),  # noqa: S104 - what RouterOS has before one is named
        value("secondary-ntp", address, "0.0.0.0", until=(7,)),  # noqa: S104
        value("server-dns-names", until=(7,)),
        *told("status synced-server synced-stratum system-offset freq-drift"),
    ),
    single=True,
)
NTP_SERVERS = Menu(
    "/system/ntp/client/servers",
    (value("address", required=True), flag("iburst", "true"), value("min-poll", integer), value("max-poll", integer)),
    disables=True,
    dynamic=True,
    since=(7,),
)
SCHEDULER = Menu(
    "/system/scheduler",
    (
        value("name", required=True),
        value("start-date"),
        value("start-time", default="startup"),
        value("interval", duration, "0s"),
        value("on-event"),
        value("policy"),
        *told("owner run-count next-run"),
    ),
    unique=((("name",), "failure: item with such name already exists"),),
    disables=True,
)
SCRIPT = Menu(
    "/system/script",
    (
        value("name", required=True),
        value("source"),
        value("policy"),
        flag("dont-require-permissions"),
        *told("owner last-started run-count"),
        flag("invalid", readonly=True),
    ),
    unique=((("name",), "failure: item with such name already exists"),),
)
DEVICE_MODE = Menu(
    "/system/device-mode",
    (
        *told("mode allowed-versions flagged flagging-enabled attempt-count"),
        *(flag(name, "true", readonly=True) for name in _MODES),
    ),
    single=True,
    sets=False,
    since=(6, 49, 8),
    first=({"mode": "advanced", "flagged": "false", "flagging-enabled": "true", "attempt-count": "0"},),
)
LOG = Menu("/log", told("time topics message extra-info"), adds=False, removes=False, sets=False, comments=False)
LOGGING = Menu(
    "/system/logging",
    (
        value("topics", default="info"),
        value("prefix"),
        value("action", default="memory"),
        flag("default", readonly=True),
    ),
    disables=True,
    comments=False,
    first=({"topics": "info", "action": "memory", "default": "true"},),
)
FILE = Menu(
    "/file",
    (value("name"), value("contents"), *told("type size creation-time last-modified package-name")),
    unique=((("name",), "failure: file already exists"),),
    adds=True,
    comments=False,
)
CERTIFICATE = Menu(
    "/certificate",
    (
        value("name", required=True),
        value("common-name"),
        value("subject-alt-name"),
        flag("trusted"),
        *told("issuer serial-number fingerprint invalid-before invalid-after expires-after private-key authority"),
    ),
    comments=False,
)
USER = Menu(
    "/user",
    (
        value("name", required=True),
        reference("group", "/user/group", required=True),
        value("address", several(prefix), ""),
        value("password", unseen=True),
        choice("inactivity-policy", "none logout lockscreen", "none", since=(7, 13)),
        value("inactivity-timeout", duration, "10m", since=(7, 13)),
        *told("last-logged-in"),
        flag("expired", readonly=True, since=(7,)),
    ),
    unique=((("name",), "failure: user with the same name already exists"),),
    disables=True,
    reads="policy",
    writes="policy",
)
USER_GROUP = Menu(
    "/user/group",
    (value("name", required=True), value("policy", default=""), value("skin", default="default")),
    unique=((("name",), "failure: group with the same name already exists"),),
    reads="policy",
    writes="policy",
)
USER_AAA = Menu(
    "/user/aaa",
    (
        flag("use-radius"),
        flag("accounting", "true"),
        value("interim-update", duration, "0s"),
        reference("default-group", "/user/group", "read"),
        value("exclude-groups"),
    ),
    single=True,
    reads="policy",
    writes="policy",
)
USER_ACTIVE = Menu(
    "/user/active",
    told("when name address via group radius"),
    adds=False,
    removes=False,
    sets=False,
    comments=False,
)
SNMP = Menu(
    "/snmp",
    (
        flag("enabled"),
        value("contact"),
        value("location"),
        value("engine-id", until=(7, 10)),
        value("engine-id-suffix", since=(7, 10)),
        value("trap-target", several(address)),
        value("trap-community", default="public"),
        choice("trap-version", "1 2 3", "1"),
        value("trap-generators"),
        value("src-address", address),
    ),
    single=True,
)
SNMP_COMMUNITY = Menu(
    "/snmp/community",
    (
        value("name", required=True),
        value("addresses", several(long_prefix)),
        choice("security", "none authorized private", "none"),
        flag("read-access", "true"),
        flag("write-access"),
        value("authentication-password", sensitive=True),
        value("encryption-password", sensitive=True),
        flag("default", None, readonly=True),
    ),
    unique=((("name",), "failure: already have such name"),),
    disables=True,
    first=({".id": "*0", "name": "public", "addresses": "::/0", "default": "true"},),
)
NETWATCH = Menu(
    "/tool/netwatch",
    (
        value("host", address, required=True),
        value("interval", duration, "10s"),
        value("timeout", duration, "3s"),
        value("up-script"),
        value("down-script"),
        *told("status since"),
    ),
    disables=True,
)
ROMON = Menu("/tool/romon", (flag("enabled"), value("id")), single=True)
EMAIL = Menu(
    "/tool/e-mail",
    (
        value("server", default="0.0.0.0"),  # noqa: S104
        value("port", port, "25"),
        value("from", default="<>"),
        value("user"),
        value("password", sensitive=True),
    ),
    single=True,
)

MENUS = (
    *(IDENTITY, RESOURCE, CLOCK, HEALTH, ROUTERBOARD, PACKAGE, LICENSE, NTP_CLIENT, NTP_SERVERS, SCHEDULER, SCRIPT),
    *(DEVICE_MODE, LOG, LOGGING, FILE, CERTIFICATE, USER, USER_GROUP, USER_AAA, USER_ACTIVE, SNMP, SNMP_COMMUNITY),
    *(NETWATCH, ROMON, EMAIL),
)
