"""Limiting the guessing of passwords without delaying rejects.

RouterOS gives up on an answer after as little as 300 ms, so FreeRADIUS's reject_delay is no use. Instead a name that
was tried with many wrong passwords is refused for a while, whatever the password: ten from one device, a hundred from
all devices together. The device is part of the key so that nobody locks a subscriber out from another house; the
password as it is stored is, too, so that a password set anew works at once for a CPE that kept trying.

An access code is name and password in one, so wrong codes are counted by device alone: ten in five minutes. A limit of
a router or an operator would let one guest keep out all others of a place; what protects there is the length of codes.
"""

from collections import OrderedDict

WINDOW = 300.0  # seconds
PER_DEVICE = 10
PER_NAME = 100
_REMEMBERED = 20_000

Key = tuple[bytes, str | None]


class Guessing:
    """Counts wrong passwords in memory; a restart forgets them."""

    def __init__(self) -> None:
        self._tries: OrderedDict[Key, tuple[float, int]] = OrderedDict()

    def wrong(self, sealed_password: bytes, mac: str | None, now: float) -> None:
        self._count((sealed_password, mac), now)
        self._count((sealed_password, ""), now)
        self._forget()

    def _count(self, key: Key, now: float) -> None:
        begun, count = self._tries.pop(key, (now, 0))
        if now - begun > WINDOW:
            begun, count = now, 0
        self._tries[key] = (begun, count + 1)

    def _forget(self) -> None:
        while len(self._tries) > _REMEMBERED:
            self._tries.popitem(last=False)

    def blocked(self, sealed_password: bytes | None, mac: str | None, now: float) -> bool:
        if not self._tries or sealed_password is None:
            return False
        return self._over((sealed_password, mac), PER_DEVICE, now) or self._over((sealed_password, ""), PER_NAME, now)

    def wrong_code(self, operator_id: int, mac: str | None, now: float) -> None:
        self._count((_codes(operator_id), mac), now)
        self._forget()

    def code_blocked(self, operator_id: int, mac: str | None, now: float) -> bool:
        return bool(self._tries) and self._over((_codes(operator_id), mac), PER_DEVICE, now)

    def _over(self, key: Key, limit: int, now: float) -> bool:
        begun, count = self._tries.get(key, (now, 0))
        return count >= limit and now - begun <= WINDOW


def _codes(operator_id: int) -> bytes:
    return b"codes of %d" % operator_id  # no sealed password is that short
