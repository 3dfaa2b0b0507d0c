"""A small RADIUS client over pyrad, whose codec is not ours, with FreeRADIUS's own dictionaries."""

import hashlib
import hmac
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyrad import packet
from pyrad.dictionary import Dictionary

from lab.mschap import version1_response, version2_response

DICTIONARY = Path(__file__).with_name("dictionary")


@dataclass
class Answer:
    code: int  # 2 Access-Accept, 3 Access-Reject, 5 Accounting-Response
    raw: bytes
    attributes: dict[str, list[Any]]

    def __getitem__(self, name: str) -> Any:
        return self.attributes[name][0]

    def __contains__(self, name: str) -> bool:
        return name in self.attributes


class NoAnswer(Exception):
    pass


class Client:
    def __init__(
        self, auth_port: int, acct_port: int, secret: bytes = b"testing123", source: str = "127.0.0.1"
    ) -> None:
        self.secret = secret
        self.ports = {1: auth_port, 4: acct_port}
        self.dictionary = Dictionary(str(DICTIONARY))
        self.source = source

    def login(
        self,
        user: str | bytes,
        password: str | bytes,
        method: str = "pap",
        mac: str = "AA:BB:CC:00:00:01",
        message_authenticator: bool = True,
        timeout: float = 2.0,
        **attributes: Any,
    ) -> Answer:
        """Ask as RouterOS's PPPoE server does. Raises NoAnswer."""
        request = packet.AuthPacket(secret=self.secret, dict=self.dictionary, id=os.urandom(1)[0])
        request.authenticator = os.urandom(16)
        request["Service-Type"] = "Framed-User"
        request["Framed-Protocol"] = "PPP"
        request["NAS-Port-Type"] = "Ethernet"
        request["User-Name"] = user
        request["Calling-Station-Id"] = mac
        request["Called-Station-Id"] = "service1"
        request["NAS-Port-Id"] = "ether2"
        request["Acct-Session-Id"] = os.urandom(4).hex()
        request["NAS-Identifier"] = "tower-1"
        for name, value in attributes.items():
            name = name.replace("_", "-")
            if value is None:
                request.pop(request._EncodeKey(name), None)
            else:
                request[name] = value
        if method == "pap":
            request["User-Password"] = request.PwCrypt(password)
        elif method == "chap":
            identifier, challenge = os.urandom(1), os.urandom(16)
            digest = hashlib.md5(identifier + password.encode() + challenge).digest()
            request["CHAP-Password"] = identifier + digest
            request["CHAP-Challenge"] = challenge
        elif method == "mschap":
            challenge = os.urandom(8)
            request["MS-CHAP-Challenge"] = challenge
            request["MS-CHAP-Response"] = version1_response(1, password, challenge)
        elif method == "mschapv2":
            challenge, peer_challenge = os.urandom(16), os.urandom(16)
            request["MS-CHAP-Challenge"] = challenge
            request["MS-CHAP2-Response"] = version2_response(1, user, password, challenge, peer_challenge)
        return self.exchange(request, timeout, message_authenticator=message_authenticator)

    def exchange(self, request: packet.Packet, timeout: float = 2.0, *, message_authenticator: bool = False) -> Answer:
        raw = request.RequestPacket()
        if message_authenticator:
            raw = signed(raw, self.secret)
        family = socket.AF_INET6 if ":" in self.source else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as udp:
            udp.bind((self.source, 0))
            udp.settimeout(timeout)
            udp.sendto(raw, (self.source if family == socket.AF_INET6 else "127.0.0.1", self.ports[request.code]))
            try:
                reply, _ = udp.recvfrom(4096)
            except TimeoutError:
                raise NoAnswer from None
        expected = hashlib.md5(reply[:4] + raw[4:20] + reply[20:] + self.secret).digest()
        assert expected == reply[4:20], "Response Authenticator"
        answer = packet.Packet(dict=self.dictionary, packet=reply, secret=self.secret)
        return Answer(reply[0], reply, {str(name): list(answer[name]) for name in answer.keys()})  # noqa: SIM118 - keys() gives names


def signed(raw: bytes, secret: bytes) -> bytes:
    """Add a Message-Authenticator (RFC 2869 §5.14) to a request."""
    length = len(raw) + 18
    raw = raw[:2] + length.to_bytes(2, "big") + raw[4:] + b"\x50\x12" + bytes(16)
    return raw[:-16] + hmac.digest(secret, raw, "md5")
