"""Parts of the form of a rate plan that repeat: time windows, steps of fair use, hours that count less."""

from typing import Any

from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from wtforms import FieldList, Form, SelectField, SelectMultipleField, TimeField
from wtforms.validators import Optional
from wtforms.widgets import CheckboxInput, ListWidget

from aaa.facts import Span
from core.i18n import N_
from crm.plans import Bonus, FairUseStep, Window
from crm.problems import FieldProblem, Problem
from portal import forms
from portal.fields import Option, RateField, VolumeField

DAYS = {
    1: N_("Mon"),
    2: N_("Tue"),
    3: N_("Wed"),
    4: N_("Thu"),
    5: N_("Fri"),
    6: N_("Sat"),
    7: N_("Sun"),
}
SPANS = {Span.DAY: N_("in a day"), Span.WEEK: N_("in a week"), Span.MONTH: N_("in a billing period")}


class WindowForm(Form):
    """One time window; a row in which nothing is chosen is no window."""

    days = SelectMultipleField(
        _l("Days on which it begins"),
        coerce=int,
        widget=ListWidget(prefix_label=False),
        option_widget=CheckboxInput(),
        choices=[Option(number, _l(name)) for number, name in DAYS.items()],
    )
    begin = TimeField(_l("From"), [Optional()])
    until = TimeField(_l("Until"), [Optional()])
    download = RateField(_l("Download"))
    upload = RateField(_l("Upload"))

    @property
    def empty(self) -> bool:
        return not self.days.data and self.begin.data is None and self.until.data is None and self.download.data is None


class StepForm(Form):
    """One step of fair use; a row without a volume is none."""

    octets = VolumeField(_l("After so much"))
    span = SelectField(_l("Counted"))
    download = RateField(_l("Then download"))
    upload = RateField(_l("Then upload"))

    def __init__(self, *arguments: Any, **values: Any) -> None:
        super().__init__(*arguments, **values)
        self.span.choices = [Option(span.value, _(text)) for span, text in reversed(SPANS.items())]


class BonusForm(Form):
    """Hours that count less; a row without days is none."""

    days = SelectMultipleField(
        _l("Days on which it begins"),
        coerce=int,
        widget=ListWidget(prefix_label=False),
        option_widget=CheckboxInput(),
        choices=[Option(number, _l(name)) for number, name in DAYS.items()],
    )
    begin = forms.whole_number(_l("From (hour)"))
    until = forms.whole_number(_l("Until (hour)"))
    percent = forms.whole_number(_l("Counts"))


def read_windows(entries: "FieldList[Any]", problems: list[FieldProblem]) -> tuple[Window, ...]:
    """Return the windows that were entered; what is missing is added to `problems`."""
    windows = []
    for number, entry in enumerate(entries):
        window = entry.form
        if window.empty:
            continue
        if _missing(problems, "windows", number, window, ("begin", "until", "download", "upload")):
            continue
        days, begin, until = tuple(window.days.data or ()), window.begin.data, window.until.data
        windows.append(Window(days, begin, until, window.download.data, window.upload.data))
    return tuple(windows)


def read_steps(entries: "FieldList[Any]", problems: list[FieldProblem]) -> tuple[FairUseStep, ...]:
    """Return the steps that were entered; what is missing is added to `problems`."""
    steps = []
    for number, entry in enumerate(entries):
        step = entry.form
        if step.octets.data is None and step.download.data is None and step.upload.data is None:
            continue
        if not _missing(problems, "steps", number, step, ("octets", "download", "upload")):
            steps.append(FairUseStep(Span(step.span.data), step.octets.data, step.download.data, step.upload.data))
    return tuple(steps)


def read_bonus(entries: "FieldList[Any]", problems: list[FieldProblem]) -> tuple[Bonus, ...]:
    """Return the hours that were entered; what is missing is added to `problems`."""
    found = []
    for number, entry in enumerate(entries):
        bonus = entry.form
        if not bonus.days.data and bonus.begin.data is None and bonus.until.data is None:
            continue
        if not _missing(problems, "bonus_hours", number, bonus, ("begin", "until")):
            found.append(
                Bonus(tuple(bonus.days.data or ()), bonus.begin.data, bonus.until.data, bonus.percent.data or 0)
            )
    return tuple(found)


def _missing(problems: list[FieldProblem], part: str, number: int, form: Any, names: tuple[str, ...]) -> bool:
    missing = [FieldProblem(f"{part}-{number}-{name}", Problem.REQUIRED) for name in names if form[name].data is None]
    problems += missing
    return bool(missing)
