"""The cut-off: the instant at which a service that is not paid is turned away.

A service stays on up to the end of the last day that anything gives it: the day until which it is paid with the
operator's days of grace, a promise to pay, or a day that staff gave. It is cut on the first day after that on which the
operator cuts (not at weekends or on holidays, where so chosen), at the operator's hour.

This is the only place that says so: the decision on an access, the state that follows it, the reports and the preview
of tonight all ask here, so nobody is cut by one of them and not by another.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

EVERY_DAY = frozenset(range(1, 8))
_DAY = timedelta(days=1)
_LONGEST_WAIT = 366
"""Days after which a service is cut though every day were a day off: what was chosen cannot have been meant."""


@dataclass(frozen=True, slots=True)
class CutOffRule:
    """When an operator cuts. `weekdays` are ISO weekdays, 1 Monday to 7 Sunday; `hour` is of the operator's day.

    `country` and `subdivision` (ISO 3166) name the public holidays on which nobody is cut; None is no holidays.
    `days_off` are further days of the operator's own.
    """

    zone: ZoneInfo
    grace_days: int = 0
    hour: int = 0
    weekdays: frozenset[int] = EVERY_DAY
    country: str | None = None
    subdivision: str | None = None
    days_off: frozenset[date] = frozenset()

    def for_prepaid(self) -> "CutOffRule":
        """Return when a prepaid service ends: at midnight after its last day, whatever day that is."""
        return CutOffRule(self.zone)

    def last_day_on(self, paid_until: date, spared_until: date | None = None) -> date:
        """Return the last day that counts as paid; `spared_until` is a day promised or given."""
        last = paid_until + timedelta(days=self.grace_days)
        return max(last, spared_until or last)

    def cut_off(self, paid_until: date, spared_until: date | None = None) -> datetime:
        """Return the instant at which a service paid up to and including a day is cut."""
        return _cut_off(self, self.last_day_on(paid_until, spared_until))

    def first_day_on(self, now: datetime) -> date:
        """Return the day F for which this holds: a service is cut by now if its `last_day_on()` is before F."""
        day = now.astimezone(self.zone).date()
        for _ in range(_LONGEST_WAIT):
            if _cut_off(self, day - _DAY) <= now:
                break
            day -= _DAY
        return day

    def cuts_on(self, day: date) -> bool:
        """Tell whether anybody is cut on a day."""
        if day.isoweekday() not in self.weekdays or day in self.days_off:
            return False
        return self.country is None or day not in public_holidays(self.country, self.subdivision, day.year)


@lru_cache(maxsize=16384)
def _cut_off(rule: CutOffRule, last_day: date) -> datetime:
    day = last_day + _DAY
    for _ in range(_LONGEST_WAIT):
        if rule.cuts_on(day):
            break
        day += _DAY
    return datetime.combine(day, time(rule.hour), rule.zone).astimezone(UTC)


def holiday_choices() -> dict[str, list[str]]:
    """Return the countries whose public holidays are known, each with its subdivisions; codes of ISO 3166."""
    from holidays import list_supported_countries

    return {country: list(parts) for country, parts in list_supported_countries(include_aliases=False).items()}


@lru_cache(maxsize=256)
def public_holidays(country: str, subdivision: str | None, year: int) -> frozenset[date]:
    """Return the public holidays of a year; the country and its part are codes of ISO 3166."""
    from holidays import country_holidays  # a quarter of a second, which only who has holidays pays for

    return frozenset(country_holidays(country, subdiv=subdivision, years=year))
