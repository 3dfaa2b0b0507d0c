"""The change log that publishers and the worker follow, and how far each has come. Not visible to the portal."""

from sqlalchemy import BigInteger, Index, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import UserDefinedType

from db.types import Base, BigInt, Created, Id, Json


class Xid8(UserDefinedType[int]):
    """A full transaction id."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        return "xid8"


class ChangeLog(Base):
    """What changed, in sets of ids. Written by statement triggers in the changing transaction.

    Transactions commit in another order than they took their numbers, so a follower remembers the snapshot it last
    read (`pg_current_snapshot()`) and asks for what that snapshot could not see: nothing is missed or waited for.
    """

    __tablename__ = "change_log"
    __table_args__ = (Index("ix_change_log_xid", "xid"),)

    seq: Mapped[Id]
    xid: Mapped[int] = mapped_column(Xid8, server_default=text("pg_current_xact_id()"))
    at: Mapped[Created]
    kind: Mapped[str]  # service, plan, nas, operator, sessions
    ids: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))


class Follower(Base):
    """How far a follower of the change log has come: the text of a pg_snapshot."""

    __tablename__ = "follower"

    name: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[str]
    updated_at: Mapped[Created]


class JournalPosition(Base):
    """How far a node's journal segment is loaded, in octets; moved in the transaction that adds the rows."""

    __tablename__ = "journal_position"

    node: Mapped[str] = mapped_column(primary_key=True)
    segment: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[BigInt]


class Node(Base):
    """A machine that runs radiusd, with what its pieces last reported."""

    __tablename__ = "node"

    name: Mapped[str] = mapped_column(primary_key=True)
    image_position: Mapped[str | None]  # pg_snapshot its image has applied
    image_updated_at: Mapped[Created]
    journal_backlog: Mapped[BigInt] = mapped_column(server_default="0")  # octets not yet loaded
    loaded_at: Mapped[Created]
    report: Mapped[Json] = mapped_column(server_default=text("'{}'"))


class TenancyKey(Base):
    """The key that signs which operator a portal connection acts for. The portal's role cannot read it."""

    __tablename__ = "tenancy_key"

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[bytes]
