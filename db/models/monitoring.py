"""What watching routers leaves behind: samples, alerts, incidents, who is told of them, and what somebody looks at.

Samples exist three times, each finer one for a shorter time: by minute for a day, by five minutes for a week, by hour
for two years (`db.partitions` drops what is older). A span without a row is one in which nothing was measured.
"""

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.dialects.postgresql import ARRAY, TEXT
from sqlalchemy.orm import Mapped, mapped_column

from db.types import Base, BigInt, Created, Id, Inet, Instant, Json, Mac, Tenanted


class _RouterMeasures:
    """Averages and maxima over the span that begins at `at`; None where nothing could be measured.

    Shares are in percent, rates in bit/s, `radius_*` are packets counted in the span.
    """

    nas_id: Mapped[BigInt] = mapped_column(primary_key=True)
    at: Mapped[Instant] = mapped_column(primary_key=True)
    polls: Mapped[int]
    answered: Mapped[int]
    cpu: Mapped[float | None]
    cpu_max: Mapped[float | None]
    memory: Mapped[float | None]
    memory_max: Mapped[float | None]
    temperature: Mapped[float | None]
    temperature_max: Mapped[float | None]
    wan_download: Mapped[float | None]
    wan_download_max: Mapped[float | None]
    wan_upload: Mapped[float | None]
    wan_upload_max: Mapped[float | None]
    authenticated: Mapped[float | None]
    authenticated_max: Mapped[float | None]
    waiting: Mapped[float | None]  # connected and not authenticated
    waiting_max: Mapped[float | None]
    radius_requests: Mapped[BigInt | None]
    radius_rejects: Mapped[BigInt | None]
    radius_timeouts: Mapped[BigInt | None]
    radius_bad_replies: Mapped[BigInt | None]


class _InterfaceMeasures:
    """Average and largest rate of one interface in the span that begins at `at`, in bit/s as the router counts."""

    nas_id: Mapped[BigInt] = mapped_column(primary_key=True)
    interface: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[Instant] = mapped_column(primary_key=True)
    received: Mapped[float | None]
    received_max: Mapped[float | None]
    sent: Mapped[float | None]
    sent_max: Mapped[float | None]


_BY_TIME = {"postgresql_partition_by": "RANGE (at)"}


class RouterSample(_RouterMeasures, Tenanted, Base):
    """A router in one minute. Partitioned by day."""

    __tablename__ = "router_sample"
    __table_args__ = _BY_TIME


class RouterSample5m(_RouterMeasures, Tenanted, Base):
    """A router in five minutes. Partitioned by day."""

    __tablename__ = "router_sample_5m"
    __table_args__ = _BY_TIME


class RouterSample1h(_RouterMeasures, Tenanted, Base):
    """A router in one hour. Partitioned by month."""

    __tablename__ = "router_sample_1h"
    __table_args__ = _BY_TIME


class InterfaceSample(_InterfaceMeasures, Tenanted, Base):
    """An interface in one minute. Partitioned by day."""

    __tablename__ = "interface_sample"
    __table_args__ = _BY_TIME


class InterfaceSample5m(_InterfaceMeasures, Tenanted, Base):
    """An interface in five minutes. Partitioned by day."""

    __tablename__ = "interface_sample_5m"
    __table_args__ = _BY_TIME


class InterfaceSample1h(_InterfaceMeasures, Tenanted, Base):
    """An interface in one hour. Partitioned by month."""

    __tablename__ = "interface_sample_1h"
    __table_args__ = _BY_TIME


class RollupPosition(Base):
    """Up to where the minutes have been rolled up; a row of the installation and not of an operator."""

    __tablename__ = "rollup_position"

    name: Mapped[str] = mapped_column(primary_key=True)
    until: Mapped[Instant]


class WaitingDevice(Tenanted, Base):
    """A device that is connected at a router and has not been let in: as of the router's last poll."""

    __tablename__ = "waiting_device"
    __table_args__ = (
        Index("ix_waiting_device_operator_id", "operator_id", "first_seen_at"),
        CheckConstraint("source IN ('hotspot', 'dhcp')", "source"),
    )

    nas_id: Mapped[BigInt] = mapped_column(ForeignKey("router.nas_id", ondelete="CASCADE"), primary_key=True)
    mac: Mapped[Mac] = mapped_column(primary_key=True)
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    address: Mapped[Inet | None]
    source: Mapped[str]
    server: Mapped[str] = mapped_column(server_default="")  # of the hotspot or DHCP
    host_name: Mapped[str] = mapped_column(server_default="")  # what the device calls itself
    first_seen_at: Mapped[Created]


class Alert(Tenanted, Base):
    """Something that is wrong with a router, from when it was noticed until it was well again.

    `told` says that people were told it was open; only then are they told that it is over.
    """

    __tablename__ = "alert"
    __table_args__ = (
        Index("uq_alert_open", "nas_id", "kind", unique=True, postgresql_where=text("closed_at IS NULL")),
        Index("ix_alert_operator_id", "operator_id", text("opened_at DESC"), "id"),
        CheckConstraint("kind IN ('router_down', 'wan_congested', 'radius_silent')", "kind"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    nas_id: Mapped[BigInt] = mapped_column(ForeignKey("nas.id", ondelete="CASCADE"))
    kind: Mapped[str]
    detail: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    incident_id: Mapped[int | None] = mapped_column(ForeignKey("incident.id"))  # part of it, and not told by itself
    told: Mapped[bool] = mapped_column(server_default=text("false"))
    opened_at: Mapped[Created]
    closed_at: Mapped[Instant | None]


class Incident(Tenanted, Base):
    """Many subscribers lost at once: those of a router, of a sector (a port of the router), or of several routers.

    One that a person opened (`by_hand`) has no members; with scope network it concerns everybody. It may begin later
    (`planned`), and a person closes it. `tell` says whether the subscribers are told; None leaves it to the settings.
    One that is `proposed` is a guess from what is missing at a sector or site, until a person says that it is one.
    """

    __tablename__ = "incident"
    __table_args__ = (
        Index("ix_incident_operator_id", "operator_id", text("opened_at DESC"), "id"),
        Index("ix_incident_open", "operator_id", postgresql_where=text("closed_at IS NULL")),
        CheckConstraint("scope IN ('network', 'router', 'site', 'sector')", "scope"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    scope: Mapped[str]
    nas_id: Mapped[int | None] = mapped_column(ForeignKey("nas.id", ondelete="CASCADE"))
    sector: Mapped[str] = mapped_column(server_default="")
    sector_id: Mapped[int | None] = mapped_column(ForeignKey("sector.id", ondelete="SET NULL"))
    site_id: Mapped[int | None] = mapped_column(ForeignKey("site.id", ondelete="SET NULL"))
    proposed: Mapped[bool] = mapped_column(server_default=text("false"))
    before: Mapped[int]  # sessions that were up, or with scope network, routers
    lost: Mapped[int]
    by_hand: Mapped[bool] = mapped_column(server_default=text("false"))
    planned: Mapped[bool] = mapped_column(server_default=text("false"))
    title: Mapped[str] = mapped_column(server_default="")  # what subscribers read of it
    cause: Mapped[str] = mapped_column(server_default="")  # what it was; subscribers read it when it is over
    notes: Mapped[str] = mapped_column(server_default="")  # for staff
    expected_until: Mapped[Instant | None]
    tell: Mapped[bool | None]
    told_at: Mapped[Instant | None]  # when subscribers were told that it is open
    told_over_at: Mapped[Instant | None]
    opened_by: Mapped[BigInt | None]
    closed_by: Mapped[BigInt | None]
    opened_at: Mapped[Created]
    closed_at: Mapped[Instant | None]


class IncidentMember(Tenanted, Base):
    """A session that an incident ended, and when its subscriber was back."""

    __tablename__ = "incident_member"
    __table_args__ = (Index("ix_incident_member_incident_id", "incident_id", "ended_at"),)

    incident_id: Mapped[int] = mapped_column(ForeignKey("incident.id", ondelete="CASCADE"), primary_key=True)
    session_id: Mapped[BigInt] = mapped_column(primary_key=True)
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    nas_id: Mapped[BigInt]
    service_id: Mapped[BigInt | None]
    user_name: Mapped[str]
    ended_at: Mapped[Instant]
    cause: Mapped[str] = mapped_column(server_default="")
    back_at: Mapped[Instant | None]


class AlertRecipient(Tenanted, Base):
    """Who is told of alerts and incidents, and how."""

    __tablename__ = "alert_recipient"
    __table_args__ = (
        Index("ix_alert_recipient_operator_id", "operator_id"),
        CheckConstraint("channel IN ('email', 'apprise')", "channel"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    name: Mapped[str]
    channel: Mapped[str]
    address: Mapped[bytes]  # sealed, purpose "alert_recipient.address": an apprise URL holds a password
    language: Mapped[str] = mapped_column(server_default="en")
    kinds: Mapped[list[str]] = mapped_column(ARRAY(TEXT))
    active: Mapped[bool] = mapped_column(server_default=text("true"))
    created_at: Mapped[Created]


class Notification(Tenanted, Base):
    """A message to one address, from when it was due until it was taken or given up.

    `by_hand` waits for a person who sends it from their own WhatsApp; `dropped` was taken back before it went.
    """

    __tablename__ = "notification"
    __table_args__ = (
        Index("ix_notification_operator_id", "operator_id", text("created_at DESC"), "id"),
        Index(
            "ix_notification_turn",
            "operator_id",
            text("urgent DESC"),
            "next_attempt_at",
            "id",
            postgresql_where=text("state = 'waiting'"),
        ),
        Index("ix_notification_due", "next_attempt_at", postgresql_where=text("state = 'waiting'")),
        Index("ix_notification_subscriber_id", "subscriber_id", text("created_at DESC")),
        Index("ix_notification_by_hand", "operator_id", "created_at", postgresql_where=text("state = 'by_hand'")),
        Index(
            "uq_notification_broadcast",
            "broadcast_id",
            "subscriber_id",
            "channel",
            unique=True,
            postgresql_where=text("broadcast_id IS NOT NULL"),
        ),
        Index("ix_notification_file_id", "file_id", postgresql_where=text("file_id IS NOT NULL")),
        Index("ix_notification_incident_id", "incident_id", postgresql_where=text("incident_id IS NOT NULL")),
        CheckConstraint("channel IN ('email', 'apprise', 'sms', 'whatsapp', 'telegram', 'push')", "channel"),
        CheckConstraint("state IN ('waiting', 'sent', 'failed', 'by_hand', 'dropped')", "state"),
    )

    id: Mapped[Id]
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    kind: Mapped[str]  # what it is about: alert, incident, invoice …
    channel: Mapped[str]
    shown_address: Mapped[str]  # as people may read it; without the password of an apprise URL
    address: Mapped[bytes]  # sealed, purpose "notification.address"
    language: Mapped[str]
    subject: Mapped[str]
    body: Mapped[str]
    headers: Mapped[Json] = mapped_column(server_default=text("'{}'"))  # of a mail, beside what each has
    state: Mapped[str] = mapped_column(server_default="waiting")
    attempts: Mapped[int] = mapped_column(server_default="0")
    next_attempt_at: Mapped[Created]
    error: Mapped[str] = mapped_column(server_default="")
    subscriber_id: Mapped[BigInt | None] = mapped_column(ForeignKey("subscriber.id", ondelete="SET NULL"))
    broadcast_id: Mapped[BigInt | None] = mapped_column(ForeignKey("broadcast.id"))
    incident_id: Mapped[BigInt | None] = mapped_column(ForeignKey("incident.id", ondelete="SET NULL"))
    file_id: Mapped[BigInt | None] = mapped_column(
        ForeignKey("stored_file.id", ondelete="SET NULL")
    )  # goes with a mail
    urgent: Mapped[bool] = mapped_column(server_default=text("true"))  # goes in quiet hours too
    unsubscribe: Mapped[str] = mapped_column(server_default="")  # the text of the link that ends such messages
    staff_id: Mapped[BigInt | None]  # who sent it by hand, or again
    created_at: Mapped[Created]
    finished_at: Mapped[Instant | None]


class LiveWatch(Tenanted, Base):
    """A service whose rate somebody looks at now, and what was measured last. Rates are in bit/s."""

    __tablename__ = "live_watch"
    __table_args__ = (Index("ix_live_watch_operator_id", "operator_id"),)

    service_id: Mapped[BigInt] = mapped_column(ForeignKey("service.id", ondelete="CASCADE"), primary_key=True)
    operator_id: Mapped[int] = mapped_column(ForeignKey("operator.id"))
    wanted_until: Mapped[Instant]
    measured_at: Mapped[Instant | None]
    download: Mapped[float | None]
    upload: Mapped[float | None]
    problem: Mapped[str] = mapped_column(server_default="")  # why there is no rate
