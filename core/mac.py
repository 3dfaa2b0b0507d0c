"""MAC addresses as RouterOS spells them.

One canonical form inside Portico, `aa:bb:cc:dd:ee:ff`; every form that a RouterOS menu can be set to on the wire
(hotspot and wireless `radius-mac-format`, `/interface wifi aaa username-format`, DHCP client-ids with their type
byte) is read into it.
"""

import re

_SEPARATORS = str.maketrans("", "", ":-. ")
_TWELVE_HEX = re.compile(r"[0-9a-f]{12}\Z")
_COMMON = re.compile(r"(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}\Z")


class NotAMac(ValueError):
    """The text is not a MAC address in any spelling known."""


def parse_mac(text: str) -> str:
    """Return the canonical spelling, `aa:bb:cc:dd:ee:ff`.

    Accepted: six octets in either case with `:`, `-`, `.` or blanks between any of them, or nothing; and a DHCP
    client-id, which is a MAC with its hardware type 1 in front (`1:aa:…`, `01aa…`; RFC 2132 §9.14).

    Raises NotAMac for anything else.
    """
    mac = find_mac(text)
    if mac is None:
        raise NotAMac(text)
    return mac


def find_mac(text: str) -> str | None:
    """Return the canonical spelling of `text`, or None when it is not a MAC address."""
    if _COMMON.match(text):  # what RouterOS sends unless told otherwise
        return text.lower()
    if not 12 <= len(text) <= 20:
        return None
    if text[:2] == "1:" and len(text) > 14:
        text = text[2:]
    digits = text.translate(_SEPARATORS).lower()
    if len(digits) == 14 and digits.startswith("01"):
        digits = digits[2:]
    elif len(digits) == 13 and digits.startswith("1"):
        digits = digits[1:]
    if not digits.isascii() or not _TWELVE_HEX.match(digits):
        return None
    return ":".join((digits[0:2], digits[2:4], digits[4:6], digits[6:8], digits[8:10], digits[10:12]))
