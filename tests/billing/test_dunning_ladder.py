"""Which reminder is due when, and what it may say. No database."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.ladder import (
    BadText,
    DueSteps,
    Step,
    check_text,
    default_words,
    due_steps,
    fill,
    message_link,
    months_before,
)

BEFORE, ON, AFTER, CHAT = Step(-3, "email"), Step(0, "email"), Step(5, "email"), Step(0, "whatsapp")
LADDER = (BEFORE, ON, AFTER)
DUE = date(2027, 2, 5)


def on(days: int) -> date:
    return DUE + timedelta(days=days)


@pytest.mark.parametrize(
    ("steps", "today", "done", "expected"),
    [
        pytest.param(LADDER, on(-4), (), DueSteps((), ()), id="too early"),
        pytest.param(LADDER, on(-3), (), DueSteps((BEFORE,), ()), id="three days before"),
        pytest.param(LADDER, on(-3), ("-3 email",), DueSteps((), ()), id="sent already"),
        pytest.param(LADDER, on(-1), (), DueSteps((BEFORE,), ()), id="late by two days"),
        pytest.param(LADDER, on(0), (), DueSteps((ON,), (BEFORE,)), id="nothing ran for three days: the latest only"),
        pytest.param(LADDER, on(4), (), DueSteps((), ()), id="too late"),
        pytest.param(LADDER, on(400), (), DueSteps((), ()), id="an invoice of last year"),
        pytest.param((*LADDER, CHAT), on(0), ("-3 email",), DueSteps((ON, CHAT), ()), id="two channels on one day"),
        pytest.param(LADDER, on(1), ("5 email",), DueSteps((), (ON,)), id="a later one was sent before"),
    ],
)
def test_what_is_due(steps, today, done, expected):
    assert due_steps(steps, DUE, today, done) == expected


STEPS = st.sets(st.builds(Step, st.integers(-10, 10), st.sampled_from(["email", "sms"])))


@given(STEPS, st.lists(st.booleans(), min_size=30, max_size=30))
def test_each_step_is_sent_once_at_most_and_in_order_whatever_days_nothing_ran(steps, runs):
    done, sent = set(), []
    for number, ran in enumerate(runs):
        if ran:
            due = due_steps(steps, DUE, on(number - 12), done)
            assert len({step.days for step in due.send}) <= 1
            sent += due.send
            done |= {step.stage for step in (*due.send, *due.passed)}
    assert len(sent) == len(set(sent))
    assert [step.days for step in sent] == sorted(step.days for step in sent)
    if all(runs):
        assert set(sent) == steps


@pytest.mark.parametrize("bad", ["{nme}", "{name.__class__}", "{name!r}", "{amount:>99999999}", "{0}", "{", "a } b"])
def test_a_text_with_a_variable_that_does_not_exist_is_refused(bad):
    with pytest.raises(BadText):
        check_text(bad)
    with pytest.raises(BadText):
        fill(bad, {"name": "x", "amount": "1"})


def test_variables_are_filled_in_and_doubled_braces_are_braces():
    assert fill("{name}: {amount} {{sic}} ", {"name": "Ana {amount}", "amount": "$5"}) == "Ana {amount}: $5 {sic}"


@pytest.mark.parametrize("language", ["en", "es"])
@pytest.mark.parametrize("channel", ["email", "whatsapp", "sms"])
@pytest.mark.parametrize("days", [-5, 0, 5])
def test_the_texts_that_come_with_portico_can_be_filled_in(language, channel, days):
    words = default_words(Step(days, channel), language)
    check_text(words.subject)
    check_text(words.body)
    assert "{amount}" in words.body
    assert (language == "es") == ("factura" in words.body)


def test_links_open_a_message_that_is_written_already():
    assert message_link("whatsapp", "+52 55 1234-5678", "Hola Ñ & más") == (
        "https://wa.me/525512345678?text=Hola%20%C3%91%20%26%20m%C3%A1s"
    )
    assert message_link("sms", "+52 55 1", "a b") == "sms:+52551?&body=a%20b"


@pytest.mark.parametrize(
    ("day", "months", "expected"),
    [
        (date(2027, 5, 31), 3, date(2027, 2, 28)),
        (date(2027, 1, 15), 1, date(2026, 12, 15)),
        (date(2027, 12, 31), 12, date(2026, 12, 31)),
        (date(2028, 3, 29), 1, date(2028, 2, 29)),
        (date(2027, 2, 1), 2, date(2026, 12, 1)),
    ],
)
def test_months_before_a_day(day, months, expected):
    assert months_before(day, months) == expected
