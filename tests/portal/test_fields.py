import pytest
from flask import Flask
from werkzeug.datastructures import MultiDict
from wtforms import Form

from portal.fields import MinutesField, RateField, VolumeField


class Measures(Form):
    rate = RateField("Rate")
    cap = VolumeField("Cap")
    timeout = MinutesField("Timeout")


@pytest.fixture(autouse=True)
def _request(app: Flask):
    with app.test_request_context():
        yield


def typed(*rate, cap="", timeout=""):
    return Measures(MultiDict([*(("rate", part) for part in rate), ("cap", cap), ("timeout", timeout)]))


@pytest.mark.parametrize(
    ("parts", "rate"),
    [
        (("20", "M"), 20_000_000),
        (("1.5", "M"), 1_500_000),
        (("1,5", "M"), 1_500_000),
        (("512", "k"), 512_000),
        ((" 8 ", "k"), 8_000),
        (("", "M"), None),
        (("20",), 20_000_000),
    ],
)
def test_a_rate_is_a_number_and_its_unit(parts, rate):
    form = typed(*parts)
    assert form.validate()
    assert form.rate.data == rate


@pytest.mark.parametrize(
    "parts", [("ten", "M"), ("20", "G"), ("NaN", "M"), ("1e30", "M"), ("Infinity", "k"), ("--1", "k")]
)
def test_what_is_no_rate_is_said_and_kept_as_it_was_typed(parts):
    form = typed(*parts)
    assert not form.validate()
    assert form.rate.errors
    assert f'value="{parts[0]}"' in form.rate()


@pytest.mark.parametrize(
    ("rate", "shown", "unit"),
    [(20_000_000, "20", "M"), (1_500_000, "1.5", "M"), (512_000, "512", "k"), (8_000, "8", "k"), (None, "", "M")],
)
def test_a_stored_rate_is_shown_in_its_largest_unit(rate, shown, unit):
    form = Measures(rate=rate)
    assert form.rate.parts() == (shown, unit)
    assert typed(shown, unit).rate.data == rate


def test_a_rate_that_was_typed_is_escaped_when_it_is_shown_again():
    assert "<script>" not in typed('"><script>', "M").rate()


def test_volumes_are_typed_in_gigabytes_and_timeouts_in_minutes():
    form = typed("1", "M", cap="0,5", timeout="90")
    assert form.validate()
    assert form.cap.data == 500_000_000
    assert form.timeout.length.total_seconds() == 5400
    assert (Measures(cap=50_000_000_000).cap.shown(), Measures(timeout=90).timeout.shown()) == ("50", "1.5")
