"""What `portico operator create` and `portico user create` do: the people who may use the portal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.settings import BadSettings, Settings
from crm.accounts import make_platform
from crm.problems import FieldProblem, Invalid, Problem
from crm.staff import OperatorDetails, create_operator, create_staff
from db.audit import Actor
from db.models import Operator
from db.session import make_engine
from portal.auth import hasher


def add_operator(settings: Settings, details: OperatorDetails) -> int:
    """Enter an operator and return its id. Raises Invalid."""
    with _session(settings) as session:
        operator = create_operator(session, "portico operator create", details)
        session.commit()
        return operator.id


def add_staff(settings: Settings, operator: str, email: str, name: str, roles: list[str], password: str) -> int:
    """Enter a staff member of the operator with that slug and return their id. Raises Invalid."""
    with _session(settings) as session:
        operator_id = session.scalar(select(Operator.id).where(Operator.slug == operator))
        if operator_id is None:
            raise Invalid(FieldProblem("operator", Problem.UNKNOWN_CHOICE))
        actor = Actor(operator_id, "portico user create")
        person = create_staff(session, actor, email, name, roles, password, hasher.hash(password))
        session.commit()
        return person.id


def add_platform_staff(
    settings: Settings, company: str, email: str, name: str, password: str, role: str = "manager"
) -> int:
    """Enter somebody who runs the installation, and return their id. Raises Invalid.

    A manager of the platform decides over licences; `support` sees everything there, and acts with consent.
    """
    with _session(settings) as session:
        operator = make_platform(session, "portico platform create", company)
        actor = Actor(operator.id, "portico platform create")
        person = create_staff(session, actor, email, name, [role], password, hasher.hash(password))
        session.commit()
        return person.id


@contextmanager
def _session(settings: Settings) -> Iterator[Session]:
    """Open a session that sees every operator: these commands come from whoever runs the installation."""
    if settings.database_url is None:
        raise BadSettings("PORTICO_DATABASE_URL is not set")
    engine = make_engine(settings.database_url.get_secret_value())
    try:
        with Session(engine) as session:
            yield session
    finally:
        engine.dispose()


def problem_lines(invalid: Invalid, say: Callable[..., str]) -> list[str]:
    """Return a line for each problem as a command line shows them; `say` puts a text into the terminal's language."""
    from portal.errors import TEXTS

    return [f"{problem.field}: {say(str(TEXTS[problem.problem]), **problem.detail)}" for problem in invalid.problems]
