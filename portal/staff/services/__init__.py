"""Services: the list, create and edit, and the steps of a service's life."""

from portal.staff.services import edit, lists, steps
from portal.staff.services.base import blueprint, find
from portal.staff.services.lists import listed, services_table

__all__ = ["blueprint", "edit", "find", "listed", "lists", "services_table", "steps"]
