"""Colours of a brand, and whether people can read what is written in them or on them.

Contrast is that of WCAG 2.2 (§1.4.3): text needs 4.5 : 1 against its ground. A colour is `#rrggbb`.
"""

import re

READABLE = 4.5
WHITE, BLACK, NIGHT = "#ffffff", "#000000", "#151f2c"
"""`NIGHT` is the ground of pages in the dark theme."""

_SHAPE = re.compile(r"#[0-9a-f]{6}\Z")


class NotAColour(ValueError):
    """The text is no colour such as #0f6e84."""


def parse_colour(text: str) -> str:
    """Return a colour as it is kept, in small letters. Raises NotAColour."""
    colour = text.strip().lower()
    if not _SHAPE.match(colour):
        raise NotAColour(text)
    return colour


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours, from 1 to 21."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def text_on(ground: str) -> str:
    """Return white or black, whichever is read better on a ground; one of the two always reaches READABLE."""
    return WHITE if contrast(WHITE, ground) >= contrast(BLACK, ground) else BLACK


def readable_on(colour: str, ground: str) -> str:
    """Return the colour, moved towards black or white as far as text in it needs on this ground."""
    towards = text_on(ground)
    for step in range(101):
        moved = _mixed(colour, towards, step / 100)
        if contrast(moved, ground) >= READABLE:
            return moved
    return towards


def parts(colour: str) -> tuple[int, int, int]:
    """Return red, green and blue, each from 0 to 255."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _mixed(one: str, other: str, share: float) -> str:
    pairs = zip(parts(one), parts(other), strict=True)
    return "#" + "".join(f"{round(first + (second - first) * share):02x}" for first, second in pairs)


def _luminance(colour: str) -> float:
    red, green, blue = (_linear(part / 255) for part in parts(colour))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(part: float) -> float:
    return part / 12.92 if part <= 0.04045 else float(((part + 0.055) / 1.055) ** 2.4)
