"""`portico lab`: the emulated network."""

from lab.__main__ import command

__all__ = ["command"]
