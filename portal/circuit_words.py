"""Circuit tests in words: what each step showed, where the fault is, and what to do about it."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from flask.sansio.blueprints import BlueprintSetupState
from flask_babel import gettext as _
from markupsafe import Markup, escape

from aaa.decision import Reason
from core.i18n import N_
from network.circuit import Finding, Step, Why
from portal.formats import ago, duration
from portal.i18n import reader_language
from portal.radius_words import word
from portal.reasons import short_reason
from portal.router_words import CAUSES, Words, cause_advice, cause_title

STEPS: Mapping[str, str] = {
    Step.SESSION: N_("Session"),
    Step.ACCOUNT: N_("Account"),
    Step.ROUTER: N_("Router"),
    Step.PING: N_("Ping from the router"),
    Step.LINK: N_("Device seen"),
    Step.RATE: N_("Speed"),
    Step.SECTOR: N_("Others at the same place"),
}

FINDINGS: Mapping[str, str] = {
    Finding.ONLINE: N_("Connected; it began %(since)s, and was last heard %(heard)s."),
    Finding.ONLINE_STALE: N_("Connected, it is said; it began %(since)s, but was last heard %(heard)s."),
    Finding.OFFLINE: N_("Not connected. It ended %(ended)s: %(cause)s."),
    Finding.NEVER_ONLINE: N_("It was never connected."),
    Finding.STATIC: N_("A static address: it has no session."),
    Finding.ALLOWED: N_("It may connect."),
    Finding.GARDEN: N_("It is led into the walled garden: %(reason)s."),
    Finding.CLOSED: N_("It would be refused: %(reason)s."),
    Finding.REFUSED: N_("Its last request was refused %(at)s: %(reason)s."),
    Finding.NO_ROUTER: N_("It is not known which router it hangs on: it was never connected."),
    Finding.NO_API: N_("The API of its router is not registered, so that it cannot be asked."),
    Finding.REACHED: N_("Answers within %(milliseconds)s ms (RouterOS %(version)s)."),
    Finding.NOT_ASKED: N_("Not asked: the router could not be."),
    Finding.NO_ADDRESS: N_("There is no address to ping: it has none just now."),
    Finding.ANSWERS: N_("%(address)s answers %(received)s of %(sent)s, in %(milliseconds)s ms."),
    Finding.LOSES: N_("%(address)s answers only %(received)s of %(sent)s: %(loss)s %% are lost (%(milliseconds)s ms)."),
    Finding.SILENT: N_("%(address)s answers none of %(sent)s."),
    Finding.NOT_SEEN: N_("The router sees no such device: no radio link, no lease in use, nothing in ARP."),
    Finding.NOTHING_TO_SEE: N_("Cannot be told: behind PPPoE a router sees only the session."),
    Finding.RATE_REACHED: N_("%(download)s Mbit/s went through, of %(sold)s that were sold."),
    Finding.RATE_SHORT: N_("Only %(download)s Mbit/s went through, of %(sold)s that were sold."),
    Finding.RATE_IDLE: N_(
        "Cannot be told: only %(download)s Mbit/s went through. Begin a speed test on the subscriber's device, and test"
        " again meanwhile."
    ),
    Finding.NO_COUNTER: N_("Cannot be told: the router counts nothing of this line alone."),
    Finding.OTHERS_FINE: N_("%(up)s others are connected; %(lost)s were lost in the last half hour."),
    Finding.OTHERS_LOST: N_("%(lost)s others were lost in the last half hour, and only %(up)s are connected."),
    Finding.OTHERS_LOSE: N_("%(bad)s of %(pinged)s neighbours answer as badly."),
    Finding.NO_OTHERS: N_("Nobody else is there to compare with."),
}

SEEN: Mapping[str, str] = {
    "radio": N_("Linked by radio at %(interface)s, signal %(signal)s."),
    "lease": N_("Has a lease of %(interface)s, heard %(ago)s ago."),
    "arp": N_("Answers ARP at %(interface)s."),
}

VERDICTS: Mapping[str, Words] = {
    Why.ALL_WELL: Words(
        N_("The line works as far as the subscriber's device"),
        N_("What is wrong is behind it: ask about the Wi-Fi, a single device, or a single website."),
    ),
    Why.CLOSED: Words(
        N_("The account keeps the line closed"),
        N_("Nothing is broken. Explain, on the subscriber's page, says which step opens it again."),
    ),
    Why.GARDEN: Words(
        N_("The account leads the line into the walled garden"),
        N_("Nothing is broken. Explain, on the subscriber's page, says which step opens it again."),
    ),
    Why.REFUSED: Words(
        N_("The device asks for access and is refused"),
        N_("The line carries its requests. Compare user name, password or MAC address of the device with the service."),
    ),
    Why.ROUTERS_OUT: Words(
        N_("Several routers are out of reach at once"),
        N_("What they share has failed: the backbone, the VPN, or the line of this server. Begin there."),
    ),
    Why.ACCOUNTING_LATE: Words(
        N_("The line works, but its accounting does not arrive"),
        N_("The subscriber notices nothing. Look at /radius of the router, and at the way from it to this server."),
    ),
    Why.ROUTER_OUT: Words(
        N_("Its router is out of reach"),
        N_(
            "Everybody behind it is concerned. Check its power and its way to you before anybody visits the subscriber."
        ),
    ),
    Why.ROUTER_DARK: Words(
        N_("The router answers, but most of its subscribers are gone"),
        N_("Look at what hangs between it and its sectors: a switch, a power supply, a cable."),
    ),
    Why.SECTOR_DARK: Words(
        N_("Most of the same sector is gone"),
        N_("Check the access point: its power, its cable, its frequency. A visit to the subscriber would be in vain."),
    ),
    Why.SECTOR_LOSES: Words(
        N_("The whole sector loses packets"),
        N_("Check the access point: interference, its load, its cable. It is not this subscriber's device."),
    ),
    Why.LOSES: Words(
        N_("This line alone loses packets"),
        N_("Check the radio link of the premises: alignment, signal, something in the way; then cable and connectors."),
    ),
    Why.SILENT: Words(
        N_("The device is linked and does not answer"),
        N_(
            "Have the subscriber switch it off and on again. Some devices do not answer pings: ask whether anything"
            " works."
        ),
    ),
    Why.GONE: Words(
        N_("The session exists on paper only"),
        N_("The device went without saying so: power or cable at the premises. It may connect again at any time."),
    ),
    Why.NO_LOGIN: Words(
        N_("The device is there and does not log in"),
        N_("The link stands. Check user name and password in the device, and the cable between antenna and router."),
    ),
    Why.NOT_SEEN: Words(
        N_("The device is not there"),
        N_("Ask whether it has light. Then power supply, cable, and where the antenna points."),
    ),
    Why.ONLY_THIS: Words(
        N_("Only this line is down"),
        N_("The others at the same place are connected. Ask whether the device has light; then cable and antenna."),
    ),
    Why.NOT_ASKED: Words(
        N_("The router could not be asked about the line"),
        N_("Its RADIUS packets come, so it is up. Put its API right to see further."),
    ),
    Why.NOTHING_KNOWN: Words(
        N_("Too little is known to tell"),
        N_("Tie the service to its router, or let it connect once; register the router's API."),
    ),
}


def step_words(step: Mapping[str, Any]) -> str | Markup:
    """Return what a step showed, in a sentence. What a router said is escaped like everything else."""
    finding, values = str(step["finding"]), dict(step["values"])
    if finding in CAUSES:
        return f"{cause_title(finding)}. {cause_advice(finding)}"
    text = SEEN.get(str(values.get("where"))) if finding == Finding.SEEN else FINDINGS.get(finding)
    if text is None:
        return finding
    # The times are shown as an element with the exact one on hover, so the whole is put together as markup.
    return escape(_(text)) % {name: _shown(name, value) for name, value in values.items()}


def _shown(name: str, value: object) -> str | Markup:
    match name, value:
        case (("since" | "heard" | "ended" | "at"), str(text)):
            return ago(datetime.fromisoformat(text))
        case "reason", str(text):
            return short_reason(Reason(text), reader_language()) if text in set(Reason) else text
        case "cause", str(text):
            by_router = word("terminate_cause", text)
            return by_router if by_router != text else word("ended_by", text)
        case "ago", int(seconds):
            return duration(timedelta(seconds=seconds))
        case "milliseconds", None:
            return "–"
    return escape(str(value))


def verdict_title(why: str) -> str:
    return _(VERDICTS[why].title) if why in VERDICTS else why


def verdict_advice(why: str) -> str:
    return _(VERDICTS[why].advice) if why in VERDICTS else ""


def install(state: BlueprintSetupState) -> None:
    state.app.jinja_env.globals.update(
        circuit_step=lambda step: _(STEPS[step]) if step in STEPS else step,
        circuit_words=step_words,
        verdict_title=verdict_title,
        verdict_advice=verdict_advice,
    )
