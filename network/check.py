"""Testing a connection: each step on the way to a router by itself, with the router's own words.

The steps are those of a person with WinBox: is it reached, does TLS come about, does it take the password, may the
user do what is needed, and how do its RADIUS settings stand. What a small account may not read is found out by
doing: nothing that is done here changes anything on the router.
"""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from network.api import RouterAccess, RouterApi, open_router
from network.problems import Cause, CertificateChanged, RouterProblem, Stage
from network.version import OLDEST, UNKNOWN, Version, parse_version
from network.words import Row

PATIENCE = 15.0
"""Seconds that a whole test may take."""

_NO_ROW = "*7FFFFFFF"  # ids count up from 1; no router comes that far
_PLACEHOLDER = re.compile(r"\*{3,8}\Z")


class Step(StrEnum):
    """What is looked at, in this order."""

    REACH = "reach"
    TLS = "tls"
    LOGIN = "login"
    SYSTEM = "system"
    POLICIES = "policies"
    DEVICE_MODE = "device_mode"
    RADIUS = "radius"
    INCOMING = "incoming"
    AAA = "aaa"


class Mark(StrEnum):
    """How a step came out. `WARNING` and `UNKNOWN` do not stop the ones after it."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Finding(StrEnum):
    """What was found where no `Cause` says it."""

    REACHED = "reached"  # address, port, milliseconds
    TLS_FIRST = "tls_first"  # fingerprint
    TLS_PINNED = "tls_pinned"  # fingerprint
    CERTIFICATE_CHANGED = "certificate_changed"  # pinned, shown
    LOGGED_IN = "logged_in"  # user
    SYSTEM = "system"  # identity, version, board
    TOO_OLD = "too_old"  # version, oldest
    POLICIES_ALL = "policies_all"
    POLICIES_UNSURE = "policies_unsure"  # nothing there whose masking would show
    POLICIES_MISSING = "policies_missing"  # missing
    MODE_NONE = "mode_none"  # before 7.17, nothing is forbidden
    MODE_ALLOWS = "mode_allows"  # mode
    MODE_FORBIDS = "mode_forbids"  # mode, forbidden
    RADIUS_NONE = "radius_none"
    RADIUS_ELSEWHERE = "radius_elsewhere"  # servers, ours
    RADIUS_HERE = "radius_here"  # services
    RADIUS_TWICE = "radius_twice"  # count, ours
    RADIUS_OFF = "radius_off"  # ours
    RADIUS_ROWS = "radius_rows"  # servers; where it is not known which address is ours
    INCOMING_ON = "incoming_on"  # port
    INCOMING_OFF = "incoming_off"
    INCOMING_PORT = "incoming_port"  # port, wanted
    AAA_ON = "aaa_on"
    AAA_OFF = "aaa_off"
    AAA_NO_ACCOUNTING = "aaa_no_accounting"
    NOT_READ = "not_read"  # why stands in `words`


@dataclass(frozen=True, slots=True)
class Result:
    """One step. `words` are the router's or the system's own, and may be hostile."""

    step: Step
    mark: Mark
    finding: Finding | Cause
    values: Mapping[str, str] = field(default_factory=dict)
    words: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """What a test showed. `problem` is what stopped it, None where it went through to the end."""

    results: tuple[Result, ...]
    problem: RouterProblem | None = None
    logged_in: bool = False
    fingerprint: str | None = None
    identity: str = ""
    version: str = ""
    board: str = ""
    serial: str = ""

    @property
    def good(self) -> bool:
        """Whether the router can be used: nothing failed. Warnings are for later."""
        return self.problem is None and all(result.mark is not Mark.FAILED for result in self.results)


@dataclass(slots=True)
class _Report:
    results: list[Result] = field(default_factory=list)
    logged_in: bool = False
    fingerprint: str | None = None
    facts: dict[str, str] = field(default_factory=dict)

    def add(self, step: Step, mark: Mark, finding: Finding | Cause, words: str = "", **values: str) -> None:
        self.results.append(Result(step, mark, finding, values, words))

    def check(self, problem: RouterProblem | None = None) -> Check:
        return Check(tuple(self.results), problem, self.logged_in, self.fingerprint, **self.facts)


def check_router(access: RouterAccess, server: str | None = None, coa_port: int | None = None) -> Check:
    """Test the connection to a router. Takes no longer than `access.timeout` for the login and PATIENCE in all.

    `server` is the address by which routers know our RADIUS, `coa_port` the port at which CoA is sent to this one;
    without them its settings are only told. Raises nothing for what a router does.
    """
    report = _Report()
    started = time.monotonic()
    try:
        with open_router(access) as router:
            _note_way(report, access, router, time.monotonic() - started)
            _look(report, _Patient(router, started + PATIENCE), server, coa_port)
    except RouterProblem as problem:
        _note_failure(report, access, problem)
        return report.check(problem)
    return report.check()


class _Patient:
    """A router whose commands share one patience."""

    def __init__(self, router: RouterApi, until: float) -> None:
        self._router = router
        self._until = until

    def _limit(self) -> None:
        left = self._until - time.monotonic()
        if left <= 0:
            raise RouterProblem(Cause.SILENT, f"not done after {PATIENCE:g} s")
        self._router.timeout = min(self._router.timeout, left)

    def rows(self, path: str, *fields: str) -> list[Row]:
        self._limit()
        return self._router.rows(path, *fields)

    def call(self, path: str, **arguments: str) -> list[Row]:
        self._limit()
        return self._router.call(path, **arguments)


def _note_way(report: _Report, access: RouterAccess, router: RouterApi, seconds: float) -> None:
    report.logged_in = True
    report.add(
        Step.REACH,
        Mark.OK,
        Finding.REACHED,
        address=access.address,
        port=str(access.port),
        milliseconds=str(max(1, round(seconds * 1000))),
    )
    if router.fingerprint is not None:
        report.fingerprint = router.fingerprint
        known = Finding.TLS_PINNED if access.fingerprint else Finding.TLS_FIRST
        report.add(Step.TLS, Mark.OK, known, fingerprint=router.fingerprint)
    report.add(Step.LOGIN, Mark.OK, Finding.LOGGED_IN, user=access.user)


_STEPS = {Stage.CONNECT: Step.REACH, Stage.TLS: Step.TLS, Stage.LOGIN: Step.LOGIN}


def _note_failure(report: _Report, access: RouterAccess, problem: RouterProblem) -> None:
    """Add the step that failed, and before it those that it shows to have worked."""
    step = _STEPS.get(problem.stage)
    if step is None:  # the connection broke while the settings were read
        report.add(Step.SYSTEM, Mark.FAILED, problem.cause, problem.detail)
        return
    if step is not Step.REACH:
        report.add(Step.REACH, Mark.OK, Finding.REACHED, address=access.address, port=str(access.port), milliseconds="")
    if isinstance(problem, CertificateChanged):
        report.add(step, Mark.FAILED, Finding.CERTIFICATE_CHANGED, pinned=problem.pinned, shown=problem.shown)
        return
    report.add(step, Mark.FAILED, problem.cause, problem.detail)


def _look(report: _Report, router: _Patient, server: str | None, coa_port: int | None) -> None:
    version = _look_at_system(report, router)
    _probe_policies(report, router)
    if version.major >= 7:
        _look_at_device_mode(report, router)
    _look_at_radius(report, router, server)
    _look_at_incoming(report, router, coa_port)
    _look_at_aaa(report, router)


def _look_at_system(report: _Report, router: _Patient) -> Version:
    try:
        resource = _first(router.rows("/system/resource", "version", "board-name"))
        identity = _first(router.rows("/system/identity", "name")).get("name", "")
    except RouterProblem as problem:
        _unless_out_of_reach(problem)
        report.add(Step.SYSTEM, Mark.FAILED, problem.cause, problem.detail)
        return UNKNOWN
    text = resource.get("version", "")
    version = parse_version(text)
    serial = ""
    try:
        serial = _first(router.rows("/system/routerboard", "serial-number")).get("serial-number", "")
    except RouterProblem as problem:  # x86 and CHR have none
        _unless_out_of_reach(problem)
    report.facts = {
        "identity": identity,
        "version": text,
        "board": resource.get("board-name", ""),
        "serial": serial,
    }
    values = {"identity": identity, "version": text, "board": report.facts["board"]}
    if version < OLDEST:
        report.add(Step.SYSTEM, Mark.FAILED, Finding.TOO_OLD, version=text or "?", oldest=str(OLDEST))
    else:
        report.add(Step.SYSTEM, Mark.OK, Finding.SYSTEM, **values)
    return version


def _probe_policies(report: _Report, router: _Patient) -> None:
    """Find out by doing what the user's group may do: a small account cannot read its own group."""
    missing: list[str] = []
    words = ""
    probes = (
        ("read", "/ppp/secret/print", {".proplist": ".id"}),
        ("write", "/ip/firewall/address-list/set", {".id": _NO_ROW, "disabled": "no"}),
        ("test", "/ping", {"address": "127.0.0.1", "count": "1"}),
    )
    for policy, command, arguments in probes:
        try:
            router.call(command, **arguments)
        except RouterProblem as problem:
            _unless_out_of_reach(problem)
            if problem.cause is Cause.PERMISSION:
                missing.append(policy)
                words = problem.detail
    sees_secrets = None if "read" in missing else _sees_secrets(router)
    if sees_secrets is False:
        missing.append("sensitive")
    if missing:
        report.add(Step.POLICIES, Mark.FAILED, Finding.POLICIES_MISSING, words, missing=", ".join(missing))
    elif sees_secrets is None:
        report.add(Step.POLICIES, Mark.UNKNOWN, Finding.POLICIES_UNSURE)
    else:
        report.add(Step.POLICIES, Mark.OK, Finding.POLICIES_ALL)


def _sees_secrets(router: _Patient) -> bool | None:
    """Tell whether passwords are shown in clear; None where the router holds none whose masking would show."""
    for path, secret in (("/ppp/secret", "password"), ("/radius", "secret")):
        try:
            rows = router.rows(path, "name" if path == "/ppp/secret" else "address", secret)
        except RouterProblem as problem:
            _unless_out_of_reach(problem)
            continue
        if rows:
            return any(row.get(secret) and not _PLACEHOLDER.match(row[secret]) for row in rows)
    return None


def _look_at_device_mode(report: _Report, router: _Patient) -> None:
    try:
        mode = _first(router.rows("/system/device-mode"))
    except RouterProblem as problem:
        _unless_out_of_reach(problem)
        report.add(Step.DEVICE_MODE, Mark.OK, Finding.MODE_NONE)
        return
    forbidden = [name for name in ("hotspot", "scheduler", "fetch") if mode.get(name) in ("false", "no")]
    name = mode.get("mode", "")
    if forbidden:
        report.add(Step.DEVICE_MODE, Mark.WARNING, Finding.MODE_FORBIDS, mode=name, forbidden=", ".join(forbidden))
    else:
        report.add(Step.DEVICE_MODE, Mark.OK, Finding.MODE_ALLOWS, mode=name)


def _look_at_radius(report: _Report, router: _Patient, server: str | None) -> None:
    try:
        rows = router.rows("/radius", "address", "service", "disabled")
    except RouterProblem as problem:
        _unless_out_of_reach(problem)
        report.add(Step.RADIUS, Mark.UNKNOWN, Finding.NOT_READ, problem.detail)
        return
    servers = ", ".join(sorted({row.get("address", "?") for row in rows}))
    if not rows:
        report.add(Step.RADIUS, Mark.WARNING, Finding.RADIUS_NONE)
        return
    if server is None:
        report.add(Step.RADIUS, Mark.OK, Finding.RADIUS_ROWS, servers=servers)
        return
    ours = [row for row in rows if row.get("address", "").partition("@")[0] == server]
    used = [row for row in ours if row.get("disabled", "false") in ("false", "no")]
    if not ours:
        report.add(Step.RADIUS, Mark.WARNING, Finding.RADIUS_ELSEWHERE, servers=servers, ours=server)
    elif not used:
        report.add(Step.RADIUS, Mark.WARNING, Finding.RADIUS_OFF, ours=server)
    elif len(used) > 1 and _overlap(used):
        report.add(Step.RADIUS, Mark.WARNING, Finding.RADIUS_TWICE, count=str(len(used)), ours=server)
    else:
        services = sorted({name for row in used for name in row.get("service", "").split(",") if name})
        report.add(Step.RADIUS, Mark.OK, Finding.RADIUS_HERE, services=", ".join(services))


def _overlap(rows: list[Row]) -> bool:
    """Tell whether a service stands in two rows: the upper one is asked, with whatever secret it has."""
    services = [name for row in rows for name in row.get("service", "").split(",") if name]
    return len(services) != len(set(services))


def _look_at_incoming(report: _Report, router: _Patient, coa_port: int | None) -> None:
    try:
        row = _first(router.rows("/radius/incoming"))
    except RouterProblem as problem:
        _unless_out_of_reach(problem)
        report.add(Step.INCOMING, Mark.UNKNOWN, Finding.NOT_READ, problem.detail)
        return
    port = row.get("port", "")
    if row.get("accept") not in ("true", "yes"):
        report.add(Step.INCOMING, Mark.WARNING, Finding.INCOMING_OFF)
    elif coa_port is not None and port != str(coa_port):
        report.add(Step.INCOMING, Mark.WARNING, Finding.INCOMING_PORT, port=port, wanted=str(coa_port))
    else:
        report.add(Step.INCOMING, Mark.OK, Finding.INCOMING_ON, port=port)


def _look_at_aaa(report: _Report, router: _Patient) -> None:
    try:
        row = _first(router.rows("/ppp/aaa"))
    except RouterProblem as problem:
        _unless_out_of_reach(problem)
        report.add(Step.AAA, Mark.UNKNOWN, Finding.NOT_READ, problem.detail)
        return
    if row.get("use-radius") not in ("true", "yes"):
        report.add(Step.AAA, Mark.WARNING, Finding.AAA_OFF)
    elif row.get("accounting") not in ("true", "yes"):
        report.add(Step.AAA, Mark.WARNING, Finding.AAA_NO_ACCOUNTING)
    else:
        report.add(Step.AAA, Mark.OK, Finding.AAA_ON)


def _first(rows: list[Row]) -> Row:
    return rows[0] if rows else {}


def _unless_out_of_reach(problem: RouterProblem) -> None:
    """Go on where only this question was refused; where the connection is gone, there is nothing more to ask."""
    if problem.out_of_reach:
        raise problem
