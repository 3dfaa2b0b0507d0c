"""Services: the list, create and edit, and the steps of a service's life."""

from portal.staff.services import edit, lists, steps
from portal.staff.services.base import blueprint, find
from portal.staff.services.lists import TABLE

__all__ = ["TABLE", "blueprint", "edit", "find", "lists", "steps"]
