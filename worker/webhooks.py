"""The part of a worker that sends webhooks: a thread that listens for new ones, and many that post them.

An endpoint that is slow or dead costs the others nothing: each is served by threads of its own, one while it fails and
a few while it is well, no operator has more than a share of all, and who failed is left alone for a while, longer each
time. Of an endpoint the oldest is sent first; in which order they arrive is not promised.

A delivery is claimed (`next_attempt_at` a minute ahead, SKIP LOCKED) before it is posted and written down after, so two
workers do not send it twice, and one that was killed in between is followed by another that sends it again, under the
same webhook-id: at least once.

2xx is delivered. 410 switches the endpoint off, and everything else, redirections among it, is tried again over a day
(`PAUSES`). An endpoint that took nothing for three days is switched off, and the operator's managers are told.
"""

import random
import ssl
import threading
import time
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta

import prometheus_client
import structlog
from celery import shared_task
from sqlalchemy import Engine, select, text, update
from sqlalchemy.orm import Session, sessionmaker

from core.clock import utc_now
from core.crypto import SecretUnreadable
from core.settings import Settings
from crm.messages import tell_staff
from crm.outbound import NoAnswer, NotAllowed, post
from crm.webhooks import SECRET_PURPOSE, body_of, forget_old, host_of, may_be_local, signed_headers, switch_off
from db.models import WebhookDelivery, WebhookEndpoint, WebhookEvent
from db.session import make_sessions, system_sessions
from worker.listener import Listener

NEW = "portico_webhook"
LOOK = 1.0
"""Seconds between looks for deliveries whose time to be tried again has come."""
AT_ONCE = 32
OF_OPERATOR = 8
OF_ENDPOINT = 4
TURN = 30.0
"""Seconds after which a thread looks who else waits, although its endpoint has more."""
TIMEOUT = 10.0
"""Seconds that a receiver has for all of its answer."""
CLAIM = timedelta(seconds=60)
"""After this a claimed delivery counts as not made: whoever claimed it is gone."""
PAUSES = tuple(timedelta(seconds=each) for each in (10, 60, 300, 1800, 7200, 18000, 25200, 32400))
"""Before the second to the ninth attempt, together a day; each varies by a fifth, so that a crowd spreads out."""
LONGEST_PAUSE = 300.0
"""Seconds for which an endpoint that fails is left alone at most."""
GIVEN_UP = timedelta(days=3)
LEAST_FAILURES = 10
ANSWER = 2048
TRIES = 20

ATTEMPTS = prometheus_client.Counter("portico_webhook_attempts", "Posts to webhooks by what came of them", ["outcome"])

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Claimed:
    """One attempt that is to be made."""

    delivery_id: int
    endpoint_id: int
    operator_id: int
    url: str
    key: str
    body: bytes
    secrets: tuple[str, ...]
    attempts: int


@dataclass(frozen=True, slots=True)
class Came:
    """What came of an attempt. `status` is None where nothing was answered."""

    status: int | None
    error: str
    answer: str
    milliseconds: int

    @property
    def taken(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class WebhookSender(Listener):
    """Sends webhooks between `start()` and `stop()`. `trusted` is for tests, whose certificates nobody signed."""

    def __init__(self, settings: Settings, trusted: ssl.SSLContext | None = None) -> None:
        # Connections are held for moments, before and after a post, so a few serve many threads.
        super().__init__(
            settings, "webhooks", NEW, look=LOOK, at_once=AT_ONCE, pool_size=4, max_overflow=4, pool_timeout=60
        )  # fmt: skip
        self._trusted = trusted
        self._busy: Counter[tuple[str, int]] = Counter()
        self._guard = threading.Lock()

    def take_up(self, engine: Engine) -> None:
        sessions = make_sessions(engine)
        with sessions() as session:
            due = due_endpoints(session, utc_now())
        for endpoint_id, operator_id, well in due:
            endpoint, operator = ("endpoint", endpoint_id), ("operator", operator_id)
            with self._guard:
                if (
                    self._busy[endpoint] >= (OF_ENDPOINT if well else 1)
                    or self._busy[operator] >= OF_OPERATOR
                    or self._busy[("all", 0)] >= AT_ONCE
                ):
                    continue
                self._busy.update((endpoint, operator, ("all", 0)))
            self.threads.submit(self._serve, sessions, endpoint_id, operator_id)

    def _serve(self, sessions: sessionmaker[Session], endpoint_id: int, operator_id: int) -> None:
        ends = time.monotonic() + TURN
        try:
            while not self.stopping.is_set() and time.monotonic() < ends:
                if not deliver_next(sessions, self.settings, endpoint_id, self._trusted):
                    break
        except Exception:  # on a thread whose result nobody asks for; what was not told stays due
            log.exception("webhook_lost", endpoint_id=endpoint_id)
        finally:
            with self._guard:
                self._busy.subtract((("endpoint", endpoint_id), ("operator", operator_id), ("all", 0)))
                self._busy += Counter()  # forget who is at zero


def due_endpoints(session: Session, now: datetime, most: int = 1000) -> list[tuple[int, int, bool]]:
    """Return endpoints for which something is due: id, operator, and whether they are well; who waits longest first."""
    rows = session.execute(
        text(
            "SELECT e.id, e.operator_id, e.failures = 0 FROM webhook_endpoint e CROSS JOIN LATERAL ("
            " SELECT next_attempt_at FROM webhook_delivery WHERE endpoint_id = e.id AND state = 'waiting'"
            " AND next_attempt_at <= :now ORDER BY next_attempt_at, id LIMIT 1) AS first"
            " WHERE coalesce(e.paused_until, '-infinity') <= :now ORDER BY first.next_attempt_at, e.id LIMIT :most"
        ),
        {"now": now, "most": most},
    )
    return [(row[0], row[1], row[2]) for row in rows]


def deliver_next(
    sessions: sessionmaker[Session], settings: Settings, endpoint_id: int, trusted: ssl.SSLContext | None = None
) -> bool:
    """Send what is due the longest at one endpoint. False where nothing is, or the endpoint shall be left alone."""
    claimed = claim(sessions, settings, endpoint_id, utc_now())
    if claimed is None:
        return False
    came = send(settings, claimed, utc_now(), trusted)
    return settle(sessions, settings, claimed, came, utc_now())


def claim(sessions: sessionmaker[Session], settings: Settings, endpoint_id: int, now: datetime) -> Claimed | None:
    """Take a delivery so that no other worker does, and return what is to be posted."""
    with sessions() as session:
        found = session.scalar(
            select(WebhookDelivery)
            .where(
                WebhookDelivery.endpoint_id == endpoint_id,
                WebhookDelivery.state == "waiting",
                WebhookDelivery.next_attempt_at <= now,
            )
            .order_by(WebhookDelivery.next_attempt_at, WebhookDelivery.id)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        if found is None:
            return None
        endpoint = session.get_one(WebhookEndpoint, endpoint_id)
        if endpoint.paused_until is not None and endpoint.paused_until > now:
            return None  # another thread has just found that it fails
        event = session.get_one(WebhookEvent, found.event_id)
        sealed = [endpoint.secret]
        if endpoint.previous_secret is not None and endpoint.previous_until and endpoint.previous_until > now:
            sealed.append(endpoint.previous_secret)
        try:
            valid = tuple(settings.keyring.open(SECRET_PURPOSE, each) for each in sealed)
        except SecretUnreadable:
            valid = ()
        found.attempts += 1
        found.next_attempt_at = now + CLAIM
        claimed = Claimed(
            found.id, endpoint.id, endpoint.operator_id, endpoint.url, event.key, body_of(event), valid, found.attempts
        )
        session.commit()
        return claimed


def send(settings: Settings, claimed: Claimed, now: datetime, trusted: ssl.SSLContext | None = None) -> Came:
    """Post once and say what came of it."""
    begun = time.monotonic()
    status, error, answer = None, "", ""
    local = may_be_local(settings, claimed.url)
    try:
        if not claimed.secrets:
            raise NotAllowed("the secret cannot be read: its key is unknown")
        got = post(
            claimed.url,
            claimed.body,
            signed_headers(claimed.key, claimed.body, now, claimed.secrets),
            local=local,
            networks=settings.private_networks,
            timeout=TIMEOUT,
            secure=not local,
            longest=ANSWER,
            trusted=trusted,
        )
        status, answer = got.status, got.text.replace("\0", "")
        if 300 <= status < 400:
            error = "redirections are not followed"
    except (NotAllowed, NoAnswer) as problem:
        error = str(problem)
    return Came(status, error[:300], answer, round((time.monotonic() - begun) * 1000))


def settle(
    sessions: sessionmaker[Session], settings: Settings, claimed: Claimed, came: Came, now: datetime
) -> bool:  # fmt: skip
    """Write down what came of an attempt, and what follows for the endpoint. False: it shall be left alone now."""
    gone = came.status == 410
    over = came.taken or gone or claimed.attempts > len(PAUSES)
    ATTEMPTS.labels("delivered" if came.taken else "failed").inc()
    tried = {"at": now.isoformat(timespec="seconds"), "status": came.status, "error": came.error,
             "ms": came.milliseconds}  # fmt: skip
    with sessions() as session:
        delivery = session.scalar(
            select(WebhookDelivery)
            .where(WebhookDelivery.id == claimed.delivery_id, WebhookDelivery.state == "waiting")
            .with_for_update()
        )
        if delivery is not None:
            delivery.state = "delivered" if came.taken else "failed" if over else "waiting"
            delivery.status, delivery.error, delivery.answer = came.status, came.error, came.answer
            delivery.tries = [*delivery.tries, tried][-TRIES:]
            delivery.finished_at = now if over else None
            if not over:
                delivery.next_attempt_at = now + _varied(PAUSES[claimed.attempts - 1])
            session.flush()
        if came.taken:
            session.execute(
                update(WebhookEndpoint)
                .where(WebhookEndpoint.id == claimed.endpoint_id, WebhookEndpoint.failures > 0)
                .values(failures=0, failing_since=None, paused_until=None)
            )
        else:
            _count_failure(session, settings, claimed, now, gone=gone)
        session.commit()
    if not came.taken:
        log.info(
            "webhook_not_taken", endpoint_id=claimed.endpoint_id, operator_id=claimed.operator_id,
            delivery_id=claimed.delivery_id, status=came.status, attempt=claimed.attempts,
        )  # fmt: skip
    return came.taken


def _count_failure(session: Session, settings: Settings, claimed: Claimed, now: datetime, *, gone: bool) -> None:
    endpoint = session.get(WebhookEndpoint, claimed.endpoint_id, with_for_update=True)
    if endpoint is None:
        return
    endpoint.failures += 1
    endpoint.failing_since = endpoint.failing_since or now
    endpoint.paused_until = now + _varied(timedelta(seconds=min(2.0 ** min(endpoint.failures, 20), LONGEST_PAUSE)))
    hopeless = endpoint.failures >= LEAST_FAILURES and now - endpoint.failing_since >= GIVEN_UP
    if endpoint.active and (gone or hopeless):
        switch_off(session, endpoint, "gone" if gone else "failing", now)
        tell_staff(session, settings.keyring, endpoint.operator_id, "manager", "webhook_off",
                   {"address": host_of(endpoint), "since": endpoint.failing_since})  # fmt: skip
        log.warning("webhook_switched_off", endpoint_id=endpoint.id, operator_id=endpoint.operator_id)


def _varied(pause: timedelta) -> timedelta:
    return pause * random.uniform(0.8, 1.2)  # noqa: S311 - nothing is kept secret by it


@shared_task
def forget_old_webhooks() -> None:
    """Delete events that were told long ago, or never could be."""
    with system_sessions()() as session:
        count = forget_old(session, utc_now())
        session.commit()
    if count:
        log.info("webhooks_forgotten", count=count)
