"""Accounting-Requests as FreeRADIUS hands them over."""

import pytest

from radius.packet import Description, PacketUnusable, Status, read_packet, storable

AT = 1_700_000_000.25  # 2023-11-14 22:13:20.25 UTC

HOTSPOT_STOP = {
    "Acct-Status-Type": "Stop",
    "Acct-Terminate-Cause": "Lost-Service",
    "NAS-Port-Type": "Wireless-802.11",
    "Calling-Station-Id": "EC:F4:BB:FA:36:C9",
    "Called-Station-Id": "hotspot1",
    "NAS-Port-Id": "bridge",
    "User-Name": "ana",
    "Acct-Session-Id": "80100014",
    "Framed-IP-Address": "10.5.88.20",
    "Mikrotik-Host-IP": "10.5.88.20",
    "Event-Timestamp": "Nov 14 2023 22:13:19 UTC",
    "Acct-Session-Time": "620",
    "Acct-Input-Octets": "1000",
    "Acct-Input-Gigawords": "0",
    "Acct-Output-Octets": "4294967295",
    "Acct-Output-Gigawords": "2",
    "Acct-Input-Packets": "10",
    "Acct-Output-Packets": "20",
    "NAS-Identifier": "tower-1",
    "Acct-Delay-Time": "0",
    "NAS-IP-Address": "10.8.0.2",
    "Class": "0x70312e322e30303131323233333434353536363737",
}


def read(describe=True, at=AT, **changes):
    attributes = {**HOTSPOT_STOP, **{name.replace("_", "-"): value for name, value in changes.items()}}
    return read_packet(at, 3, 1, {k: v for k, v in attributes.items() if v is not None}, describe=describe)


def test_a_stop_of_the_hotspot_is_read_whole():
    packet = read()
    assert (packet.nas_id, packet.operator_id, packet.status) == (3, 1, Status.STOP)
    assert packet.key == (3, "80100014", "ana")
    assert packet.event == 1_699_999_999.0
    assert packet.session_time == 620
    assert (packet.input_octets, packet.output_octets) == (1000, (2 << 32) + 4_294_967_295)
    assert (packet.input_packets, packet.output_packets) == (10, 20)
    assert packet.cause == "Lost-Service"
    assert packet.framed_ip == "10.5.88.20"
    assert packet.description == Description(
        "0x70312e322e30303131323233333434353536363737",
        "hotspot1",
        "bridge",
        "tower-1",
        "10.8.0.2",
        "hotspot",
        "ec:f4:bb:fa:36:c9",
    )


@pytest.mark.parametrize(
    ("stamp", "delay", "event"),
    [
        pytest.param("Nov 14 2023 22:13:19 UTC", "0", 1_699_999_999.0, id="the NAS clock agrees"),
        pytest.param("Nov 14 2023 22:15:19 UTC", "0", 1_700_000_119.0, id="two minutes fast"),
        pytest.param("Nov 14 2023 22:16:00 UTC", "0", AT, id="more than two minutes fast"),
        pytest.param("Jan  2 1970 00:00:10 UTC", "0", AT, id="never set"),
        pytest.param("Jan  2 1970 00:00:10 UTC", "30", AT - 30, id="never set, sent late"),
        pytest.param(None, "3600", AT - 3600, id="sent an hour late"),
        pytest.param("Nov 14 2023 21:13:19 UTC", "3600", 1_699_996_399.0, id="both agree on an hour"),
        pytest.param("soon", "0", AT, id="no date"),
        pytest.param("Nov 14 2023 22:13:19 CET", "0", AT, id="not in UTC"),
        pytest.param(None, None, AT, id="nothing said"),
    ],
)
def test_an_event_has_happened_when_a_credible_clock_says_so(stamp, delay, event):
    assert read(Event_Timestamp=stamp, Acct_Delay_Time=delay).event == event


@pytest.mark.parametrize(
    ("octets", "gigawords", "total"),
    [
        ("0", "0", 0),
        ("5", None, 5),
        ("5", "3", (3 << 32) + 5),
        (None, "3", None),
        ("5", "16777217", None),
        ("-5", "0", None),
        ("five", "0", None),
    ],
)
def test_a_counter_is_octets_and_wraps(octets, gigawords, total):
    packet = read(Acct_Input_Octets=octets, Acct_Input_Gigawords=gigawords)
    assert packet.input_octets == total


def test_a_start_has_no_counters_whatever_it_carries():
    packet = read(Acct_Status_Type="Start")
    assert (packet.session_time, packet.input_octets, packet.output_octets) == (0, None, None)


def test_only_the_first_packet_of_a_session_need_be_described():
    assert read(describe=False).description is None
    assert read(describe=False, Acct_Status_Type="Start").description is not None


@pytest.mark.parametrize("status", ["Accounting-On", "Accounting-Off"])
def test_a_nas_that_restarts_needs_no_user_name(status):
    packet = read_packet(AT, 3, 1, {"Acct-Status-Type": status}, describe=True)
    assert (packet.status.name, packet.event) == (status.removeprefix("Accounting-").upper(), AT)


@pytest.mark.parametrize("missing", ["Acct-Status-Type", "Acct-Session-Id"])
def test_a_packet_that_tells_of_no_session_is_unusable(missing):
    attributes = {name: value for name, value in HOTSPOT_STOP.items() if name != missing}
    with pytest.raises(PacketUnusable, match=missing):
        read_packet(AT, 3, 1, attributes, describe=True)


def test_an_unknown_status_is_unusable():
    with pytest.raises(PacketUnusable):
        read(Acct_Status_Type="77")


def test_a_session_of_a_century_has_no_credible_length():
    assert read(Acct_Session_Time="4294967295").session_time is None


def test_what_postgresql_cannot_keep_is_left_out():
    assert storable("a\0b\ud800c") == "ab?c"
    assert read(User_Name="a\0na").user_name == "ana"
    assert storable("línea 1\nlínea 2") == "línea 1\nlínea 2"
