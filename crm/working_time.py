"""Working time: how long somebody has waited while people were at work.

A promise of "an answer within four hours" made on Friday at 17:00, with hours until 18:00, is kept until Monday at
12:00. Hours are written as clocks on the wall show them, so a day on which the clock changes is an hour longer or
shorter only if the change falls into them. Nothing here reads a clock or a database.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from crm.problems import FieldProblem, Invalid, Problem

MINUTES_OF_A_DAY = 24 * 60
_DAY = timedelta(days=1)
_FARTHEST = 800
"""Days that are looked at: who works one hour a week waits two years for a promise of a hundred hours."""


@dataclass(frozen=True, slots=True)
class WorkingHours:
    """When people work: spans of minutes after midnight for each day of the week (1 is Monday), and days off."""

    zone: ZoneInfo
    spans: Mapping[int, Sequence[tuple[int, int]]]
    is_day_off: Callable[[date], bool] = lambda _day: False

    def is_open(self, instant: datetime) -> bool:
        """Tell whether people work at an instant."""
        local = instant.astimezone(self.zone).date()
        return any(begin <= instant < end for begin, end in self._on(local))

    def after(self, start: datetime, length: timedelta) -> datetime:
        """Return the instant at which `length` of working time has passed since `start`.

        Without any hours it is as if people always worked: a promise must end at some time.
        """
        left = length
        for begin, end in self._since(start):
            begin = max(begin, start)
            if begin + left <= end:
                return begin + left
            left -= end - begin
        return start + length

    def between(self, start: datetime, end: datetime) -> timedelta:
        """Return the working time from `start` until `end`; zero where `end` is not later."""
        if end <= start:
            return timedelta()
        worked, any_hours = timedelta(), False
        for begin, until in self._since(start):
            any_hours = True
            if begin >= end:
                break
            worked += min(until, end) - max(begin, start)
        return worked if any_hours else end - start

    def _since(self, start: datetime) -> Iterator[tuple[datetime, datetime]]:
        """Yield the spans that end after `start`, in their order."""
        day = start.astimezone(self.zone).date()
        for _ in range(_FARTHEST):
            for begin, end in self._on(day):
                if end > start:
                    yield begin, end
            day += _DAY

    def _on(self, day: date) -> Iterator[tuple[datetime, datetime]]:
        spans = self.spans.get(day.isoweekday(), ())
        if not spans or self.is_day_off(day):
            return
        for first, last in spans:
            begin, end = self._at(day, first), self._at(day, last)
            if begin < end:
                yield begin, end

    def _at(self, day: date, minutes: int) -> datetime:
        if minutes == MINUTES_OF_A_DAY:
            return datetime.combine(day + _DAY, time(), self.zone).astimezone(UTC)
        return datetime.combine(day, time(minutes // 60, minutes % 60), self.zone).astimezone(UTC)


def always(zone: ZoneInfo) -> WorkingHours:
    """Return hours without a night: for what cannot wait until morning."""
    return WorkingHours(zone, dict.fromkeys(range(1, 8), ((0, MINUTES_OF_A_DAY),)))


def parse_spans(text: str, field: str = "hours") -> list[tuple[int, int]]:
    """Read the hours of a day as people write them: `09:00-13:00, 15:00-19:00`. Empty: nobody works.

    Raises Invalid for what is no time, a span that ends before it begins, or two that overlap.
    """
    spans = []
    for part in filter(None, (part.strip() for part in text.replace(";", ",").split(","))):
        first, dash, last = part.replace("–", "-").partition("-")
        begin, end = _minutes(first), _minutes(last)
        if not dash or begin is None or end is None:
            raise Invalid(FieldProblem(field, Problem.NOT_HOURS))
        if begin >= end:
            raise Invalid(FieldProblem(field, Problem.NOT_HOURS))
        spans.append((begin, end))
    spans.sort()
    if any(earlier[1] > later[0] for earlier, later in pairwise(spans)):
        raise Invalid(FieldProblem(field, Problem.NOT_HOURS))
    return spans


def spans_text(spans: Sequence[Sequence[int]]) -> str:
    """Write the hours of a day as `parse_spans()` reads them."""
    return ", ".join("-".join(f"{minutes // 60:02}:{minutes % 60:02}" for minutes in span) for span in spans)


def _minutes(text: str) -> int | None:
    hour, colon, minute = text.strip().partition(":")
    if not (hour.isascii() and hour.isdigit() and len(hour) <= 2):
        return None
    if colon and not (minute.isascii() and minute.isdigit() and len(minute) == 2):
        return None
    minutes = int(hour) * 60 + int(minute or 0)
    return minutes if int(minute or 0) < 60 and minutes <= MINUTES_OF_A_DAY else None
