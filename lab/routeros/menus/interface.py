"""Interfaces and tunnels."""

from lab.routeros.menus.kinds import (
    duration,
    either,
    integer,
    interface_address,
    long_prefix,
    mac,
    port,
    several,
)
from lab.routeros.menus.spec import Field, Menu, choice, choices, flag, reference, told, value, values

_NAME = (("name",), "failure: already have interface with such name")


def _counters() -> tuple[Field, ...]:
    return (
        *told("rx-byte tx-byte rx-packet tx-packet rx-error tx-error rx-drop tx-drop tx-queue-drop"),
        *told("fp-rx-byte fp-tx-byte fp-rx-packet fp-tx-packet link-downs last-link-up-time last-link-down-time"),
    )


def _dial(*more: Field) -> tuple[Field, ...]:
    """Fields of the tunnels that a router dials."""
    return (
        value("name"),
        value("max-mtu", integer, "1450"),
        value("user", required=True),
        value("password", sensitive=True),
        reference("profile", "/ppp/profile", "default-encryption"),
        flag("add-default-route"),
        flag("running", readonly=True),
        *told("status uptime encoding local-address remote-address"),
        *more,
    )


INTERFACE = Menu(
    "/interface",
    (
        value("name"),
        value("mtu", either(integer, lambda word: word)),
        value("l2mtu", integer),
        *told("type actual-mtu max-l2mtu mac-address default-name"),
        flag("running", readonly=True),
        flag("slave", None, readonly=True),
        *_counters(),
    ),
    unique=(_NAME,),
    adds=False,
    removes=False,
    disables=True,
    dynamic=True,
)
ETHERNET = Menu(
    "/interface/ethernet",
    (
        value("name"),
        value("mtu", integer, "1500"),
        value("mac-address", mac),
        value("speed"),
        *values("advertise arp arp-timeout l2mtu loop-protect rx-flow-control tx-flow-control"),
        flag("auto-negotiation", "true"),
        flag("running", readonly=True),
        flag("slave", None, readonly=True),
        *told("default-name orig-mac-address driver-rx-byte driver-tx-byte"),
    ),
    unique=(_NAME,),
    adds=False,
    removes=False,
    disables=True,
)
BRIDGE = Menu(
    "/interface/bridge",
    (
        value("name"),
        value("mtu", either(integer, lambda word: word), "auto"),
        choice("protocol-mode", "none rstp stp mstp", "rstp"),
        flag("vlan-filtering"),
        value("admin-mac", mac),
        flag("auto-mac", "true"),
        *values("ageing-time arp arp-timeout dhcp-snooping fast-forward forward-delay frame-types igmp-snooping"),
        *values("ingress-filtering max-message-age priority pvid transmit-hold-count"),
        flag("running", "true", readonly=True),
        *told("mac-address"),
    ),
    unique=(_NAME,),
    disables=True,
)
BRIDGE_PORT = Menu(
    "/interface/bridge/port",
    (
        reference("interface", "/interface", required=True),
        reference("bridge", "/interface/bridge", required=True),
        value("pvid", integer, "1"),
        *values(
            "bpdu-guard edge frame-types horizon hw ingress-filtering learn path-cost point-to-point priority trusted"
        ),
        flag("inactive", readonly=True),
    ),
    disables=True,
    dynamic=True,
)
VLAN = Menu(
    "/interface/vlan",
    (
        value("name"),
        value("vlan-id", integer, "1"),
        reference("interface", "/interface", required=True),
        value("mtu", integer, "1500"),
        *values("arp arp-timeout loop-protect use-service-tag"),
        flag("running", "true", readonly=True),
        *told("mac-address"),
    ),
    unique=(_NAME,),
    disables=True,
)
WIREGUARD = Menu(
    "/interface/wireguard",
    (
        value("name"),
        value("mtu", integer, "1420"),
        value("listen-port", port, "13231"),
        value("private-key", sensitive=True),
        value("vrf", since=(7, 20)),
        *told("public-key"),
        flag("running", "true", readonly=True),
    ),
    unique=(_NAME,),
    disables=True,
    since=(7,),
)
WIREGUARD_PEER = Menu(
    "/interface/wireguard/peers",
    (
        value("name", since=(7, 15)),
        reference("interface", "/interface/wireguard", required=True),
        value("public-key", required=True),
        value("private-key", sensitive=True, since=(7, 15)),
        value("preshared-key", sensitive=True),
        value("endpoint-address"),
        value("endpoint-port", port, "0"),
        value("allowed-address", several(long_prefix)),
        value("persistent-keepalive", duration),
        flag("is-responder", None, since=(7, 15), until=(7, 17)),
        flag("responder", None, since=(7, 17)),
        value("client-address", several(interface_address), since=(7, 15)),
        *values("client-dns client-endpoint client-keepalive client-listen-port", since=(7, 15)),
        *told("current-endpoint-address current-endpoint-port rx tx last-handshake"),
    ),
    unique=((("public-key", "interface"), "failure: already have such entry"),),
    disables=True,
    dynamic=True,
    since=(7,),
)
OVPN_CLIENT = Menu(
    "/interface/ovpn-client",
    _dial(
        value("connect-to", required=True),
        value("port", port, "1194"),
        choice("mode", "ip ethernet", "ip"),
        value("mac-address", mac),
        value("disconnect-notify", since=(7, 17)),
        choice("protocol", "tcp udp", "tcp", since=(7,)),
        choice("auth", "md5 sha1 null sha256 sha384 sha512", "sha1", since=(7,)),
        choice("auth", "md5 sha1 null", "sha1", until=(7,)),
        choice(
            "cipher",
            "null aes128 aes192 aes256 aes128-cbc aes192-cbc aes256-cbc aes128-gcm aes192-gcm aes256-gcm blowfish128",
            "blowfish128",
            since=(7,),
        ),
        choice("cipher", "null aes128 aes192 aes256 blowfish128", "blowfish128", until=(7,)),
        reference("certificate", "/certificate", "none", words="none"),
        flag("verify-server-certificate", since=(6, 45)),
        choice("tls-version", "any only-1.2", "any", since=(7,)),
        flag("route-nopull", since=(7,)),
        flag("use-peer-dns", None, since=(7,)),
    ),
    unique=(_NAME,),
    disables=True,
)
L2TP_CLIENT = Menu(
    "/interface/l2tp-client",
    _dial(
        value("connect-to", required=True),
        choices("allow", "pap chap mschap1 mschap2", "pap,chap,mschap1,mschap2"),
        flag("use-ipsec"),
        value("ipsec-secret", sensitive=True),
        value("keepalive-timeout", duration, "1m"),
        value("max-mru", integer, "1450"),
        flag("dial-on-demand"),
        *values("default-route-distance allow-fast-path mrru src-address"),
        *values("use-peer-dns random-source-port l2tp-proto-version", since=(7,)),
    ),
    unique=(_NAME,),
    disables=True,
)
SSTP_CLIENT = Menu(
    "/interface/sstp-client",
    _dial(
        value("connect-to", required=True),
        value("port", port, "443", since=(7,)),
        choices("authentication", "pap chap mschap1 mschap2", "pap,chap,mschap1,mschap2"),
        reference("certificate", "/certificate", "none", words="none"),
        flag("verify-server-certificate"),
        *values("default-route-distance dial-on-demand http-proxy keepalive-timeout max-mru mrru pfs tls-version"),
        *values("add-sni ciphers proxy-port verify-server-address-from-certificate", since=(7,)),
    ),
    unique=(_NAME,),
    disables=True,
)
PPPOE_CLIENT = Menu(
    "/interface/pppoe-client",
    _dial(
        reference("interface", "/interface", required=True),
        value("service-name"),
        flag("use-peer-dns"),
        *told("ac-name"),
        *values("allow dial-on-demand host-uniq keepalive-timeout max-mru mrru default-route-distance"),
    ),
    unique=(_NAME,),
    disables=True,
)

MENUS = (
    *(INTERFACE, ETHERNET, BRIDGE, BRIDGE_PORT, VLAN, WIREGUARD, WIREGUARD_PEER, OVPN_CLIENT, L2TP_CLIENT),
    *(SSTP_CLIENT, PPPOE_CLIENT),
)
