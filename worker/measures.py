"""What a worker says of itself: its checks, and how much waits in the queue of the broker."""

import prometheus_client
from redis import Redis, RedisError

from core.settings import Settings
from core.status import Check
from db.status import redis, redis_address, serve_status

QUEUE = "portico"


def answer(settings: Settings) -> None:
    """Answer at the worker's socket from now on."""
    checks: dict[str, Check] = {}
    if settings.redis_url is not None:
        url = settings.redis_url.get_secret_value()
        checks["redis"] = redis(url)
        waiting = prometheus_client.Gauge("portico_tasks_waiting", "Tasks of the schedule that no worker has taken yet")
        waiting.set_function(lambda: _length(url))
    serve_status(settings, "worker", checks)


def _length(url: str) -> float:
    client = Redis.from_url(redis_address(url), socket_timeout=3)
    try:
        return float(client.llen(QUEUE))
    except RedisError:
        return float("nan")
    finally:
        client.close()
