"""The image: what radiusd answers from, a memory-mapped LMDB file that the publisher keeps current.

Keys begin with a letter that says what they hold; values begin with a signature over key and content (keyed BLAKE2b),
so that damage, or a row or a file that somebody put there, is noticed and never answered from. Each file has a key of
its own for that, which stands in it sealed under the installation's keys. Content is marshalled, quick to read and the
same Python on both sides; the header names the format and the Python version, and a reader refuses another.

    K                     the key that signs this file, sealed; the one value without a signature
    H                     header: format, Python, installation, the change-log position that is applied, and when
    G                     generation: changes whenever a NAS, policy or plan does
    N + address           a NAS
    O + operator          an operator's policy
    P + plan              a rate plan
    C + hash              reply pairs that many services share
    S + operator + name   a service, its standing answer prepared (`n` a user name, `m` a MAC address, `v` a voucher)
    R + operator + name   a staff member's login to routers
    V + operator          the key of an operator's voucher codes, sealed
    I + service           the key its row stands under
    L + service           its open sessions

A rebuild writes a new file beside the old one and moves the name `current` over to it, so readers always see a whole
image: `Image` looks for that every half second and opens the new one.
"""

import contextlib
import os
import sys
import time
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from hmac import compare_digest
from marshal import dumps, loads
from pathlib import Path
from struct import Struct
from typing import Any, NamedTuple
from zlib import crc32

import lmdb

from core.crypto import Keyring, SecretUnreadable

FORMAT = 10
MAP_OCTETS = 16 << 30  # address space, not memory or disk
CURRENT = "current"
DAMAGED = "damaged"
_RECHECK = 0.5
_u32 = Struct(">I").pack
_u64 = Struct(">Q").pack
_crc_at_front = Struct("<I")

SIGNING = b"K"
HEADER = b"H"
GENERATION = b"G"
KEY_PURPOSE = "image.key"
_SIGNATURE = 8
"""Octets. Who forges has no oracle but radiusd, which answers a wrong one with silence."""


class ImageMissing(Exception):
    """There is no image yet; the publisher makes it."""


class ImageDamaged(Exception):
    """The image cannot be believed: another format, or a signature or checksum that does not match."""


class ServiceRow(NamedTuple):
    """A service as radiusd needs it.

    `ready_until` is the instant (epoch seconds) until which the prepared answer holds; 0 when there is none and
    `facts` must be decided on. The prepared answer is what `radius.reply` makes of the pairs under `shared` (their
    hash), `framed_ip` and `rare`.
    """

    service_id: int
    sealed_password: bytes | None
    ready_until: float
    shared: bytes
    framed_ip: str | None
    rare: tuple[tuple[str, str, str], ...]
    terms_id: bytes
    outcome: str
    reason: str
    session_limit: int
    facts: bytes  # marshalled, see radius.facts_codec


class NasRow(NamedTuple):
    nas_id: int
    operator_id: int
    name: str
    sealed_secret: bytes
    require_message_authenticator: bool


class LoginRow(NamedTuple):
    """A staff member who may log in to routers. `nas_ids` are those that let them in; None is all."""

    staff_id: int
    sealed_password: bytes
    group: str
    nas_ids: tuple[int, ...] | None


def nas_key(address: str) -> bytes:
    return b"N" + address.encode()


def policy_key(operator_id: int) -> bytes:
    return b"O" + _u32(operator_id)


def plan_key(plan_id: int) -> bytes:
    return b"P" + _u64(plan_id)


def shared_key(digest: bytes) -> bytes:
    return b"C" + digest


def service_key(operator_id: int, namespace: bytes, name: str) -> bytes:
    """Return the key of a service. LMDB's keys end at 511 octets, which a user name (253) never reaches."""
    return b"S" + _u32(operator_id) + namespace + name.encode()


def login_key(operator_id: int, name: str) -> bytes:
    return b"R" + _u32(operator_id) + name.encode()


def code_key(operator_id: int) -> bytes:
    return b"V" + _u32(operator_id)


def name_key(service_id: int) -> bytes:
    return b"I" + _u64(service_id)


def live_key(service_id: int) -> bytes:
    return b"L" + _u64(service_id)


def pack(key: bytes, content: Any) -> bytes:
    body = dumps(content, 4)
    return _crc_at_front.pack(crc32(body, crc32(key))) + body


def unpack(key: bytes, value: bytes) -> Any:
    """Return the content. Raises ImageDamaged."""
    body = value[4:]
    if len(value) < 5 or _crc_at_front.unpack_from(value)[0] != crc32(body, crc32(key)):
        raise ImageDamaged(f"checksum of {key[:40]!r}")
    return loads(body)  # noqa: S302 - our own file, its checksum verified


class Signer:
    """Signs the values of one file, and tells whether one is signed by it."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self.begun = blake2b(key=key, digest_size=_SIGNATURE)

    @classmethod
    def of(cls, transaction: Any, keyring: Keyring) -> "Signer":
        """Return the signer of a file. Raises ImageDamaged where it was not made by this installation."""
        sealed = transaction.get(SIGNING)
        if sealed is None:
            raise ImageDamaged("not signed")
        try:
            return cls(bytes.fromhex(keyring.open(KEY_PURPOSE, sealed)))
        except (SecretUnreadable, ValueError):
            raise ImageDamaged("not signed by this installation") from None

    def sealed(self, keyring: Keyring) -> bytes:
        return keyring.seal(KEY_PURPOSE, self._key.hex())

    def signed(self, key: bytes, packed: bytes) -> bytes:
        """Return what is stored under a key for a packed value."""
        return self._of(key, packed) + packed

    def opened(self, key: bytes, value: bytes) -> bytes:
        """Return the packed value of what is stored under a key. Raises ImageDamaged."""
        packed = value[_SIGNATURE:]
        if not compare_digest(value[:_SIGNATURE], self._of(key, packed)):
            raise ImageDamaged(f"signature of {key[:40]!r}")
        return packed

    def _of(self, key: bytes, packed: bytes) -> bytes:
        signature = self.begun.copy()  # a third quicker than beginning anew
        signature.update(b"%d " % len(key) + key + packed)
        return signature.digest()


class Change:
    """A transaction that changes the image: what is put is signed, what is read was."""

    def __init__(self, transaction: Any, signer: Signer) -> None:
        self._transaction = transaction
        self._signer = signer

    def put(self, key: bytes, packed: bytes) -> None:
        self._transaction.put(key, self._signer.signed(key, packed))

    def get(self, key: bytes) -> bytes | None:
        """Return the packed value under a key. Raises ImageDamaged."""
        value = self._transaction.get(key)
        return None if value is None else self._signer.opened(key, value)

    def delete(self, key: bytes) -> None:
        self._transaction.delete(key)

    def keys(self, letter: bytes) -> Iterator[bytes]:
        """Yield the keys that begin with a letter."""
        cursor = self._transaction.cursor()
        if cursor.set_range(letter):
            for key in cursor.iternext(keys=True, values=False):
                if key[:1] != letter:
                    return
                yield bytes(key)

    def entries(self, letter: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the keys that begin with a letter and their packed values. Raises ImageDamaged."""
        cursor = self._transaction.cursor()
        if cursor.set_range(letter):
            for key, value in cursor:
                if key[:1] != letter:
                    return
                yield bytes(key), self._signer.opened(key, value)


def header(installation: str, position: str) -> dict[str, Any]:
    return {"format": FORMAT, "python": sys.version_info[:2], "installation": installation, "position": position}


class Image:
    """Reads the image; for one thread at a time."""

    def __init__(self, directory: Path, keyring: Keyring) -> None:
        """Open the current image. Raises ImageMissing or ImageDamaged."""
        self._directory = directory
        self._keyring = keyring
        self._next_check = 0.0
        self._inode = 0
        self._open()

    def _open(self) -> None:
        path = self._directory / CURRENT
        try:
            found = path.stat()
        except FileNotFoundError:
            raise ImageMissing(f"no image in {self._directory}; `portico publisher` makes it") from None
        environment = open_environment(path.resolve(), readonly=True)
        transaction = environment.begin()
        try:
            signer = Signer.of(transaction, self._keyring)
            check_header(transaction, signer)
        except ImageDamaged:
            transaction.abort()
            environment.close()
            raise
        self._environment = environment
        self._begun = signer.begun
        self._transaction = transaction
        self._inode = found.st_ino
        self._get = transaction.get

    def begin(self) -> int:
        """See the latest committed state; return a number that changes with it.

        A new image that cannot be opened leaves the old one in use: it is whole, if not current.
        """
        now = time.monotonic()
        if now >= self._next_check:
            self._next_check = now + _RECHECK
            self._follow()
        # lmdb keeps an ended read transaction and renews it, so this costs no allocation.
        self._transaction.abort()
        self._transaction = transaction = self._environment.begin()
        self._get = transaction.get
        return int(self._inode << 64 | transaction.id())

    def get(self, key: bytes) -> Any:
        """Return the content under a key, or None. Raises ImageDamaged."""
        value = self._get(key)
        if value is None:
            return None
        # Not `opened` and `unpack`, which would be three calls more for every packet. Where the signature is good, the
        # checksum is.
        packed = value[_SIGNATURE:]
        signature = self._begun.copy()
        signature.update(b"%d " % len(key) + key + packed)
        if not compare_digest(value[:_SIGNATURE], signature.digest()):
            raise ImageDamaged(f"signature of {key[:40]!r}")
        return loads(packed[4:])  # noqa: S302

    def get_raw(self, key: bytes) -> bytes | None:
        """Return the stored octets, unchecked: to tell whether they changed."""
        value: bytes | None = self._get(key)
        return value

    def report_damage(self) -> None:
        """Ask the publisher for a new image, by a file it looks for."""
        with contextlib.suppress(OSError):
            (self._directory / DAMAGED).touch()

    def _follow(self) -> None:
        try:
            found = (self._directory / CURRENT).stat()
        except OSError:
            return
        if found.st_ino != self._inode:
            old = self._environment
            self._transaction.abort()
            try:
                self._open()
            except (ImageMissing, ImageDamaged, lmdb.Error):
                self._inode = found.st_ino  # do not try this file again
                self._transaction = old.begin()
                self._get = self._transaction.get
            else:
                old.close()

    def close(self) -> None:
        self._transaction.abort()
        self._environment.close()


class ImageWriter:
    """Writes the image; the publisher is the only one that does."""

    def __init__(self, directory: Path, environment: Any, signer: Signer) -> None:
        self.directory = directory
        self._environment = environment
        self._signer = signer

    @classmethod
    def open(cls, directory: Path, keyring: Keyring) -> "ImageWriter":
        """Open the current image for changes. Raises ImageMissing or ImageDamaged."""
        path = directory / CURRENT
        if not path.exists():
            raise ImageMissing(str(directory))
        environment = open_environment(path.resolve(), readonly=False)
        try:
            with environment.begin(write=True) as transaction:
                signer = Signer.of(transaction, keyring)
                check_header(transaction, signer)
                if transaction.get(SIGNING)[0] != keyring.sealing_id:  # the installation's key was changed
                    transaction.put(SIGNING, signer.sealed(keyring))
        except ImageDamaged:
            environment.close()
            raise
        return cls(directory, environment, signer)

    def position(self) -> tuple[str, str]:
        """Return the installation and the change-log position that the image has applied."""
        with self._environment.begin() as transaction:
            content = check_header(transaction, self._signer)
        return content["installation"], content["position"]

    @contextlib.contextmanager
    def change(self) -> Iterator[Change]:
        """Yield a transaction; readers see all of it or nothing."""
        with self._environment.begin(write=True) as transaction:
            yield Change(transaction, self._signer)

    def close(self) -> None:
        self._environment.close()

    @property
    def is_current(self) -> bool:
        """Whether the file that is written is still the one that readers open."""
        try:
            return (self.directory / CURRENT).stat().st_ino == Path(self._environment.path()).stat().st_ino
        except OSError:
            return False


def rebuild(
    directory: Path, keyring: Keyring, entries: Iterable[tuple[bytes, bytes]], chunk: int = 20_000
) -> ImageWriter:
    """Write a whole new image from packed entries (the header among them), then make it the current one."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"image-{time.time_ns():020d}.lmdb"
    environment = open_environment(path, readonly=False, sync=False)
    signer = Signer(os.urandom(32))
    transaction = environment.begin(write=True)
    transaction.put(SIGNING, signer.sealed(keyring))
    for count, (key, packed) in enumerate(entries, 1):
        transaction.put(key, signer.signed(key, packed))
        if count % chunk == 0:
            transaction.commit()
            transaction = environment.begin(write=True)
    transaction.commit()
    environment.sync(True)
    environment.close()
    link = directory / f".{CURRENT}-{os.getpid()}"
    link.unlink(missing_ok=True)
    link.symlink_to(path.name)
    link.replace(directory / CURRENT)
    for old in directory.glob("image-*.lmdb*"):
        if not old.name.startswith(path.name):
            old.unlink(missing_ok=True)
    return ImageWriter.open(directory, keyring)


def check_header(transaction: Any, signer: Signer) -> dict[str, Any]:
    """Return the header. Raises ImageDamaged when it is not one that this program can read."""
    value = transaction.get(HEADER)
    if value is None:
        raise ImageDamaged("no header")
    content: dict[str, Any] = unpack(HEADER, signer.opened(HEADER, value))
    if content["format"] != FORMAT or content["python"] != sys.version_info[:2]:
        raise ImageDamaged(f"format {content['format']} of Python {content['python']}")
    return content


def verify(directory: Path, keyring: Keyring) -> int:
    """Read every entry of the current image and return how many there are. Raises ImageMissing or ImageDamaged."""
    path = directory / CURRENT
    if not path.exists():
        raise ImageMissing(f"no image in {directory}")
    environment = open_environment(path.resolve(), readonly=True)
    count = 0
    try:
        with environment.begin() as transaction:
            signer = Signer.of(transaction, keyring)
            check_header(transaction, signer)
            for key, value in transaction.cursor():
                if key != SIGNING:
                    unpack(key, signer.opened(key, value))
                    count += 1
    except lmdb.Error as problem:
        raise ImageDamaged(str(problem)) from None
    finally:
        environment.close()
    return count


def open_environment(path: Path, *, readonly: bool, sync: bool = True) -> Any:
    """Open one LMDB file. Raises ImageDamaged when it is none, or shorter than it says."""
    try:
        environment = lmdb.open(
            str(path),
            map_size=MAP_OCTETS,
            subdir=False,
            readonly=readonly,
            readahead=False,
            max_readers=64,
            sync=sync,
            metasync=sync,
            mode=0o600,
        )
    except lmdb.Error as problem:
        raise ImageDamaged(f"{path.name}: {problem}") from None
    # A file that was cut short would kill its readers with SIGBUS: compare with the last page in use.
    used = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    if path.stat().st_size < used and environment.info()["last_txnid"] > 0:
        environment.close()
        raise ImageDamaged(f"{path.name} is cut short")
    return environment
