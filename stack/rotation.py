"""Changing the key that seals secrets at rest, without a moment in which somebody cannot connect.

radiusd and the others read the keys when they start, so a value must not be sealed with a key before all of them know
it. Hence three steps, with a restart between: a new key is added and opens; it becomes the one that seals and every
sealed value is sealed again; the old ones are dropped once nothing is sealed with them.
"""

from dataclasses import dataclass

import psycopg
from psycopg import sql

from core.crypto import Keyring
from core.settings import BadSettings, Settings
from stack.installation import read_secrets, write_secrets

BATCH = 1000
_NAME = "PORTICO_SECRET_KEYS"


@dataclass(frozen=True, slots=True)
class SealedColumn:
    """A column of sealed values, the purpose that is sealed into them, and the column that tells the rows apart."""

    table: str
    column: str
    purpose: str
    key: str = "id"


SEALED_COLUMNS = (
    SealedColumn("nas", "secret", "nas.secret"),
    SealedColumn("service", "password", "service.password"),
    SealedColumn("router", "api_password", "router.password", key="nas_id"),
    SealedColumn("router_backup", "content", "router.backup"),
    SealedColumn("router_login", "password", "router_login.password", key="staff_id"),
    SealedColumn("alert_recipient", "address", "alert_recipient.address"),
    SealedColumn("notification", "address", "notification.address"),
    *(
        SealedColumn("message_settings", name, "message.gateway", key="operator_id")
        for name in ("sms_url", "sms_secret", "whatsapp_token", "telegram_url")
    ),
    SealedColumn("message_settings", "link_key", "message.link", key="operator_id"),
    SealedColumn("message_settings", "push_key", "message.push", key="operator_id"),
    SealedColumn("push_browser", "subscription", "push.browser"),
    SealedColumn("authenticator", "secret", "staff.authenticator", key="staff_id"),
    SealedColumn("vpn_peer", "secret", "vpn.peer"),
    SealedColumn("vpn_peer", "api_password", "router.password"),
    SealedColumn("vpn_server", "wireguard_key", "vpn.server"),
    SealedColumn("vpn_server", "openvpn_key", "vpn.server"),
    SealedColumn("import_batch", "content", "import.file"),
    SealedColumn("import_row", "password", "service.password"),
    SealedColumn("import_row", "previous_password", "service.password"),
    SealedColumn("letterhead", "link_key", "document.link", key="operator_id"),
    SealedColumn("mailbox", "password", "mailbox.password", key="operator_id"),
    SealedColumn("gateway", "secret_key", "gateway.key"),
    SealedColumn("einvoice_settings", "api_key", "einvoice.key", key="operator_id"),
    SealedColumn("voucher_settings", "code_key", "voucher.key", key="operator_id"),
    SealedColumn("voucher", "code", "voucher.code", key="service_id"),
    SealedColumn("voucher_print", "content", "voucher.print"),
    SealedColumn("gateway", "webhook_secret", "gateway.webhook"),
    SealedColumn("webhook_endpoint", "secret", "webhook.secret"),
    SealedColumn("webhook_endpoint", "previous_secret", "webhook.secret"),
    SealedColumn("api_token", "secret_hash", "api.token"),
)


def with_new_key(text: str) -> str:
    """Return a keyring's text with one more key at its end, where it opens and does not seal yet.

    Ids only grow, so the newest key can be told. Raises BadSettings after 255 keys.
    """
    newest = max(_ids(text))
    if newest == 255:
        raise BadSettings("the key has been changed 254 times; ids go no further")
    return f"{text},{Keyring.generate(newest + 1)}"


def with_newest_key_first(text: str) -> str:
    """Return a keyring's text in which the newest key seals."""
    keys = dict(zip(_ids(text), text.split(","), strict=True))
    newest = keys.pop(max(keys))
    return ",".join([newest, *keys.values()])


def only_first_key(text: str) -> str:
    """Return a keyring's text without the keys that seal no more."""
    return text.split(",")[0]


def kept_keys(settings: Settings) -> str:
    """Return the keyring's text in `secrets.env`. Raises BadSettings when the keys are not kept there."""
    kept = read_secrets(settings).get(_NAME)
    if kept is None or (settings.secret_keys is not None and settings.secret_keys.get_secret_value() != kept):
        raise BadSettings(f"{_NAME} is set in the environment: change it there (docs/running.md says in which order)")
    return kept


def keep_keys(settings: Settings, text: str) -> None:
    """Write another keyring into `secrets.env`."""
    Keyring.parse(text)
    write_secrets(settings, {**read_secrets(settings), _NAME: text})


def reseal(connection: psycopg.Connection, keyring: Keyring) -> int:
    """Seal every value again that another key sealed, and return how many there were.

    Commits after every batch, so it may be interrupted and run again. Raises SecretUnreadable for a value whose key
    is not in the keyring.
    """
    return sum(_reseal_column(connection, keyring, column) for column in SEALED_COLUMNS)


def sealed_with_others(connection: psycopg.Connection, keyring: Keyring) -> int:
    """Return how many values are sealed with another key than the one that seals now."""
    count = 0
    for column in SEALED_COLUMNS:
        query = sql.SQL("SELECT count(*) FROM {} WHERE get_byte({}, 0) <> %s").format(
            sql.Identifier(column.table), sql.Identifier(column.column)
        )
        row = connection.execute(query, (keyring.sealing_id,)).fetchone()
        count += row[0] if row else 0
    return count


def sealed_values(connection: psycopg.Connection) -> list[tuple[SealedColumn, dict[int, int]]]:
    """Return for each sealed column how many values it has, by the id of the key that sealed them."""
    found = []
    for column in SEALED_COLUMNS:
        query = sql.SQL("SELECT get_byte({0}, 0), count(*) FROM {1} WHERE length({0}) > 0 GROUP BY 1").format(
            sql.Identifier(column.column), sql.Identifier(column.table)
        )
        found.append((column, {int(key_id): int(count) for key_id, count in connection.execute(query)}))
    return found


def _ids(text: str) -> list[int]:
    return [int(key.partition(":")[0]) for key in text.split(",")]


def _reseal_column(connection: psycopg.Connection, keyring: Keyring, column: SealedColumn) -> int:
    names = {
        "table": sql.Identifier(column.table),
        "column": sql.Identifier(column.column),
        "key": sql.Identifier(column.key),
    }
    select = sql.SQL(
        "SELECT {key}, {column} FROM {table} WHERE get_byte({column}, 0) <> %s ORDER BY {key} LIMIT %s FOR UPDATE"
    ).format(**names)
    update = sql.SQL("UPDATE {table} SET {column} = %s WHERE {key} = %s").format(**names)
    count = 0
    while True:
        with connection.transaction():
            rows = connection.execute(select, (keyring.sealing_id, BATCH)).fetchall()
            again = [(keyring.seal(column.purpose, keyring.open(column.purpose, sealed)), row) for row, sealed in rows]
            with connection.cursor() as cursor:
                cursor.executemany(update, again)
        if not rows:
            return count
        count += len(rows)
