"""The Celery application: work on a timer, and threads beside it that enforce and do jobs.

Redis is the broker and may be lost at any moment, so nothing here is the only trace of what must be done: tasks look
for rows whose time has come. They find the same thing to do however often they are called, so several beats, one in
each worker, do no harm.
"""

from typing import Any

import celery
from celery import bootsteps, signals
from celery.beat import EmbeddedService, Scheduler

from core.log import configure_logging
from core.settings import Settings, read_settings
from core.status import beat
from worker.schedule import SCHEDULE

settings = read_settings()

app = celery.Celery(
    "portico",
    include=[
        "billing.account_tasks",
        "billing.tasks",
        "billing.einvoice.tasks",
        "billing.gateways.tasks",
        "crm.api_tasks",
        "crm.login_tasks",
        "crm.ticket_tasks",
        "network.tasks",
        "radius.tasks",
        "worker.reports.sending",
        "worker.retention",
        "worker.shadowing",
        "worker.webhooks",
    ],
    set_as_current=True,
)
app.conf.update(
    broker_url=settings.redis_url.get_secret_value() if settings.redis_url else None,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_transport_options={"socket_timeout": 5, "socket_connect_timeout": 5, "visibility_timeout": 600},
    task_default_queue="portico",
    task_ignore_result=True,
    task_serializer="json",
    accept_content=["json"],
    timezone="UTC",
    enable_utc=True,
    beat_schedule=SCHEDULE,
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    worker_send_task_events=False,
)


@signals.worker_init.connect
def _log(**_: Any) -> None:
    configure_logging("worker", settings.log_level)


@signals.task_postrun.connect
def _ran(**_: Any) -> None:
    beat("schedule", 300)


class Enforcing(bootsteps.StartStopStep):
    """Runs the enforcer on a thread while the worker runs, whether its broker answers or not."""

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._enforcer: Any = None

    def start(self, parent: Any) -> None:
        from worker.enforcer import Enforcer

        self._enforcer = Enforcer(settings)
        self._enforcer.start()

    def stop(self, parent: Any) -> None:
        if self._enforcer is not None:
            self._enforcer.stop()

    def terminate(self, parent: Any) -> None:
        self.stop(parent)


class Doing(bootsteps.StartStopStep):
    """Does the jobs that people start, on threads, while the worker runs."""

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._runner: Any = None

    def start(self, parent: Any) -> None:
        from worker.jobs import JobRunner

        self._runner = JobRunner(settings)
        self._runner.start()

    def stop(self, parent: Any) -> None:
        if self._runner is not None:
            self._runner.stop()

    def terminate(self, parent: Any) -> None:
        self.stop(parent)


class Provisioning(bootsteps.StartStopStep):
    """Keeps routers as they should be, on a thread, while the worker runs."""

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._provisioner: Any = None

    def start(self, parent: Any) -> None:
        from worker.provisioner import Provisioner

        self._provisioner = Provisioner(settings)
        self._provisioner.start()

    def stop(self, parent: Any) -> None:
        if self._provisioner is not None:
            self._provisioner.stop()

    def terminate(self, parent: Any) -> None:
        self.stop(parent)


class Answering(bootsteps.StartStopStep):
    """Says at a socket whether this worker is alive, whether it can work, and what it counted."""

    def start(self, parent: Any) -> None:
        from worker.measures import answer

        answer(settings)


class Telling(bootsteps.StartStopStep):
    """Sends webhooks, on threads, while the worker runs."""

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._sender: Any = None

    def start(self, parent: Any) -> None:
        from worker.webhooks import WebhookSender

        self._sender = WebhookSender(settings)
        self._sender.start()

    def stop(self, parent: Any) -> None:
        if self._sender is not None:
            self._sender.stop()

    def terminate(self, parent: Any) -> None:
        self.stop(parent)


class Beating(bootsteps.StartStopStep):
    """Runs the beat on a thread; Celery's own `--beat` forks a second process, which outlives a killed worker.

    Its schedule is kept in memory: what a restart calls too early finds nothing to do.
    """

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._beat: Any = None

    def start(self, parent: Any) -> None:
        self._beat = EmbeddedService(parent.app, thread=True, scheduler_cls=Scheduler)
        self._beat.start()

    def stop(self, parent: Any) -> None:
        if self._beat is not None:
            self._beat.stop()

    def terminate(self, parent: Any) -> None:
        self.stop(parent)


app.steps["worker"].add(Enforcing)
app.steps["worker"].add(Doing)
app.steps["worker"].add(Provisioning)
app.steps["worker"].add(Answering)
app.steps["worker"].add(Telling)
app.steps["worker"].add(Beating)
__all__ = ["Settings", "app"]
