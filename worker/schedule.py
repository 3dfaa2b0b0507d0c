"""What is done on a timer, and how often (seconds).

A task that waited in the broker longer than until its next turn is dropped, so an hour's absence of the worker is not
made up for in a burst.
"""

from typing import Any

MINUTE, HOUR = 60.0, 3600.0


def _every(seconds: float, task: str) -> dict[str, Any]:
    return {"task": task, "schedule": seconds, "options": {"expires": max(seconds, 30.0)}}


SCHEDULE: dict[str, dict[str, Any]] = {
    "suspend who is overdue": _every(MINUTE, "radius.tasks.suspend_overdue_services"),
    "issue invoices": _every(5 * MINUTE, "billing.tasks.issue_invoices"),
    "look after checkouts": _every(MINUTE, "billing.gateways.tasks.look_after_checkouts"),
    "send electronic invoices": _every(MINUTE, "billing.einvoice.tasks.send_electronic_invoices"),
    "mail receipts": _every(MINUTE, "billing.gateways.tasks.mail_new_receipts"),
    "forget printed vouchers": _every(HOUR, "billing.tasks.forget_voucher_prints"),
    "end broken promises": _every(HOUR, "billing.tasks.end_broken_promises"),
    "back up routers": _every(5 * MINUTE, "network.tasks.back_up_routers"),
    "keep hotspots": _every(5 * MINUTE, "network.tasks.keep_hotspots"),
    "buy data top-ups": _every(MINUTE, "billing.tasks.buy_top_ups"),
    "climb the ladders": _every(5 * MINUTE, "billing.tasks.climb_ladders"),
    "write LibreQoS's files": _every(MINUTE, "network.tasks.write_shaper_files"),
    "follow imported secrets": _every(MINUTE, "worker.shadowing.follow_shadows"),
    "read mailboxes": _every(MINUTE, "crm.ticket_tasks.read_mailboxes"),
    "look after tickets": _every(MINUTE, "crm.ticket_tasks.look_after_tickets"),
    "send first logins": _every(MINUTE, "crm.login_tasks.send_first_logins"),
    "forget answers of the API": _every(HOUR, "crm.api_tasks.forget_answers"),
    "forget spent codes": _every(6 * HOUR, "crm.login_tasks.forget_spent_codes"),
    "forget old webhooks": _every(HOUR, "worker.webhooks.forget_old_webhooks"),
    "send reports": _every(MINUTE, "worker.reports.sending.send_reports"),
    "look after accounts": _every(HOUR, "billing.account_tasks.look_after_accounts"),
    "remove operators": _every(HOUR, "billing.account_tasks.remove_operators"),
    "find drift": _every(MINUTE, "radius.tasks.sweep"),
    "close stale sessions": _every(MINUTE, "radius.tasks.close_stale_sessions"),
    "delete what was kept long enough": _every(10 * MINUTE, "worker.retention.enforce_retention"),
    "make partitions ahead": _every(6 * HOUR, "radius.tasks.make_partitions"),
    "purge the change log": _every(HOUR, "radius.tasks.purge_change_log"),
}
