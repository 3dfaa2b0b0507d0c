"""What RouterOS writes into its packets, service by service, in its own order and spelling.

The orders for PPPoE and hotspot are those of packets that were captured; DHCP and wireless follow the manual's lists.
"""

import os
from dataclasses import dataclass
from typing import assert_never

from aaa.facts import AccessKind
from core.mac import parse_mac
from lab import attributes as rad
from lab.attributes import StatusType, TerminateCause
from lab.mschap import version1_response, version2_response, version2_success
from lab.packet import address, attribute, chap_response, hide_password, number, text
from lab.session import Session, packets
from lab.subscriber import Method, Subscriber, spell_mac

_NAS_PORT_TYPE = {AccessKind.PPP: 15, AccessKind.DHCP: 15, AccessKind.HOTSPOT: 19, AccessKind.WIRELESS: 19}
_FRAMED, _LOGIN, _PPP_PROTOCOL, _BY_RADIUS = 2, 1, 1, 1
_FIRST_PPP_PORT = 0xF00000
_ACCESS_POINT = "4C-5E-0C-00-00-01"
_GIGAWORD = 1 << 32


@dataclass(frozen=True, slots=True)
class Proof:
    """The attributes that prove the password, and the MS-CHAP2-Success that an Access-Accept must then carry."""

    attributes: bytes
    expected: bytes | None = None


def user_name(subscriber: Subscriber) -> str:
    """Return the User-Name that goes on the wire."""
    if subscriber.method is not Method.MAC:
        return subscriber.name
    pattern = "XX:XX:XX:XX:XX:XX" if subscriber.kind is AccessKind.DHCP else subscriber.mac_format
    return spell_mac(parse_mac(subscriber.mac), pattern)


def identity(nas: str, subscriber: Subscriber, session_id: str, name: str, framed: str | None) -> bytes:
    """Return the attributes that begin an Access-Request and come again in accounting.

    `framed` is the address that a hotspot or DHCP client has before RADIUS is asked; PPP and wireless have none.
    """
    mac = parse_mac(subscriber.mac).upper()
    port_type = number(rad.NAS_PORT_TYPE, _NAS_PORT_TYPE[subscriber.kind])
    parts: tuple[bytes, ...]
    match subscriber.kind:
        case AccessKind.PPP:
            parts = (
                number(rad.SERVICE_TYPE, _FRAMED),
                number(rad.FRAMED_PROTOCOL, _PPP_PROTOCOL),
                number(rad.NAS_PORT, _FIRST_PPP_PORT + int(session_id[3:], 16)),
                port_type,
                text(rad.USER_NAME, name),
                text(rad.CALLING_STATION_ID, mac),
                text(rad.CALLED_STATION_ID, "pppoe-in"),
                text(rad.NAS_PORT_ID, "ether2"),
                text(rad.ACCT_SESSION_ID, session_id),
            )
        case AccessKind.HOTSPOT:
            assert framed is not None
            parts = (
                port_type,
                text(rad.CALLING_STATION_ID, mac),
                text(rad.CALLED_STATION_ID, "hotspot1"),
                text(rad.NAS_PORT_ID, "bridge-hotspot"),
                text(rad.USER_NAME, name),
                number(rad.NAS_PORT, int(session_id, 16)),
                text(rad.ACCT_SESSION_ID, session_id),
                address(rad.FRAMED_IP_ADDRESS, framed),
                address(rad.MIKROTIK_HOST_IP, framed),
            )
        case AccessKind.DHCP:
            assert framed is not None
            parts = (
                number(rad.NAS_PORT, 2),
                port_type,
                text(rad.CALLING_STATION_ID, "1:" + mac.lower()),  # the DHCP client-id
                text(rad.CALLED_STATION_ID, "dhcp1"),
                text(rad.NAS_PORT_ID, "bridge-lan"),
                text(rad.USER_NAME, name),
                text(rad.ACCT_SESSION_ID, session_id),
                address(rad.FRAMED_IP_ADDRESS, framed),
            )
        case AccessKind.WIRELESS:
            parts = (
                port_type,
                text(rad.CALLING_STATION_ID, mac.replace(":", "-")),
                text(rad.CALLED_STATION_ID, f"{_ACCESS_POINT}:{nas}"),
                text(rad.NAS_PORT_ID, "wlan1"),
                text(rad.USER_NAME, name),
                text(rad.ACCT_SESSION_ID, session_id),
            )
        case _:
            assert_never(subscriber.kind)
    return b"".join(parts)


def prove(subscriber: Subscriber, name: str, identifier: int, secret: bytes, authenticator: bytes) -> Proof:
    """Return the proof of the subscriber's password, by its method.

    `identifier` is that of the CHAP exchange between NAS and CPE, `authenticator` the Access-Request's.
    """
    password = subscriber.password
    match subscriber.method:
        case Method.PAP:
            return Proof(attribute(rad.USER_PASSWORD, hide_password(password.encode(), secret, authenticator)))
        case Method.MAC:
            repeated = name.encode() if subscriber.mac_as_password else b""
            return Proof(attribute(rad.USER_PASSWORD, hide_password(repeated, secret, authenticator)))
        case Method.CHAP if subscriber.chap is not None:
            answer = bytes((subscriber.chap.identifier,)) + subscriber.chap.response
            given = attribute(rad.CHAP_CHALLENGE, subscriber.chap.challenge)
            return Proof(given + attribute(rad.CHAP_PASSWORD, answer))
        case Method.CHAP:
            challenge = os.urandom(16)
            response = chap_response(identifier, password.encode(), challenge)
            return Proof(attribute(rad.CHAP_CHALLENGE, challenge) + attribute(rad.CHAP_PASSWORD, response))
        case Method.MSCHAP1:
            challenge = os.urandom(8)
            response = version1_response(identifier, password, challenge)
            return Proof(attribute(rad.MS_CHAP_CHALLENGE, challenge) + attribute(rad.MS_CHAP_RESPONSE, response))
        case Method.MSCHAP2:
            challenge, peer_challenge = os.urandom(16), os.urandom(16)
            response = version2_response(identifier, name, password, challenge, peer_challenge)
            return Proof(
                attribute(rad.MS_CHAP_CHALLENGE, challenge) + attribute(rad.MS_CHAP2_RESPONSE, response),
                version2_success(identifier, name, password, challenge, response),
            )
        case _:
            assert_never(subscriber.method)


def after_the_proof(kind: AccessKind) -> bytes:
    """Return what a service adds to its Access-Request behind the password."""
    if kind is not AccessKind.HOTSPOT:
        return b""
    return number(rad.SERVICE_TYPE, _LOGIN) + text(rad.WISPR_LOGOFF_URL, "http://10.5.88.1/logout")


def accounting_attributes(
    session: Session,
    status: StatusType,
    cause: TerminateCause | None,
    *,
    loop_time: float,
    clock: float,
    reports_rate: bool,
    swapped: bool,
) -> bytes:
    """Return an Accounting-Request's attributes, as far as they are about the session.

    `loop_time` is now by the event loop's clock, by which the session counts; `clock` is now as the NAS believes.
    """
    grant = session.grant
    parts = [number(rad.ACCT_STATUS_TYPE, status)]
    if cause is not None:
        parts.append(number(rad.ACCT_TERMINATE_CAUSE, cause))
    parts.append(session.echoed)
    if session.kind is AccessKind.PPP:
        if session.address is not None:
            parts.append(address(rad.FRAMED_IP_ADDRESS, session.address))
        parts.append(number(rad.ACCT_AUTHENTIC, _BY_RADIUS))
        if grant.ipv6_prefix is not None:
            parts.append(attribute(rad.FRAMED_IPV6_PREFIX, grant.ipv6_prefix))
        if grant.delegated_ipv6_prefix is not None:
            parts.append(attribute(rad.DELEGATED_IPV6_PREFIX, grant.delegated_ipv6_prefix))
    parts += (attribute(rad.CLASS, value) for value in grant.class_values)
    if reports_rate and grant.rate_text is not None:
        parts.append(text(rad.MIKROTIK_RATE_LIMIT, grant.rate_text))
    parts.append(number(rad.EVENT_TIMESTAMP, int(clock)))
    if status is not StatusType.START:
        parts.append(_traffic(session, loop_time, swapped=swapped))
    return b"".join(parts)


def _traffic(session: Session, loop_time: float, *, swapped: bool) -> bytes:
    received, sent = session.octets(loop_time)  # from the subscriber, to the subscriber
    if swapped:
        received, sent = sent, received
    return b"".join(
        (
            number(rad.ACCT_SESSION_TIME, int(loop_time - session.started)),
            number(rad.ACCT_INPUT_OCTETS, received % _GIGAWORD),
            number(rad.ACCT_INPUT_GIGAWORDS, received // _GIGAWORD),
            number(rad.ACCT_INPUT_PACKETS, packets(received) % _GIGAWORD),
            number(rad.ACCT_OUTPUT_OCTETS, sent % _GIGAWORD),
            number(rad.ACCT_OUTPUT_GIGAWORDS, sent // _GIGAWORD),
            number(rad.ACCT_OUTPUT_PACKETS, packets(sent) % _GIGAWORD),
        )
    )
