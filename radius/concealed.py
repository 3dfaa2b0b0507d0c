"""Names that are kept concealed, in clear for the one place that needs them: a request to the router (core.codes)."""

from collections.abc import Sequence
from dataclasses import replace

import structlog

from core.codes import CodeKey, NotConcealed, is_concealed
from core.crypto import Keyring, SecretUnreadable
from radius.enforcement import DueOrder
from radius.facts import Connection

log = structlog.get_logger()


def has_concealed(orders: Sequence[DueOrder]) -> bool:
    return any(is_concealed(order.session.user_name) for order in orders)


def reveal_names(connection: Connection, keyring: Keyring, orders: Sequence[DueOrder]) -> list[DueOrder]:
    """Return the orders with the user names that the router knows. What does not open stays, and the router says no."""
    operators = sorted({order.operator_id for order in orders if is_concealed(order.session.user_name)})
    rows = connection.execute(
        "SELECT operator_id, code_key FROM voucher_settings WHERE operator_id = ANY(%s)", (operators,)
    )
    keys = {}
    for operator_id, sealed in rows.fetchall():
        try:
            keys[operator_id] = CodeKey.from_hex(keyring.open("voucher.key", bytes(sealed)))
        except SecretUnreadable:
            log.error("code_key_unreadable", operator_id=operator_id)
    return [_revealed(order, keys.get(order.operator_id)) for order in orders]


def _revealed(order: DueOrder, key: CodeKey | None) -> DueOrder:
    if key is None or not is_concealed(order.session.user_name):
        return order
    try:
        name = key.reveal(order.session.user_name)
    except NotConcealed:
        return order
    return replace(order, session=replace(order.session, user_name=name))
