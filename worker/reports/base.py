"""What a report is: its question, its columns, and the query that answers it for one operator and some days."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Select, literal_column

from core.clock import start_of_day
from core.i18n import N_

SUBSCRIBERS, MONEY, WORK, NETWORK = N_("Subscribers"), N_("Billing"), N_("Work orders"), N_("Network")
HELP_DESK = N_("Help desk")

HUNDRED: Any = literal_column("100.0")
"""Of NUMERIC: PostgreSQL rounds no double to decimals."""

WORDS: Mapping[str, Mapping[str, str]] = {
    "service_state": {
        "pending": N_("Pending"),
        "active": N_("Active"),
        "suspended": N_("Suspended"),
        "paused": N_("Paused"),
        "terminated": N_("Terminated"),
    },
    "paid": {
        "paid": N_("Paid"),
        "part": N_("Partly paid"),
        "open": N_("Not paid yet"),
        "overdue": N_("Overdue"),
        "credited": N_("Credited"),
    },
    "left": {
        "overdue": N_("Did not pay"),
        "abuse": N_("Abuse"),
        "staff": N_("Suspended by staff"),
        "asked": N_("Asked to leave, or no reason noted"),
    },
    "unsaid": {"overdue": N_("Ended for debt"), "unsaid": N_("No reason noted")},
    "line": {"online": N_("Online"), "offline": N_("Offline"), "unknown": N_("Unknown")},
    "circuit_verdict": {
        "none": N_("In order"),
        "account": N_("Account"),
        "network": N_("Network"),
        "router": N_("Router"),
        "sector": N_("Sector"),
        "premises": N_("Premises"),
        "unsure": N_("Not sure"),
        "running": N_("Under way"),
    },
    "work_kind": {
        "installation": N_("Installation"),
        "maintenance": N_("Maintenance"),
        "repair": N_("Repair"),
        "move": N_("Relocation"),
        "recovery": N_("Recovery of equipment"),
        "expansion": N_("Network expansion"),
    },
    "ticket_state": {
        "new": N_("New"),
        "open": N_("In work"),
        "waiting_subscriber": N_("Waiting for the subscriber"),
        "waiting_others": N_("Waiting for others"),
        "solved": N_("Solved"),
        "closed": N_("Closed"),
    },
    "role": {
        "manager": N_("Manager"),
        "sales": N_("Sales"),
        "support": N_("Support"),
        "finance": N_("Finance"),
        "technical": N_("Technical"),
    },
    "work_priority": {"urgent": N_("Urgent"), "high": N_("High"), "normal": N_("Normal"), "low": N_("Low")},
}


@dataclass(frozen=True, slots=True)
class Scope:
    """For whom and for which days a report is: `first` to `last`, both included, in the operator's zone."""

    operator_id: int
    zone: ZoneInfo
    first: date
    last: date
    now: datetime

    @property
    def since(self) -> datetime:
        return start_of_day(self.first, self.zone)

    @property
    def until(self) -> datetime:
        """The end of the last day: the first instant that does not belong to it."""
        return start_of_day(self.last + timedelta(days=1), self.zone)

    @property
    def today(self) -> date:
        return self.now.astimezone(self.zone).date()


@dataclass(frozen=True, slots=True)
class Column:
    """A column. `kind`: text, day, month, instant, count, decimal, money, percent or octets.

    `words` is the key of WORDS where the words of its values stand.
    """

    key: str
    title: str
    kind: str = "text"
    words: str = ""
    wide: bool = False  # left out on phones

    @property
    def numeric(self) -> bool:
        return self.kind in ("count", "decimal", "money", "percent", "octets")


@dataclass(frozen=True, slots=True)
class Report:
    """A question that a table answers. `permission` is a value of portal.permissions.Permission.

    `spans`: it is about the days of its scope, else about now. `choice` is the column that a filter chooses from,
    `chart` the columns that are drawn over the first one, which then is a day or a month.
    """

    key: str
    area: str
    title: str
    answers: str
    permission: str
    columns: tuple[Column, ...]
    query: Callable[[Scope], Select[*tuple[Any, ...]]]
    order: str
    spans: bool = False
    choice: str = ""
    chart: tuple[str, ...] = ()
