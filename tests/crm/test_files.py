"""Files that are not what they say, that would grow, and that carry more than they show."""

import io
import struct
import zipfile
import zlib

import pytest
from PIL import Image

from crm.files import DOCUMENTS, PICTURES, safe_name, store_file
from crm.problems import Invalid, Problem
from tests.rows import add_operator


@pytest.fixture
def keep(rows):
    operator_id = add_operator(rows)
    return lambda name, content, **options: store_file(rows, operator_id, name, content, **options)


def picture(kind: str = "PNG", size: tuple[int, int] = (40, 20), **options) -> bytes:
    written = io.BytesIO()
    Image.new("RGB", size, (200, 30, 30)).save(written, kind, **options)
    return written.getvalue()


def refused(keep, content: bytes, name: str = "x", **options) -> Problem:
    with pytest.raises(Invalid) as raised:
        keep(name, content, **options)
    return raised.value.problems[0].problem


def office(*names: str, mimetype: bytes = b"") -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        if mimetype:
            archive.writestr("mimetype", mimetype)
        for name in names:
            archive.writestr(name, "x")
    return written.getvalue()


def test_a_photo_loses_where_it_was_taken_and_stands_upright(keep):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    exif.get_ifd(0x8825)[1] = "N"
    exif[0x010F] = "Acme Phones"
    stored = keep("IMG_1.JPG", picture("JPEG", exif=exif), allowed=PICTURES)
    assert (stored.name, stored.media_type) == ("IMG_1.jpg", "image/jpeg")
    assert b"Acme" not in stored.content
    with Image.open(io.BytesIO(stored.content)) as again:
        assert (again.size, len(again.getexif())) == ((20, 40), 0)


def test_a_photo_whose_orientation_is_damaged_is_refused_and_breaks_nothing(keep):
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "abc"
    photo = picture("JPEG", exif=exif)
    damaged = [
        photo[:place] + bytes([value]) + photo[place + 1 :]
        for place in range(20, 80)
        for value in (0, 2, 5, 9, 12, 255)
    ]
    for content in damaged:
        try:
            keep("x.jpg", content)
        except Invalid as invalid:
            assert invalid.problems[0].problem in (Problem.NOT_A_PICTURE, Problem.FILE_NOT_TAKEN)  # noqa: PT017


def test_what_hides_behind_the_pixels_is_not_kept(keep):
    stored = keep("x.png", picture() + b"<script>alert(1)</script>PK\x03\x04")
    assert b"script" not in stored.content


def test_a_large_photo_is_made_smaller(keep):
    stored = keep("big.jpg", picture("JPEG", (6000, 3000)))
    with Image.open(io.BytesIO(stored.content)) as again:
        assert again.size == (2560, 1280)


def test_a_picture_that_would_fill_the_memory_is_refused(keep):
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = zlib.compress(b"\0" * 10_000_000)
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    assert refused(keep, bomb) is Problem.TOO_MANY_PIXELS


@pytest.mark.parametrize("content", [picture()[:60], b"\xff\xd8\xff\xe0 no picture", b"\x89PNG\r\n\x1a\n"])
def test_a_damaged_picture_is_refused(keep, content):
    assert refused(keep, content) is Problem.NOT_A_PICTURE


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"MZ\x90\0\x03\0\0\0 program", id="a program"),
        pytest.param(b"<!DOCTYPE html><script>alert(1)</script>", id="a page"),
        pytest.param(b"\xef\xbb\xbf  <svg onload='alert(1)'/>", id="a drawing with a script"),
        pytest.param(b"#!/bin/sh\nrm -rf /", id="a shell script"),
        pytest.param(office("word/document.xml", "[Content_Types].xml", "word/vbaProject.bin"), id="macros"),
        pytest.param(office("setup.exe"), id="any archive"),
        pytest.param(b"PK\x03\x04 broken", id="a broken archive"),
        pytest.param(b"GIF89a" + bytes(40), id="another picture"),
        pytest.param(bytes(range(256)), id="anything"),
    ],
)
def test_what_could_run_is_refused_whatever_it_is_called(keep, content):
    assert refused(keep, content, "invoice.pdf") is Problem.FILE_NOT_TAKEN


def test_a_kind_that_is_not_asked_for_is_refused(keep):
    assert refused(keep, b"%PDF-1.7 x", allowed=PICTURES) is Problem.FILE_NOT_TAKEN
    assert refused(keep, b"%PDF-1.7 x", most=5) is Problem.FILE_TOO_LARGE
    assert refused(keep, b"") is Problem.REQUIRED


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"%PDF-1.7 x", "a.pdf"),
        ("Señal débil\n".encode(), "a.txt"),
        (office("xl/workbook.xml", "[Content_Types].xml"), "a.xlsx"),
        (office("content.xml", mimetype=b"application/vnd.oasis.opendocument.text"), "a.odt"),
    ],
)
def test_a_document_is_what_its_content_says(keep, content, name):
    stored = keep("a.jpg.exe", content, allowed=DOCUMENTS)
    assert stored.name == name.replace("a.", "a.jpg.")
    assert stored.content == content


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/passwd", "passwd.png"),
        ("C:\\fotos\\techo.png", "techo.png"),
        ("foto\u202egpj.exe", "fotogpj.png"),
        ('a"b\r\nSet-Cookie: x.png', "a_bSet-Cookie_ x.png"),
        ("…", "….png"),
        ("...", "file.png"),
        ("ñ" * 300 + ".png", "ñ" * 100 + ".png"),
    ],
)
def test_a_name_is_safe_wherever_it_is_written(given, kept):
    assert safe_name(given, "png") == kept
