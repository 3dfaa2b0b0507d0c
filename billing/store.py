"""Writing many rows with one statement, as any role: COPY is refused under row-level security."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import text
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from db.types import Base

_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]


def draw_ids(session: Session, table: type[Base], count: int) -> list[int]:
    """Return ids for rows to come, in ascending order."""
    query = text("SELECT nextval(CAST(:sequence AS regclass)) FROM generate_series(1, :count)")
    return sorted(session.execute(query, {"sequence": f"{table.__tablename__}_id_seq", "count": count}).scalars())


def insert_rows(session: Session, model: type[Base], rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that all have the same columns, among them the id where it was drawn."""
    insert_together(session, (model, rows))


def insert_together(session: Session, *parts: tuple[type[Base], Sequence[Mapping[str, Any]]]) -> None:
    """Insert rows of several tables with one statement, after which PostgreSQL checks all of them."""
    filled = [(model, rows) for model, rows in parts if rows]
    if filled:
        inserts = [_insert(model, list(rows[0]), f"rows{number}") for number, (model, rows) in enumerate(filled)]
        before = [f"part{number} AS ({insert})" for number, insert in enumerate(inserts[:-1])]
        statement = (f"WITH {', '.join(before)} " if before else "") + inserts[-1]
        session.execute(text(statement), {f"rows{number}": as_json(rows) for number, (_, rows) in enumerate(filled)})


def _insert(model: type[Base], names: Sequence[str], parameter: str) -> str:
    columns = ", ".join(f'"{name}"' for name in names)
    source = rowset(model, names, parameter=parameter)
    return (
        f"INSERT INTO {model.__tablename__} ({columns}) OVERRIDING SYSTEM VALUE"  # noqa: S608 - names of ours
        f" SELECT {columns} FROM {source}"
    )


def rowset(model: type[Base], names: Sequence[str], alias: str = "r", parameter: str = "rows") -> str:
    """Return a FROM item with the rows of a parameter, typed as the columns of the model are."""
    table = model.__table__
    types = ", ".join(f'"{name}" {table.c[name].type.compile(_DIALECT)}' for name in names)
    return f"json_to_recordset(CAST(:{parameter} AS json)) AS {alias} ({types})"


def as_json(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as JSON; decimals, dates and octets as the texts that PostgreSQL reads."""
    return json.dumps(rows, default=_as_text)


def _as_text(value: object) -> str:
    return f"\\x{value.hex()}" if isinstance(value, bytes) else str(value)
