"""The demo's help desk: a week of tickets, some solved, one late, one handed on, and two canned answers."""

from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.i18n import translator
from crm.help_desk import CannedDetails, categories, save_canned
from crm.tickets import (
    Call,
    answer,
    change_ticket,
    details_of,
    escalate,
    log_call,
    note,
    open_ticket,
    rate,
    reply,
)
from db.audit import Actor
from db.models import HelpDesk, Service, Staff, Subscriber

CANNED = (
    CannedDetails(
        "Reiniciar el equipo",
        {
            "es": "Hola {subscriber}:\n\nDesconecte el router de la corriente, espere un minuto y conéctelo de nuevo."
            " Si en cinco minutos no navega, responda a este mensaje.\n\n{staff}\n{operator}",
            "en": "Hello {subscriber},\n\nunplug the router, wait a minute and plug it in again. If you are not on"
            " line after five minutes, reply to this message.\n\n{staff}\n{operator}",
        },
    ),
    CannedDetails(
        "Pago recibido",
        {
            "es": "Hola {subscriber}:\n\nSu pago quedó aplicado y el servicio está activo. Gracias.\n\n{operator}",
            "en": "Hello {subscriber},\n\nyour payment is booked and your service is active. Thank you.\n\n{operator}",
        },
    ),
)


def answer_demo(session: Session, operator_id: int, now: datetime) -> None:
    """Enter it, unless somebody looked at the help desk before."""
    if session.get(HelpDesk, operator_id) is not None:
        return
    people = session.scalars(select(Staff).where(Staff.operator_id == operator_id, Staff.roles.contains(["support"])))
    clerk = people.first()
    actor = Actor(operator_id, clerk.email if clerk else "demo", clerk.id if clerk else None)
    found = categories(session, operator_id)
    about = {category.name: category for category in found}
    for category in found:
        category.name = translator("es")(category.name)  # as the demo's people speak, whatever its staff read
    subscribers = session.scalars(
        select(Subscriber)
        .join(Service, Service.subscriber_id == Subscriber.id)
        .where(Subscriber.operator_id == operator_id, Service.state != "terminated")
        .group_by(Subscriber.id)
        .order_by(Subscriber.id)
        .limit(6)
    ).all()
    if len(subscribers) < 6:
        return
    for canned in CANNED:
        save_canned(session, actor, None, canned)
    day, hour = timedelta(days=1), timedelta(hours=1)

    def opened(place: int, kind: str, subject: str, text: str, ago: timedelta, source: str = "portal"):  # type: ignore[no-untyped-def]
        who = subscribers[place]
        author = Actor(operator_id, who.name)
        return open_ticket(session, author, who.id, about.get(kind), subject, text, source=source, now=now - ago)

    slow = opened(
        0,
        "Slow or unstable internet",
        "Internet muy lento por las noches",
        "Desde el lunes no puedo ver películas.",
        5 * day,
    )
    answer(session, actor, slow, "¿Le pasa también con cable?", now=now - 5 * day + hour)
    reply(session, Actor(operator_id, subscribers[0].name), slow, "Sí, igual con cable.", now=now - 4 * day)
    answer(session, actor, slow, "Cambiamos el canal de la torre. ¿Mejoró?", state="solved", now=now - 3 * day)
    rate(session, Actor(operator_id, subscribers[0].name), slow, 5, "Muy amables", now - 2 * day)

    unpaid = opened(
        1, "Invoice or payment", "Mi pago no aparece", "Pagué ayer en la tienda y sigo sin servicio.", 6 * hour, "staff"
    )
    log_call(session, actor, unpaid, Call("in", "Tiene el recibo; lo envía por WhatsApp.", 240), now=now - 5 * hour)
    note(session, actor, unpaid, "En caja no está. ¿Lo tiene Beto?", now=now - 5 * hour)

    down = opened(2, "No internet", "Sin internet desde la tormenta", "La luz del equipo está roja.", 9 * day)
    change_ticket(
        session,
        actor,
        down,
        replace(details_of(down), priority="urgent", queue="support"),
        down.version,
        now=now - 9 * day,
    )
    escalate(session, actor, down, "technical", "No responde al ping; parece la antena.", now=now - 9 * day + hour)

    opened(3, "Change of plan", "Quiero más velocidad", "¿Cuánto cuesta el plan de 50 megas?", 2 * hour)
    moving = opened(
        4, "Move to another address", "Me cambio de casa", "El mes que entra me mudo a dos cuadras.", 3 * day
    )
    answer(session, actor, moving, "Claro. ¿A qué dirección?", now=now - 3 * day + hour)
    opened(
        5, "Something else", "Cambiar la contraseña del Wi-Fi", "No recuerdo cómo se hace.", 30 * timedelta(minutes=1)
    )
