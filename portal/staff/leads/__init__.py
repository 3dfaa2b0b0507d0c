"""Leads and sales: the list and the board of leads, one lead's page, and the way from it to a sale."""

from portal.staff.leads import lists, page, quotes
from portal.staff.leads.base import blueprint

__all__ = ["blueprint", "lists", "page", "quotes"]
