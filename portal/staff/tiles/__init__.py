"""Tiles of the homes that belong to no other area's pages: money, the network's state, new subscribers, what waits."""

from portal.staff.tiles import money, network, sales

__all__ = ["money", "network", "sales"]
