"""What was bought on a captive page, found by the reference that only its buyer has."""

import re

from billing.voucher_checkouts import sold_code
from portal import context
from portal.captive.place import db, place

PREFIX = "buy-"
_REFERENCE = re.compile(r"[0-9a-f]{32}\Z")


def is_reference(text: str) -> bool:
    return _REFERENCE.match(text) is not None


def code_bought(var: str) -> str | None:
    """Return the code that a login page's `var` stands for: the router hands it back with a fresh challenge."""
    reference = var.removeprefix(PREFIX)
    if not var.startswith(PREFIX) or not is_reference(reference):
        return None
    found = sold_code(db(), context.portal().settings, place().operator.id, reference)
    return found[1] or None if found is not None else None
