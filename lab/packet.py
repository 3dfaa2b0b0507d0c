"""RADIUS packets, octet by octet: RFC 2865 (access), 2866 (accounting), 2869 (Message-Authenticator), 5176 (CoA).

Written without a dictionary and without an object for each attribute, because one process here plays dozens of NAS
that all reconnect at once. Values are octets; `attribute`, `text`, `number` and `address` encode them, `Attributes`
reads them back.
"""

import hmac
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from hashlib import md5
from socket import inet_aton

from lab.attributes import MESSAGE_AUTHENTICATOR, VENDOR_SPECIFIC

HEADER = 20
LONGEST = 4096  # RFC 2865 §3
_ZEROES = bytes(16)
_SIGNATURE_LENGTH = 18
_NUMBER = struct.Struct("!BBI")


class Code(IntEnum):
    ACCESS_REQUEST = 1
    ACCESS_ACCEPT = 2
    ACCESS_REJECT = 3
    ACCOUNTING_REQUEST = 4
    ACCOUNTING_RESPONSE = 5
    ACCESS_CHALLENGE = 11
    DISCONNECT_REQUEST = 40
    DISCONNECT_ACK = 41
    DISCONNECT_NAK = 42
    COA_REQUEST = 43
    COA_ACK = 44
    COA_NAK = 45


class Malformed(ValueError):
    """The octets are not a RADIUS packet."""


def attribute(code: int, value: bytes) -> bytes:
    """Return one attribute as octets, a vendor's wrapped in Vendor-Specific (RFC 2865 §5.26).

    Raises ValueError when the value does not fit: 253 octets, a vendor's 247.
    """
    if code < 256:
        if len(value) > 253:
            raise ValueError(f"attribute {code} has {len(value)} octets, more than 253")
        return bytes((code, len(value) + 2)) + value
    if len(value) > 247:
        raise ValueError(f"attribute {code >> 8}/{code & 255} has {len(value)} octets, more than 247")
    length = len(value)
    return struct.pack("!BBIBB", VENDOR_SPECIFIC, length + 8, code >> 8, code & 255, length + 2) + value


def text(code: int, value: str) -> bytes:
    return attribute(code, value.encode())


def number(code: int, value: int) -> bytes:
    return _NUMBER.pack(code, 6, value) if code < 256 else attribute(code, value.to_bytes(4, "big"))


def address(code: int, value: str) -> bytes:
    return attribute(code, inet_aton(value))


class Attributes:
    """The attributes of a packet, by number, in the order in which they came."""

    __slots__ = ("_values",)

    def __init__(self, values: dict[int, list[bytes]]) -> None:
        self._values = values

    def __contains__(self, code: int) -> bool:
        return code in self._values

    def __iter__(self) -> Iterator[int]:
        return iter(self._values)

    def all(self, code: int) -> list[bytes]:
        return self._values.get(code, [])

    def octets(self, code: int) -> bytes | None:
        """Return the first value of an attribute, or None."""
        values = self._values.get(code)
        return values[0] if values else None

    def text(self, code: int) -> str | None:
        """Return a string; octets that are not UTF-8 come back as U+FFFD."""
        value = self.octets(code)
        return None if value is None else value.decode(errors="replace")

    def number(self, code: int) -> int | None:
        """Return a 32-bit integer. Raises Malformed when the value has another length."""
        value = self.octets(code)
        if value is None:
            return None
        if len(value) != 4:
            raise Malformed(f"attribute {code} should be an integer and has {len(value)} octets")
        return int.from_bytes(value, "big")

    def address(self, code: int) -> str | None:
        """Return an IPv4 address. Raises Malformed when the value has another length."""
        value = self.octets(code)
        if value is None:
            return None
        if len(value) != 4:
            raise Malformed(f"attribute {code} should be an address and has {len(value)} octets")
        return f"{value[0]}.{value[1]}.{value[2]}.{value[3]}"


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet as received. `signed_at` is the offset of the value of its Message-Authenticator."""

    code: int
    identifier: int
    authenticator: bytes
    attributes: Attributes
    octets: bytes
    signed_at: int | None


def decode(octets: bytes) -> Packet:
    """Read a packet. Octets behind its length are padding and are cut off (RFC 2865 §3). Raises Malformed."""
    if len(octets) < HEADER:
        raise Malformed(f"{len(octets)} octets are too few")
    code, identifier, length = struct.unpack_from("!BBH", octets)
    if not HEADER <= length <= min(len(octets), LONGEST):
        raise Malformed(f"the length says {length}, the datagram has {len(octets)} octets")
    octets = octets[:length]
    values: dict[int, list[bytes]] = {}
    signed_at = None
    offset = HEADER
    while offset < length:
        size = octets[offset + 1] if offset + 1 < length else 0
        if size < 2 or offset + size > length:
            raise Malformed(f"attribute at {offset} has length {size}")
        number_, value = octets[offset], octets[offset + 2 : offset + size]
        if number_ == VENDOR_SPECIFIC:
            for vendor_code, vendor_value in _vendor_attributes(value):
                values.setdefault(vendor_code, []).append(vendor_value)
        else:
            if number_ == MESSAGE_AUTHENTICATOR:
                if size != _SIGNATURE_LENGTH:
                    raise Malformed(f"Message-Authenticator has length {size}")
                signed_at = offset + 2
            values.setdefault(number_, []).append(value)
        offset += size
    return Packet(code, identifier, octets[4:HEADER], Attributes(values), octets, signed_at)


def _vendor_attributes(value: bytes) -> Iterator[tuple[int, bytes]]:
    if len(value) < 6:
        raise Malformed(f"Vendor-Specific has {len(value)} octets")
    vendor = int.from_bytes(value[:4], "big")
    offset = 4
    while offset < len(value):
        size = value[offset + 1] if offset + 1 < len(value) else 0
        if size < 2 or offset + size > len(value):
            raise Malformed(f"Vendor-Specific of {vendor} holds a length of {size}")
        yield vendor << 8 | value[offset], value[offset + 2 : offset + size]
        offset += size


def hide_password(password: bytes, secret: bytes, authenticator: bytes) -> bytes:
    """Return User-Password as it goes on the wire (RFC 2865 §5.2).

    An empty password becomes 16 hidden NUL octets, which is what RouterOS sends for a MAC address.
    """
    padded = password + bytes(-len(password) % 16) or _ZEROES
    hidden, previous = b"", authenticator
    for start in range(0, len(padded), 16):
        pad = int.from_bytes(md5(secret + previous).digest(), "big")
        block = int.from_bytes(padded[start : start + 16], "big")
        previous = (block ^ pad).to_bytes(16, "big")
        hidden += previous
    return hidden


def chap_response(identifier: int, password: bytes, challenge: bytes) -> bytes:
    """Return CHAP-Password: the identifier and the MD5 of RFC 1994 §4.1."""
    ident = bytes((identifier,))
    return ident + md5(ident + password + challenge).digest()


def access_request(identifier: int, authenticator: bytes, attributes: bytes, secret: bytes, *, signed: bool) -> bytes:
    """Return an Access-Request; `signed` puts Message-Authenticator last, where RouterOS 7.15 has it."""
    length = HEADER + len(attributes) + (_SIGNATURE_LENGTH if signed else 0)
    packet = struct.pack("!BBH", Code.ACCESS_REQUEST, identifier, length) + authenticator + attributes
    if not signed:
        return packet
    packet += bytes((MESSAGE_AUTHENTICATOR, _SIGNATURE_LENGTH))
    return packet + hmac.digest(secret, packet + _ZEROES, "md5")


def sealed_request(code: Code, identifier: int, attributes: bytes, secret: bytes) -> bytes:
    """Return a request whose authenticator is the MD5 of itself: Accounting (RFC 2866 §3), CoA (RFC 5176 §2.3)."""
    head = struct.pack("!BBH", code, identifier, HEADER + len(attributes))
    return head + md5(head + _ZEROES + attributes + secret).digest() + attributes


def reply(code: Code, request: Packet, attributes: bytes, secret: bytes) -> bytes:
    """Return the reply to `request` with its Response Authenticator (RFC 2865 §3)."""
    head = struct.pack("!BBH", code, request.identifier, HEADER + len(attributes))
    return head + md5(head + request.authenticator + attributes + secret).digest() + attributes


def is_sealed(request: Packet, secret: bytes) -> bool:
    """Return whether a CoA-, Disconnect- or Accounting-Request was made with `secret`.

    Where it carries Message-Authenticator that must be right as well; it is reckoned over a zero authenticator
    (RFC 5176 §3.4), and the authenticator over the finished packet.
    """
    octets = request.octets
    return md5(octets[:4] + _ZEROES + octets[HEADER:] + secret).digest() == request.authenticator and (
        request.signed_at is None or _signature_is_right(request, _ZEROES, secret)
    )


def is_answer(answer: Packet, request_authenticator: bytes, secret: bytes) -> bool:
    """Return whether a reply was made with `secret` for the request with that authenticator."""
    octets = answer.octets
    return md5(octets[:4] + request_authenticator + octets[HEADER:] + secret).digest() == answer.authenticator and (
        answer.signed_at is None or _signature_is_right(answer, request_authenticator, secret)
    )


def _signature_is_right(packet: Packet, authenticator: bytes, secret: bytes) -> bool:
    """Check Message-Authenticator: HMAC-MD5 over the packet with its own value zero (RFC 2869 §5.14)."""
    at, octets = packet.signed_at, packet.octets
    if at is None:
        return False
    message = octets[:4] + authenticator + octets[HEADER:at] + _ZEROES + octets[at + 16 :]
    return hmac.compare_digest(hmac.digest(secret, message, "md5"), octets[at : at + 16])
