"""Rows as COPY takes them in its text format: values between tabs, a line for each row.

Written by hand because psycopg adapts each value by itself, which costs more than everything else the loader does.
"""

import json
from collections.abc import Iterable
from functools import lru_cache

from core.clock import from_epoch
from radius.journal import Authentication
from radius.packet import Packet, storable
from radius.sessions import Key, SessionState
from radius.usage import HourKey, PeriodKey


def text_value(text: str | None) -> str:
    if text is None:
        return "\\N"
    if text.isprintable() and "\\" not in text:
        return text
    text = storable(text).replace("\\", "\\\\")
    return text.replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


def array(numbers: Iterable[int]) -> str:
    """Return whole numbers as PostgreSQL writes an array: psycopg's own way is slow for thousands."""
    return f"{{{','.join(map(str, numbers))}}}"


def _octets(octets: bytes | None) -> str:
    return "\\N" if octets is None else f"\\\\x{octets.hex()}"


def _number(number: float | None) -> str:
    return "\\N" if number is None else repr(number)


@lru_cache(maxsize=4096)
def _second(seconds: int) -> str:
    return f"{from_epoch(seconds):%Y-%m-%d %H:%M:%S}"


def _stamp(instant: float | None) -> str:
    """Return an instant to the microsecond, as PostgreSQL rounds the same number."""
    if instant is None:
        return "\\N"
    microseconds = round(instant * 1_000_000)
    seconds, rest = divmod(microseconds, 1_000_000)
    return f"{_second(seconds)}.{rest:06}+00"


def _json(document: dict[str, str] | None) -> str:
    if not document:
        return "{}"
    plain = {storable(str(key)): storable(str(value)) for key, value in document.items()}
    return text_value(json.dumps(plain))


def event_line(event: Authentication) -> str:
    (
        at, nas_id, operator_id, service_id, user_name, mac, kind, method, outcome, reason, detail, acct_session_id,
        terms_id, _, _,
    ) = event  # fmt: skip
    return (
        f"{_stamp(at)}\t{operator_id}\t{nas_id}\t{_number(service_id)}\t{text_value(user_name)}\t{text_value(mac)}\t{kind}"
        f"\t{method}\t{outcome}\t{reason}\t{_json(detail)}\t{text_value(acct_session_id)}\t{_octets(terms_id)}\n"
    )


def key_line(key: Key) -> str:
    nas_id, acct_session_id, user_name = key
    return f"{nas_id}\t{text_value(acct_session_id)}\t{text_value(user_name)}\n"


def asking_line(packet: Packet) -> str:
    return f"{packet.operator_id}\t{key_line(packet.key)}"


def session_line(state: SessionState) -> str:
    return (
        f"{_stamp(state.started)}\t{state.operator_id}\t{state.nas_id}\t{_number(state.service_id)}"
        f"\t{text_value(state.acct_session_id)}\t{text_value(state.user_name)}\t{text_value(state.calling_station_id)}"
        f"\t{text_value(state.called_station_id)}\t{text_value(state.nas_port_id)}\t{text_value(state.nas_identifier)}"
        f"\t{text_value(state.nas_ip_address)}\t{state.kind}\t{text_value(state.mac)}\t{text_value(state.framed_ip)}"
        f"\t{text_value(state.framed_ipv6_prefix)}\t{text_value(state.delegated_ipv6_prefix)}\t{_stamp(state.heard)}"
        f"\t{_stamp(state.ended)}\t{state.session_time}\t{state.octets_in}\t{state.octets_out}\t{state.packets_in}"
        f"\t{state.packets_out}\t{state.input_octets}\t{state.output_octets}\t{text_value(state.cause)}"
        f"\t{text_value(state.ended_by)}\t{_octets(state.terms_id)}\t{text_value(state.reported_rate)}"
        f"\t{state.interim_interval}\n"
    )


def change_line(state: SessionState) -> str:
    return (
        f"{state.id}\t{state.started!r}\t{state.heard!r}\t{_number(state.ended)}\t{_number(state.stored_end)}"
        f"\t{text_value(state.ended_by)}\t{text_value(state.cause)}\t{state.session_time}\t{state.octets_in}"
        f"\t{state.octets_out}\t{state.packets_in}\t{state.packets_out}\t{state.input_octets}\t{state.output_octets}"
        f"\t{text_value(state.framed_ip)}\t{text_value(state.framed_ipv6_prefix)}\t{text_value(state.delegated_ipv6_prefix)}"
        f"\t{text_value(state.reported_rate)}\t{_number(state.service_id)}\t{_octets(state.terms_id)}"
        f"\t{state.interim_interval}\n"
    )


def hour_line(item: tuple[HourKey, list[int]]) -> str:
    (service_id, hour, operator_id), (octets_in, octets_out) = item
    return f"{service_id}\t{hour}\t{operator_id}\t{octets_in}\t{octets_out}\n"


def period_line(item: tuple[PeriodKey, list[int]]) -> str:
    (service_id, begin, end, operator_id), (octets_in, octets_out, octets_free) = item
    return f"{service_id}\t{begin!r}\t{end!r}\t{operator_id}\t{octets_in}\t{octets_out}\t{octets_free}\n"
