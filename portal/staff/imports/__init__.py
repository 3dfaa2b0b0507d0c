"""Imports: a wizard in four steps, from what a router or a file holds to subscribers and services.

    source → what was found → what becomes of each → summary → written, and undone while nothing depends on it

Each step is a page with an address. What was found is stored, so the wizard can be left and come back to; nothing
becomes a subscriber before the summary is agreed to.
"""

from portal.staff.imports import rows, sources, writing
from portal.staff.imports.base import blueprint

__all__ = ["blueprint", "rows", "sources", "writing"]
