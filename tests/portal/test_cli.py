import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from crm.problems import Invalid
from crm.staff import OperatorDetails
from db.models import AuditEntry, Operator, Staff
from portal.cli import add_operator, add_staff, problem_lines
from stack.terminal import told
from tests.portal.conftest import post


def test_an_operator_and_its_first_manager_can_sign_in(installation, app, system):
    number = add_operator(installation, OperatorDetails("valle-net", "Valle Net", "es", "PEN", "America/Lima"))
    add_staff(installation, "valle-net", "ana@valle.example", "Ana", ["manager"], "a long password")
    answer = post(app.test_client(), "/sign-in", email="ana@valle.example", password="a long password")
    assert answer.status_code == 302
    with Session(system) as session:
        assert session.get_one(Operator, number).timezone == "America/Lima"
        entries = select(AuditEntry.action).where(AuditEntry.operator_id == number).order_by(AuditEntry.id)
        actions = session.scalars(entries).all()
    assert actions == ["operator.create", "staff.create", "staff.sign_in"]


@pytest.mark.parametrize(
    ("details", "line"),
    [
        (OperatorDetails("Valle Net", "Valle Net"), "slug: Small letters, digits and dashes are needed here"),
        (OperatorDetails("valle", " "), "name: This is needed."),
        (OperatorDetails("valle", "Valle", timezone="Mars/Olympus"), "timezone: This is not a time zone"),
        (OperatorDetails("valle", "Valle", timezone="../../etc/passwd"), "timezone: This is not a time zone"),
        (OperatorDetails("valle", "Valle", currency="XYZ"), "currency: Choose one of the list."),
        (OperatorDetails("valle", "Valle", locale="klingon"), "locale: Choose one of the list."),
    ],
)
def test_what_cannot_be_right_gets_a_line(installation, app, details, line):
    with pytest.raises(Invalid) as refused:
        add_operator(installation, details)
    assert problem_lines(refused.value, told)[0].startswith(line)


def test_an_e_mail_address_belongs_to_one_person_of_the_whole_installation(installation, app, isp, system):
    with Session(system) as session:
        slug = session.get_one(Operator, isp.operator_id).slug
        taken = session.scalars(select(Staff.email).where(Staff.operator_id == isp.operator_id)).first()
    with pytest.raises(Invalid) as refused:
        add_staff(installation, slug, taken.upper(), "Ana", ["manager"], "a long password")
    assert [problem.field for problem in refused.value.problems] == ["email"]
