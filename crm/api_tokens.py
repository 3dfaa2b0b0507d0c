"""Tokens of the API: what a program signs in with, for one operator, within what their maker may do.

A token is `portico_<operator>_<name of eight digits>_<secret>`. The first three parts are its prefix, by which it is
found and which lists show; the secret is shown once and kept as a sealed hash. Nothing depends on the keys of the
installation staying the same: their rotation seals the hashes anew.

A token ends by its date, by being revoked, or with its maker: who may no longer sign in has no token that does.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.orm import Session

from core.crypto import Keyring
from crm.problems import FieldProblem, Invalid, Problem
from db.audit import Actor, record
from db.models import ApiAnswer, ApiToken, Operator, Staff

TOKEN_PURPOSE = "api.token"  # noqa: S105 - the name of a purpose
MOST_TOKENS = 100
"""That an operator has at once."""
LONGEST_NAME = 80
LONGEST_LIFE = timedelta(days=5 * 366)
ANSWERS_KEPT = timedelta(hours=24)
"""How long the answer to a request with an Idempotency-Key is remembered."""
_USE_NOTED_EVERY = timedelta(minutes=1)
_FORM = re.compile(r"(portico_([1-9][0-9]{0,17})_[0-9a-f]{8})_([A-Za-z0-9_-]{43})\Z")


@dataclass(frozen=True, slots=True)
class TokenTerms:
    """What somebody enters for a token. `expires_at` None: it ends when it is revoked."""

    name: str
    scopes: tuple[str, ...]
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a token says of itself: its operator and prefix, and the secret that is still to be checked."""

    operator_id: int
    prefix: str
    secret: str


def parse_token(text: str) -> Claimed | None:
    """Return what a token claims, or None for what is no token."""
    found = _FORM.match(text)
    return Claimed(int(found[2]), found[1], found[3]) if found else None


def create_token(
    session: Session,
    actor: Actor,
    keyring: Keyring,
    terms: TokenTerms,
    may_give: Collection[str],
    now: datetime,
) -> tuple[ApiToken, str]:
    """Make a token of the actor's and return it with its text, which is known only here. Raises Invalid.

    `may_give` are the scopes that the actor could use: no others are given.
    """
    if actor.staff_id is None:
        raise ValueError("a token is made by a person")
    _check(session, actor, terms, may_give, now)
    secret = secrets.token_urlsafe(32)
    prefix = f"portico_{actor.operator_id}_{secrets.token_hex(4)}"
    token = ApiToken(
        operator_id=actor.operator_id,
        staff_id=actor.staff_id,
        name=" ".join(terms.name.split()),
        prefix=prefix,
        secret_hash=keyring.seal(TOKEN_PURPOSE, _hash(secret)),
        scopes=sorted(terms.scopes),
        expires_at=terms.expires_at,
    )
    session.add(token)
    session.flush()
    after = {"name": token.name, "prefix": prefix, "scopes": token.scopes, "until": terms.expires_at}
    record(session, actor, "api_token.create", "api_token", token.id, None, after)
    return token, f"{prefix}_{secret}"


def revoke_token(session: Session, actor: Actor, token: ApiToken, now: datetime) -> bool:
    """End a token; its next request is refused. False: it was revoked before."""
    session.refresh(token, with_for_update=True)
    if token.revoked_at is not None:
        return False
    token.revoked_at = now
    session.flush()
    record(session, actor, "api_token.revoke", "api_token", token.id, None, {"name": token.name})
    return True


def find_token(
    session: Session, keyring: Keyring, claimed: Claimed, now: datetime
) -> tuple[ApiToken, Staff, Operator] | None:
    """Return the token that is claimed, with its maker and operator, or None where it is not good.

    The session is bound to the operator that the token names.
    """
    row = session.execute(
        select(ApiToken, Staff, Operator)
        .join(Staff, Staff.id == ApiToken.staff_id)
        .join(Operator, Operator.id == ApiToken.operator_id)
        .where(ApiToken.operator_id == claimed.operator_id, ApiToken.prefix == claimed.prefix)
    ).one_or_none()
    if row is None:
        return None
    token, maker, operator = row
    if not hmac.compare_digest(keyring.open(TOKEN_PURPOSE, token.secret_hash), _hash(claimed.secret)):
        return None
    ended = token.revoked_at is not None or (token.expires_at is not None and token.expires_at <= now)
    if ended or not maker.active or maker.awaits_password_since is not None:
        return None
    return token, maker, operator


def use_is_stale(token: ApiToken, now: datetime) -> bool:
    """Tell whether the token's last use should be noted again."""
    return token.last_used_at is None or token.last_used_at <= now - _USE_NOTED_EVERY


def note_use(session: Session, token_id: int, address: str | None, now: datetime) -> None:
    """Note that a token is in use, at most once a minute whoever else notes it at the same time."""
    session.execute(
        update(ApiToken)
        .where(
            ApiToken.id == token_id,
            or_(ApiToken.last_used_at.is_(None), ApiToken.last_used_at <= now - _USE_NOTED_EVERY),
        )
        .values(last_used_at=now, last_used_from=address)
        .execution_options(synchronize_session=False)
    )


def forget_old_answers(session: Session, now: datetime, most: int = 10_000) -> int:
    """Remove remembered answers of all operators that are too old to be repeated; return how many."""
    old = select(ApiAnswer.token_id, ApiAnswer.key).where(ApiAnswer.created_at < now - ANSWERS_KEPT).limit(most)
    gone = delete(ApiAnswer).where(func.row(ApiAnswer.token_id, ApiAnswer.key).in_(old)).returning(ApiAnswer.key)
    return len(session.execute(gone.execution_options(synchronize_session=False)).all())


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _check(session: Session, actor: Actor, terms: TokenTerms, may_give: Collection[str], now: datetime) -> None:
    problems = []
    name = " ".join(terms.name.split())
    if not name:
        problems.append(FieldProblem("name", Problem.REQUIRED))
    elif len(name) > LONGEST_NAME:
        problems.append(FieldProblem("name", Problem.TOO_LONG, {"limit": str(LONGEST_NAME)}))
    elif not name.isprintable():
        problems.append(FieldProblem("name", Problem.NAME_CHARACTERS))
    if not terms.scopes:
        problems.append(FieldProblem("scopes", Problem.REQUIRED))
    elif not set(terms.scopes) <= set(may_give):
        problems.append(FieldProblem("scopes", Problem.UNKNOWN_CHOICE))
    if terms.expires_at is not None and not now < terms.expires_at <= now + LONGEST_LIFE:
        problem = Problem.TOO_LONG_AGO if terms.expires_at <= now else Problem.OUT_OF_RANGE
        detail = {} if problem is Problem.TOO_LONG_AGO else {"low": "1", "high": str(LONGEST_LIFE.days)}
        problems.append(FieldProblem("expires_at", problem, detail))
    good = (ApiToken.revoked_at.is_(None), or_(ApiToken.expires_at.is_(None), ApiToken.expires_at > now))
    mine = select(func.count()).select_from(ApiToken).where(ApiToken.operator_id == actor.operator_id, *good)
    if (session.scalar(mine) or 0) >= MOST_TOKENS:
        problems.append(FieldProblem("name", Problem.LIMIT_REACHED, {"limit": str(MOST_TOKENS)}))
    if problems:
        raise Invalid(*problems)
