import io
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace

import pytest
from pypdf import PdfReader
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from aaa.facts import ServiceState
from aaa.vouchers import voucher_state
from billing.voucher_cards import cards_pdf, opened_pdf, print_batch
from core.codes import ALPHABET, CodeKey, NotConcealed, fold_code, grouped
from core.settings import Settings
from crm.problems import Invalid, WrongState
from crm.vouchers import (
    BatchTerms,
    activate,
    assign_batch,
    code_key,
    counts,
    create_batch,
    find_code,
    guessing_takes,
    readable_codes,
    settings_of,
    shortest_safe,
    state_expression,
    void_batch,
    void_vouchers,
)
from db.audit import Actor
from db.models import AuditEntry, Collector, Operator, Service, Voucher, VoucherBatch, VoucherPrint
from radius.facts import FactsReader
from tests.rows import add_nas, add_operator, add_plan

NOW = datetime(2027, 3, 10, 15, 0, tzinfo=UTC)


@pytest.fixture
def actor(rows: Session) -> Actor:
    return Actor(add_operator(rows, locale="es", currency="MXN"), "maria@example.com")


def make(rows: Session, settings: Settings, actor: Actor, count: int = 3, **values) -> VoucherBatch:
    values = {"plan_id": add_plan(rows, actor.operator_id), "lasts": timedelta(hours=2), **values}
    name = values.pop("name", f"batch {rows.scalar(select(func.count()).select_from(VoucherBatch))}")
    return create_batch(rows, actor, settings.keyring, BatchTerms(name, count, **values), NOW)


def vouchers_of(rows: Session, batch: VoucherBatch) -> list[Voucher]:
    query = select(Voucher).where(Voucher.batch_id == batch.id).order_by(Voucher.number)
    return list(rows.scalars(query.execution_options(populate_existing=True)))


def test_a_code_is_found_however_it_was_typed(rows, installation, actor):
    batch = make(rows, installation, actor, prefix="wifi")
    (first, *_rest) = readable_codes(rows, actor, installation.keyring, vouchers_of(rows, batch), "print")
    voucher, code = first
    assert code.startswith("WIFI")
    assert set(code[4:]) <= set(ALPHABET)
    for typed in (code, code.lower(), grouped(code), f" {grouped(code)} ", code.replace("1", "I").replace("0", "O")):
        assert find_code(rows, installation.keyring, actor.operator_id, typed) is voucher
    other = add_operator(rows)
    for nothing in ("", "-", "'; DROP TABLE voucher", "x" * 5000, "\0"):
        assert find_code(rows, installation.keyring, actor.operator_id, nothing) is None
    assert find_code(rows, installation.keyring, other, code) is None


def test_ten_thousand_codes_are_made_quickly_and_none_is_in_clear(rows, installation, actor):
    begun = time.monotonic()
    batch = make(rows, installation, actor, 10_000)
    assert time.monotonic() - begun < 6
    assert counts(rows, [batch.id], NOW) == {batch.id: {"stock": 10_000}}
    key = code_key(installation.keyring, settings_of(rows, actor, installation.keyring))
    sample = vouchers_of(rows, batch)[::1000]
    for voucher, code in readable_codes(rows, actor, installation.keyring, sample, "print"):
        assert voucher.lookup == key.lookup(code)
        assert (
            code
            not in rows.execute(
                text("SELECT v::text FROM voucher v WHERE service_id = :id"), {"id": voucher.service_id}
            ).scalar_one()
        )


def test_codes_are_as_long_as_a_year_of_guessing_asks_for(rows, installation, actor):
    assert guessing_takes(8, 100) > timedelta(days=365) > guessing_takes(7, 100)
    assert shortest_safe(100) == 8
    batch = make(rows, installation, actor)
    assert guessing_takes(batch.length, batch.count) >= timedelta(days=365)
    with pytest.raises(Invalid, match="length: too_short"):
        make(rows, installation, actor, 1000, length=7)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"name": " "}, "name: required"),
        ({"count": 0}, "count: out_of_range"),
        ({"count": 10_001}, "count: out_of_range"),
        ({"plan_id": 0}, "plan_id: unknown_plan"),
        ({"lasts": None}, "lasts: required"),
        ({"lasts": timedelta(0)}, "lasts: out_of_range"),
        ({"best_before": NOW}, "best_before: too_long_ago"),
        ({"octets": -1}, "octets: not_positive"),
        ({"devices": 101}, "devices: out_of_range"),
        ({"price": Decimal("NaN")}, "price: amount_negative"),
        ({"price": Decimal(-1)}, "price: amount_negative"),
        ({"rate_download": 5}, "rate_upload: both_or_neither"),
        ({"prefix": "ñandú"}, "prefix: not_a_code"),
        ({"prefix": "TOOLONGPREFIX"}, "prefix: not_a_code"),
        ({"length": 50}, "length: out_of_range"),
        ({"nas_ids": (0,)}, "nas_ids: unknown_nas"),
        ({"activation": "never"}, "activation: unknown_choice"),
        ({"seller_staff_id": 1, "collector_id": 1}, "seller: one_of_both"),
    ],
)
def test_a_batch_that_cannot_be_is_refused(rows, installation, actor, values, problem):
    with pytest.raises(Invalid) as refused:
        make(rows, installation, actor, values.pop("count", 3), **values)
    assert problem in str(refused.value)


def test_a_router_of_another_operator_is_none_of_ours(rows, installation, actor):
    theirs = add_nas(rows, add_operator(rows))
    with pytest.raises(Invalid, match="nas_ids: unknown_nas"):
        make(rows, installation, actor, nas_ids=(theirs,))


def test_a_batch_that_is_cancelled_leaves_what_was_used(rows, installation, actor):
    batch = make(rows, installation, actor, activation="now")
    used = vouchers_of(rows, batch)[1]
    used.first_login_at = NOW
    rows.flush()
    assert void_batch(rows, actor, batch, "stolen cards", NOW) == 2
    assert counts(rows, [batch.id], NOW)[batch.id] == {"void": 2, "active": 1}
    with pytest.raises(WrongState):
        void_vouchers(rows, actor, [vouchers_of(rows, batch)[0]], "again", NOW)


def test_a_batch_is_given_to_a_collector(rows, installation, actor):
    batch = make(rows, installation, actor)
    collector = Collector(operator_id=actor.operator_id, name="Tienda")
    rows.add(collector)
    rows.flush()
    assign_batch(rows, actor, batch, None, collector.id)
    assert batch.collector_id == collector.id
    with pytest.raises(Invalid):
        assign_batch(rows, actor, batch, None, 0)


def test_the_state_in_sql_is_the_state_of_the_rules(rows, installation, actor):
    batch = make(
        rows, installation, actor, 8, online=timedelta(minutes=30), octets=1000, best_before=NOW + timedelta(days=1)
    )
    activate(rows, batch.id, NOW, range(2, 9))
    vouchers = vouchers_of(rows, batch)
    vouchers[2].first_login_at = NOW
    vouchers[3].first_login_at = NOW - timedelta(hours=3)
    vouchers[4].first_login_at, vouchers[4].online_seconds = NOW, 1800
    vouchers[5].first_login_at, vouchers[5].octets = NOW, 1001
    rows.flush()
    void_vouchers(rows, actor, [vouchers[6]], "lost", NOW)
    for moment in (NOW + timedelta(seconds=5), NOW + timedelta(days=2)):
        said = dict(
            rows.execute(
                select(Voucher.service_id, state_expression(moment))
                .join(Service, Service.id == Voucher.service_id)
                .join(VoucherBatch, VoucherBatch.id == Voucher.batch_id)
                .where(Voucher.batch_id == batch.id)
            ).all()
        )
        raw = rows.connection().connection.driver_connection
        facts = FactsReader(raw, moment).services(said)
        ruled = {one.service.id: voucher_state(one.service.voucher, one.service.state, moment).value for one in facts}
        assert said == ruled
    assert {"stock", "unused", "active", "used_up", "expired", "void"} >= set(said.values())
    assert isinstance(ServiceState("active"), ServiceState)


def test_cards_are_printed_activated_and_kept_sealed(rows, installation, actor):
    batch = make(rows, installation, actor, 5, activation="print", price=Decimal(20), template="cards")
    job_id = rows.execute(
        text("INSERT INTO job (operator_id, kind, parameters) VALUES (:id, 'vouchers.print', '{}') RETURNING id"),
        {"id": actor.operator_id},
    ).scalar_one()

    class Job(SimpleNamespace):
        def session(self):
            return Session(bind=rows.connection(), join_transaction_mode="create_savepoint")

        def plan(self, total): ...
        def check_cancelled(self): ...
        def advance(self, done): ...

    job = Job(
        id=job_id, operator_id=actor.operator_id, staff_id=None, keyring=installation.keyring, settings=installation,
        parameters={"batch": batch.id},
    )  # fmt: skip
    rows.flush()
    codes = dict(readable_codes(rows, actor, installation.keyring, vouchers_of(rows, batch), "print"))
    outcome = print_batch(job)
    assert outcome["cards"] == 5
    rows.expire_all()
    kept = rows.scalars(select(VoucherPrint).where(VoucherPrint.job_id == job_id)).one()
    words = "".join(
        page.extract_text() for page in PdfReader(io.BytesIO(opened_pdf(installation.keyring, kept.content))).pages
    )
    for code in codes.values():
        assert grouped(code) in words
        assert code.encode() not in kept.content
    assert "2 h from the first login" in " ".join(words.split()) or "2 h desde" in " ".join(words.split())
    operator = rows.get_one(Operator, actor.operator_id)
    tickets = cards_pdf(rows, operator, batch, codes.items(), "https://isp.example", "ticket")
    for code, page in zip(codes.values(), PdfReader(io.BytesIO(tickets)).pages, strict=True):
        assert grouped(code) in page.extract_text()
        assert 140 < float(page.mediabox.height) < 300, "a page for each, and no paper is wasted"
    assert counts(rows, [batch.id], NOW)[batch.id] == {"unused": 5}
    actions = rows.scalars(select(AuditEntry.action).where(AuditEntry.entity == "voucher_batch")).all()
    assert "voucher_batch.print" in actions


def test_a_concealed_name_comes_back_with_its_key_alone():
    key, other = CodeKey(CodeKey.generate()), CodeKey(CodeKey.generate())
    concealed = key.conceal("  abcd-1234 ñ")
    assert concealed == key.conceal("  abcd-1234 ñ")
    assert key.reveal(concealed) == "  abcd-1234 ñ"
    for wrong in (lambda: other.reveal(concealed), lambda: key.reveal("code:x"), lambda: key.reveal("code:")):
        with pytest.raises(NotConcealed):
            wrong()
    assert fold_code("o0 iL-1") == "00111"
