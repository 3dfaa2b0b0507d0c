"""Forms: the base of all, and the fields that several of them share.

A form turns text into values and says what cannot be read; what the values must be to each other is the domain's
business (`crm`), whose findings `portal.errors.put_on_form` puts beside the same fields.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, TypeVar

from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from flask_wtf import FlaskForm
from wtforms import (
    BooleanField,
    DateField,
    DecimalField,
    Field,
    HiddenField,
    IntegerField,
    PasswordField,
    SelectField,
    SelectMultipleField,
    StringField,
    TextAreaField,
)
from wtforms.validators import InputRequired, Optional
from wtforms.widgets import TextInput

from core.numbers import plain_number, read_number
from portal.i18n import number_locale


class Form(FlaskForm):  # type: ignore[misc] # Flask-WTF has no types
    """The base of every form. CSRF is checked for the whole application, and the token written by `form_start`."""

    class Meta:
        csrf = False  # CSRFProtect has checked before the view runs


class Watched(Form):
    """A form of a row that counts no versions: it carries a mark of what it was filled from.

    `form_start` writes the mark, and what differs from what is stored by now.
    """

    mark = HiddenField()
    theirs: list[tuple[str, str, str]] | None = None

    def changed_meanwhile(self, stored: "Watched") -> bool:
        """Return whether the row was saved since this form was filled; `stored` is filled from what it is now.

        If so, the form says what differs, and sending it again overwrites that, knowingly. A form that says nothing
        of what it was filled from, as programs send it, was not typed over anything.
        """
        now = mark_of({name: field.data for name, field in stored._fields.items() if name != "mark"})
        if not self.mark.data or self.mark.data == now:
            return False
        self.theirs = unlike(stored, self)
        self.mark.data, self.mark.raw_data = now, None
        return True


WatchedForm = TypeVar("WatchedForm", bound=Watched)


def watched(stored: WatchedForm) -> WatchedForm:
    """Return a form that was filled from a row, with the mark of it."""
    stored.mark.data = mark_of({name: field.data for name, field in stored._fields.items() if name != "mark"})
    return stored


def mark_of(values: Mapping[Any, object]) -> str:
    """Return what tells these values from others, for who saves second."""
    return hashlib.sha256(repr(sorted(values.items(), key=repr)).encode()).hexdigest()[:24]


REQUIRED = InputRequired(_l("This is needed."))
OPTIONAL = Optional()


def stripped(value: Any) -> Any:
    """Return a text without blanks around it, and without NUL, which PostgreSQL cannot hold."""
    return value.replace("\0", "").strip() if isinstance(value, str) else value


def none_if_empty(value: Any) -> Any:
    return value or None


def text(title: Any, *, required: bool = False, **options: Any) -> StringField:
    """A line of text; blanks around it are dropped, and when it may be left out, nothing is None."""
    if required:
        return StringField(title, [REQUIRED], filters=[stripped], **options)
    return StringField(title, [OPTIONAL], filters=[stripped, none_if_empty], **options)


def long_text(title: Any, **options: Any) -> TextAreaField:
    return TextAreaField(title, [OPTIONAL], filters=[stripped], render_kw={"rows": 3}, **options)


def password(title: Any, *, required: bool = False, **options: Any) -> PasswordField:
    return PasswordField(title, [REQUIRED if required else OPTIONAL], **options)


class WholeNumberField(IntegerField):
    """A whole number, with a sentence of ours where it is none."""

    def process_formdata(self, valuelist: list[Any]) -> None:
        if not valuelist or not valuelist[0].strip():
            self.data = None
            return
        try:
            self.data = int(valuelist[0])
        except ValueError:
            self.data = None
            raise ValueError(_("Enter a whole number.")) from None


def whole_number(title: Any, *, required: bool = False, **options: Any) -> WholeNumberField:
    return WholeNumberField(title, [REQUIRED if required else OPTIONAL], **options)


class NumberField(DecimalField):
    """A number that may have decimals, with the marks of the reader's country.

    It is a line of text: in a field of type number, browsers of another language swallow the decimal comma while it is
    typed, and 350,50 becomes 35050.
    """

    widget = TextInput()
    groups = True

    def process_formdata(self, valuelist: list[Any]) -> None:
        if not valuelist or not valuelist[0].strip():
            self.data = None
            return
        try:
            self.data = read_number(valuelist[0], number_locale(), groups=self.groups)
        except ValueError:
            self.data = None
            raise ValueError(_("Enter a number.")) from None

    def _value(self) -> str:
        if self.raw_data:
            return str(self.raw_data[0])
        return "" if self.data is None else plain_number(self.data, number_locale())


def number(title: Any, *, required: bool = False, **options: Any) -> NumberField:
    return _number_line(NumberField, title, required, options)


class CoordinateField(NumberField):
    """A latitude or longitude, in degrees: it may be pasted as maps write it, and nothing in it groups thousands."""

    groups = False


def coordinate(title: Any, *, required: bool = False, **options: Any) -> NumberField:
    return _number_line(CoordinateField, title, required, options)


def _number_line(kind: type[NumberField], title: Any, required: bool, options: dict[str, Any]) -> NumberField:
    keyboard = {"inputmode": "decimal", "autocomplete": "off"}
    return kind(title, [REQUIRED if required else OPTIONAL], places=None, render_kw=keyboard, **options)


class DayField(DateField):
    """A date, with a sentence of ours where it is none."""

    def process_formdata(self, valuelist: list[Any]) -> None:
        if not valuelist or not valuelist[0].strip():
            self.data = None
            return
        try:
            super().process_formdata(valuelist)
        except ValueError:
            raise ValueError(_("Enter a date, such as 2027-04-30.")) from None


def day(title: Any, *, required: bool = False, **options: Any) -> DayField:
    return DayField(title, [REQUIRED if required else OPTIONAL], **options)


def choice(title: Any, *, numeric: bool = False, **options: Any) -> SelectField:
    """One of a list. With `numeric` the values are ids, and the empty choice is None."""

    def to_id(value: Any) -> int | None:
        return int(value) if value not in (None, "", "None") else None

    def to_text(value: Any) -> str:
        return "" if value is None else str(value)

    return SelectField(title, coerce=to_id if numeric else to_text, **options)


def seen_version(field: Field) -> int:
    """Return the version of a row that a form was filled from; 0, which no row has, where it does not say."""
    typed = field.data or ""
    return int(typed) if typed.isascii() and typed.isdigit() and len(typed) < 10 else 0


def overwriting(form: Form, version: object) -> Form:
    """Return a form that names what is stored now: sending it again overwrites that, knowingly."""
    form.version.data, form.version.raw_data = str(version), None
    return form


def unlike(stored: Form, typed: Form, titles: Mapping[str, str] | None = None) -> list[tuple[str, str, str]]:
    """Return where two forms of one kind differ, for who saves second: each title, as stored, as typed.

    `titles` are those of fields whose own says too little by itself. Passwords are left out: what is stored of them
    is sent nowhere.
    """
    return [
        ((titles or {}).get(name, str(field.label.text)), _as_read(stored[name]), _as_read(field))
        for name, field in typed._fields.items()
        if not isinstance(field, HiddenField | PasswordField) and _as_read(field) != _as_read(stored[name])
    ]


def _as_read(field: Field) -> str:
    """Return what is in a field as people read it: the words of a choice, and yes or no."""
    if isinstance(field, BooleanField):
        return str(_("yes") if field.data else _("no"))
    if isinstance(field, SelectField | SelectMultipleField):
        chosen = field.data if isinstance(field.data, list) else [field.data]
        choices: Any = field.iter_choices()
        words = {str(field.coerce(choice.value)): str(choice.label) for choice in choices}
        return ", ".join(words.get(str(each), str(each or "")) for each in chosen)
    return str(field._value()) if hasattr(field, "_value") else str(field.data or "")
