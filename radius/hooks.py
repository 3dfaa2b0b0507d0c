"""What FreeRADIUS calls for each packet.

rlm_python3 serves one request at a time, so nothing here waits: the image is a memory map, the journal one `write`.
No function raises or returns a negative code (which would kill the server): what goes wrong inside becomes silence,
so that the NAS asks another server or again, and never a reject that a paying subscriber would see.

PAP and CHAP are verified here, and the outcome journalled in the same call; MS-CHAP is left to FreeRADIUS's C module,
with the outcome journalled in post-auth. The record waits in between under a token in the request (Tmp-String-8).
"""

import time
from collections.abc import Mapping
from typing import Any

from lmdb import Error as LmdbError

from aaa.authorize import authorize
from aaa.decision import Accept, Decision, Reason, Reject, WalledGarden
from aaa.facts import Access, AccessKind, Nas, OpenSession, OutageAction, Plan, Policy, Proof
from aaa.outage import in_outage
from core.clock import from_epoch
from core.codes import CodeKey, blurred, like_a_code
from core.crypto import Keyring
from core.mac import find_mac
from radius.complaints import Complaints, Log
from radius.facts_codec import plan_id_of, read_plan, read_policy, read_sessions, unpack_service
from radius.guessing import Guessing
from radius.image import (
    GENERATION,
    HEADER,
    Image,
    ImageDamaged,
    LoginRow,
    NasRow,
    code_key,
    live_key,
    login_key,
    name_key,
    nas_key,
    plan_key,
    policy_key,
    service_key,
    shared_key,
)
from radius.in_use import InUse
from radius.journal import ACCOUNTING, AUTHENTICATION, JournalWriter
from radius.messages import reply_message
from radius.proof import proof_of, with_password
from radius.reply import Pairs, momentary_pairs, own_pairs, prepared_pairs, shared_pairs
from radius.request import LINE, VOUCHER, Method, access_kind, is_router_login, line_name, method, names, readable
from radius.terms import parse_class, terms_id

REJECT, FAIL, OK, HANDLED, INVALID, USERLOCK, NOTFOUND, NOOP, UPDATED = range(9)

Answer = int | tuple[int, dict[str, tuple[tuple[str, str, str], ...]]]

_ACCEPTED = (("Auth-Type", ":=", "Accept"),)
_SILENT: Answer = (HANDLED, {"config": (("Response-Packet-Type", ":=", "Do-Not-Respond"),)})
_SERVICE_PASSWORD = b"service.password"
_NAS_SECRET = b"nas.secret"
_LOGIN_PASSWORD = b"router_login.password"
_CODE_KEY = b"voucher.key"
_MOST_WAITING = 50_000
_FOR_EVER = 1e11
_FRESH = 5.0
"""Seconds. The publisher notes each second that it was with the database; within these nobody asks what is the case."""


class Hooks:
    """The functions that rlm_python3 calls, over one image and one journal."""

    def __init__(self, image: Image, journal: JournalWriter, keyring: Keyring, log: Log) -> None:
        self._image = image
        self._journal = journal
        self._open_sealed = keyring.open_bytes
        self._complaints = Complaints(log)
        self._guessing = Guessing()
        self._in_use = InUse()
        self._code_keys: dict[int, CodeKey | None] = {}
        self._state = -1
        self._generation: bytes | None = None
        self._known_at = 0.0  # until when the image is known to be as the database; epoch seconds
        self._nas: dict[str, NasRow | None] = {}
        self._plans: dict[int, Plan] = {}
        self._policies: dict[int, tuple[Policy, str]] = {}
        self._shared: dict[bytes, Pairs] = {}
        self._waiting: dict[str, tuple[tuple[Any, ...], bytes]] = {}  # MS-CHAP logins until they are verified
        self._tokens = 0

    # The entries. Each turns any failure into a return code that FreeRADIUS survives.

    def authorize(self, pairs: tuple[tuple[str, str], ...]) -> Answer:
        try:
            return self._authorize(dict(readable(pairs)))
        except (ImageDamaged, LmdbError) as problem:
            self._image.report_damage()
            self._complaints.say("authorize", problem)
            return _SILENT
        except Exception as problem:  # noqa: BLE001 - whatever it is, the NAS must hear silence and not a reject
            self._complaints.say("authorize", problem)
            return _SILENT

    def post_auth(self, pairs: tuple[tuple[str, str], ...]) -> Answer:
        """Journal the outcome of an MS-CHAP login; Tmp-String-7 says `reject` in Post-Auth-Type REJECT."""
        try:
            attributes = dict(pairs)
            return self._finish(attributes, rejected=attributes.get("Tmp-String-7") == "reject")
        except Exception as problem:  # noqa: BLE001
            self._complaints.say("post_auth", problem)
        return OK

    def accounting(self, pairs: tuple[tuple[str, str], ...]) -> Answer:
        """Journal an Accounting-Request; OK is the acknowledgement (RFC 2866 §4.1), anything else is silence."""
        try:
            attributes = dict(pairs)
            nas = self._nas_of(attributes["Tmp-String-0"])
            if nas is None:
                return HANDLED
            if "Framed-Protocol" not in attributes and is_router_login(attributes):
                return OK  # of a person on a router, who uses nothing; that they came in is in the journal
            kept = readable(pairs)
            now = time.time()
            if "Framed-Protocol" not in attributes:
                kept = self._account_voucher(kept, nas, now)
            self._journal.append((ACCOUNTING, now, nas.nas_id, nas.operator_id, kept))
        except Exception as problem:  # noqa: BLE001
            self._complaints.say("accounting", problem)
            return HANDLED
        return OK

    def client(self, pairs: tuple[tuple[str, str], ...]) -> Answer:
        """Answer FreeRADIUS's question whether a source address is a NAS, and with which secret."""
        try:
            source = dict(pairs)["Tmp-String-0"]
            nas = self._nas_of(source)
            if nas is None:
                return NOTFOUND
            secret = self._open_sealed(_NAS_SECRET, nas.sealed_secret).decode()
        except Exception as problem:  # noqa: BLE001
            self._complaints.say("client", problem)
            return NOTFOUND
        address = "FreeRADIUS-Client-IPv6-Address" if ":" in source else "FreeRADIUS-Client-IP-Address"
        required = "yes" if nas.require_message_authenticator else "no"
        return (
            OK,
            {
                "config": (
                    (address, ":=", source),
                    ("FreeRADIUS-Client-Secret", ":=", secret),
                    ("FreeRADIUS-Client-Shortname", ":=", f"nas{nas.nas_id}"),
                    ("FreeRADIUS-Client-NAS-Type", ":=", "other"),
                    ("FreeRADIUS-Client-Require-MA", ":=", required),
                    ("FreeRADIUS-Client-Virtual-Server", ":=", "portico"),
                )
            },
        )

    # An Access-Request.

    def _authorize(self, attributes: Mapping[str, str]) -> Answer:
        nas = self._nas_of(attributes["Tmp-String-0"])
        if nas is None:
            return _SILENT
        if "Framed-Protocol" not in attributes and is_router_login(attributes):
            return self._router_login(attributes, nas)
        user_name = attributes.get("User-Name", "")
        kind = access_kind(attributes)
        mac = find_mac(attributes.get("Calling-Station-Id", ""))
        line = line_name(attributes) if kind is AccessKind.DHCP else None
        row = self._row(nas.operator_id, user_name, kind, mac, line)
        how = method(attributes)
        now = time.time()
        if row is None:
            proof, password = Proof.NOT_NEEDED if kind in _MAC_KINDS else Proof.MISSING, b""
        else:
            proof, password = self._prove(attributes, row[1], how)
            if (
                now < row[2]  # the prepared answer holds
                and (now < self._known_at + _FRESH or not self._out_of_date(nas.operator_id, now))
                and proof in _PROVEN
                and kind not in _MAC_KINDS  # their answer depends on the packet
                and (row[9] == 0 or self._image.get_raw(live_key(row[0])) is None)
                and not self._guessing.blocked(row[1], mac, now)
            ):
                return self._grant_prepared(attributes, nas, row, kind, how, mac, now, proof, password)
        guessing = row is not None and self._guessing.blocked(row[1], mac, now)
        if kind is AccessKind.HOTSPOT and (row is None or row[1] is None) and find_mac(user_name) is None:
            guessing = self._guessing.code_blocked(nas.operator_id, mac, now)
        return self._decide(attributes, nas, row, kind, how, mac, now, proof, password, guessing)

    def _grant_prepared(
        self,
        attributes: Mapping[str, str],
        nas: NasRow,
        row: tuple[Any, ...],
        kind: AccessKind,
        how: Method,
        mac: str | None,
        now: float,
        proof: Proof,
        password: bytes,
    ) -> Answer:
        """Answer as the publisher prepared it: nothing in the packet can make a difference."""
        service_id, _, _, shared_digest, framed_ip, rare, identity, outcome, reason, _, _ = row
        get = attributes.get
        record = (
            AUTHENTICATION, now, nas.nas_id, nas.operator_id, service_id, attributes["User-Name"], mac, kind._value_,
            how._value_, outcome, reason, None, get("Acct-Session-Id", ""), identity, get("Called-Station-Id", ""),
            get("NAS-Port-Id", ""),
        )  # fmt: skip
        shared = self._shared.get(shared_digest)
        if shared is None:
            shared = self._shared_pairs(shared_digest)
        reply = shared + prepared_pairs(service_id, framed_ip, rare, identity)
        if proof is Proof.LEFT_TO_MSCHAP:
            return self._to_mschap(record, reply, row[1], password)
        self._note(record)
        return (UPDATED, {"config": _ACCEPTED, "reply": reply})

    def _decide(
        self,
        attributes: Mapping[str, str],
        nas: NasRow,
        row: tuple[Any, ...] | None,
        kind: AccessKind,
        how: Method,
        mac: str | None,
        now: float,
        proof: Proof,
        password: bytes,
        guessing: bool,
    ) -> Answer:
        user_name = attributes.get("User-Name", "")
        acct_session_id = attributes.get("Acct-Session-Id", "")
        policy, language = self._policy(nas.operator_id)
        known_at = None if now < self._known_at + _FRESH else from_epoch(self._known_at)
        access = Access(
            Nas(nas.nas_id, nas.operator_id, nas.name), user_name, kind, proof, mac, acct_session_id, guessing, known_at
        )
        shown_name, to_code = user_name, False
        if row is None:
            decision = authorize(None, policy, from_epoch(now), access)
            if kind is AccessKind.HOTSPOT and find_mac(user_name) is None:
                to_code = not with_password(attributes, user_name)
                if to_code or like_a_code(user_name):
                    shown_name = blurred(user_name)
        else:
            stored = unpack_service(row[10], self._plan(plan_id_of(row[10])))
            language = stored.language
            sessions = self._open_sessions(row[0])
            service = stored
            if stored.voucher is not None:
                to_code = True
                service, sessions = self._in_use.add_to(stored, sessions, now)
                key = self._code_key(nas.operator_id)
                assert key is not None
                shown_name = key.conceal(user_name)
            decision = authorize(service, policy, from_epoch(now), access, sessions)
            if stored.voucher is not None and not isinstance(decision, Reject):
                self._in_use.granted(stored, nas.nas_id, nas.name, acct_session_id, mac, now)
        identity = None if isinstance(decision, Reject) else terms_id(decision.terms)
        record = (
            AUTHENTICATION, now, nas.nas_id, nas.operator_id, row[0] if row else None, shown_name, mac,
            kind._value_, how._value_, _outcome(decision), decision.reason.value if decision.reason else "",
            decision.detail or None, acct_session_id, identity, attributes.get("Called-Station-Id", ""),
            (line_name(attributes) if kind is AccessKind.DHCP else None) or attributes.get("NAS-Port-Id", ""),
        )  # fmt: skip
        if isinstance(decision, Reject):
            if decision.reason is Reason.WRONG_PASSWORD and row is not None:
                self._guessing.wrong(row[1], mac, now)
            elif row is None and kind is AccessKind.HOTSPOT and find_mac(user_name) is None:
                self._guessing.wrong_code(nas.operator_id, mac, now)
            self._note(record)
            if decision.reason is Reason.OUT_OF_DATE:
                return _SILENT  # another server may have news; where none has, silence is a refusal, too
            message = reply_message(decision.reason, language, to_code=to_code)
            return (REJECT, {"reply": (("Reply-Message", ":=", message),)})
        assert row is not None  # only a reject answers a name that nobody has
        assert identity is not None
        reply = (
            shared_pairs(decision.terms) + own_pairs(row[0], decision.terms, identity) + momentary_pairs(decision, kind)
        )
        if proof is Proof.LEFT_TO_MSCHAP:
            return self._to_mschap(record, reply, row[1], password)
        self._note(record)
        return (UPDATED, {"config": _ACCEPTED, "reply": reply})

    def _router_login(self, attributes: Mapping[str, str], nas: NasRow) -> Answer:
        """Decide whether a person may log in to the router itself, with which of its groups.

        Whoever is not registered for that is refused and never looked for among the subscribers: RouterOS lets in
        whom RADIUS accepts, if only to read.
        """
        user_name = attributes.get("User-Name", "")
        caller = attributes.get("Calling-Station-Id", "")
        how, now = method(attributes), time.time()
        content = self._image.get(login_key(nas.operator_id, user_name)) if user_name else None
        login = None if content is None else LoginRow(*content)
        reason: Reason | None = Reason.UNKNOWN_SUBSCRIBER
        proof, password = Proof.MISSING, b""
        if login is not None:
            proof, password = self._prove(attributes, login.sealed_password, how, _LOGIN_PASSWORD)
            if self._guessing.blocked(login.sealed_password, caller, now):
                reason = Reason.TOO_MANY_ATTEMPTS
            elif proof is Proof.MISSING:
                reason = Reason.NO_PASSWORD
            elif proof is Proof.WRONG:
                reason = Reason.WRONG_PASSWORD
                self._guessing.wrong(login.sealed_password, caller, now)
            elif login.nas_ids is not None and nas.nas_id not in login.nas_ids:
                reason = Reason.OTHER_ROUTER
            else:
                reason = None
        detail = {"caller": caller} if login is None else {"caller": caller, "staff": str(login.staff_id)}
        if login is not None and reason is None:
            detail["group"] = login.group
        record = (
            AUTHENTICATION, now, nas.nas_id, nas.operator_id, None, user_name, None, "login", how._value_,
            "accept" if reason is None else "reject", reason.value if reason else "", detail,
            attributes.get("Acct-Session-Id", ""), None, "", attributes.get("NAS-Port-Id", ""),
        )  # fmt: skip
        if login is None or reason is not None:
            self._note(record)
            message = reply_message(reason or Reason.UNKNOWN_SUBSCRIBER, self._policy(nas.operator_id)[1])
            return (REJECT, {"reply": (("Reply-Message", ":=", message),)})
        reply = (("Mikrotik-Group", ":=", login.group),)
        if proof is Proof.LEFT_TO_MSCHAP:
            return self._to_mschap(record, reply, login.sealed_password, password)
        self._note(record)
        return (UPDATED, {"config": _ACCEPTED, "reply": reply})

    def _to_mschap(self, record: tuple[Any, ...], reply: Pairs, sealed: bytes, password: bytes) -> Answer:
        return (
            UPDATED,
            {
                "config": (("Cleartext-Password", ":=", password.decode()),),
                "request": (("Tmp-String-8", ":=", self._keep_waiting(record, sealed)),),
                "reply": reply,
            },
        )

    def _note(self, record: tuple[Any, ...]) -> None:
        """Journal an outcome. Unlike accounting, a login is answered even when the disk is full: the list of
        requests then lacks it, which is said in the log, but nobody is kept off line.
        """
        try:
            self._journal.append(record)
        except OSError as problem:
            self._complaints.say("outcome not kept", problem)

    def _keep_waiting(self, record: tuple[Any, ...], sealed: bytes) -> str:
        """Keep a record until post-auth and return its token: a value of a packet would be cut at 1023 characters."""
        self._tokens += 1
        token = str(self._tokens)
        self._waiting[token] = (record, sealed)
        if len(self._waiting) > _MOST_WAITING:
            del self._waiting[next(iter(self._waiting))]
        return token

    def _finish(self, attributes: Mapping[str, str], *, rejected: bool) -> Answer:
        waiting = self._waiting.pop(attributes.get("Tmp-String-8", ""), None)
        if waiting is None:
            return OK
        record, sealed = waiting
        if not rejected:
            self._note(record)
            return OK
        refused = list(record)
        refused[9], refused[10], refused[11], refused[13] = "reject", Reason.WRONG_PASSWORD.value, None, None
        self._guessing.wrong(sealed, record[6], time.time())
        self._note(tuple(refused))
        message = reply_message(Reason.WRONG_PASSWORD, self._policy(record[3])[1])
        return (OK, {"reply": (("Reply-Message", ":=", message),)})

    def _prove(
        self, attributes: Mapping[str, str], sealed: bytes | None, how: Method, purpose: bytes = _SERVICE_PASSWORD
    ) -> tuple[Proof, bytes]:
        """Return what became of the password, and the right one in clear (for MS-CHAP)."""
        if sealed is None:
            return Proof.NOT_NEEDED, b""
        return proof_of(attributes, self._open_sealed(purpose, sealed), how)

    # What the image says.

    def _nas_of(self, source: str) -> NasRow | None:
        state = self._image.begin()
        if state != self._state:
            self._state = state
            self._known_at = self._image.get(HEADER).get("at", _FOR_EVER)
            generation = self._image.get_raw(GENERATION)
            if generation != self._generation:
                self._generation = generation
                self._nas.clear()
                self._plans.clear()
                self._policies.clear()
                self._code_keys.clear()
        try:
            return self._nas[source]
        except KeyError:
            content = self._image.get(nas_key(source))
            nas = None if content is None else NasRow(*content)
            if len(self._nas) < 100_000:
                self._nas[source] = nas
            return nas

    def _row(
        self, operator_id: int, user_name: str, kind: AccessKind, mac: str | None, line: str | None
    ) -> tuple[Any, ...] | None:
        """Return the service's row, as the plain tuple of an image.ServiceRow: unpacking a name each costs too much.

        A line counts before the device on it, which the subscriber may change.
        """
        get = self._image.get
        if kind is AccessKind.PPP:
            content: tuple[Any, ...] | None = get(service_key(operator_id, b"n", user_name))
            return content
        if line is not None:
            content = get(service_key(operator_id, LINE, line))
            if content is not None:
                return content
        for namespace, name in names(user_name, kind, mac):
            if namespace == VOUCHER:
                key = self._code_key(operator_id)
                if key is None:
                    continue
                name = key.lookup(name)
            content = get(service_key(operator_id, namespace, name))
            if content is not None:
                return content
        return None

    def _shared_pairs(self, digest: bytes) -> Pairs:
        pairs: Pairs = self._image.get(shared_key(digest))
        if len(self._shared) > 50_000:
            self._shared.clear()
        self._shared[digest] = pairs
        return pairs

    def _policy(self, operator_id: int) -> tuple[Policy, str]:
        if operator_id not in self._policies:
            self._policies[operator_id] = read_policy(self._image.get(policy_key(operator_id)))
        return self._policies[operator_id]

    def _out_of_date(self, operator_id: int, now: float) -> bool:
        """Tell whether an operator lets nobody in by what is known here. Asked only while news is missing."""
        policy = self._policy(operator_id)[0]
        return in_outage(policy, from_epoch(self._known_at), from_epoch(now)) is OutageAction.REFUSE

    def _plan(self, plan_id: int) -> Plan:
        if plan_id not in self._plans:
            self._plans[plan_id] = read_plan(self._image.get(plan_key(plan_id)))
        return self._plans[plan_id]

    def _code_key(self, operator_id: int) -> CodeKey | None:
        """Return the key of an operator's voucher codes; None where it has no vouchers."""
        if operator_id not in self._code_keys:
            sealed = self._image.get(code_key(operator_id))
            key = None if sealed is None else CodeKey.from_hex(self._open_sealed(_CODE_KEY, sealed).decode())
            self._code_keys[operator_id] = key
        return self._code_keys[operator_id]

    def _account_voucher(
        self, pairs: tuple[tuple[str, str], ...], nas: NasRow, now: float
    ) -> tuple[tuple[str, str], ...]:
        """Return the pairs of an Accounting-Request as they are kept: of a voucher, with its name concealed."""
        attributes = dict(pairs)
        user_name = attributes.get("User-Name")
        key = self._code_key(nas.operator_id)
        if key is None or user_name is None:
            return pairs
        grant = parse_class(attributes.get("Class", ""))
        if grant is not None:
            name = self._image.get(name_key(grant.service_id))
            of_voucher = grant.service_id in self._in_use or (name is not None and name[5:6] == VOUCHER)
            if of_voucher:
                self._in_use.accounted(grant.service_id, nas.nas_id, attributes, now)
        else:
            of_voucher = self._image.get(service_key(nas.operator_id, VOUCHER, key.lookup(user_name))) is not None
        if not of_voucher:
            return pairs
        return tuple((name, key.conceal(value) if name == "User-Name" else value) for name, value in pairs)

    def _open_sessions(self, service_id: int) -> tuple[OpenSession, ...]:
        content = self._image.get(live_key(service_id))
        return () if content is None else read_sessions(content)


_MAC_KINDS = (AccessKind.DHCP, AccessKind.WIRELESS)
_PROVEN = (Proof.CORRECT, Proof.LEFT_TO_MSCHAP, Proof.NOT_NEEDED)


def _outcome(decision: Decision) -> str:
    match decision:
        case Accept():
            return "accept"
        case WalledGarden():
            return "garden"
        case Reject():
            return "reject"
