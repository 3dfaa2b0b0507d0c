"""The menus of RouterOS that are emulated, each a table of what stands in it."""

from lab.routeros.menus import firewall, hotspot, interface, ip, ppp, system, wireless
from lab.routeros.menus.spec import Menu

MENUS: dict[str, Menu] = {
    menu.path: menu for part in (ppp, ip, firewall, hotspot, interface, wireless, system) for menu in part.MENUS
}
