"""An emulated RouterOS: the API of a router on a real socket, with the menus, policies and faults of a real one."""

from lab.routeros.box import Box, Collected, Hardware
from lab.routeros.commands import Call, Ret, Trap
from lab.routeros.faults import Faults
from lab.routeros.policy import Caller, User
from lab.routeros.server import ApiServer

__all__ = ["ApiServer", "Box", "Call", "Caller", "Collected", "Faults", "Hardware", "Ret", "Trap", "User"]
