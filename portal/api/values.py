"""What the models of the API are made of.

Money is a decimal text with its currency, a rate is bit/s, a volume octets, an instant RFC 3339 in UTC, a day of the
operator's calendar `YYYY-MM-DD`. What comes in is taken as it is written: a number in quotes is no number, and a member
that nobody knows is a mistake.
"""

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Generic, TypeAlias, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, StringConstraints
from pydantic.json_schema import SkipJsonSchema

from core.money import rounded

LARGEST_ID = 10**18 - 1
LARGEST_RATE = 1_000_000_000_000

Text = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$")]
"""No NUL, which the database cannot hold."""
RowId = Annotated[int, Field(ge=1, le=LARGEST_ID)]
Rate = Annotated[int, Field(ge=1, le=LARGEST_RATE, description="bit/s")]
Octets = Annotated[int, Field(description="octets")]


def string(longest: int, shortest: int = 0) -> Any:
    """Return the type of a text of so many characters at the most."""
    return Annotated[Text, StringConstraints(min_length=shortest, max_length=longest)]


_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")
_INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})\Z"
)


def _written_as_day(value: Any) -> Any:
    """Seconds since 1970 and the like are no day."""
    if isinstance(value, str) and not _DAY.match(value):
        raise ValueError("a day is written YYYY-MM-DD")
    return value


def _written_as_instant(value: Any) -> Any:
    if isinstance(value, str) and not _INSTANT.match(value):
        raise ValueError("an instant is written as in RFC 3339, such as 2027-01-31T18:00:00Z")
    return value


def _in_utc(value: datetime) -> datetime:
    return value.astimezone(UTC)


Instant = Annotated[datetime, BeforeValidator(_written_as_instant), AfterValidator(_in_utc)]
Day = Annotated[date, BeforeValidator(_written_as_day)]


class Given(BaseModel):
    """What comes in."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Nothing(Given):
    """An empty object, which may be left out."""


class Shown(BaseModel):
    """What goes out."""

    model_config = ConfigDict(from_attributes=True, extra="ignore")
    by_itself: ClassVar[frozenset[str]] = frozenset()
    """Members that change without anybody changing the thing, such as when a router was last heard."""


class Money(Shown):
    """An amount with the digits that its currency has, and the currency (ISO 4217)."""

    value: Annotated[Decimal, PlainSerializer(lambda value: f"{value:f}", return_type=str)] = Field(
        examples=["350.00"], json_schema_extra={"pattern": r"^-?[0-9]+(\.[0-9]+)?$"}
    )
    currency: str = Field(examples=["MXN"], pattern="^[A-Z]{3}$")

    @classmethod
    def of(cls, amount: Decimal, currency: str) -> "Money":
        return cls(value=rounded(amount, currency), currency=currency)


class MoneyGiven(Given):
    """An amount and its currency."""

    value: str = Field(pattern=r"^[0-9]{1,12}(\.[0-9]{1,4})?$", examples=["350.00"])
    currency: str = Field(pattern="^[A-Z]{3}$", examples=["MXN"])

    def amount(self) -> Decimal:
        return Decimal(self.value)


Item = TypeVar("Item", bound=BaseModel)


class Page(Shown, Generic[Item]):
    """A page of a list. `next` is the cursor of the one after it, null on the last."""

    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        """Return the name in the document: `Page[NasShown]` is a NasPage."""
        return f"{params[0].__name__.removesuffix('Shown')}Page"

    items: list[Item]
    next: str | None = Field(description="Cursor of the next page; null on the last one.")


Absent: TypeAlias = SkipJsonSchema[None]
"""Of a parameter that may be left out, but not be null."""


class PageAsked(Given):
    """Which page of a list."""

    model_config = ConfigDict(extra="forbid", strict=False)

    limit: int = Field(50, ge=1, le=200, description="Items on a page.")
    cursor: str | Absent = Field(None, max_length=200, description="`next` of the page before.")
