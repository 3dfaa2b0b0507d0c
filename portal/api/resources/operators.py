"""The operator that a token belongs to."""

from datetime import datetime

from pydantic import Field

from db.models import Operator
from portal import context
from portal.api.operations import operation
from portal.api.scopes import Scope
from portal.api.values import Shown


class OperatorShown(Shown):
    """The company whose token it is."""

    id: int
    slug: str
    name: str
    currency: str
    timezone: str = Field(description="In which its days begin.", examples=["America/Mexico_City"])
    locale: str
    created_at: datetime


@operation("GET", "/operator", Scope.OPERATOR_READ, tag="Operator", summary="Read the operator", answer=OperatorShown,
           single=True)  # fmt: skip
def show() -> OperatorShown:
    operator: Operator = context.operator()
    return OperatorShown.model_validate(operator)
