"""Work orders: the list, the calendar, entering and editing, the steps on the spot, reports, tiles of the homes."""

from portal.staff.work_orders import calendar, edit, lists, page, reports, tiles
from portal.staff.work_orders.base import blueprint

__all__ = ["blueprint", "calendar", "edit", "lists", "page", "reports", "tiles"]
