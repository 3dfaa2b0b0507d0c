"""Printing vouchers: a PDF of cards, each with its code and a QR code that opens the login with the code filled in.

Many are printed by a job. A sheet shows codes in clear, so it is kept sealed, for a day, and only for who may read
codes. A batch that is activated by printing is good from the moment in which its sheet is made.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from urllib.parse import quote
from zoneinfo import ZoneInfo

import segno
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from billing.pdf import Paper, render_pdf
from billing.pdf_pages import cut_below
from core.clock import utc_now
from core.codes import grouped
from core.crypto import Keyring
from core.i18n import N_, translator
from core.money import format_money, money_locale
from crm.brands import brand_of, logo_of
from crm.jobs import JobFunction, RunningJob
from crm.voucher_words import best_before_words, rate_words, what_it_buys
from crm.vouchers import activate, readable_codes
from db.audit import Actor
from db.models import Letterhead, Operator, RatePlan, Service, Voucher, VoucherBatch, VoucherPrint

PRINT = "vouchers.print"
PRINT_PURPOSE = "voucher.print"
KEPT = timedelta(days=1)
_SHEET = Paper("sheet", 210, 297, 8)
_ROLL = Paper("ticket", 80, 0, 3)
_TICKET_MM = 130
"""The longest that one ticket may be; each is a page of its own, which ends below its last line."""
TEMPLATES = ("cards", "strips", "ticket")


@dataclass(frozen=True, slots=True)
class Card:
    """What one card shows."""

    code: str
    number: str
    qr: str


@dataclass(frozen=True, slots=True)
class Sheet:
    """What all cards of a sheet show. Texts are in one language."""

    language: str
    name: str
    logo: str
    title: str
    buys: Sequence[str]
    note: str
    price: str
    devices: str
    help: str


def login_url(public_url: str, slug: str, code: str) -> str:
    """Return the address of the operator's captive page with a code filled in."""
    return f"{public_url.rstrip('/')}/captive/{quote(slug)}?code={quote(code)}"


def cards_pdf(
    session: Session,
    operator: Operator,
    batch: VoucherBatch,
    codes: Iterable[tuple[Voucher, str]],
    public_url: str,
    template: str | None = None,
) -> bytes:
    """Return the PDF of these codes. Raises billing.pdf.NotRendered."""
    template = template if template in TEMPLATES else batch.template
    brand = brand_of(session, operator)
    base = brand.base_url(public_url)
    cards = []
    for voucher, code in codes:
        qr = _qr(login_url(base, operator.slug, code), template)
        cards.append(Card(grouped(code, batch.prefix), f"#{batch.id}-{voucher.number}", qr))
    sheet = _sheet(session, operator, batch, brand.name)
    html = (
        _templates()
        .get_template(f"vouchers/{template}.html")
        .render(sheet=sheet, cards=cards, _=translator(sheet.language))
    )
    if template == "ticket":
        return cut_below(render_pdf(html, _ROLL, length=_TICKET_MM), _ROLL.margin)
    return render_pdf(html, _SHEET)


def print_batch(job: RunningJob) -> dict[str, object]:
    """Make the sheet of a batch: of the codes that can still be read. `parameters`: batch, template, first, last."""
    now = utc_now()
    actor = Actor(job.operator_id, "worker", job.staff_id)
    with job.session() as session:
        batch = session.get(VoucherBatch, int(job.parameters["batch"]))
        if batch is None or batch.operator_id != job.operator_id:
            job.log("error", "", N_("This batch is no longer there."))
            return {"cards": 0}
        vouchers = session.scalars(
            select(Voucher)
            .where(
                Voucher.batch_id == batch.id,
                Voucher.voided_at.is_(None),
                Voucher.number >= int(job.parameters.get("first") or 1),
                Voucher.number <= int(job.parameters.get("last") or batch.count),
            )
            .order_by(Voucher.number)
        ).all()
        job.plan(len(vouchers))
        codes = readable_codes(session, actor, job.keyring, vouchers, "print")
        job.check_cancelled()
        operator = session.get_one(Operator, job.operator_id)
        template = str(job.parameters.get("template") or "")
        content = cards_pdf(session, operator, batch, codes, job.settings.public_url, template)
        job.check_cancelled()
        if batch.activation == "print":
            activate(session, batch.id, now, [voucher.number for voucher, _code in codes])
        batch.printed_at = now
        session.execute(delete(VoucherPrint).where(VoucherPrint.job_id == job.id))  # of a worker that died
        session.execute(delete(VoucherPrint).where(VoucherPrint.created_at < now - KEPT))
        made = VoucherPrint(
            operator_id=job.operator_id,
            batch_id=batch.id,
            job_id=job.id,
            content=sealed_pdf(job.keyring, content),
            created_at=now,
        )
        session.add(made)
        session.commit()
        job.advance(len(codes))
        return {"cards": len(codes), "url": f"/vouchers/prints/{made.id}"}


JOBS: Mapping[str, JobFunction] = {PRINT: print_batch}


def sealed_pdf(keyring: Keyring, content: bytes) -> bytes:
    return keyring.seal(PRINT_PURPOSE, base64.b64encode(content).decode())


def opened_pdf(keyring: Keyring, sealed: bytes) -> bytes:
    """Return a kept sheet. Raises core.crypto.SecretUnreadable."""
    return base64.b64decode(keyring.open(PRINT_PURPOSE, sealed))


def forget_old_prints(session: Session) -> int:
    """Delete sheets that are older than a day; return how many."""
    gone = session.execute(
        delete(VoucherPrint).where(VoucherPrint.created_at < utc_now() - KEPT).returning(VoucherPrint.id)
    )
    return len(gone.all())


def _sheet(session: Session, operator: Operator, batch: VoucherBatch, name: str) -> Sheet:
    language, zone = operator.locale, ZoneInfo(operator.timezone)
    say = translator(language)
    service = session.scalar(
        select(Service).join(Voucher, Voucher.service_id == Service.id).where(Voucher.batch_id == batch.id).limit(1)
    )
    buys = what_it_buys(batch, zone, language)
    if service is not None:
        plan = session.get_one(RatePlan, service.plan_id)
        buys.append(rate_words(service.rate_download or plan.download, service.rate_upload or plan.upload))
    devices = ""
    if service is not None and service.session_limit > 1:
        devices = say(N_("%(count)s devices at once")) % {"count": service.session_limit}
    price = ""
    if batch.price > 0:
        price = format_money(Decimal(batch.price), operator.currency, money_locale(language, operator.currency))
    return Sheet(
        language=language,
        name=name,
        logo=_logo(session, operator.id),
        title=batch.name,
        buys=buys,
        note=best_before_words(batch, zone, language),
        price=price,
        devices=devices,
        help=say(N_("Join the Wi-Fi, open your browser and type this code, or scan it.")),
    )


def _logo(session: Session, operator_id: int) -> str:
    content = logo_of(session, operator_id)
    if content is None:
        kept = session.get(Letterhead, operator_id)
        content = kept.logo if kept is not None else None
    return f"data:image/png;base64,{base64.b64encode(content).decode()}" if content else ""


def _qr(url: str, template: str) -> str:
    if template == "strips":
        return ""
    return segno.make(url, error="m", micro=False).png_data_uri(scale=4, border=0)


@cache
def _templates() -> Environment:
    here = Path(__file__).resolve().parent / "templates"
    return Environment(
        loader=FileSystemLoader(here), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
