"""Form fields for what an ISP measures in: rates with their unit, volumes, lengths of time.

A rate is typed as people say it, `20` and Mbit/s or `512` and kbit/s; both parts have the field's name, so that the
browser sends them together. Numbers have the marks of the reader's country (`core.numbers`).
"""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from flask_babel import gettext as _
from markupsafe import Markup
from wtforms import Field
from wtforms.fields.choices import SelectChoice  # type: ignore[attr-defined] # newer than its stubs

from core.numbers import decimal_mark, read_number
from portal.i18n import number_locale

Option = SelectChoice
"""One choice of a select field: `Option(value, label)`."""

UNITS = {"M": ("Mbit/s", 1_000_000), "k": ("kbit/s", 1_000)}
GIGABYTE = 1_000_000_000


def _decimal(text: str) -> Decimal:
    try:
        number = read_number(text, number_locale())
    except ValueError:
        raise ValueError(_("A number is needed here.")) from None
    if abs(number) > 10**12:
        raise ValueError(_("A number is needed here."))
    return number


def _plain(number: Decimal) -> str:
    """Return a number without an exponent and without zeros at its end."""
    whole, _point, decimals = f"{number:f}".partition(".")
    decimals = decimals.rstrip("0")
    return f"{whole}{decimal_mark(number_locale())}{decimals}" if decimals else whole


class _RateInput:
    """A number and its unit, side by side."""

    def __call__(self, field: "RateField", **attributes: Any) -> Markup:
        number, unit = field.parts()
        style = attributes.pop("class", "form-control")
        options = Markup("").join(
            Markup('<option value="{}"{}>{}</option>').format(key, Markup(" selected") if key == unit else "", title)
            for key, (title, _size) in UNITS.items()
        )
        more = Markup("").join(
            Markup(' {}="{}"').format(name.replace("_", "-"), value) for name, value in attributes.items()
        )
        return Markup(
            '<div class="input-group portal-rate"><input type="text" inputmode="decimal" autocomplete="off"'
            ' id="{id}" name="{name}" value="{value}" class="{style}"{more}>'
            '<select name="{name}" class="form-select" aria-label="{unit}">{options}</select></div>'
        ).format(id=field.id, name=field.name, value=number, style=style, more=more, unit=_("Unit"), options=options)


class RateField(Field):
    """A rate in bit/s, or None when nothing was typed."""

    widget = _RateInput()
    data: int | None

    def parts(self) -> tuple[str, str]:
        """Return number and unit as they are shown: what was typed, or the rate in its largest whole unit."""
        if self.raw_data:
            return str(self.raw_data[0]), str(self.raw_data[1]) if len(self.raw_data) > 1 else "M"
        if self.data is None:
            return "", "M"
        unit = "k" if self.data < 1_000_000 else "M"
        return _plain(Decimal(self.data) / UNITS[unit][1]), unit

    def process_formdata(self, valuelist: list[Any]) -> None:
        self.data = None
        if not valuelist or not valuelist[0].strip():
            return
        unit = valuelist[1] if len(valuelist) > 1 else "M"
        if unit not in UNITS:
            raise ValueError(_("Choose one of the list."))
        self.data = int(_decimal(valuelist[0]) * UNITS[unit][1])


class _NumberInput:
    def __call__(self, field: Any, **attributes: Any) -> Markup:
        more = Markup("").join(
            Markup(' {}="{}"').format(name.rstrip("_").replace("_", "-"), value) for name, value in attributes.items()
        )
        return Markup(
            '<input type="text" inputmode="decimal" autocomplete="off" id="{}" name="{}" value="{}"{}>'
        ).format(field.id, field.name, field.shown(), more)


class ScaledField(Field):
    """A whole number of small units (octets, seconds) that people type in a large one; None when nothing was typed."""

    widget = _NumberInput()
    data: int | None

    def __init__(self, label: Any = None, validators: Any = None, scale: int = 1, **options: Any) -> None:
        super().__init__(label, validators, **options)
        self.scale = scale

    def shown(self) -> str:
        if self.raw_data:
            return str(self.raw_data[0])
        return "" if self.data is None else _plain(Decimal(self.data) / self.scale)

    def process_formdata(self, valuelist: list[Any]) -> None:
        self.data = None
        if valuelist and valuelist[0].strip():
            self.data = int(_decimal(valuelist[0]) * self.scale)


class VolumeField(ScaledField):
    """A volume typed in GB, kept in octets."""

    def __init__(self, label: Any = None, validators: Any = None, **options: Any) -> None:
        super().__init__(label, validators, scale=GIGABYTE, **options)


class MinutesField(ScaledField):
    """A length of time typed in minutes; `length` is it as a timedelta."""

    def __init__(self, label: Any = None, validators: Any = None, **options: Any) -> None:
        super().__init__(label, validators, scale=60, **options)

    @property
    def length(self) -> timedelta | None:
        return None if self.data is None else timedelta(seconds=self.data)


def seconds(length: timedelta | None) -> int | None:
    """Return a length of time as MinutesField keeps it."""
    return None if length is None else int(length.total_seconds())
