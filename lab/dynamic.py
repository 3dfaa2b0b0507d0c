"""CoA-Request and Disconnect-Request as RouterOS takes them (RFC 5176).

A wrong secret, a malformed packet and an unknown sender get silence and are only counted. The session must be named
by enough: User-Name exactly as the router sent it, with the address or the session id beside it. Every identifier in
the request must fit. An ACK is the bare 20 octets.
"""

import asyncio
import socket
from collections import OrderedDict
from dataclasses import dataclass

from aaa.facts import AccessKind
from lab import attributes as rad
from lab.attributes import ErrorCause, TerminateCause
from lab.grant import BadGrant, NotChangeable, change_grant
from lab.nas import Nas
from lab.packet import Attributes, Code, Malformed, Packet, decode, is_sealed, number, reply
from lab.session import Session

_REMEMBERED = 512
_READ_AT_ONCE = 64
_ACK_AND_NAK = {
    Code.DISCONNECT_REQUEST: (Code.DISCONNECT_ACK, Code.DISCONNECT_NAK),
    Code.COA_REQUEST: (Code.COA_ACK, Code.COA_NAK),
}


@dataclass(slots=True)
class IncomingCounters:
    """What `/radius incoming monitor` of RouterOS shows."""

    requests: int = 0
    bad_requests: int = 0
    acks: int = 0
    naks: int = 0


class _Refused(Exception):
    def __init__(self, cause: ErrorCause) -> None:
        super().__init__(cause)
        self.cause = cause


class DynamicListener:
    """`/radius incoming` of one NAS: listens on its CoA port and carries out what is asked."""

    def __init__(self, nas: Nas) -> None:
        self.counters = IncomingCounters()
        self._nas = nas
        self._answered: OrderedDict[tuple[str, int, bytes], bytes] = OrderedDict()
        self._socket: socket.socket | None = None
        self.listen(nas.profile.coa_port)

    def listen(self, port: int | None) -> None:
        """Listen on a port (0 is any free one) in place of the one before; None is on none. Raises OSError."""
        self.close()
        if port is None:
            return
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        opened.setblocking(False)
        try:
            opened.bind((self._nas.profile.address, port))
        except OSError:
            opened.close()
            raise
        self._socket = opened
        asyncio.get_running_loop().add_reader(opened, self._read, opened)

    @property
    def port(self) -> int:
        """The port it listens on, which matters where the profile says 0; 0 where it listens on none."""
        return int(self._socket.getsockname()[1]) if self._socket is not None else 0

    def close(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def _read(self, opened: socket.socket) -> None:
        for _ in range(_READ_AT_ONCE):
            try:
                octets, (source, port) = opened.recvfrom(4096)
            except BlockingIOError:
                return
            answer = self.answer(octets, source)
            if answer is not None:
                try:
                    opened.sendto(answer, (source, port))
                except BlockingIOError:
                    continue  # lost, as it might be on the way

    def answer(self, octets: bytes, source: str) -> bytes | None:
        """Carry out one request and return the reply, or None for silence.

        A request seen before (same identifier and authenticator) gets the reply it got, and nothing is done again.
        """
        nas = self._nas
        if not nas.powered:
            return None
        self.counters.requests += 1
        secret = nas.terms.incoming_secret(source)
        if secret is None:
            self.counters.bad_requests += 1
            return None
        try:
            request = decode(octets)
        except Malformed:
            self.counters.bad_requests += 1
            return None
        if request.code not in _ACK_AND_NAK or not is_sealed(request, secret):
            self.counters.bad_requests += 1
            return None
        key = (source, request.identifier, request.authenticator)
        if key in self._answered:
            return self._answered[key]
        answer = self._carry_out(request, secret)
        if answer is not None:
            self._answered[key] = answer
            if len(self._answered) > _REMEMBERED:
                self._answered.popitem(last=False)
        return answer

    def _carry_out(self, request: Packet, secret: bytes) -> bytes | None:
        code = Code(request.code)
        ack, nak = _ACK_AND_NAK[code]
        try:
            session = self._find(request.attributes)
            if session.kind is AccessKind.DHCP and not self._nas.profile.dhcp_obeys_coa:
                return None
            if code is Code.COA_REQUEST:
                self._change(session, request.attributes)
        except _Refused as refused:
            self.counters.naks += 1
            return reply(nak, request, number(rad.ERROR_CAUSE, refused.cause), secret)
        except Malformed:
            self.counters.bad_requests += 1
            return None
        self.counters.acks += 1
        if code is Code.DISCONNECT_REQUEST:
            self._nas.log_out(session, TerminateCause.ADMIN_RESET)
        return reply(ack, request, b"", secret)

    def _find(self, wanted: Attributes) -> Session:
        own = {None, self._nas.profile.address, *(row.source for row in self._nas.terms.radius(AccessKind.PPP))}
        if (
            wanted.text(rad.NAS_IDENTIFIER) not in (None, self._nas.terms.identifier)
            or wanted.address(rad.NAS_IP_ADDRESS) not in own
        ):
            raise _Refused(ErrorCause.NAS_IDENTIFICATION_MISMATCH)
        name = wanted.text(rad.USER_NAME)
        if name is None:
            raise _Refused(ErrorCause.MISSING_ATTRIBUTE)
        framed, session_id = wanted.address(rad.FRAMED_IP_ADDRESS), wanted.text(rad.ACCT_SESSION_ID)
        sessions = self._nas.sessions
        if session_id is not None:
            session = sessions.get(session_id)
            candidates = [] if session is None else [session]
        else:
            candidates = [session for session in sessions.values() if session.user_name == name]
            if framed is None:  # a name alone finds a wireless client, and never the hotspot session beside it
                candidates = [session for session in candidates if session.kind is AccessKind.WIRELESS]
                if not candidates:
                    raise _Refused(ErrorCause.MISSING_ATTRIBUTE)
        for session in candidates:
            if session.user_name == name and framed in (None, session.address):
                return session
        raise _Refused(ErrorCause.SESSION_CONTEXT_NOT_FOUND)

    def _change(self, session: Session, wanted: Attributes) -> None:
        obeyed = session.kind is not AccessKind.HOTSPOT or self._nas.profile.hotspot_obeys_rate
        try:
            grant = change_grant(session.grant, session.kind, wanted, rate_obeyed=obeyed)
        except NotChangeable:
            raise _Refused(ErrorCause.UNSUPPORTED_ATTRIBUTE) from None
        except BadGrant:
            raise _Refused(ErrorCause.INVALID_REQUEST) from None
        self._nas.change(session, grant)
