"""Kinds of values: how RouterOS reads what it is given, and how it prints what it stored.

A kind is a function from the text given to the text stored; it raises ValueError for what RouterOS refuses.
"""

import ipaddress
import re
from collections.abc import Callable

Kind = Callable[[str], str]

_UNITS = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_DURATION = re.compile(
    r"(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+)ms)?(?:(\d+)us)?"
)
_CLOCK = re.compile(r"(?:(\d+)w)?(?:(\d+)d)?(\d{1,2}):(\d{2})(?::(\d{2}))?")
_MULTIPLES = {"k": 1_000, "M": 1_000_000, "G": 1_000_000_000}


def anything(value: str) -> str:
    """Any octets, kept as they are."""
    return value


def boolean(value: str) -> str:
    """`yes`, `no`, `true`, `false`; printed as the latter two."""
    if value in ("yes", "true"):
        return "true"
    if value in ("no", "false"):
        return "false"
    raise ValueError(value)


def integer(value: str) -> str:
    """A whole number, also in hex."""
    return str(int(value, 0) if value.startswith("0x") else int(value))


def byte_count(value: str) -> str:
    """Octets, with `k`, `M` and `G` in steps of 1024 as RouterOS has it for memory."""
    match = re.fullmatch(r"(\d+)([kMG]?)", value)
    if match is None:
        raise ValueError(value)
    return str(int(match[1]) * 1024 ** " kMG".index(match[2] or " "))


def address(value: str) -> str:
    """An IPv4 or IPv6 address."""
    return str(ipaddress.ip_address(value))


def interface_address(value: str) -> str:
    """An address with the length of its network, `/32` where none is given."""
    given = ipaddress.ip_interface(value)
    return str(given)


def prefix(value: str) -> str:
    """A network; the bits behind its length are cut off, and a single address is printed without length."""
    network = ipaddress.ip_network(value, strict=False)
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)


def long_prefix(value: str) -> str:
    """A network that is always printed with its length."""
    return str(ipaddress.ip_network(value, strict=False))


def address_or_range(value: str) -> str:
    """An address, a network, or two addresses with a dash."""
    first, dash, last = value.partition("-")
    if not dash:
        return prefix(value)
    start, end = ipaddress.ip_address(first), ipaddress.ip_address(last)
    if int(end) < int(start):
        raise ValueError(value)
    return f"{start}-{end}"


def ranges(value: str) -> str:
    """Ranges of a pool: addresses, networks or spans with commas between."""
    return ",".join(address_or_range(part) for part in value.split(","))


def mac(value: str) -> str:
    """A MAC address, printed in capitals with colons."""
    digits = re.sub(r"[:.-]", "", value)
    if not re.fullmatch(r"[0-9A-Fa-f]{12}", digits):
        raise ValueError(value)
    digits = digits.upper()
    return ":".join(digits[at : at + 2] for at in range(0, 12, 2))


def port(value: str) -> str:
    """A port number."""
    number = int(value)
    if not 0 <= number <= 65_535:
        raise ValueError(value)
    return str(number)


def seconds_of(value: str) -> float:
    """Return the seconds of a time as RouterOS takes it: `1d2h`, `00:05:00`, `1d02:15:30`, `300`. Raises ValueError."""
    if re.fullmatch(r"\d+(\.\d+)?", value):
        return float(value)
    if match := _CLOCK.fullmatch(value):
        weeks, days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
        return weeks * 604_800 + days * 86_400 + hours * 3_600 + minutes * 60 + seconds
    match = _DURATION.fullmatch(value)
    if match is None or not value:
        raise ValueError(value)
    parts = [float(part or 0) for part in match.groups()]
    scale = (604_800, 86_400, 3_600, 60, 1, 0.001, 0.000_001)
    return sum(part * each for part, each in zip(parts, scale, strict=True))


def time_text(seconds: float) -> str:
    """Return a time as RouterOS prints it: `3w4d12h23m12s`, parts that are zero left out, `0s` for none."""
    whole = int(seconds)
    parts = []
    for unit, size in _UNITS.items():
        count, whole = divmod(whole, size)
        if count:
            parts.append(f"{count}{unit}")
    milliseconds = round((seconds - int(seconds)) * 1000)
    if milliseconds:
        parts.append(f"{milliseconds}ms")
    return "".join(parts) or "0s"


def duration(value: str) -> str:
    """A time."""
    return time_text(seconds_of(value))


def duration_or(*words: str) -> Kind:
    """A time, or one of these words (`none`, `never`, `received`)."""
    return lambda value: value if value in words else duration(value)


def bits_per_second(value: str) -> int:
    """Return a number that may end in `k`, `M` or `G`, in steps of 1000. Raises ValueError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kMG]?)", value)
    if match is None:
        raise ValueError(value)
    return round(float(match[1]) * _MULTIPLES.get(match[2], 1))


def rate_pair(value: str) -> str:
    """Two rates in bits per second, upload first; one alone counts for both. Printed in digits."""
    first, slash, second = value.partition("/")
    upload = bits_per_second(first)
    return f"{upload}/{bits_per_second(second) if slash else upload}"


def rate(value: str) -> str:
    """One rate in bits per second, printed in digits."""
    return str(bits_per_second(value))


def duration_pair(value: str) -> str:
    """Two times, upload first."""
    first, slash, second = value.partition("/")
    return f"{duration(first)}/{duration(second if slash else first)}"


def pair(value: str) -> str:
    """Two words with a slash between; one alone counts for both."""
    return value if "/" in value else f"{value}/{value}"


def either(*kinds: Kind) -> Kind:
    """What the first of these kinds takes."""

    def read(value: str) -> str:
        for kind in kinds:
            try:
                return kind(value)
            except ValueError:
                continue
        raise ValueError(value)

    return read


def several(kind: Kind) -> Kind:
    """Values of a kind with commas between."""
    return lambda value: ",".join(kind(part) for part in value.split(",")) if value else ""


def negated(kind: Kind) -> Kind:
    """A value that may have an exclamation mark before it, as the matchers of the firewall."""
    return lambda value: "!" + kind(value[1:]) if value.startswith("!") else kind(value)
