"""Second factors of staff: an authenticator app, passkeys, and codes on paper for when both are lost.

An app shows six digits that follow from a secret and the clock (TOTP, RFC 6238). The code of the present thirty
seconds is taken, and those of the ones before and after, because phones' clocks differ; each step is taken once and
none after it that came before, so a code that somebody looked at over a shoulder is of no use. The secret is sealed.

A passkey is a key that a device keeps for the name of the portal (WebAuthn). It signs a challenge together with that
name, so a page of somebody else's, however alike, gets nothing that could be used here.

Recovery codes are ten, of 80 bits each, shown once. Of each only the hash is kept; who uses one is told by e-mail.
"""

import base64
import hashlib
import secrets
import string
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import pyotp
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session
from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from core.crypto import Keyring
from crm.login_sessions import end_sessions
from crm.problems import FieldProblem, Invalid, Problem
from db.audit import Actor, record
from db.models import ROLES, Authenticator, Passkey, RecoveryCode, SignInRule, Staff

PURPOSE = "staff.authenticator"
CODES = 10
STEP = 30  # seconds
SLACK = 1  # steps that a phone's clock may be wrong by
MOST_PASSKEYS = 20
LONGEST_NAME = 60


@dataclass(frozen=True, slots=True)
class Factors:
    """What a person has beside the password."""

    app: bool
    passkeys: int
    codes_left: int

    @property
    def any(self) -> bool:
        return self.app or self.passkeys > 0


@dataclass(frozen=True, slots=True)
class Site:
    """The portal as browsers know it: the host name that passkeys belong to, and the origin that must have signed."""

    host: str
    origin: str


def factors_of(session: Session, staff_id: int) -> Factors:
    """Return which second factors a person has."""
    app = select(Authenticator.staff_id).where(
        Authenticator.staff_id == staff_id, Authenticator.confirmed_at.is_not(None)
    )
    keys = select(func.count()).select_from(Passkey).where(Passkey.staff_id == staff_id).scalar_subquery()
    codes = (
        select(func.count())
        .select_from(RecoveryCode)
        .where(RecoveryCode.staff_id == staff_id, RecoveryCode.used_at.is_(None))
        .scalar_subquery()
    )
    row = session.execute(select(app.exists(), keys, codes)).one()
    return Factors(bool(row[0]), int(row[1]), int(row[2]))


# What an operator demands.


def factor_roles(session: Session, operator_id: int) -> frozenset[str]:
    """Return the roles whose people need a second factor."""
    rule = session.get(SignInRule, operator_id)
    return frozenset(rule.factor_roles if rule is not None else ())


def demand_factor(session: Session, actor: Actor, roles: Sequence[str]) -> None:
    """Demand a second factor of some roles and of no others. Raises Invalid for a role that there is not."""
    if not set(roles) <= set(ROLES):
        raise Invalid(FieldProblem("roles", Problem.UNKNOWN_CHOICE))
    rule = session.get(SignInRule, actor.operator_id)
    before = sorted(rule.factor_roles) if rule is not None else []
    if rule is None:
        rule = SignInRule(operator_id=actor.operator_id, factor_roles=sorted(roles))
        session.add(rule)
    rule.factor_roles = sorted(roles)
    session.flush()
    after = {"second_factor_for": sorted(roles)}
    record(session, actor, "sign_in_rule.change", "sign_in_rule", None, {"second_factor_for": before}, after)


# The app.


def begin_app(session: Session, keyring: Keyring, person: Staff) -> str:
    """Return the secret of an app that is being set up, a new one unless one waits to be confirmed."""
    found = session.get(Authenticator, person.id)
    if found is not None and found.confirmed_at is not None:
        raise Invalid(FieldProblem("code", Problem.ALREADY_DONE))
    if found is not None:
        return keyring.open(PURPOSE, found.secret)
    secret = pyotp.random_base32()
    session.add(
        Authenticator(
            staff_id=person.id, operator_id=person.operator_id, secret=keyring.seal(PURPOSE, secret), last_step=0
        )
    )
    session.flush()
    return secret


def app_address(secret: str, person: Staff, company: str) -> str:
    """Return what the QR code says: the `otpauth://` address that apps read."""
    return pyotp.TOTP(secret).provisioning_uri(name=person.email, issuer_name=f"Portico {company}")


def confirm_app(
    session: Session, keyring: Keyring, actor: Actor, person: Staff, typed: str, now: datetime
) -> Sequence[str]:
    """Switch the app on by a code that it shows, and return recovery codes where there are none yet.

    Raises Invalid. The other sessions of the person end: who was in without the app is out.
    """
    found = session.get(Authenticator, person.id, with_for_update=True, populate_existing=True)
    if found is None or found.confirmed_at is not None:
        raise Invalid(FieldProblem("code", Problem.ALREADY_DONE))
    if not _take_step(keyring, found, typed, now):
        raise Invalid(FieldProblem("code", Problem.WRONG_APP_CODE))
    found.confirmed_at = now
    session.flush()
    record(session, actor, "staff.factor_on", "staff", person.id, None, {"factor": "app"})
    return _codes_if_none(session, person)


def use_app(session: Session, keyring: Keyring, staff_id: int, typed: str, now: datetime) -> bool:
    """Tell whether a code is the app's, and not one that was used. The caller commits."""
    found = session.get(Authenticator, staff_id, with_for_update=True, populate_existing=True)
    return found is not None and found.confirmed_at is not None and _take_step(keyring, found, typed, now)


def remove_app(session: Session, actor: Actor, person: Staff) -> None:
    """Take the app away. Raises Invalid where a role demands a second factor and no passkey is left."""
    _require_another(session, person, Factors(False, factors_of(session, person.id).passkeys, 0))
    session.execute(delete(Authenticator).where(Authenticator.staff_id == person.id))
    _drop_codes_if_alone(session, person)
    record(session, actor, "staff.factor_off", "staff", person.id, None, {"factor": "app"})


def _take_step(keyring: Keyring, found: Authenticator, typed: str, now: datetime) -> bool:
    code = "".join(one for one in typed if one in string.digits)
    totp = pyotp.TOTP(keyring.open(PURPOSE, found.secret))
    present = int(now.timestamp()) // STEP
    taken = 0
    for step in range(present - SLACK, present + SLACK + 1):
        if secrets.compare_digest(totp.at(step * STEP), code) and step > found.last_step:
            taken = step
    found.last_step = max(found.last_step, taken)
    return taken > 0


# Codes on paper.


def new_codes(session: Session, actor: Actor, person: Staff) -> Sequence[str]:
    """Return new recovery codes; those from before are good no more. Raises Invalid without a second factor."""
    if not factors_of(session, person.id).any:
        raise Invalid(FieldProblem("code", Problem.NO_SECOND_FACTOR))
    made = _make_codes(session, person)
    record(session, actor, "staff.recovery_codes", "staff", person.id, None, {"codes": len(made)})
    return made


def use_recovery_code(session: Session, actor: Actor, staff_id: int, typed: str, now: datetime) -> bool:
    """Tell whether a recovery code is good, which it is once. The caller commits."""
    code = "".join(one for one in typed.lower() if one.isalnum())
    found = session.scalar(
        select(RecoveryCode)
        .where(
            RecoveryCode.staff_id == staff_id,
            RecoveryCode.code_hash == hashlib.sha256(code.encode()).digest(),
            RecoveryCode.used_at.is_(None),
        )
        .with_for_update()
    )
    if found is None:
        return False
    found.used_at = now
    session.flush()
    record(
        session, actor, "staff.recovery", "staff", staff_id, None, {"left": factors_of(session, staff_id).codes_left}
    )
    return True


def _codes_if_none(session: Session, person: Staff) -> Sequence[str]:
    return _make_codes(session, person) if factors_of(session, person.id).codes_left == 0 else ()


def _make_codes(session: Session, person: Staff) -> Sequence[str]:
    session.execute(delete(RecoveryCode).where(RecoveryCode.staff_id == person.id))
    made = []
    for _number in range(CODES):
        code = base64.b32encode(secrets.token_bytes(10)).decode().lower()
        made.append("-".join(code[at : at + 4] for at in range(0, 16, 4)))
        code_hash = hashlib.sha256(code.encode()).digest()
        session.add(RecoveryCode(operator_id=person.operator_id, staff_id=person.id, code_hash=code_hash))
    session.flush()
    return made


def _drop_codes_if_alone(session: Session, person: Staff) -> None:
    if not factors_of(session, person.id).any:
        session.execute(delete(RecoveryCode).where(RecoveryCode.staff_id == person.id))


def _require_another(session: Session, person: Staff, left: Factors) -> None:
    if not left.any and factor_roles(session, person.operator_id) & set(person.roles):
        raise Invalid(FieldProblem("code", Problem.FACTOR_NEEDED))


# Passkeys.


def passkeys_of(session: Session, staff_id: int) -> list[Passkey]:
    """Return a person's passkeys, the oldest first."""
    return list(session.scalars(select(Passkey).where(Passkey.staff_id == staff_id).order_by(Passkey.id)))


def offer_passkey(session: Session, person: Staff, site: Site, company: str) -> tuple[str, bytes]:
    """Return what the browser needs to make a passkey (JSON), and the challenge that it must sign."""
    options = generate_registration_options(
        rp_id=site.host,
        rp_name=f"Portico {company}",
        user_id=f"{person.operator_id}:{person.id}".encode(),
        user_name=person.email,
        user_display_name=person.name,
        exclude_credentials=[
            PublicKeyCredentialDescriptor(key.credential_id) for key in passkeys_of(session, person.id)
        ],
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.DISCOURAGED, user_verification=UserVerificationRequirement.PREFERRED
        ),
    )
    return options_to_json(options), options.challenge


def add_passkey(
    session: Session, actor: Actor, person: Staff, site: Site, challenge: bytes, answer: str, name: str
) -> Sequence[str]:
    """Keep a passkey that a browser made, and return recovery codes where there are none yet. Raises Invalid."""
    name = " ".join(name.split())[:LONGEST_NAME]
    if len(passkeys_of(session, person.id)) >= MOST_PASSKEYS:
        raise Invalid(FieldProblem("passkey", Problem.LIMIT_REACHED, {"limit": str(MOST_PASSKEYS)}))
    try:
        made = verify_registration_response(
            credential=answer,
            expected_challenge=challenge,
            expected_rp_id=site.host,
            expected_origin=site.origin,
            require_user_verification=False,  # it is a second factor: having it is enough
        )
    except (WebAuthnException, ValueError):
        raise Invalid(FieldProblem("passkey", Problem.PASSKEY_REFUSED)) from None
    session.add(
        Passkey(
            operator_id=person.operator_id,
            staff_id=person.id,
            credential_id=made.credential_id,
            public_key=made.credential_public_key,
            sign_count=made.sign_count,
            name=name or "–",
        )
    )
    session.flush()
    record(session, actor, "staff.factor_on", "staff", person.id, None, {"factor": "passkey", "name": name})
    return _codes_if_none(session, person)


def ask_passkey(session: Session, staff_id: int, site: Site) -> tuple[str, bytes]:
    """Return what the browser needs to use one of a person's passkeys (JSON), and the challenge."""
    options = generate_authentication_options(
        rp_id=site.host,
        allow_credentials=[PublicKeyCredentialDescriptor(key.credential_id) for key in passkeys_of(session, staff_id)],
        user_verification=UserVerificationRequirement.PREFERRED,
    )
    return options_to_json(options), options.challenge


def use_passkey(session: Session, staff_id: int, site: Site, challenge: bytes, answer: str, now: datetime) -> bool:
    """Tell whether a browser has signed the challenge with one of a person's passkeys. The caller commits."""
    for key in passkeys_of(session, staff_id):
        session.refresh(key, with_for_update=True)
        try:
            verified = verify_authentication_response(
                credential=answer,
                expected_challenge=challenge,
                expected_rp_id=site.host,
                expected_origin=site.origin,
                credential_public_key=key.public_key,
                credential_current_sign_count=key.sign_count,
                require_user_verification=False,
            )
        except (WebAuthnException, ValueError):
            continue
        if verified.credential_id != key.credential_id:
            continue
        key.sign_count, key.used_at = verified.new_sign_count, now
        session.flush()
        return True
    return False


def remove_passkey(session: Session, actor: Actor, person: Staff, passkey_id: int) -> bool:
    """Remove a passkey; False where the person has none of that id. Raises Invalid as `remove_app`."""
    found = session.scalar(select(Passkey).where(Passkey.id == passkey_id, Passkey.staff_id == person.id))
    if found is None:
        return False
    has = factors_of(session, person.id)
    _require_another(session, person, Factors(has.app, has.passkeys - 1, 0))
    session.delete(found)
    session.flush()
    _drop_codes_if_alone(session, person)
    record(session, actor, "staff.factor_off", "staff", person.id, None, {"factor": "passkey", "name": found.name})
    return True


# By a manager.


def take_factors_away(session: Session, actor: Actor, person: Staff, now: datetime) -> None:
    """Remove every second factor of somebody who has lost theirs, and sign their browsers out."""
    for table in (Authenticator, Passkey, RecoveryCode):
        session.execute(delete(table).where(table.staff_id == person.id))
    end_sessions(session, person, "staff", now)
    session.flush()
    record(session, actor, "staff.factor_reset", "staff", person.id, None, {"second_factor": "taken away"})
