"""How long to keep what, proposed by country: a starting point for an operator and its lawyer, and not advice.

The figures come from the laws that `source` names, as they were known when this was written; laws change, and some of
these are disputed. Where a country asks nothing of Internet providers, what is proposed is what support and billing
need. Days are whole years of 365.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from core.i18n import N_

YEAR = 365
_OURS = {"messages": 2 * YEAR, "webhooks": 30, "circuit_tests": YEAR, "shadow_events": 90, "devices": 30}
"""What no law speaks of."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """Days by kind, and the text that says where they come from."""

    days: Mapping[str, int]
    source: str


def _proposal(sessions: int, auth_events: int, ticket_files: int, source: str) -> Proposal:
    return Proposal(
        {"sessions": sessions, "auth_events": auth_events, "ticket_files": ticket_files, **_OURS}, source
    )  # fmt: skip


PROPOSALS: Mapping[str, Proposal] = {
    "MX": _proposal(
        2 * YEAR, 2 * YEAR, YEAR,
        N_(
            "The telecommunications law of 2014 (art. 190) had providers keep who communicated with whom for 24"
            " months, the first 12 at hand. A new law of 2025 took its place: ask which article holds now."
        ),
    ),
    "CO": _proposal(
        5 * YEAR, YEAR, YEAR,
        N_("Decree 1704 of 2012 asks providers to keep subscribers' data and connections for five years."),
    ),
    "AR": _proposal(
        YEAR, 180, YEAR,
        N_(
            "The duty to keep data for ten years (law 25.873) was found unconstitutional in 2009 (Halabi). Law 25.326"
            " on personal data lets you keep what you need, for as long as you need it."
        ),
    ),
    "PE": _proposal(
        3 * YEAR, YEAR, YEAR,
        N_("Legislative decree 1182 of 2015 asks for 12 months at hand and 24 more in store."),
    ),
    "GT": _proposal(
        YEAR, 180, YEAR,
        N_("No general duty to keep traffic data is known to us. What is proposed is what support and billing need."),
    ),
    "US": _proposal(
        180, 90, YEAR,
        N_(
            "No general duty for Internet providers. A preservation request (18 U.S.C. 2703(f)) binds for 90 days, and"
            " again: use a legal hold for that."
        ),
    ),
    "ES": _proposal(
        YEAR, YEAR, YEAR,
        N_(
            "Law 25/2007 (art. 5) asks for 12 months, which may be set between six months and two years. Data"
            " protection law does not let you keep them longer without a reason."
        ),
    ),
}  # fmt: skip
