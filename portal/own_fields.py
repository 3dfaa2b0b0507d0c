"""An operator's own fields (crm.fields) in the portal's forms and lists.

In a form each is a field `custom-<id>` beside those of Portico, so that what is wrong is said like everywhere; in the
lists of subscribers and of services those that the operator wants there are columns and filters, and all of them stand
in the exports.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any, TypeVar

from flask import Flask
from flask_babel import gettext as _
from sqlalchemy import ColumnElement, Numeric, case, cast, select
from wtforms import Field

from crm.fields import fields_of
from db.models import CustomField, CustomValue, Service, Subscriber
from portal import context
from portal.fields import Option
from portal.formats import local_day
from portal.forms import Form, choice, text
from portal.tables import Column, Filter, Table

PREFIX = "custom-"
FILLED, EMPTY = "+", "-"
F = TypeVar("F", bound=Form)


def own_fields(subject: str) -> Sequence[CustomField]:
    """Return the fields of subscribers or of services of who is signed in."""
    return fields_of(context.db(), context.staff().operator_id, subject)


# Forms.


def with_own_fields(form: type[F], fields: Sequence[CustomField]) -> type[F]:
    """Return a form with fields of the operator's own behind those that it has."""
    return type(form.__name__, (form,), {f"{PREFIX}{one.id}": _form_field(one) for one in fields})


def filled(values: dict[int, str]) -> dict[str, str]:
    """Return stored values as such a form is filled with them."""
    return {f"{PREFIX}{field_id}": value for field_id, value in values.items()}


def typed_into(form: Form, fields: Sequence[CustomField]) -> dict[int, str]:
    """Return what was typed into the operator's own fields of a form."""
    return {one.id: form[f"{PREFIX}{one.id}"].data or "" for one in fields}


def _form_field(one: CustomField) -> Field:
    match one.kind:
        case "choice":
            return choice(
                one.title, default="", choices=[Option("", ""), *(Option(word, word) for word in one.choices)]
            )
        case "yes_no":
            return choice(
                one.title, default="", choices=[Option("", ""), Option("yes", _("yes")), Option("no", _("no"))]
            )
        case "date":
            return text(one.title, required=one.required, render_kw={"type": "date"})
        case "number":
            return text(one.title, required=one.required, render_kw={"inputmode": "decimal"})
    return text(one.title, required=one.required, render_kw={"maxlength": "500"})


# The lists.


def with_own_columns(table: Table, fields: Sequence[CustomField]) -> Table:
    """Return the list of subscribers or services with the operator's own fields. Its query loads `own_values`."""
    columns = (*table.columns, *(_column(one) for one in sorted(fields, key=lambda one: not one.listed)))
    return replace(table, columns=columns, filters=(*table.filters, *(_filter(one) for one in fields if one.listed)))


def own_value(field: CustomField, subject: Subscriber | Service) -> str:
    """Return what stands in a field of a subscriber or service, whose values are loaded; "" for nothing."""
    return next((str(one.value) for one in subject.own_values if one.field_id == field.id), "")


def own_text(field: CustomField, value: str) -> str:
    """Return a value as it is read: of yes and no the reader's word, a day as days are written."""
    if field.kind == "yes_no" and value:
        return str(_("yes") if value == "yes" else _("no"))
    return local_day(date.fromisoformat(value)) if field.kind == "date" and value else value


def _column(field: CustomField) -> Column:
    def value(subject: Subscriber | Service) -> object:
        found = own_value(field, subject)
        if found and field.kind == "number":
            return Decimal(found)
        return date.fromisoformat(found) if found and field.kind == "date" else own_text(field, found)

    return Column(
        f"{PREFIX}{field.id}", field.title, value, _sort(field) if field.listed else None,
        numeric=field.kind == "number", wide=True, exported_only=not field.listed, money=False,
    )  # fmt: skip


def _sort(field: CustomField) -> Any:
    found = select(CustomValue.value).where(*_of_row(field)).correlate(_listed(field)).scalar_subquery()
    # As CASE, so that PostgreSQL reads a number of nothing else.
    return case((found != "", cast(found, Numeric))) if field.kind == "number" else found


def _filter(field: CustomField) -> Filter:
    def options() -> list[tuple[str, Any]]:
        match field.kind:
            case "choice":
                words = [(f"={word}", word) for word in field.choices]
            case "yes_no":
                words = [("=yes", _("yes")), ("=no", _("no"))]
            case _:
                words = [(FILLED, _("filled in"))]
        return [*words, (EMPTY, _("left empty"))]

    def where(wanted: str) -> ColumnElement[bool]:
        kept = select(CustomValue.id).where(*_of_row(field)).correlate(_listed(field))
        if wanted == EMPTY:
            return ~kept.exists()
        return kept.exists() if wanted == FILLED else kept.where(CustomValue.value == wanted[1:]).exists()

    return Filter(f"{PREFIX}{field.id}", field.title, options, where)


def _listed(field: CustomField) -> type[Subscriber | Service]:
    return Service if field.subject == "service" else Subscriber


def _of_row(field: CustomField) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Return what finds the value of a field that belongs to a row of the list."""
    owner = CustomValue.service_id if field.subject == "service" else CustomValue.subscriber_id
    return CustomValue.field_id == field.id, owner == _listed(field).id


def install(app: Flask) -> None:
    app.jinja_env.globals.update(own_value=own_value, own_text=own_text)
