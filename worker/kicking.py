"""The last rung of enforcement: RouterOS's API in the shape that the sending of orders wants it.

`radius` and `network` do not know each other; a worker has both and puts them together.
"""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import structlog
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import joinedload

from core.crypto import Keyring, SecretUnreadable
from db.models import Router
from db.session import make_engine, make_sessions
from network.access import access_of
from network.api import RouterAccess, open_router_async
from network.kick import Kicked, OnlineSession, kick
from network.problems import RouterProblem
from radius.coa import Answer, SessionIdentity
from radius.orders import ErrorCause, Result

log = structlog.get_logger()


class ApiKick:
    """Ends sessions at routers whose API access is known; called as `radius.sending.Kick`."""

    def __init__(self, dsn: str, keyring: Keyring) -> None:
        self._engine = make_engine(dsn, pool_size=1, connect_args={"application_name": "kick"})
        self._sessions = make_sessions(self._engine)
        self._keyring = keyring
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="kick")

    async def __call__(self, nas_id: int, session: SessionIdentity) -> Answer | None:
        begun = time.monotonic()
        try:
            access = await asyncio.get_running_loop().run_in_executor(self._thread, self._access, nas_id)
            if access is None:
                return None
            online = OnlineSession(
                session.kind, session.user_name, session.acct_session_id, session.calling_station_id, session.framed_ip
            )
            async with open_router_async(access) as router:
                kicked = await kick(router, online)
        except RouterProblem as problem:
            log.warning("kick_failed", nas_id=nas_id, cause=problem.cause.value, detail=problem.detail)
            return Answer(Result.UNREACHABLE if problem.out_of_reach else Result.NAK)
        except SecretUnreadable:
            log.exception("router_password_unreadable", nas_id=nas_id)
            return Answer(Result.UNREACHABLE)
        except DBAPIError as problem:
            log.warning("kick_delayed", nas_id=nas_id, error=type(problem).__name__)
            return Answer(Result.UNREACHABLE)
        milliseconds = round((time.monotonic() - begun) * 1000)
        match kicked:
            case Kicked.REMOVED:
                return Answer(Result.ACK, None, milliseconds)
            case Kicked.ABSENT:
                return Answer(Result.NAK, ErrorCause.SESSION_CONTEXT_NOT_FOUND, milliseconds)
            case Kicked.STATIC:
                return Answer(Result.NAK, None, milliseconds)

    def _access(self, nas_id: int) -> RouterAccess | None:
        with self._sessions() as session:
            router = session.scalar(select(Router).where(Router.nas_id == nas_id).options(joinedload(Router.nas)))
            return access_of(router, self._keyring) if router is not None else None

    def close(self) -> None:
        self._thread.shutdown()
        self._engine.dispose()
