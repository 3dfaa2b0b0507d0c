"""Engines and sessions, and how a connection is bound to one operator.

Row-level security compares `operator_id` with `portico_operator()`, which reads the setting `portico.operator`. Any
SQL may change a setting, so its value is signed: `id:signature`, with a key (db.models.TenancyKey) that the portal's
database role cannot read. A statement smuggled into the portal therefore cannot act for another operator.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.orm import Session, SessionTransaction, sessionmaker

from core.crypto import Keyring
from core.settings import read_settings

_OPERATOR = "portico.operator"


def make_engine(url: str, *, connect_args: Mapping[str, Any] | None = None, **options: Any) -> Engine:
    """Return an engine for a libpq URL (`postgresql://…`); psycopg 3 speaks to the server.

    libpq itself reads the URL, since it may name several hosts (PostgreSQL manual, "Specifying Multiple Hosts"), which
    SQLAlchemy's own URLs write otherwise.
    """
    parameters = {**conninfo_to_dict(url), **(connect_args or {})}
    return create_engine(
        "postgresql+psycopg://", connect_args=parameters, pool_pre_ping=True, pool_recycle=1800, **options
    )


def make_sessions(engine: Engine) -> sessionmaker[Session]:
    return sessionmaker(engine, expire_on_commit=False)


@cache
def system_sessions() -> sessionmaker[Session]:
    """Return what opens sessions of the system's own role, which sees the rows of every operator.

    One pool for the whole process, made at first use: a worker's children each have their own, after the fork.
    """
    settings = read_settings()
    assert settings.database_url is not None, "the settings are complete"
    return make_sessions(make_engine(settings.database_url.get_secret_value()))


def tenancy_key(keyring: Keyring) -> bytes:
    """Return the key that signs operators; `db.migrate` puts it where PostgreSQL can check signatures."""
    return keyring.derive("tenancy")


def signed_operator(key: bytes, operator_id: int) -> str:
    """Return the value of the setting that opens the rows of one operator."""
    digits = str(operator_id).encode()
    return f"{operator_id}:{hashlib.sha256(key + digits + key).hexdigest()}"


class Tenancy:
    """Opens sessions that see the rows of one operator and no others."""

    def __init__(self, engine: Engine, key: bytes) -> None:
        self._sessions = make_sessions(engine)
        self._key = key

    @contextmanager
    def session(self, operator_id: int | None) -> Iterator[Session]:
        """Yield a session of an operator; with None, one that sees no operator's rows at all.

        The setting is local to each transaction, so a connection returned to the pool carries nothing over.
        """
        with self._sessions() as session:
            if operator_id is not None:
                bind_operator(session, signed_operator(self._key, operator_id))
            yield session

    def open(self, operator_id: int | None) -> Session:
        """Like `session()`, for callers that close it themselves at the end of a request."""
        session = self._sessions()
        if operator_id is not None:
            bind_operator(session, signed_operator(self._key, operator_id))
        return session

    @contextmanager
    def acting_for(self, session: Session, operator_id: int) -> Iterator[None]:
        """Make a session that is bound to an operator act for another one while the block runs, then as before.

        What was added before is flushed first, and what the block adds at its end. When it fails, the transaction is
        undone.
        """
        session.flush()
        before = session.info[_OPERATOR]
        session.info[_OPERATOR] = signed_operator(self._key, operator_id)
        try:
            _claim(session.connection(), session.info[_OPERATOR])
            yield
            session.flush()
        except BaseException:
            session.info[_OPERATOR] = before
            session.rollback()
            raise
        session.info[_OPERATOR] = before
        _claim(session.connection(), before)


def bind_operator(session: Session, signed: str) -> None:
    """Make every transaction that `session` begins act for the operator of the signed value."""

    session.info[_OPERATOR] = signed

    def after_begin(session: Session, _transaction: SessionTransaction, connection: Connection) -> None:
        _claim(connection, session.info[_OPERATOR])

    event.listen(session, "after_begin", after_begin)


def _claim(connection: Connection, signed: str) -> None:
    connection.execute(text("SELECT set_config(:name, :value, true)"), {"name": _OPERATOR, "value": signed})
