"""Imports: what was found at a router or in a file, what was decided about each row, and what came of it.

The rows stay after the writing: they are the record of what the import made, and what undoing it needs.
"""

from datetime import date
from decimal import Decimal

from sqlalchemy import CheckConstraint, ForeignKey, Index, Numeric, text
from sqlalchemy.orm import Mapped, mapped_column

from db.types import Base, BigInt, Created, Id, Inet, Instant, Json, Mac, Tenanted


class ImportBatch(Tenanted, Base):
    """One import. `problem` is a code of network.importing.problems, `detail` the router's or the system's words."""

    __tablename__ = "import_batch"
    __table_args__ = (
        CheckConstraint(
            "source IN ('queues', 'secrets', 'leases', 'hotspot', 'csv', 'user_manager', 'rlm_sql')", "source"
        ),
        CheckConstraint("state IN ('columns', 'reading', 'found', 'writing', 'written', 'undone', 'failed')", "state"),
        Index("ix_import_batch_operator_id", "operator_id", "id"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    staff_id: Mapped[int | None] = mapped_column(ForeignKey("staff.id"))
    nas_id: Mapped[int | None] = mapped_column(ForeignKey("nas.id", ondelete="SET NULL"))  # whose subscribers they are
    source: Mapped[str]
    title: Mapped[str]  # the router's name, or the file's
    state: Mapped[str]
    problem: Mapped[str] = mapped_column(server_default="")
    detail: Mapped[str] = mapped_column(server_default="")
    content: Mapped[bytes | None]  # sealed, purpose "import.file": a CSV file until its columns are named
    options: Mapped[Json] = mapped_column(server_default=text("'{}'"))  # how a CSV file is to be read
    tie: Mapped[bool] = mapped_column(server_default=text("false"))  # services may connect at `nas_id` only
    paid_until: Mapped[date | None]  # what new services get, unless their row says otherwise
    counts: Mapped[Json] = mapped_column(server_default=text("'{}'"))  # what the writing came to
    job_id: Mapped[int | None] = mapped_column(ForeignKey("job.id", ondelete="SET NULL"))
    created_at: Mapped[Created]
    written_at: Mapped[Instant | None]
    undone_at: Mapped[Instant | None]


class ImportRow(Tenanted, Base):
    """One client as found, and the decision about it.

    `findings`, `problems` and `duplicates` are lists of documents (network.importing.candidate and .matching).
    `before` holds what an update replaced. `service_id` and `subscriber_id` are what the row made or changed; they are
    not foreign keys, since a row outlives what it made.
    """

    __tablename__ = "import_row"
    __table_args__ = (
        CheckConstraint("action IN ('new', 'update', 'ignore', 'add')", "action"),
        CheckConstraint("state IN ('found', 'created', 'updated', 'ignored', 'bad', 'undone')", "state"),
        CheckConstraint("(download IS NULL) = (upload IS NULL)", "rate_whole"),
        Index("uq_import_row_line", "batch_id", "line", unique=True),
        Index("ix_import_row_operator_id", "operator_id"),
        Index("ix_import_row_service_id", "service_id"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    batch_id: Mapped[BigInt] = mapped_column(ForeignKey("import_batch.id", ondelete="CASCADE"))
    line: Mapped[int]  # of the file, or the place in the router's list
    key: Mapped[str] = mapped_column(server_default="")  # what the source calls it
    access_method: Mapped[str]
    name: Mapped[str]
    password: Mapped[bytes | None]  # sealed, purpose "service.password"; gone once it is written
    framed_ip: Mapped[Inet | None]
    mac: Mapped[Mac | None]
    download: Mapped[BigInt | None]
    upload: Mapped[BigInt | None]
    profile: Mapped[str] = mapped_column(server_default="")
    comment: Mapped[str] = mapped_column(server_default="")
    disabled: Mapped[bool] = mapped_column(server_default=text("false"))
    subscriber_name: Mapped[str] = mapped_column(server_default="")
    phone: Mapped[str | None]
    email: Mapped[str | None]
    tax_id: Mapped[str | None]
    address: Mapped[str | None]
    latitude: Mapped[Decimal | None] = mapped_column(Numeric(9, 6))
    longitude: Mapped[Decimal | None] = mapped_column(Numeric(9, 6))
    paid_until: Mapped[date | None]
    custom: Mapped[Json] = mapped_column(server_default=text("'{}'"))  # id of a field of the operator's own: its value
    findings: Mapped[Json] = mapped_column(server_default=text("'[]'"))
    duplicates: Mapped[Json] = mapped_column(server_default=text("'[]'"))
    problems: Mapped[Json] = mapped_column(server_default=text("'[]'"))
    plan_id: Mapped[int | None] = mapped_column(ForeignKey("rate_plan.id", ondelete="SET NULL"))
    action: Mapped[str] = mapped_column(server_default="new")
    decided: Mapped[bool] = mapped_column(server_default=text("false"))  # by a person, so no guess replaces it
    target_id: Mapped[BigInt | None]  # the service that an update would change
    state: Mapped[str] = mapped_column(server_default="found")
    service_id: Mapped[BigInt | None]
    subscriber_id: Mapped[BigInt | None]
    before: Mapped[Json | None]
    previous_password: Mapped[bytes | None]  # sealed, purpose "service.password"
    service_version: Mapped[int | None]  # as the writing left it: another one means that somebody changed it since
    subscriber_version: Mapped[int | None]


class ShadowSecret(Tenanted, Base):
    """An imported PPPoE secret that is on its router too, where it decides before RADIUS is asked.

    `state` says who decides: `local` the router's own secret, `portico` once that is disabled. `seen` is what
    /ppp/active last showed of it: `{address, caller_id, radius}`. `compared` is what router and Portico said when they
    were compared last, `differs` what came of it, `login` the login that was logged last: see ShadowEvent.
    """

    __tablename__ = "shadow_secret"
    __table_args__ = (
        CheckConstraint("state IN ('local', 'portico')", "state"),
        CheckConstraint("differs IN ('', 'outcome', 'rate')", "differs"),
        Index("ix_shadow_secret_operator_id", "operator_id", "nas_id"),
    )

    service_id: Mapped[BigInt] = mapped_column(ForeignKey("service.id", ondelete="CASCADE"), primary_key=True)
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    nas_id: Mapped[BigInt] = mapped_column(ForeignKey("nas.id", ondelete="CASCADE"))
    secret: Mapped[str]  # its name on the router
    state: Mapped[str] = mapped_column(server_default="local")
    problem: Mapped[str] = mapped_column(server_default="")  # why the last try failed
    detail: Mapped[str] = mapped_column(server_default="")
    changed_at: Mapped[Instant | None]
    seen: Mapped[Json | None]
    seen_at: Mapped[Instant | None]
    compared: Mapped[Json | None]
    compared_at: Mapped[Instant | None]
    differs: Mapped[str] = mapped_column(server_default="")
    login: Mapped[Json | None]  # session, since
