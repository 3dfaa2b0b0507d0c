"""What real ISPs have on their routers, for imports to be tried on: plans as profiles, and clients with their mess.

The mess is that of routers that several people have kept for years: names that stand twice but for a capital, comments
in Spanish, some typed in an old WinBox and stored in its code page, entries switched off, the same rate written in
three ways, limits of 0/0, bursts, parents, targets of several addresses, names such as `no`, `123`, `007` and
`a=b`, HTML and formulas where somebody was curious. The same seed makes the same router.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address

from lab.routeros.box import Box


@dataclass(frozen=True, slots=True)
class Size:
    """How many clients of each sort a router has."""

    queues: int
    secrets: int
    leases: int
    hotspot_users: int = 0


SMALL = Size(queues=25, secrets=40, leases=15, hotspot_users=10)
LARGE = Size(queues=2_000, secrets=1_500, leases=800, hotspot_users=200)

# Download and upload in Mbit/s, as the plans of the ISP are called.
PLANS = (("Basico 5", 5, 2), ("Hogar 10", 10, 3), ("Hogar 20", 20, 5), ("Hogar 50", 50, 15), ("Negocio 100", 100, 50))

# Names and comments that have broken somebody's import.
AWKWARD_NAMES = ("no", "123", "007", "a=b", "yes", "none", "0x1F", "José Peña", "cliente nuevo (2)", '="x"', "*1A")
AWKWARD_COMMENTS = (
    "<script>alert(1)</script>",
    "<b>moroso</b> & no paga",
    '=HYPERLINK("http://example.com","ver")',
    "+52 55 1234 5678",
    "-2+3",
    "@SUM(1+1)",
    'debe 2 meses; cobrar "ya"',
    "línea 1\nlínea 2",
    "C:\\clientes\\ruta",
    "$name [find] {x}",
    "'; DROP TABLE cliente; --",
    "a=b",
    "no",
)
_OLD_WINBOX = ("Peña Nieto, Doña Ángela – azotea", "niño, casa de la señora Muñoz", "pagó €20 en el año 2014")

_FIRST = (
    "José", "María", "Juan", "Guadalupe", "Ángel", "Lucía", "Óscar", "Nuria", "Íñigo", "Ximena", "Raúl", "Sofía",
    "Andrés", "Belén", "Martín", "Teresa", "Jesús", "Verónica", "Hugo", "Irene", "Ramón", "Zoila", "Úrsula", "Efraín",
)  # fmt: skip
_LAST = (
    "Hernández", "García", "Peña", "Muñoz", "López", "Ibáñez", "Núñez", "Rodríguez", "Zúñiga", "Castañeda", "Yáñez",
    "Ordóñez", "Quiñones", "Ávila", "Domínguez", "Güemes", "Cruz", "Flores", "Ríos", "Vázquez", "Chávez", "Treviño",
)  # fmt: skip
_PLACES = (
    "torre norte",
    "cerro",
    "centro",
    "La Cañada",
    "Col. Jardín",
    "rancho San José",
    "2º piso",
    "junto a la iglesia",
)
_VENDORS = ("4C:5E:0C", "74:4D:28", "B8:69:F4", "DC:2C:6E", "04:18:D6", "60:E3:27")
_PLAIN = str.maketrans("áéíóúüñÁÉÍÓÚÑ", "aeiouunAEIOUN")


def fill(box: Box, size: Size = SMALL, *, seed: int = 1) -> None:
    """Put the clients of an ISP on a router. What stands in its menus already stays, before them."""
    _Isp(box, size, random.Random(seed)).fill()


def old_winbox(text: str) -> str:
    """Return text as RouterOS holds what an old WinBox stored: octets of code page 1252, kept as surrogates."""
    return text.encode("cp1252").decode("utf-8", "surrogateescape")


class _Isp:
    def __init__(self, box: Box, size: Size, chance: random.Random) -> None:
        self.box = box
        self.size = size
        self.chance = chance
        self._macs: set[str] = set()

    def fill(self) -> None:
        with self.box.lock:
            self._network()
            self._profiles()
            self._secrets()
            self._queues()
            self._leases()
            if self.size.hotspot_users and self.box.has("/ip/hotspot/user"):
                self._hotspot_users()
            self._firewall()

    # The router itself.

    def _network(self) -> None:
        self._put(
            "/interface",
            [
                {"name": "bridge-lan", "type": "bridge", "mac-address": self._mac(), "comment": "red de clientes"},
                {"name": "vlan20-cerro", "type": "vlan", "mac-address": self._mac(), "comment": "enlace al cerro ñ"},
            ],
            {"running": "true", "disabled": "false", "mtu": "1500", "rx-byte": "0", "tx-byte": "0"},
        )
        wan = self.box.table("/interface").first(name="ether1")
        if wan is not None:
            self.box.table("/interface").change(wan, {"comment": "WAN – fibra del proveedor"})
        self._put(
            "/ip/address",
            [
                {"address": "192.0.2.2/30", "network": "192.0.2.0", "interface": "ether1", "comment": "WAN"},
                {"address": "10.20.0.1/16", "network": "10.20.0.0", "interface": "bridge-lan"},
                {"address": "10.30.0.1/20", "network": "10.30.0.0", "interface": "bridge-lan", "comment": "DHCP"},
            ],
            {"disabled": "false", "dynamic": "false"},
        )
        self._put(
            "/ip/pool",
            [
                {"name": "pppoe-pool", "ranges": "10.40.0.2-10.40.15.254"},
                {"name": "dhcp-pool", "ranges": "10.30.0.10-10.30.15.254"},
                {"name": "morosos", "ranges": "10.99.0.2-10.99.0.254"},
            ],
            {},
        )
        self._put(
            "/ip/dhcp-server",
            [
                {
                    "name": "dhcp-clientes",
                    "interface": "bridge-lan",
                    "address-pool": "dhcp-pool",
                    "lease-time": "1d",
                    "use-radius": "no",
                }
            ],
            {"disabled": "false"},
        )

    def _profiles(self) -> None:
        rows = [
            {
                "name": f"{name.replace(' ', '_')}M" if number % 2 else name,
                "local-address": "10.40.0.1",
                "remote-address": "pppoe-pool",
                "rate-limit": f"{up}M/{down}M" if number % 2 else f"{up * 1024}k/{down * 1024}k",
                "only-one": "yes" if number else "default",
            }
            for number, (name, down, up) in enumerate(PLANS)
        ]
        rows.append({"name": "CORTADO", "local-address": "10.40.0.1", "remote-address": "morosos"})
        rows.append({"name": "burst 8", "remote-address": "pppoe-pool", "rate-limit": "2M/8M 4M/16M 1M/6M 16/16 5"})
        self._put("/ppp/profile", rows, {"default": "false", "change-tcp-mss": "yes"})
        self.profiles = [row["name"] for row in rows]

    def _secrets(self) -> None:
        """PPPoE clients: most with a plan's profile, a few with what was typed in a hurry."""
        names = self._names(self.size.secrets)
        rows = []
        for number, name in enumerate(names):
            row = {
                "name": name,
                "service": "any" if number % 9 == 0 else "pppoe",
                "password": self._password(name, number),
                "profile": self.chance.choice(self.profiles[:6]) if number % 23 else "default",
                "disabled": "true" if number % 12 == 5 else "false",
                "last-logged-out": self.box.version.instant(self.box.now),
            }
            if number % 4 == 0:
                row["remote-address"] = str(IPv4Address("10.40.16.1") + number)
            if number % 7 == 3:
                row["caller-id"] = self._mac()
            if number % 3 != 2:
                row["comment"] = self._comment(number)
            rows.append(row)
        if len(rows) > 4:  # the same client twice, for RouterOS sees no likeness where only a capital differs
            twin = dict(rows[1])
            rows[-1] = {**twin, "name": twin["name"].capitalize(), "comment": "duplicado? revisar", "disabled": "true"}
        self._fill("/ppp/secret", rows)

    def _queues(self) -> None:
        parents = [
            {"name": "TOTAL TORRE NORTE", "target": "10.20.0.0/17", "max-limit": "200000000/500000000"},
            {"name": "TOTAL CERRO", "target": "10.20.128.0/17", "max-limit": "0/0", "comment": "sin límite"},
        ]
        rows: list[dict[str, str]] = parents[: 2 if self.size.queues > 10 else 0]
        names = self._names(self.size.queues - len(rows))
        for number, name in enumerate(names):
            first = IPv4Address("10.20.1.0") + number
            row = {
                "name": name,
                "target": f"{first}/32",
                "max-limit": self._rate(number),
                "limit-at": "0/0",
                "parent": "none",
                "disabled": "true" if number % 15 == 7 else "false",
            }
            if number % 11 == 4:  # a client with two radios
                row["target"] = f"{first}/32,{IPv4Address('10.20.200.0') + number}/32"
            elif number % 29 == 9:
                row["target"] = f"{IPv4Address('10.21.0.0') + 8 * number}/29"
            elif number % 37 == 20:
                row["target"] = "bridge-lan"
            if number % 6 == 1:
                row |= {
                    "burst-limit": "8000000/20000000",
                    "burst-threshold": "3000000/8000000",
                    "burst-time": "16s/16s",
                }
            if rows[:2] == parents and number % 5 == 2:
                row["parent"] = parents[number % 2]["name"]
            if number % 3:
                row["comment"] = self._comment(number + 7)
            rows.append(row)
        if len(rows) > 8:  # the same address in two queues: only the first counts on the router
            rows[-1]["target"] = rows[4]["target"]
            rows[-2]["name"] = rows[5]["name"].upper()
        self._fill("/queue/simple", rows)

    def _leases(self) -> None:
        rows = []
        for number in range(self.size.leases):
            mac = self._mac()
            address = str(IPv4Address("10.30.0.10") + number)
            static = number % 3 != 2
            row = {
                "address": address,
                "mac-address": mac,
                "server": "dhcp-clientes" if number % 8 else "all",
                "status": "bound" if number % 5 else "waiting",
                "dynamic": "false" if static else "true",
                "radius": "false",
                "blocked": "false",
                "disabled": "true" if static and number % 13 == 3 else "false",
                "last-seen": f"{self.chance.randint(1, 59)}m{self.chance.randint(1, 59)}s",
            }
            if number % 5:
                row |= {
                    "active-address": address,
                    "active-mac-address": mac,
                    "active-server": "dhcp-clientes",
                    "expires-after": f"{self.chance.randint(1, 23)}h{self.chance.randint(1, 59)}m",
                    "host-name": self.chance.choice(
                        ("", "TL-WR840N", "archer-c6", "Galaxy-de-Íñigo", "ESP_8A2F1C", "no")
                    ),
                }
            if number % 4:
                row["client-id"] = f"1:{mac.lower()}"
            if static and number % 2:
                row["rate-limit"] = self._written_rate(number)
            if static and number % 5 != 1:
                row["comment"] = self._comment(number + 3)
            rows.append(row)
        self._fill("/ip/dhcp-server/lease", rows)
        arp = self.box.table("/ip/arp")
        for row in rows[:: max(1, len(rows) // 200)]:
            if row["status"] == "bound":
                arp.put(
                    {
                        "address": row["address"],
                        "mac-address": row["mac-address"],
                        "interface": "bridge-lan",
                        "dynamic": "true",
                        "DHCP": "true",
                        "complete": "true",
                        "disabled": "false",
                        "invalid": "false",
                        "published": "false",
                    }
                )

    def _hotspot_users(self) -> None:
        rows = []
        for number, name in enumerate(self._names(self.size.hotspot_users)):
            rows.append(
                {
                    "name": name,
                    "password": self._password(name, number),
                    "profile": "default",
                    "server": "all",
                    "limit-uptime": "1h" if number % 4 else "1d02:15:30",
                    "disabled": "true" if number % 6 == 4 else "false",
                    "comment": self._comment(number + 1) if number % 2 else "",
                    "dynamic": "false",
                }
            )
        self._fill("/ip/hotspot/user", rows)

    def _firewall(self) -> None:
        usual = {"disabled": "false", "dynamic": "false", "invalid": "false", "bytes": "0", "packets": "0"}
        self._put(
            "/ip/firewall/filter",
            [
                {"chain": "forward", "action": "fasttrack-connection", "connection-state": "established,related"},
                {"chain": "forward", "action": "accept", "connection-state": "established,related,untracked"},
                {"chain": "input", "action": "drop", "in-interface": "ether1", "comment": "todo lo demás, fuera"},
            ],
            usual,
        )
        self._put("/ip/firewall/nat", [{"chain": "srcnat", "action": "masquerade", "out-interface": "ether1"}], usual)
        self._put(
            "/ip/firewall/address-list",
            [
                {
                    "list": "morosos",
                    "address": str(IPv4Address("10.20.1.0") + 9 * number),
                    "comment": self._comment(number),
                }
                for number in range(max(1, self.size.queues // 50))
            ],
            {"disabled": "false", "dynamic": "false", "creation-time": self.box.version.instant(self.box.now)},
        )

    # Words and numbers.

    def _names(self, count: int) -> list[str]:
        """Return names that the router takes for different, the awkward ones among them."""
        names: list[str] = []
        taken = set()
        awkward = iter(AWKWARD_NAMES)
        while len(names) < count:
            name: str | None = None
            if len(names) % 7 == 3:
                name = next(awkward, None)
            name = name or self._name()
            while name in taken:
                name = f"{name}{self.chance.randint(2, 99)}"
            taken.add(name)
            names.append(name)
        return names

    def _name(self) -> str:
        first, last, second = self.chance.choice(_FIRST), self.chance.choice(_LAST), self.chance.choice(_LAST)
        spellings: tuple[Callable[[], str], ...] = (
            lambda: f"{first[0]}{last}".lower().translate(_PLAIN),
            lambda: f"{first}.{last}".lower().translate(_PLAIN),
            lambda: f"{first} {last} {second}",
            lambda: f"{last.upper()} {first.upper()}",
            lambda: f"cliente{self.chance.randint(1, 9999):04d}",
            lambda: f"{first.lower().translate(_PLAIN)}_{self.chance.choice(('cerro', 'centro', 'norte'))}",
        )
        return self.chance.choice(spellings)()

    def _password(self, name: str, number: int) -> str:
        if number % 5 == 0:
            return f"{self.chance.randint(0, 999_999):06d}"
        if number % 5 == 1:
            return "12345" if number % 10 == 1 else name
        if number % 17 == 2:
            return 'ñandú "7"'
        return "".join(self.chance.choices("abcdefghjkmnpqrstuvwxyz23456789", k=8))

    def _comment(self, number: int) -> str:
        if number % 9 == 4:
            return AWKWARD_COMMENTS[number // 9 % len(AWKWARD_COMMENTS)]
        if number % 9 == 7:
            return old_winbox(_OLD_WINBOX[number // 9 % len(_OLD_WINBOX)])
        first, last = self.chance.choice(_FIRST), self.chance.choice(_LAST)
        day, month = self.chance.randint(1, 28), self.chance.randint(1, 12)
        return self.chance.choice(
            (
                f"{first} {last} {self.chance.choice(_PLACES)}",
                f"{last} tel 55{self.chance.randint(10_000_000, 99_999_999)}",
                f"paga el {day}",
                f"instalado {day:02d}/{month:02d}/201{day % 10}",
            )
        )

    def _rate(self, number: int) -> str:
        """Return a queue's rate as RouterOS prints it: bit/s, upload first. Some are nobody's plan."""
        if number % 13 == 6:
            return "0/0"
        if number % 10 == 8:
            return "10485760/10485760"  # typed as 10240k/10240k by one who reckons in 1024
        if number % 10 == 3:
            return "10000000/10000000"
        if number % 19 == 11:
            return f"{self.chance.randint(1, 9)}50000/{self.chance.randint(1, 40)}300000"
        _name, down, up = self.chance.choice(PLANS)
        return f"{up * 1_000_000}/{down * 1_000_000}"

    def _written_rate(self, number: int) -> str:
        """Return a lease's rate, which RouterOS keeps as it was written."""
        return ("10M/10M", "10240k/10240k", "0/0", "3M/10M", "5M/20M 8M/30M 4M/15M 16/16", "2048k")[number // 6 % 6]

    def _mac(self) -> str:
        while True:
            tail = self.chance.randrange(1 << 24)
            mac = f"{self.chance.choice(_VENDORS)}:{tail >> 16:02X}:{tail >> 8 & 255:02X}:{tail & 255:02X}"
            if mac not in self._macs:
                self._macs.add(mac)
                return mac

    # Rows.

    def _put(self, path: str, rows: list[dict[str, str]], usual: dict[str, str]) -> None:
        if self.box.has(path):
            self._fill(path, [{**usual, **row} for row in rows])

    def _fill(self, path: str, rows: list[dict[str, str]]) -> None:
        """Add rows, with the fields that this version of the menu has."""
        known = self.box.table(path).known
        for row in rows:
            self.box.fill(path, {name: value for name, value in row.items() if name in known})
