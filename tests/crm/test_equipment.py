from datetime import UTC, datetime
from decimal import Decimal

import pytest

from crm.equipment import (
    EquipmentDetails,
    Whereabouts,
    change_equipment,
    create_equipment,
    enter_list,
    find_equipment,
    installed_at,
    move_equipment,
    moves_of,
    read_list,
)
from crm.materials import save_material, use_material, used_by
from crm.problems import ChangedMeanwhile, FieldProblem, Invalid, Problem
from crm.work_orders import WorkOrderDetails, create_work_order
from db.audit import Actor
from db.models import Service
from tests.crm.test_work_orders import add_staff
from tests.rows import add_operator, add_plan, add_service, add_subscriber

NOW = datetime(2027, 5, 4, 15, 0, tzinfo=UTC)
DISH = EquipmentDetails(model="LiteBeam M5", serial="SN-77", mac="4C-5E-0C-00-00-77")


@pytest.fixture
def actor(rows):
    return Actor(add_operator(rows), "rosa@example.com")


@pytest.fixture
def dish(rows, actor):
    return create_equipment(rows, actor, DISH, NOW)


@pytest.fixture
def ana(rows, actor):
    """The service of a subscriber."""
    service = add_service(rows, actor.operator_id, add_plan(rows, actor.operator_id), "ana")
    return rows.get_one(Service, service)


def test_a_label_is_found_by_serial_number_or_mac_in_any_spelling(rows, actor, dish):
    for label in ("sn-77", " SN-77 ", "4c:5e:0c:00:00:77", "4C5E0C000077", "4c5e.0c00.0077"):
        assert find_equipment(rows, actor.operator_id, label) is dish
    assert find_equipment(rows, actor.operator_id, "") is None
    assert find_equipment(rows, add_operator(rows), "SN-77") is None


@pytest.mark.parametrize(
    ("details", "problem"),
    [
        (EquipmentDetails(model="x"), FieldProblem("serial", Problem.SERIAL_OR_MAC)),
        (EquipmentDetails(serial="1", mac="4c:5e"), FieldProblem("mac", Problem.NOT_A_MAC)),
        (EquipmentDetails(serial="sn-77"), FieldProblem("serial", Problem.TAKEN)),
        (EquipmentDetails(mac="4c5e0c000077"), FieldProblem("mac", Problem.TAKEN)),
        (EquipmentDetails(serial="2", kind="car"), FieldProblem("kind", Problem.UNKNOWN_CHOICE)),
        (EquipmentDetails(serial="2", model="x" * 101), FieldProblem("model", Problem.TOO_LONG, {"limit": "100"})),
    ],
)
def test_what_cannot_be_is_said(rows, actor, dish, details, problem):
    with pytest.raises(Invalid) as invalid:
        create_equipment(rows, actor, details, NOW)
    assert invalid.value.problems == (problem,)


def test_a_device_goes_from_stock_to_a_roof_and_back(rows, actor, dish, ana):
    luis = add_staff(rows, actor.operator_id, "luis")
    move_equipment(rows, actor, dish, Whereabouts("technician", staff_id=luis.staff_id), NOW)
    roof = Whereabouts("installed", subscriber_id=ana.subscriber_id, service_id=ana.id)
    move_equipment(rows, luis, dish, roof, NOW)
    assert (installed_at(rows, ana), dish.staff_id) == ([dish], None)
    move_equipment(rows, actor, dish, Whereabouts("returned", place="Shelf 3"), NOW, note="Water in it")
    assert (installed_at(rows, ana), dish.subscriber_id, dish.place) == ([], None, "Shelf 3")
    assert [(move.before, move.after, move.author) for move in moves_of(rows, dish)] == [
        ("installed", "returned", "rosa@example.com"),
        ("technician", "installed", luis.name),
        ("stock", "technician", "rosa@example.com"),
        ("", "stock", "rosa@example.com"),
    ]


def test_what_hangs_on_one_roof_is_not_installed_on_another(rows, actor, dish, ana):
    move_equipment(rows, actor, dish, Whereabouts("installed", subscriber_id=ana.subscriber_id), NOW)
    other = add_subscriber(rows, actor.operator_id, name="Eva")
    with pytest.raises(Invalid) as invalid:
        move_equipment(rows, actor, dish, Whereabouts("installed", subscriber_id=other), NOW)
    assert invalid.value.problems[0].problem is Problem.INSTALLED_ELSEWHERE
    assert dish.subscriber_id == ana.subscriber_id


def test_nothing_of_another_operator_can_be_named(rows, actor, dish):
    theirs = add_operator(rows)
    person = add_staff(rows, theirs, "eva")
    for place in (
        Whereabouts("technician", staff_id=person.staff_id),
        Whereabouts("installed", subscriber_id=add_subscriber(rows, theirs)),
        Whereabouts("technician"),
        Whereabouts("sold"),
    ):
        with pytest.raises(Invalid):
            move_equipment(rows, actor, dish, place, NOW)


def test_the_second_of_two_who_change_a_device_is_told(rows, actor, dish):
    seen = dish.version
    change_equipment(rows, actor, dish, EquipmentDetails(model="Other", serial="SN-77"), seen)
    with pytest.raises(ChangedMeanwhile):
        change_equipment(rows, actor, dish, DISH, seen)


LIST = """Modelo;Número de serie;MAC
LiteBeam;A1;4C:5E:0C:00:01:01
LiteBeam;A2;not a mac
LiteBeam;;
=HYPERLINK("http://x");A3;
LiteBeam;a1;
LiteBeam;sn-77;
"""


def test_a_pasted_list_is_read_line_by_line_and_only_good_lines_are_entered(rows, actor, dish):
    lines = read_list(rows, actor.operator_id, LIST)
    found = {line.number: [(one.field, one.problem) for one in line.problems] for line in lines}
    assert found == {
        2: [],
        3: [("mac", Problem.NOT_A_MAC)],
        4: [("serial", Problem.SERIAL_OR_MAC)],
        5: [],
        6: [("serial", Problem.SAME_AS_LINE)],
        7: [("serial", Problem.TAKEN)],
    }
    assert enter_list(rows, actor, lines, NOW) == 2
    assert find_equipment(rows, actor.operator_id, "4c:5e:0c:00:01:01").model == "LiteBeam"


@pytest.mark.parametrize("text", ["Dish\tA1\t4C5E0C000101", "Dish,A1,4c5e.0c00.0101", "mac;sn\n4C5E0C000101;A1"])
def test_a_list_is_read_whatever_separates_its_columns(rows, actor, text):
    (line,) = read_list(rows, actor.operator_id, text)
    assert (line.details.serial, line.details.mac, line.problems) == ("A1", "4c:5e:0c:00:01:01", ())


def test_a_list_that_is_too_long_is_refused_whole(rows, actor):
    with pytest.raises(Invalid):
        read_list(rows, actor.operator_id, "x,1\n" * 2001)


def test_what_an_order_uses_leaves_the_stock(rows, actor):
    cable = save_material(rows, actor, None, "Cable", "m", Decimal(100), Decimal(50))
    order = create_work_order(rows, actor, WorkOrderDetails("expansion", title="Tower"), NOW)
    for _ in range(2):
        use_material(rows, actor, order, cable, Decimal("30.5"), NOW, key="phone-1")
    use_material(rows, actor, order, cable, Decimal("-0.5"), NOW)
    assert (cable.stock, used_by(rows, order)) == (Decimal(70), [(cable, Decimal(30))])
    with pytest.raises(Invalid):
        use_material(rows, actor, order, cable, Decimal(-31), NOW)
    with pytest.raises(Invalid):
        use_material(rows, actor, order, cable, Decimal("NaN"), NOW)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        (("", "m", Decimal(1), Decimal(1)), "name"),
        (("CABLE", "m", Decimal(1), Decimal(1)), "name"),
        (("Mast", "", Decimal(1), Decimal(1)), "unit"),
        (("Mast", "m", Decimal("Infinity"), Decimal(1)), "stock"),
        (("Mast", "m", Decimal(1), Decimal(-1)), "reorder_at"),
    ],
)
def test_a_material_that_cannot_be_is_refused(rows, actor, values, field):
    save_material(rows, actor, None, "Cable", "m", Decimal(100), Decimal(50))
    with pytest.raises(Invalid) as invalid:
        save_material(rows, actor, None, *values)
    assert invalid.value.problems[0].field == field
