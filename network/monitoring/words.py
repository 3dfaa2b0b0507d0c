"""What alerts and incidents say, in the language of who reads them and in the operator's time."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from babel.dates import format_datetime

from core.i18n import N_, translator
from network.problems import Cause

# The same sentences as on a router's page, so that they are translated once.
CAUSES: Mapping[str, str] = {
    Cause.REFUSED: N_("The API is switched off, or on another port"),
    Cause.TIMEOUT: N_("No answer: VPN down, router off, or a firewall in between"),
    Cause.VPN: N_("The VPN is down"),
    Cause.UNREACHABLE: N_("There is no way to this address"),
    Cause.CLOSED: N_("The router hangs up: address filter, session limit or restart"),
    Cause.SILENT: N_("Connected, but no whole answer in time"),
    Cause.TLS: N_("TLS does not come about"),
    Cause.PASSWORD: N_("Wrong user name or password"),
    Cause.PERMISSION: N_("The API user may not do this"),
    Cause.GARBAGE: N_("Something else than RouterOS's API answers there"),
}

_OPENED: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "router_down": (
        N_("%(router)s is offline"),
        (N_("%(router)s has not answered since %(since)s."), N_("Likely cause: %(cause)s.")),
    ),
    "wan_congested": (
        N_("The WAN of %(router)s is nearly full"),
        (N_("Over the last ten minutes %(percent)s %% of the capacity of %(router)s were in use."),),
    ),
    "radius_silent": (
        N_("No RADIUS from %(router)s"),
        (
            N_("%(router)s answers and has subscribers, and no RADIUS packet has come from it since %(since)s."),
            N_("New logins fail there, and usage is not counted. Compare address and secret under /radius."),
        ),
    ),
}
_OVER: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "router_down": (N_("%(router)s is online again"), (N_("It was offline for %(minutes)s minutes."),)),
    "wan_congested": (N_("The WAN of %(router)s has room again"), (N_("It was full for %(minutes)s minutes."),)),
    "radius_silent": (N_("RADIUS from %(router)s is heard again"), (N_("It was silent for %(minutes)s minutes."),)),
}
_INCIDENT: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "network": (
        N_("%(lost)s of %(before)s routers are offline"),
        (
            N_("They went offline together, at %(at)s: look at what they share, such as the uplink or the VPN."),
            N_("Each of them by itself is not reported."),
        ),
    ),
    "router": (
        N_("%(lost)s subscribers of %(router)s lost their connection"),
        (N_("They were cut off within a minute, at %(at)s; %(before)s were connected there."),),
    ),
    "sector": (
        N_("%(lost)s subscribers of %(router)s (%(sector)s) lost their connection"),
        (N_("They were cut off within a minute, at %(at)s; %(before)s were connected there."),),
    ),
}
_INCIDENT_OVER: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "network": (N_("The routers are online again"), (N_("%(lost)s routers had gone offline together."),)),
    "router": (
        N_("The subscribers of %(router)s are back"),
        (N_("%(lost)s had lost their connection; the incident is closed."),),
    ),
    "sector": (
        N_("The subscribers of %(router)s (%(sector)s) are back"),
        (N_("%(lost)s had lost their connection; the incident is closed."),),
    ),
    "site": (
        N_("The subscribers of %(router)s are back"),
        (N_("%(lost)s had lost their connection; the incident is closed."),),
    ),
}


@dataclass(frozen=True, slots=True)
class Said:
    """A subject and sentences, not yet in any language. Values that are instants become local times."""

    subject: str
    sentences: tuple[str, ...]
    values: Mapping[str, Any] = field(default_factory=dict)

    def written(self, language: str, timezone: str, operator: str, now: datetime) -> tuple[str, str]:
        """Return subject and body for one reader."""
        translate = translator(language)
        zone = ZoneInfo(timezone)

        def local(instant: datetime) -> str:
            # Babel puts a narrow blank before AM and PM, which some terminals and telephones do not have.
            return str(format_datetime(instant, "medium", tzinfo=zone, locale=language)).replace("\u202f", " ")

        values = {name: _shown(value, translate, local) for name, value in self.values.items()}
        subject = translate(self.subject) % values
        sentences = [translate(sentence) % values for sentence in self.sentences]
        return subject, "\n".join([*sentences, "", f"{operator} · {local(now)}"])


def alert_said(kind: str, router: str, detail: Mapping[str, Any], *, over: bool) -> Said:
    subject, sentences = (_OVER if over else _OPENED)[kind]
    values: dict[str, Any] = {"router": router, **detail}
    if "since" in values:
        values["since"] = datetime.fromisoformat(values["since"])
    if "cause" in values and values["cause"] not in CAUSES:
        sentences = sentences[:1]
    return Said(subject, sentences, values)


def incident_said(scope: str, router: str, sector: str, lost: int, before: int, at: datetime, *, over: bool) -> Said:
    subject, sentences = (_INCIDENT_OVER if over else _INCIDENT)[scope]
    values = {"router": router, "sector": sector, "lost": lost, "before": before, "at": at}
    return Said(subject, sentences, values)


def _shown(value: Any, translate: Callable[[str], str], local: Callable[[datetime], str]) -> str:
    if isinstance(value, datetime):
        return local(value)
    return translate(CAUSES[value]) if value in CAUSES else str(value)
