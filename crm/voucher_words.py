"""What a voucher buys, in words: on its card, in lists and for the seller."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from babel.dates import format_date
from babel.numbers import format_decimal

from core.i18n import N_, translator
from core.rates import format_rate
from db.models import VoucherBatch

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def what_it_buys(batch: VoucherBatch, zone: ZoneInfo, language: str) -> list[str]:
    """Return the limits of a batch's vouchers, in the order in which people ask for them."""
    say, found = translator(language), []
    if batch.lasts is not None:
        found.append(say(N_("%(length)s from the first login")) % {"length": length_words(batch.lasts, language)})
    if batch.online is not None:
        found.append(say(N_("%(length)s online")) % {"length": length_words(batch.online, language)})
    if batch.octets is not None:
        found.append(volume_words(batch.octets, language))
    if batch.ends_at is not None:
        found.append(say(N_("until %(day)s")) % {"day": day_words(batch.ends_at, zone, language)})
    return found


def best_before_words(batch: VoucherBatch, zone: ZoneInfo, language: str) -> str:
    """Return the day up to which the first login must be; empty where there is none."""
    if batch.best_before is None:
        return ""
    return translator(language)(N_("First use until %(day)s")) % {"day": day_words(batch.best_before, zone, language)}


def length_words(seconds: int, language: str) -> str:
    """Return a length of time in its largest whole unit: `90 min`, `2 h`, `30 days`."""
    say = translator(language)
    if seconds % _DAY == 0:
        days = seconds // _DAY
        return say(N_("1 day")) if days == 1 else say(N_("%(count)s days")) % {"count": days}
    if seconds % _HOUR == 0:
        return f"{seconds // _HOUR} h"
    if seconds % _MINUTE == 0:
        return f"{seconds // _MINUTE} min"
    return f"{seconds // _MINUTE} min {seconds % _MINUTE} s"


def volume_words(octets: int, language: str) -> str:
    """Return a volume in decimal units, as it is sold."""
    for size, unit in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB")):
        if octets >= size:
            return f"{format_decimal(round(octets / size, 2), locale=language)} {unit}"
    return f"{octets} B"


def rate_words(download: int, upload: int) -> str:
    return f"↓ {format_rate(download)} ↑ {format_rate(upload)}"


def day_words(instant: datetime, zone: ZoneInfo, language: str) -> str:
    """Return an instant as a day, where it is the end of one, or as day and time."""
    local = instant.astimezone(zone)
    if (local.hour, local.minute) == (0, 0):
        return format_date(local.date() - timedelta(days=1), "medium", language)
    return f"{format_date(local.date(), 'medium', language)} {local:%H:%M}"
