"""How values read on a page: times in the operator's zone, volumes, rates, money."""

from datetime import date, datetime, timedelta
from decimal import Decimal

from babel.dates import format_skeleton, get_datetime_format
from babel.numbers import format_decimal
from flask import Flask, g
from flask_babel import format_date, format_datetime, format_time, format_timedelta
from flask_babel import gettext as _
from markupsafe import Markup

from core.codes import is_concealed
from core.money import exchange_sentence, format_money, format_with_code, money_locale
from core.rates import format_rate
from db.models import RatePlan
from portal import context
from portal.cards import cards
from portal.context import signed_in_staff
from portal.i18n import reader_language

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def octets(count: int | None) -> str:
    """Return a volume in decimal units, as data caps are sold: `12.4 GB`."""
    if count is None:
        return "–"
    size, unit = float(count), 0
    while abs(size) >= 999.95 and unit < len(_UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{_decimal(round(size, 1 if unit and size < 100 else 0))}\u00a0{_UNITS[unit]}"


def rate(bits_per_second: int | None) -> str:
    return "–" if bits_per_second is None else format_rate(bits_per_second).replace(" ", "\u00a0")


def short_rate(bits_per_second: int | float | None) -> str:
    """Return a measured rate, with three digits that mean something: `12.3 Mbit/s`."""
    if bits_per_second is None:
        return "–"
    size, unit = next(
        ((size, unit) for size, unit in ((1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s")) if bits_per_second >= size),
        (1.0, "bit/s"),
    )
    scaled = bits_per_second / size
    return f"{_decimal(round(scaled, 0 if scaled >= 100 else 1 if scaled >= 10 else 2))}\u00a0{unit}"


def number(count: int | float | None) -> str:
    return "–" if count is None else _decimal(count)


def _decimal(count: float) -> str:
    """Return a number with the separators of the operator's country, so that it reads like the money beside it."""
    known = "operator" in g or signed_in_staff() is not None
    language = reader_language()
    locale = money_locale(language, context.operator().currency) if known else language
    return str(format_decimal(count, locale=locale))


def local_time(instant: datetime | None) -> str:
    """Return date and time in the operator's zone."""
    return "–" if instant is None else str(format_datetime(instant, "medium"))


def local_minute(instant: datetime | None) -> str:
    """Return date and time in the operator's zone without seconds, as whoever keeps books or tills reads them."""
    if instant is None:
        return "–"
    day, time = format_date(instant, "medium"), format_time(instant, "short")
    return str(get_datetime_format("medium", locale=reader_language())).replace("{0}", time).replace("{1}", day)


def local_day(day: date | datetime | None) -> str:
    """Return a date; an instant is put into the operator's zone, a billing day stays the day it is."""
    if day is None:
        return "–"
    if isinstance(day, datetime):
        day = day.astimezone(context.zone()).date()
    return str(format_date(day, "medium", rebase=False))


def local_month(day: date) -> str:
    """Return a month with its year, as a row or a choice names it: `Nov 2026`."""
    return str(format_skeleton("yMMM", day, locale=reader_language()))


def ago(instant: datetime | None) -> str | Markup:
    """Return how long ago something was, with the exact time on hover."""
    if instant is None:
        return str(_("never"))
    distance = context.now() - instant
    if timedelta(0) <= distance < timedelta(seconds=5):
        words = _("just now")
    else:
        words = format_timedelta(-distance, add_direction=True)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(instant.isoformat(), local_time(instant), words)


def duration(length: timedelta | float | None) -> str:
    """Return a length of time with its two largest units: `3 d 4 h`, `12 min 5 s`."""
    if length is None:
        return "–"
    seconds = int(length.total_seconds() if isinstance(length, timedelta) else length)
    parts: list[str] = []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        count, seconds = divmod(seconds, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count}\u00a0{unit}")
    return " ".join(parts[:2])


def money(amount: Decimal | None) -> str:
    """Return an amount in the operator's currency, with the separators that people write there."""
    currency = context.operator().currency
    return "–" if amount is None else format_money(amount, currency, money_locale(reader_language(), currency))


def in_currency(amount: Decimal | None, currency: str) -> str:
    """Return an amount of any currency beside its code: `20.00 USD`. Two currencies may have the same sign."""
    locale = money_locale(reader_language(), context.operator().currency)
    return "–" if amount is None else format_with_code(amount, currency, locale)


def exchange_rate(rate: Decimal, currency: str) -> str:
    """Return what one unit of a currency is worth in the operator's: `1 USD = 17.2500 MXN`."""
    books = context.operator().currency
    return exchange_sentence(currency, rate, books, money_locale(reader_language(), books))


def plan_price(plan: RatePlan) -> str:
    """Return a plan's price of a month in the currency that it has: `$300.00`, `20.00 USD`."""
    return money(plan.price) if plan.price_currency is None else in_currency(plan.price, plan.price_currency)


def dialled(phone: str) -> str:
    """Return a phone number as `tel:` and WhatsApp links need it: digits, with the plus in front if it was there."""
    digits = "".join(character for character in phone if character.isdigit())
    return f"+{digits}" if phone.lstrip().startswith("+") else digits


def login_name(name: str) -> str:
    """Return the name under which somebody logged in; that of a voucher is its code, which nobody is shown."""
    return _("voucher") if is_concealed(name) else name


FILTERS = (
    octets,
    rate,
    short_rate,
    number,
    local_time,
    local_minute,
    local_day,
    local_month,
    ago,
    duration,
    money,
    in_currency,
    exchange_rate,
    plan_price,
    dialled,
    login_name,
)


def install(app: Flask) -> None:
    for formatter in FILTERS:
        app.add_template_filter(formatter)
    app.add_template_filter(cards)
