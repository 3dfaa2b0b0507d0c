"""Links to pay for messages that go to many: made without a question to the database for each."""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from billing.gateways.accounts import active_accounts
from billing.links import LinkFor, link_key, signed
from core.crypto import Keyring
from core.i18n import N_, translator
from crm.brands import brand_of
from db.models import Operator

_LINE = N_("Pay it online: %(url)s")


@dataclass(frozen=True, slots=True)
class PayLinks:
    """What an operator's links to pay are made of."""

    operator_id: int
    base_url: str
    key: bytes

    def line(self, subscriber_id: int, language: str) -> str:
        """Return the line that leads to where all that a subscriber owes is paid."""
        link = signed(self.key, LinkFor.PAY_BALANCE, self.operator_id, subscriber_id)
        return translator(language)(_LINE) % {"url": f"{self.base_url}/pay/{link}"}


def pay_links(session: Session, keyring: Keyring, operator_id: int, public_url: str) -> PayLinks | None:
    """Return an operator's links, None where it takes no payments online. The caller commits: the key may be new."""
    if not active_accounts(session, operator_id):
        return None
    base_url = brand_of(session, session.get_one(Operator, operator_id)).base_url(public_url)
    return PayLinks(operator_id, base_url, link_key(session, keyring, operator_id))
