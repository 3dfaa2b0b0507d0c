"""The one file that FreeRADIUS loads: sets the path, opens image and journal, and hands the hooks over.

FreeRADIUS 3.2.1 starts even when `instantiate` fails, but not when importing does: so everything that must be there
is opened here, at the top. What is wrong is one line on standard error.
"""

import os
import sys

sys.path.insert(0, os.environ["PORTICO_SITE_PACKAGES"])
sys.path.insert(0, os.environ["PORTICO_HOME"])

from pathlib import Path

import radiusd

from core.crypto import Keyring
from radius.hooks import Hooks
from radius.image import Image, ImageDamaged, ImageMissing
from radius.journal import JournalWriter

_keyring = Keyring.parse(os.environ["PORTICO_SECRET_KEYS"])
try:
    _image = Image(Path(os.environ["PORTICO_IMAGE_DIR"]), _keyring)
except (ImageMissing, ImageDamaged) as problem:
    (Path(os.environ["PORTICO_IMAGE_DIR"]) / "damaged").touch() if isinstance(problem, ImageDamaged) else None
    raise SystemExit(f"radiusd does not start: {problem}") from None

_hooks = Hooks(
    _image,
    JournalWriter(Path(os.environ["PORTICO_JOURNAL_DIR"]), sync=os.environ.get("PORTICO_JOURNAL_SYNC") == "true"),
    _keyring,
    lambda text: radiusd.radlog(radiusd.L_ERR, text),
)

post_auth = _hooks.post_auth
accounting = _hooks.accounting
_authorize = _hooks.authorize
_client = _hooks.client


def authorize(pairs):
    """Called for each Access-Request, and by the virtual server that answers which source addresses are NAS."""
    if pairs[-1][1] == "client" and pairs[-1][0] == "Tmp-String-1":
        return _client(pairs)
    return _authorize(pairs)
