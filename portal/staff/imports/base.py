"""What the pages of an import share: the blueprint, the import that a page is about, and the numbers over its lists."""

from collections.abc import Sequence
from typing import Any

from flask import Blueprint, abort, redirect, request, url_for
from flask.sansio.blueprints import BlueprintSetupState
from sqlalchemy import ColumnElement, and_, exists, func, select
from sqlalchemy.orm import Session, aliased

from db.models import ImportBatch, ImportRow, RatePlan
from network.importing.files import LARGEST
from network.importing.matching import Action
from network.importing.staging import PRICE
from portal import context, import_words

blueprint = Blueprint("imports", __name__, url_prefix="/imports")


@blueprint.url_value_preprocessor
def _take_large_files(_endpoint: str | None, _values: dict[str, Any] | None) -> None:
    # Before anything reads the form: the rest of the portal takes far less.
    request.max_content_length = LARGEST


BAD = func.jsonb_array_length(ImportRow.problems) > 0
DOUBLE = func.jsonb_array_length(ImportRow.duplicates) > 0
_ITS_PLAN = aliased(RatePlan)  # the list of rows has joined the table itself
OTHER_PRICE = and_(
    ImportRow.action != Action.IGNORE.value,
    exists().where(_ITS_PLAN.id == ImportRow.plan_id, _ITS_PLAN.price_currency.is_(None), _ITS_PLAN.price != PRICE),
)
"""A row whose line costs something else where it comes from than its plan costs here."""


def find_batch(batch_id: int, *states: str) -> ImportBatch:
    """Return an import; what it asks for must fit the step it is at, or the browser is sent there."""
    batch: ImportBatch = context.db().get(ImportBatch, batch_id) or abort(404)
    if states and batch.state not in states:
        abort(redirect(url_for("imports.page", batch_id=batch.id)))
    return batch


def count_rows(batch: ImportBatch, *conditions: ColumnElement[bool]) -> int:
    return context.db().scalar(select(func.count()).where(ImportRow.batch_id == batch.id, *conditions)) or 0


def tally_of(batch: ImportBatch) -> dict[str, int]:
    """Return how many rows there are, and of them those of each decision, bad and doubled."""
    row = context.db().execute(
        select(
            func.count().label("all"),
            *(func.count().filter(ImportRow.action == action.value).label(action.value) for action in Action),
            func.count().filter(BAD).label("bad"),
            func.count().filter(DOUBLE).label("double"),
        ).where(ImportRow.batch_id == batch.id)
    ).one()  # fmt: skip
    return dict(row._mapping)


def plans_on_sale(session: Session) -> Sequence[RatePlan]:
    return session.scalars(select(RatePlan).where(RatePlan.archived.is_(False)).order_by(RatePlan.name)).all()


def _install(state: BlueprintSetupState) -> None:
    import_words.install(state.app)  # type: ignore[arg-type] # it is the application


blueprint.record_once(_install)
