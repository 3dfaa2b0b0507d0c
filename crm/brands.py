"""The brand of an operator: name, logo, colours and ways to reach it, on whatever its subscribers see.

What the operator did not enter comes from the operator itself, so every page has a name and a colour from the first
day. A colour is taken as it is and made readable where text stands in it or on it (`core.colours`).
"""

import io
import re
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

from PIL import Image, ImageDraw, ImageFont
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core.colours import NIGHT, WHITE, NotAColour, parse_colour, parts, readable_on, text_on
from crm.problems import FieldProblem, Invalid, Problem
from db.audit import Actor, record
from db.models import PLAN_CHANGES, Brand, Operator, RatePlan, SelfService

DEFAULT_COLOUR = "#0f6e84"
LONGEST_TERMS = 20_000
ICON_SIZES = (192, 512)
_HOST = re.compile(r"(?=.{4,253}\Z)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]\Z")
_PHONE = re.compile(r"\+?[0-9][0-9 ()./-]{4,30}\Z")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+\Z")


@dataclass(frozen=True, slots=True)
class BrandDetails:
    """What somebody enters for a brand. `whatsapp` is a phone number with the country's code."""

    name: str | None = None
    colour: str = DEFAULT_COLOUR
    host: str | None = None
    phone: str | None = None
    whatsapp: str | None = None
    email: str | None = None
    terms: str = ""


@dataclass(frozen=True, slots=True)
class Branding:
    """A brand as pages use it; nothing in it is missing that a page needs.

    `on_colour` is read on a ground of `colour`; `link` and `link_dark` are the colour as text on light and dark pages.
    """

    operator_id: int
    slug: str
    name: str
    colour: str
    on_colour: str
    link: str
    link_dark: str
    has_logo: bool
    host: str | None
    phone: str | None
    whatsapp: str | None
    email: str | None
    terms: str
    version: int

    def base_url(self, public_url: str) -> str:
        """Return what links for subscribers begin with: the operator's own host name, where it has one.

        `public_url` is `Settings.public_url`, whose scheme and port hold for the operator's own host as well.
        """
        if self.host is None:
            return public_url
        parts = urlsplit(public_url)
        return f"{parts.scheme}://{self.host}" + (f":{parts.port}" if parts.port else "")

    def portal_url(self, public_url: str) -> str:
        """Return where subscribers find their pages, without a slash at its end."""
        return f"{self.base_url(public_url)}/my/{self.slug}"

    def whatsapp_url(self) -> str | None:
        """Return the link that opens a chat."""
        return f"https://wa.me/{self.whatsapp}" if self.whatsapp else None


def brand_of(session: Session, operator: Operator) -> Branding:
    """Return an operator's brand, with what was not entered filled in."""
    brand = session.get(Brand, operator.id)
    has_logo = brand is not None and bool(
        session.scalar(select(Brand.logo.is_not(None)).where(Brand.operator_id == operator.id))
    )
    colour = brand.colour if brand else DEFAULT_COLOUR
    return Branding(
        operator_id=operator.id,
        slug=operator.slug,
        name=(brand.name if brand else None) or operator.name,
        colour=colour,
        on_colour=text_on(colour),
        link=readable_on(colour, WHITE),
        link_dark=readable_on(colour, NIGHT),
        has_logo=has_logo,
        host=brand.host if brand else None,
        phone=brand.phone if brand else None,
        whatsapp=brand.whatsapp if brand else None,
        email=brand.email if brand else None,
        terms=brand.terms if brand else "",
        version=brand.version if brand else 0,
    )


def logo_of(session: Session, operator_id: int) -> bytes | None:
    """Return the logo, a PNG."""
    return session.scalar(select(Brand.logo).where(Brand.operator_id == operator_id))


def details_of(session: Session, operator_id: int) -> BrandDetails:
    """Return what was entered."""
    brand = session.get(Brand, operator_id)
    return BrandDetails() if brand is None else BrandDetails(**{k: getattr(brand, k) for k in BrandDetails.__slots__})


def change_brand(session: Session, actor: Actor, details: BrandDetails) -> Brand:
    """Enter or change an operator's brand. Raises Invalid."""
    checked = _checked(details)
    brand = _row(session, actor.operator_id)
    before = {name: getattr(brand, name) for name in BrandDetails.__slots__}
    try:
        with session.begin_nested():
            for name, value in asdict(checked).items():
                setattr(brand, name, value)
            brand.version += 1
            session.flush()
    except IntegrityError as refused:
        if "uq_brand_host" in str(refused.orig):  # somebody else's, whose row is not ours to see
            raise Invalid(FieldProblem("host", Problem.TAKEN)) from None
        raise
    record(session, actor, "brand.change", "brand", None, before, asdict(checked))
    return brand


def change_logo(session: Session, actor: Actor, png: bytes | None) -> None:
    """Put a logo, a PNG that was checked, on the brand; None takes it away."""
    brand = _row(session, actor.operator_id)
    brand.logo = png
    brand.version += 1
    session.flush()
    record(session, actor, "brand.logo", "brand", None, None, {"logo": "removed" if png is None else "changed"})


def icon(branding: Branding, logo: bytes | None, size: int) -> bytes:
    """Return the icon on a phone's home screen: the logo on white, or the first letter on the brand's colour.

    A tenth at each side stays free, which phones may cut away (a "maskable" icon).
    """
    if logo is not None:
        picture = Image.new("RGB", (size, size), WHITE)
        with Image.open(io.BytesIO(logo), formats=("PNG",)) as drawn:
            shown = drawn.convert("RGBA")
        scale = 0.8 * size / max(shown.size)
        shown = shown.resize((max(1, round(shown.width * scale)), max(1, round(shown.height * scale))))
        picture.paste(shown, ((size - shown.width) // 2, (size - shown.height) // 2), shown)
    else:
        picture = Image.new("RGB", (size, size), parts(branding.colour))
        letter = next((one for one in branding.name if one.isalnum()), "·").upper()
        font = ImageFont.load_default(size=size * 0.5)
        ImageDraw.Draw(picture).text(
            (size / 2, size / 2), letter, fill=parts(branding.on_colour), font=font, anchor="mm"
        )
    written = io.BytesIO()
    picture.save(written, "PNG", optimize=True)
    return written.getvalue()


@dataclass(frozen=True, slots=True)
class Allowed:
    """What subscribers may do by themselves. `plan_change`: no, ask (staff confirm), at_once."""

    enabled: bool = True
    send_logins: bool = True
    plan_change: str = "ask"
    offered_plans: tuple[int, ...] = ()
    may_boost: bool = True
    may_promise: bool = True
    may_pause: bool = False


def allowed_by(session: Session, operator_id: int) -> Allowed:
    """Return what an operator lets its subscribers do."""
    row = session.get(SelfService, operator_id)
    if row is None:
        return Allowed()
    values = {name: getattr(row, name) for name in Allowed.__slots__}
    return Allowed(**{**values, "offered_plans": tuple(row.offered_plans)})


def change_allowed(session: Session, actor: Actor, wanted: Allowed) -> None:
    """Change what subscribers may do. Raises Invalid."""
    problems = []
    if wanted.plan_change not in PLAN_CHANGES:
        problems.append(FieldProblem("plan_change", Problem.UNKNOWN_CHOICE))
    offered = sorted(set(wanted.offered_plans))
    plans = select(RatePlan.id).where(RatePlan.operator_id == actor.operator_id, RatePlan.id.in_(offered))
    if len(session.scalars(plans).all()) != len(offered):
        problems.append(FieldProblem("offered_plans", Problem.UNKNOWN_PLAN))
    if problems:
        raise Invalid(*problems)
    before = allowed_by(session, actor.operator_id)
    row = session.get(SelfService, actor.operator_id)
    if row is None:
        row = SelfService(operator_id=actor.operator_id)
        session.add(row)
    for name, value in asdict(wanted).items():
        setattr(row, name, offered if name == "offered_plans" else value)
    session.flush()
    record(session, actor, "self_service.change", "self_service", None, asdict(before), asdict(wanted))


def _row(session: Session, operator_id: int) -> Brand:
    brand = session.get(Brand, operator_id, with_for_update=True)
    if brand is None:
        brand = Brand(operator_id=operator_id, colour=DEFAULT_COLOUR, version=0, terms="")
        session.add(brand)
        session.flush()
    return brand


def _checked(details: BrandDetails) -> BrandDetails:
    problems = []
    colour, host = DEFAULT_COLOUR, (details.host or "").strip().lower().rstrip(".") or None
    try:
        colour = parse_colour(details.colour)
    except NotAColour:
        problems.append(FieldProblem("colour", Problem.NOT_A_COLOUR))
    if details.name is not None and len(details.name) > 80:
        problems.append(FieldProblem("name", Problem.TOO_LONG, {"limit": "80"}))
    if host is not None and not _HOST.match(host):
        problems.append(FieldProblem("host", Problem.NOT_A_HOST))
    if details.phone is not None and not _PHONE.match(details.phone):
        problems.append(FieldProblem("phone", Problem.NOT_A_PHONE))
    if details.email is not None and not _EMAIL.match(details.email):
        problems.append(FieldProblem("email", Problem.NOT_AN_EMAIL))
    if len(details.terms) > LONGEST_TERMS:
        problems.append(FieldProblem("terms", Problem.TOO_LONG, {"limit": str(LONGEST_TERMS)}))
    whatsapp = "".join(one for one in details.whatsapp or "" if one.isdigit()) or None
    if details.whatsapp and not (_PHONE.match(details.whatsapp) and whatsapp and 8 <= len(whatsapp) <= 15):
        problems.append(FieldProblem("whatsapp", Problem.NOT_A_PHONE))
    if problems:
        raise Invalid(*problems)
    name = " ".join((details.name or "").split()) or None
    return BrandDetails(name, colour, host, details.phone, whatsapp, details.email, details.terms.strip())
