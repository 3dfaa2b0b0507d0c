"""What holds for an operator's subscribers while a RADIUS server has no news from the database.

A server answers from what it knew last. Who was in good standing then goes on, who was cut stays cut, for as long as it
lasts: that is what an operator has who chooses nothing. It may choose to be milder once the news has been missing for a
while, since nobody can register a payment meanwhile: dates that run out then cut nobody. Or stricter, where letting in
somebody who left is worse than an evening without logins: then nobody new is let in. Whoever is on line stays so.
"""

from datetime import datetime

from aaa.facts import OutageAction, Policy


def in_outage(policy: Policy, known_at: datetime | None, now: datetime) -> OutageAction:
    """Return what the operator wants at this moment; KEEP where news is not missing, or not for long enough.

    `known_at`: until when the facts are known to be those of the database; None is until now.
    """
    if known_at is None or now - known_at < policy.outage_after:
        return OutageAction.KEEP
    return policy.outage_action
