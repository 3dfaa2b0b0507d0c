"""Taking over what somebody set on a router: it becomes the service's own, as if it had been entered here."""

import ipaddress
from dataclasses import replace

from sqlalchemy.orm import Session

from crm.service_terms import ServiceTerms
from crm.services import change_service, terms_of_service
from db.audit import Actor
from db.models import QueueDrift, Service
from network.provisioning.diff import Field
from network.provisioning.notation import read_rates


class NotTakeable(Exception):
    """What the router has cannot be a service's: no rate at all, or no single address."""


def take_value(session: Session, actor: Actor, service: Service, drift: QueueDrift) -> None:
    """Give a service the rate or the address that its queue has on the router; audited as any change of it.

    The difference is over with that, and not only when the router is next compared: its row is deleted.
    Raises NotTakeable, and what `change_service` raises: the address may be somebody else's.
    """
    terms = terms_of_service(session, service)
    change_service(session, actor, service, _taken(terms, drift), service.version)
    session.delete(drift)


def _taken(terms: ServiceTerms, drift: QueueDrift) -> ServiceTerms:
    match drift.field:
        case Field.RATE:
            rates = read_rates(drift.found)
            if rates is None or 0 in rates:
                raise NotTakeable
            upload, download = rates
            return replace(terms, rate_download=download, rate_upload=upload)
        case Field.ADDRESS:
            try:
                return replace(terms, framed_ip=str(ipaddress.ip_interface(drift.found).ip))
            except ValueError:
                raise NotTakeable from None
    raise NotTakeable
