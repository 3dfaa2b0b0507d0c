"""The chart of accounts: what an operator's accountant calls the accounts of the ledger.

The ledger has a dozen accounts of its own (`db.models.ledger.ACCOUNTS`). For accounting software each has a code and a
name there, such as 105.01 "Clientes"; with them the journal of a month can be taken over as it is. Where nothing was
entered, our own name stands.
"""

from collections.abc import Mapping

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from core.i18n import N_
from crm.problems import FieldProblem, Invalid, Problem
from db.audit import Actor, record
from db.models import ForeignCurrency, LedgerAccount
from db.models.ledger import ACCOUNTS

LONGEST_CODE, LONGEST_NAME = 30, 100

MEANINGS: Mapping[str, str] = {
    "receivable": N_("What subscribers owe"),
    "credit": N_("What subscribers have paid ahead"),
    "income": N_("Income from services"),
    "late_fees": N_("Income from late fees"),
    "tax": N_("Taxes that were invoiced"),
    "cash": N_("Cash"),
    "bank": N_("Bank"),
    "card": N_("With payment providers, on its way"),
    "collectors": N_("With collectors"),
    "commissions": N_("Commissions of collectors"),
    "expenses": N_("Expenses paid from a desk"),
    "cash_difference": N_("Differences of cash desks"),
    "foreign_cash": N_("Cash of other currencies"),
    "exchange_difference": N_("Gain or loss of exchange"),
}


FOREIGN = ("foreign_cash", "exchange_difference")


def chart_of(session: Session, operator_id: int) -> dict[str, tuple[str, str]]:
    """Return code and name of each account of the ledger; empty where nothing was entered.

    Those of other currencies are left out where the operator never took one.
    """
    kept = {
        row.account: (row.code, row.name)
        for row in session.scalars(select(LedgerAccount).where(LedgerAccount.operator_id == operator_id))
    }
    foreign = session.scalar(select(exists().where(ForeignCurrency.operator_id == operator_id)))
    return {account: kept.get(account, ("", "")) for account in ACCOUNTS if foreign or account not in FOREIGN}


def change_chart(session: Session, actor: Actor, entered: Mapping[str, tuple[str, str]]) -> None:
    """Enter codes and names; an account without a code has our own. Raises Invalid, with the account as its field."""
    problems = []
    wanted = {account: (code.strip(), name.strip()) for account, (code, name) in entered.items() if account in ACCOUNTS}
    for account, (code, name) in wanted.items():
        if len(code) > LONGEST_CODE:
            problems.append(FieldProblem(account, Problem.TOO_LONG, {"limit": str(LONGEST_CODE)}))
        elif len(name) > LONGEST_NAME:
            problems.append(FieldProblem(account, Problem.TOO_LONG, {"limit": str(LONGEST_NAME)}))
        elif name and not code:
            problems.append(FieldProblem(account, Problem.REQUIRED))
    if problems:
        raise Invalid(*problems)
    before = {account: " ".join(each).strip() for account, each in chart_of(session, actor.operator_id).items()}
    for account, (code, name) in wanted.items():
        # Rows stay: the portal may not delete them, and one whose code is our own word says the same as none.
        row = session.get(LedgerAccount, (actor.operator_id, account))
        if row is not None:
            row.code, row.name = code, name
        elif code:
            session.add(LedgerAccount(operator_id=actor.operator_id, account=account, code=code, name=name))
    session.flush()
    after = {account: " ".join(each).strip() for account, each in chart_of(session, actor.operator_id).items()}
    record(session, actor, "ledger.chart", "operator", actor.operator_id, before, after)
