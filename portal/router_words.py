"""What is wrong with a router, in words: the likely cause, and what to do about it."""

from collections.abc import Mapping
from typing import NamedTuple

from flask import Flask
from flask_babel import gettext as _

from core.i18n import N_
from network.check import Finding, Result, Step
from network.problems import Cause


class Words(NamedTuple):
    """A sentence that says what is so, and one that says what to do."""

    title: str
    advice: str


CAUSES: Mapping[str, Words] = {
    Cause.REFUSED: Words(
        N_("The API is switched off, or on another port"),
        N_(
            "The router is there, but nothing answers on this port. In WinBox under IP → Services, enable api (8728) or"
            " api-ssl (8729), and compare the port."
        ),
    ),
    Cause.TIMEOUT: Words(
        N_("No answer: VPN down, router off, or a firewall in between"),
        N_(
            "Check that the router has power and that its VPN is up, and that its firewall accepts the API port from"
            " this server (chain input, above the rule that drops)."
        ),
    ),
    Cause.VPN: Words(
        N_("The VPN is down"),
        N_(
            "Check that the router has power and internet. Then look on the router whether its tunnel is enabled, and"
            " when its last handshake was; its page “VPN and script” has the script that sets it up again."
        ),
    ),
    Cause.UNREACHABLE: Words(
        N_("There is no way to this address"),
        N_("Check the address, and that the VPN through which it is reached is up."),
    ),
    Cause.CLOSED: Words(
        N_("The router hangs up: address filter, session limit or restart"),
        N_(
            "Under IP → Services, the “Available From” of the API must name the address of this server. Its limit of"
            " sessions may be reached (20 in new versions), or the router is just starting."
        ),
    ),
    Cause.SILENT: Words(
        N_("Connected, but no whole answer in time"),
        N_(
            "The line is very slow or loses packets, or the router is overloaded. A too large MTU on the VPN does this"
            " too: small packets pass, long answers do not."
        ),
    ),
    Cause.TLS: Words(
        N_("TLS does not come about"),
        N_(
            "8729 is the port with TLS, 8728 the one without. The service api-ssl needs a certificate of its own: make"
            " one under System → Certificates, sign it, and choose it under IP → Services."
        ),
    ),
    Cause.PASSWORD: Words(
        N_("Wrong user name or password"),
        N_(
            "Type both again. If they are right, the user's group lacks the policy “api”, or the user may log in only"
            " from other addresses (System → Users)."
        ),
    ),
    Cause.PERMISSION: Words(
        N_("The API user may not do this"),
        N_("Give its group the policies api, read, write, test and sensitive (System → Users → Groups)."),
    ),
    Cause.VERSION: Words(
        N_("This RouterOS does not know the command"),
        N_("Its version is too old for it, or a package is missing (hotspot, wireless)."),
    ),
    Cause.GARBAGE: Words(
        N_("Something else than RouterOS's API answers there"),
        N_("Compare the port: 8291 is WinBox, 22 SSH, 80 the web page. The API has 8728, with TLS 8729."),
    ),
    Cause.NO_SUCH_ITEM: Words(
        N_("The entry is no longer on the router"),
        N_("Somebody removed it, or the router was restarted. Load the page again."),
    ),
    Cause.DUPLICATE: Words(
        N_("The router has such an entry already"),
        N_("Look for it on the router; it may have been made by hand."),
    ),
    Cause.TRAP: Words(N_("The router refused"), N_("Its own words say why.")),
}


FINDINGS: Mapping[str, Words] = {
    Finding.REACHED: Words(N_("Reached at %(address)s, port %(port)s"), ""),
    Finding.TLS_FIRST: Words(
        N_("TLS works; the certificate is seen for the first time"),
        N_("Once the router is saved, it is remembered, and then only this one is taken. SHA-256: %(fingerprint)s"),
    ),
    Finding.TLS_PINNED: Words(N_("TLS works, with the certificate that is remembered"), ""),
    Finding.CERTIFICATE_CHANGED: Words(
        N_("The router shows another certificate than before"),
        N_(
            "Nothing was sent to it. If somebody made a new certificate on the router, choose “Accept a new"
            " certificate” on its page; if nobody did, another box answers at this address. Remembered: %(pinned)s;"
            " shown now: %(shown)s"
        ),
    ),
    Finding.LOGGED_IN: Words(N_("Logged in as %(user)s"), ""),
    Finding.SYSTEM: Words(N_("%(identity)s: RouterOS %(version)s on %(board)s"), ""),
    Finding.TOO_OLD: Words(
        N_("RouterOS %(version)s is too old"), N_("%(oldest)s is the oldest that can be used. Update the router.")
    ),
    Finding.POLICIES_ALL: Words(N_("The API user may read, write and test, and sees passwords"), ""),
    Finding.POLICIES_UNSURE: Words(
        N_("The API user may read, write and test"),
        N_(
            "Whether it sees passwords, which an import needs (policy “sensitive”), does not show: there are none on"
            " the router."
        ),
    ),
    Finding.POLICIES_MISSING: Words(
        N_("The API user's group lacks: %(missing)s"),
        N_(
            "Add it under System → Users → Groups, and test again. “sensitive” is needed only to import passwords, and"
            " can be taken away afterwards."
        ),
    ),
    Finding.MODE_NONE: Words(N_("No device-mode: nothing is forbidden"), ""),
    Finding.MODE_ALLOWS: Words(N_("Its device-mode forbids nothing that is needed"), ""),
    Finding.MODE_FORBIDS: Words(
        N_("Its device-mode %(mode)s forbids: %(forbidden)s"),
        N_(
            "Only somebody at the router can lift it: give /system device-mode update with the flags, then press its"
            " button or cut its power within five minutes."
        ),
    ),
    Finding.RADIUS_NONE: Words(
        N_("The router asks no RADIUS server"), N_("Paste the commands of its page into the router.")
    ),
    Finding.RADIUS_ELSEWHERE: Words(
        N_("The router asks other RADIUS servers: %(servers)s"),
        N_("Portico is at %(ours)s. Paste the commands of its page into the router."),
    ),
    Finding.RADIUS_HERE: Words(N_("The router asks Portico over RADIUS for: %(services)s"), ""),
    Finding.RADIUS_TWICE: Words(
        N_("Portico stands %(count)s times in the router's RADIUS list for the same service"),
        N_("The upper one is asked, perhaps with an old secret. Remove the ones that are not needed (/radius)."),
    ),
    Finding.RADIUS_OFF: Words(
        N_("Portico stands in the router's RADIUS list, switched off"), N_("Enable the row of %(ours)s under /radius.")
    ),
    Finding.RADIUS_ROWS: Words(N_("The router asks these RADIUS servers: %(servers)s"), ""),
    Finding.INCOMING_ON: Words(N_("It takes disconnects and changes of rate on port %(port)s"), ""),
    Finding.INCOMING_OFF: Words(
        N_("It takes no disconnects and changes of rate"), N_("Give: /radius incoming set accept=yes port=3799")
    ),
    Finding.INCOMING_PORT: Words(
        N_("It takes disconnects and changes of rate on port %(port)s, and they are sent to %(wanted)s"),
        N_("Make the two the same: the CoA port here, or /radius incoming on the router."),
    ),
    Finding.AAA_ON: Words(N_("PPP asks RADIUS, and reports usage"), ""),
    Finding.AAA_OFF: Words(
        N_("PPP does not ask RADIUS"),
        N_("Where there are PPPoE clients, give: /ppp aaa set use-radius=yes accounting=yes interim-update=5m"),
    ),
    Finding.AAA_NO_ACCOUNTING: Words(
        N_("PPP asks RADIUS, and does not report usage"), N_("Give: /ppp aaa set accounting=yes interim-update=5m")
    ),
    Finding.NOT_READ: Words(N_("This could not be read"), ""),
}

STEPS: Mapping[str, str] = {
    Step.REACH: N_("Connection"),
    Step.TLS: N_("TLS"),
    Step.LOGIN: N_("Login"),
    Step.SYSTEM: N_("System"),
    Step.POLICIES: N_("Rights"),
    Step.DEVICE_MODE: N_("Device mode"),
    Step.RADIUS: N_("RADIUS"),
    Step.INCOMING: N_("CoA"),
    Step.AAA: N_("PPP"),
}


def step_title(result: Result) -> str:
    return str(_(STEPS[result.step]))


def result_title(result: Result) -> str:
    """Return what a step of a connection test showed, as a sentence."""
    return _filled(_words_of(result).title, result)


def result_advice(result: Result) -> str:
    """Return what to do about it; nothing where there is nothing to do."""
    advice = _words_of(result).advice
    return _filled(advice, result) if advice else ""


def _words_of(result: Result) -> Words:
    return CAUSES[result.finding] if isinstance(result.finding, Cause) else FINDINGS[result.finding]


def _filled(text: str, result: Result) -> str:
    return str(_(text, **result.values))


def cause_title(cause: str) -> str:
    """Return what a cause is called; one that is not known is shown as it is, and nothing for none."""
    return _(CAUSES[cause].title) if cause in CAUSES else cause


def cause_advice(cause: str) -> str:
    """Return what to do about a cause; nothing for one that is not known."""
    return _(CAUSES[cause].advice) if cause in CAUSES else ""


def install(app: Flask) -> None:
    app.jinja_env.globals.update(
        cause_title=cause_title,
        cause_advice=cause_advice,
        step_title=step_title,
        result_title=result_title,
        result_advice=result_advice,
    )
