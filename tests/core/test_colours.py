"""Whatever colour an operator chooses, its subscribers can read what is written in it and on it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.colours import BLACK, NIGHT, READABLE, WHITE, NotAColour, contrast, parse_colour, readable_on, text_on

COLOURS = st.integers(0, 0xFFFFFF).map("#{:06x}".format)


def test_contrast_is_that_of_wcag() -> None:
    assert contrast(WHITE, BLACK) == 21
    assert contrast("#777777", WHITE) == pytest.approx(4.48, abs=0.01)


@given(COLOURS)
def test_text_on_any_colour_can_be_read(colour: str) -> None:
    assert contrast(text_on(colour), colour) >= READABLE


@given(COLOURS, st.sampled_from([WHITE, NIGHT]))
def test_text_in_any_colour_can_be_read_on_light_and_dark_pages(colour: str, ground: str) -> None:
    shown = readable_on(colour, ground)
    assert contrast(shown, ground) >= READABLE
    assert contrast(colour, ground) < READABLE or shown == colour


@pytest.mark.parametrize("text", ["red", "#12345", "#12345g", "#123456; }", "", "#fff"])
def test_what_is_no_colour_is_refused(text: str) -> None:
    with pytest.raises(NotAColour):
        parse_colour(text)


def test_a_colour_is_kept_in_small_letters() -> None:
    assert parse_colour(" #0F6E84 ") == "#0f6e84"
