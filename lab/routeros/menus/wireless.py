"""Wireless, with the driver of before 7.13 and with the newer one."""

from lab.routeros.menus.kinds import duration, either, integer, mac
from lab.routeros.menus.spec import Menu, choice, choices, flag, reference, told, value

WIRELESS = Menu(
    "/interface/wireless",
    (
        value("name"),
        reference("security-profile", "/interface/wireless/security-profiles", "default"),
        value("ssid", default="MikroTik"),
        value("mode", default="station"),
        value("band"),
        value("frequency"),
        value("channel-width"),
        value("country"),
        value("radio-name"),
        flag("default-authentication", "true"),
        flag("default-forwarding", "true"),
        flag("hide-ssid"),
        flag("running", readonly=True),
        *told("mac-address interface-type"),
    ),
    unique=((("name",), "failure: already have interface with such name"),),
    disables=True,
    package="wireless",
)
REGISTRATION = Menu(
    "/interface/wireless/registration-table",
    told(
        "interface mac-address radio-name ap uptime rx-rate tx-rate signal-strength signal-to-noise tx-ccq rx-ccq "
        "bytes packets last-activity last-ip distance p-throughput authentication-type"
    ),
    adds=False,
    sets=False,
    package="wireless",
)
SECURITY_PROFILE = Menu(
    "/interface/wireless/security-profiles",
    (
        value("name", required=True),
        choice("mode", "none dynamic-keys static-keys-required static-keys-optional", "none"),
        choices("authentication-types", "wpa-psk wpa2-psk wpa-eap wpa2-eap"),
        value("wpa-pre-shared-key", sensitive=True),
        value("wpa2-pre-shared-key", sensitive=True),
        flag("radius-mac-authentication"),
        flag("radius-mac-accounting"),
        flag("radius-eap-accounting"),
        value("radius-mac-format", default="XX:XX:XX:XX:XX:XX"),
        choice("radius-mac-mode", "as-username as-username-and-password", "as-username"),
        value("radius-mac-caching", default="disabled"),
        value("radius-called-format", default="mac:ssid"),
        value("interim-update", duration, "0s"),
        flag("default", readonly=True),
    ),
    unique=((("name",), "failure: already have such name"),),
    package="wireless",
    first=({".id": "*0", "name": "default", "default": "true"},),
)
WIRELESS_ACCESS = Menu(
    "/interface/wireless/access-list",
    (
        value("mac-address", mac),
        value("interface", default="any"),
        value("signal-range"),
        flag("authentication", "true"),
        flag("forwarding", "true"),
        value("ap-tx-limit", integer, "0"),
        value("client-tx-limit", integer, "0"),
        value("private-pre-shared-key", sensitive=True),
    ),
    ordered=True,
    disables=True,
    package="wireless",
)
CAPSMAN_REGISTRATION = Menu(
    "/caps-man/registration-table",
    told("interface ssid mac-address uptime tx-rate rx-rate rx-signal bytes packets eap-identity"),
    adds=False,
    sets=False,
    comments=False,
    package="wireless",
)

_WIFI = (7, 13)
WIFI = Menu(
    "/interface/wifi",
    (
        value("name"),
        reference("configuration", "/interface/wifi/configuration"),
        reference("security", "/interface/wifi/security"),
        reference("aaa", "/interface/wifi/aaa"),
        value("configuration.ssid"),
        value("configuration.mode"),
        value("configuration.country"),
        value("channel.frequency"),
        value("security.authentication-types"),
        value("security.passphrase", sensitive=True),
        reference("master-interface", "/interface/wifi"),
        flag("running", readonly=True),
        flag("bound", None, readonly=True),
        flag("master", None, readonly=True),
        *told("default-name mac-address radio-mac"),
    ),
    unique=((("name",), "failure: already have interface with such name"),),
    disables=True,
    since=_WIFI,
)
WIFI_REGISTRATION = Menu(
    "/interface/wifi/registration-table",
    told(
        "interface ssid mac-address uptime last-activity signal auth-type band rx-rate tx-rate bytes packets authorized"
    ),
    adds=False,
    sets=False,
    comments=False,
    since=_WIFI,
)
WIFI_CONFIGURATION = Menu(
    "/interface/wifi/configuration",
    (
        value("name", required=True),
        value("ssid"),
        value("mode"),
        value("country"),
        reference("security", "/interface/wifi/security"),
        reference("aaa", "/interface/wifi/aaa"),
        flag("hide-ssid", None),
    ),
    unique=((("name",), "failure: already have such name"),),
    disables=True,
    since=_WIFI,
)
WIFI_SECURITY = Menu(
    "/interface/wifi/security",
    (
        value("name", required=True),
        choices("authentication-types", "wpa-psk wpa2-psk wpa3-psk wpa-eap wpa2-eap wpa3-eap owe"),
        value("passphrase", sensitive=True),
    ),
    unique=((("name",), "failure: already have such name"),),
    disables=True,
    since=_WIFI,
)
WIFI_AAA = Menu(
    "/interface/wifi/aaa",
    (
        value("name", required=True),
        value("username-format"),
        value("password-format"),
        value("called-format"),
        value("calling-format"),
        value("interim-update", duration),
        value("mac-caching", either(duration, lambda word: word)),
        value("nas-identifier"),
    ),
    unique=((("name",), "failure: already have such name"),),
    disables=True,
    since=_WIFI,
)
WIFI_ACCESS = Menu(
    "/interface/wifi/access-list",
    (
        value("mac-address", mac),
        value("mac-address-mask", mac),
        value("interface"),
        value("ssid-regexp"),
        value("signal-range"),
        choice("action", "accept reject query-radius"),
        flag("radius-accounting", None),
        value("passphrase", sensitive=True),
        value("vlan-id"),
        *told("last-logged-in match-count"),
    ),
    ordered=True,
    disables=True,
    since=_WIFI,
)

MENUS = (
    *(WIRELESS, REGISTRATION, SECURITY_PROFILE, WIRELESS_ACCESS, CAPSMAN_REGISTRATION),
    *(WIFI, WIFI_REGISTRATION, WIFI_CONFIGURATION, WIFI_SECURITY, WIFI_AAA, WIFI_ACCESS),
)
