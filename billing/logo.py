"""The logo of an operator: what is uploaded is read as a picture and written anew, so only pixels are kept."""

import io
import warnings

from PIL import Image, UnidentifiedImageError

from crm.problems import FieldProblem, Invalid, Problem

LARGEST = 2_000_000
"""Octets of a file that is looked at at all."""
MOST_PIXELS = 16_000_000
SIZE = (600, 240)
"""Pixels of what is kept: 5 cm wide on paper at 300 dpi."""


def checked_logo(content: bytes) -> bytes:
    """Return a PNG of the picture, no larger than SIZE. Raises Invalid (field `logo`) for anything but PNG and JPEG."""
    if not content:
        raise Invalid(FieldProblem("logo", Problem.REQUIRED))
    if len(content) > LARGEST:
        raise Invalid(FieldProblem("logo", Problem.PICTURE_TOO_LARGE))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # Pillow warns of what expands to more than it should
            with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as picture:
                if picture.width * picture.height > MOST_PIXELS:
                    raise Invalid(FieldProblem("logo", Problem.PICTURE_TOO_LARGE))
                picture.load()
                kept = picture.convert("RGBA" if "A" in picture.getbands() or "transparency" in picture.info else "RGB")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError, Warning, Image.DecompressionBombError):
        raise Invalid(FieldProblem("logo", Problem.NOT_A_PICTURE)) from None
    kept.thumbnail(SIZE)
    pixels = Image.new(kept.mode, kept.size)
    pixels.paste(kept)  # without whatever the file said beside its pixels
    written = io.BytesIO()
    pixels.save(written, "PNG", optimize=True)
    if len(written.getvalue()) > 300_000:
        pixels.thumbnail((SIZE[0] // 2, SIZE[1] // 2))
        written = io.BytesIO()
        pixels.save(written, "PNG", optimize=True)
    return written.getvalue()
