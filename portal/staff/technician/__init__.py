"""The technicians' phone: a page that is installed like an application and goes on without coverage."""

from portal.staff.technician import day, shell, sync
from portal.staff.technician.day import blueprint

__all__ = ["blueprint", "day", "shell", "sync"]
