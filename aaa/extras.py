"""Extra RADIUS attributes of a plan and a service: which hold, and what their placeholders stand for.

An operator writes `Filter-Id := {plan}` or `Reply-Message := {name} {download_kbps}k` once on a plan, and each of its
services is answered with its own. The rate is the one that was bought, not the one of the moment: attributes that
changed with a time window or a step of fair use would end the session, where the rate alone is changed by a CoA.
"""

import re
from collections.abc import Callable, Mapping

from aaa.facts import Extra, Plan, Service
from core.rates import RateLimit

LONGEST_TEXT = 247  # octets of a string inside a vendor-specific attribute (RFC 2865 §5.26)

PLACEHOLDERS: Mapping[str, Callable[[Service], str | None]] = {
    "name": lambda service: service.name,
    "service": lambda service: str(service.id),
    "plan": lambda service: service.plan.name,
    "address": lambda service: service.framed_ip,
    "download": lambda service: str(min(_bought(service).download, 0xFFFFFFFF)),
    "upload": lambda service: str(min(_bought(service).upload, 0xFFFFFFFF)),
    "download_kbps": lambda service: str(_bought(service).download // 1000),
    "upload_kbps": lambda service: str(_bought(service).upload // 1000),
}
"""What may stand in braces, with what it is for a service; None is nothing to say.

Rates are in bit/s, at most what an attribute of 32 bits holds, or in kbit/s.
"""

PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")


def extras_of(plan: Plan, service: Service) -> tuple[Extra, ...]:
    """Return the plan's extra attributes with the service's own in place of those of the same name, filled in.

    An attribute that asks for what the service has not, or that grew too long, is left out: half a value would be
    another value.
    """
    own = {name for name, _, _ in service.extra}
    merged = tuple(extra for extra in plan.extra if extra[0] not in own) + service.extra
    if not any("{" in value for _, _, value in merged):
        return merged
    filled = ((name, operator, filled_in(value, service)) for name, operator, value in merged)
    return tuple((name, operator, value) for name, operator, value in filled if value is not None)


def filled_in(value: str, service: Service) -> str | None:
    """Return a value with each placeholder replaced; None where the service has nothing for one of them."""
    parts: list[str] = []
    done = 0
    for match in PLACEHOLDER.finditer(value):
        if match[1] not in PLACEHOLDERS:
            continue
        found = PLACEHOLDERS[match[1]](service)
        if not found:
            return None
        parts += (value[done : match.start()], found)
        done = match.end()
    text = "".join((*parts, value[done:]))
    return text if len(text.encode()) <= LONGEST_TEXT else None


def _bought(service: Service) -> RateLimit:
    return service.rate or service.plan.rate
