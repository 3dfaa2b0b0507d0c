"""Writing many rows with one statement, as any role: COPY is refused under row-level security."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Table, text
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
    if rows:
        table, names = model.__table__, list(rows[0])
        assert isinstance(table, Table)
        columns = ", ".join(f'"{name}"' for name in names)
        statement = (
            f"INSERT INTO {table.name} ({columns}) OVERRIDING SYSTEM VALUE"  # noqa: S608 - names of ours
            f" SELECT {columns} FROM {rowset(model, names)}"
        )
        session.execute(text(statement), {"rows": as_json(rows)})


def rowset(model: type[Base], names: Sequence[str], alias: str = "r") -> str:
    """Return a FROM item with the rows of the parameter `rows`, typed as the columns of the model are."""
    table = model.__table__
    types = ", ".join(f'"{name}" {table.c[name].type.compile(_DIALECT)}' for name in names)
    return f"json_to_recordset(CAST(:rows AS json)) AS {alias} ({types})"


def as_json(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as JSON; decimals and dates as the texts that PostgreSQL reads."""
    return json.dumps(rows, default=str)
