"""Keeping routers as they should be: what is wanted of each, what it has, the difference, and carrying that out."""
