"""Files that people hand in: which are taken, and as what.

A file is what its content is. The name and type that a browser or a mail claims are not asked: `invoice.pdf` that is a
program is refused, and a PNG called `photo.txt` is a PNG. A picture is decoded and written anew, so that nothing is
kept but its pixels: not where it was taken, and no second file behind the first. Office files with macros are
refused. What is kept is handed out by `portal.files`, which lets no browser run it.
"""

import hashlib
import io
import re
import unicodedata
import warnings
import zipfile
from collections.abc import Collection

from PIL import Image, ImageOps
from sqlalchemy.orm import Session

from crm.problems import FieldProblem, Invalid, Problem
from db.models import StoredFile

LARGEST = 10_000_000
"""Octets of a file, unless the caller allows more."""
MOST_PIXELS = 64_000_000
"""Of a JPEG, which is decoded at the size that is needed. Others are decoded whole: see MOST_PIXELS_WHOLE."""
MOST_PIXELS_WHOLE = 25_000_000
LONGEST_SIDE = 2560
"""Pixels: larger pictures are made smaller. A meter, a roof and a signature can be read at that."""
LONGEST_NAME = 100

JPEG, PNG, PDF, TEXT = "image/jpeg", "image/png", "application/pdf", "text/plain"
_OPEN_XML = "application/vnd.openxmlformats-officedocument."
_OPEN_DOCUMENT = "application/vnd.oasis.opendocument."
EXTENSIONS = {
    JPEG: "jpg",
    PNG: "png",
    PDF: "pdf",
    TEXT: "txt",
    f"{_OPEN_XML}wordprocessingml.document": "docx",
    f"{_OPEN_XML}spreadsheetml.sheet": "xlsx",
    f"{_OPEN_DOCUMENT}text": "odt",
    f"{_OPEN_DOCUMENT}spreadsheet": "ods",
}
PICTURES = frozenset((JPEG, PNG))
DOCUMENTS = frozenset(EXTENSIONS)

_OPEN_XML_PARTS = {"word/document.xml": "docx", "xl/workbook.xml": "xlsx"}
_NOT_IN_NAMES = re.compile(r'[\\/:*?"<>|\x00-\x1f\x7f]+')


def store_file(
    session: Session,
    operator_id: int,
    name: str,
    content: bytes,
    allowed: Collection[str] = DOCUMENTS,
    most: int = LARGEST,
    field: str = "file",
) -> StoredFile:
    """Keep a file and return its row. `allowed` are media types; `most` is in octets.

    Raises Invalid (of `field`): REQUIRED for an empty file, FILE_TOO_LARGE, FILE_NOT_TAKEN for a kind that is not
    allowed, NOT_A_PICTURE for a damaged one, PICTURE_TOO_LARGE for one of too many pixels.
    """
    if not content:
        raise Invalid(FieldProblem(field, Problem.REQUIRED))
    if len(content) > most:
        raise Invalid(FieldProblem(field, Problem.FILE_TOO_LARGE, {"limit": str(most // 1_000_000)}))
    media_type = media_type_of(content)
    if media_type is None or (media_type not in allowed and not (media_type == "image/webp" and JPEG in allowed)):
        raise Invalid(FieldProblem(field, Problem.FILE_NOT_TAKEN))
    if media_type.startswith("image/"):
        media_type, content = _pixels_of(content, field)
    return store_bytes(session, operator_id, safe_name(name, EXTENSIONS[media_type]), media_type, content)


def store_bytes(session: Session, operator_id: int, name: str, media_type: str, content: bytes) -> StoredFile:
    """Keep what Portico made itself, whose name and type are known."""
    row = StoredFile(
        operator_id=operator_id,
        name=name,
        media_type=media_type,
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        content=content,
    )
    session.add(row)
    session.flush()
    return row


def media_type_of(content: bytes) -> str | None:
    """Return what a file is by its content, or None for a kind that is never taken."""
    if content.startswith(b"\xff\xd8\xff"):
        return JPEG
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return PNG
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    if content.startswith(b"%PDF-"):
        return PDF
    if content.startswith(b"PK\x03\x04"):
        return _office_type(content)
    return TEXT if _is_text(content) else None


def safe_name(name: str, extension: str) -> str:
    """Return a name that people can read and any system can keep, with the extension that the content deserves."""
    name = re.split(r"[\\/]", unicodedata.normalize("NFC", name))[-1]
    # Marks that turn the direction of writing round make `gpj.exe` read as `exe.jpg`.
    name = "".join(character for character in name if unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co"))
    name = _NOT_IN_NAMES.sub("_", name).strip(" .")
    stem, dot, last = name.rpartition(".")
    if dot and len(last) <= 5:
        name = stem.strip(" .")
    return f"{name[:LONGEST_NAME] or 'file'}.{extension}"


def _office_type(content: bytes) -> str | None:
    """Return the type of an office file without macros. Nothing but its table of contents is unpacked."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = set(archive.namelist())
            declared = b""
            if "mimetype" in names and archive.getinfo("mimetype").file_size < 200:
                declared = archive.read("mimetype").strip()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError, KeyError, EOFError):
        return None
    if any(name.lower().endswith("vbaproject.bin") or name.startswith("Basic/") for name in names):
        return None
    by_extension = {extension: media_type for media_type, extension in EXTENSIONS.items()}
    for part, extension in _OPEN_XML_PARTS.items():
        if part in names and "[Content_Types].xml" in names:
            return by_extension[extension]
    media_type = declared.decode("ascii", "replace")
    return media_type if media_type in EXTENSIONS and media_type.startswith(_OPEN_DOCUMENT) else None


def _is_text(content: bytes) -> bool:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return False
    if text.lstrip()[:14].lower().startswith(("<!doctype", "<html", "<svg", "<?xml", "<script", "#!")):
        return False  # what some program would run
    return all(character >= " " or character in "\t\r\n\f" for character in text)


def _pixels_of(content: bytes, field: str) -> tuple[str, bytes]:
    """Return a picture written anew, upright and no larger than is needed, and its type. Raises Invalid."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # Pillow warns of what expands to more than it should
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            with Image.open(io.BytesIO(content), formats=("PNG", "JPEG", "WEBP")) as picture:
                most = MOST_PIXELS if picture.format == "JPEG" else MOST_PIXELS_WHOLE
                if picture.width * picture.height > most:
                    raise Invalid(FieldProblem(field, Problem.TOO_MANY_PIXELS))
                written_as = PNG if picture.format == "PNG" else JPEG
                picture.draft("RGB", (LONGEST_SIDE, LONGEST_SIDE))
                picture.load()
                upright = ImageOps.exif_transpose(picture)
                transparent = "A" in upright.getbands() or "transparency" in upright.info
                pixels = upright.convert("RGBA" if transparent and written_as == PNG else "RGB")
    except Image.DecompressionBombError:
        raise Invalid(FieldProblem(field, Problem.TOO_MANY_PIXELS)) from None
    except Image.DecompressionBombWarning:
        raise Invalid(FieldProblem(field, Problem.TOO_MANY_PIXELS)) from None
    except Invalid:
        raise
    except Exception:  # noqa: BLE001 - Pillow trips over damaged EXIF with struct.error, TypeError and others
        raise Invalid(FieldProblem(field, Problem.NOT_A_PICTURE)) from None
    pixels.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    clean = Image.new(pixels.mode, pixels.size)
    clean.paste(pixels)  # without whatever the file said beside its pixels
    written = io.BytesIO()
    if written_as == PNG:
        clean.save(written, "PNG")
    else:
        clean.save(written, "JPEG", quality=85)
    return written_as, written.getvalue()
