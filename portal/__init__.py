"""The portal: what an operator's staff see. Server-rendered pages; nothing is loaded from elsewhere."""

from portal.application import create_app

__all__ = ["create_app"]
