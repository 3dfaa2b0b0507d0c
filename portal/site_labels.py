"""Words and badges of sites, sectors and the map; `portal.labels` joins them to the others."""

from collections.abc import Mapping

from core.i18n import N_

# Word, colour and icon of each state.
BADGES: Mapping[str, Mapping[str, tuple[str, str, str]]] = {
    "site_kind": {
        "tower": (N_("Tower"), "blue", "building-broadcast-tower"),
        "roof": (N_("Roof"), "azure", "building"),
        "cabinet": (N_("Cabinet"), "purple", "server-2"),
        "office": (N_("Office"), "teal", "building-store"),
        "other": (N_("Other"), "secondary", "map-pin"),
    },
    "line_of_sight": {
        "clear": (N_("Clear"), "green", "eye"),
        "partial": (N_("Partly blocked"), "orange", "eye-exclamation"),
        "blocked": (N_("Blocked"), "red", "eye-off"),
    },
    "map_state": {
        "online": (N_("Online"), "green", "wifi"),
        "offline": (N_("Offline"), "secondary", "wifi-off"),
        "suspended": (N_("Suspended"), "red", "ban"),
        "late": (N_("Late with paying"), "orange", "clock-dollar"),
        "other": (N_("Not in service"), "dark", "point"),
    },
    "sector_load": {
        "light": (N_("Room left"), "green", "circle-check"),
        "nearly": (N_("Nearly full"), "orange", "alert-triangle"),
        "full": (N_("Full"), "red", "alert-octagon"),
        "unknown": (N_("No limits entered"), "secondary", "help-circle"),
        "off": (N_("Out of use"), "dark", "power"),
    },
}
ACTIONS: Mapping[str, str] = {
    "site.create": N_("Site entered"),
    "site.change": N_("Site changed"),
    "site.delete": N_("Site removed"),
    "sector.create": N_("Sector entered"),
    "sector.change": N_("Sector changed"),
    "sector.delete": N_("Sector removed"),
    "map.change": N_("Ground of maps changed"),
    "subscriber.move": N_("Put elsewhere on the map"),
}
FIELDS: Mapping[str, str] = {
    "site": N_("Site"),
    "sector_id": N_("Sector"),
    "line_of_sight": N_("Line of sight"),
    "height": N_("Height"),
    "azimuth": N_("Azimuth"),
    "beam_width": N_("Beam width"),
    "reach": N_("Reach"),
    "frequency": N_("Frequency"),
    "capacity": N_("Capacity"),
    "most_services": N_("Most services"),
    "in_use": N_("In use"),
    "port": N_("Port on the router"),
    "tiles": N_("Tile server"),
    "attribution": N_("Whose map it is"),
}
KINDS: Mapping[str, str] = {"line_of_sight": "line_of_sight"}
