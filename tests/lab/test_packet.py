"""The codec against the RFCs' worked examples and against pyrad, which none of us wrote."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyrad import packet as pyrad_packet
from pyrad.dictionary import Dictionary

from lab import attributes as rad
from lab.packet import (
    Code,
    Malformed,
    access_request,
    address,
    attribute,
    chap_response,
    decode,
    hide_password,
    is_answer,
    is_sealed,
    number,
    reply,
    sealed_request,
    text,
)

SECRET = b"shared secret"


def test_pap_request_is_the_one_of_rfc_2865_section_7_1() -> None:
    authenticator = bytes.fromhex("0f403f9473978057bd83d5cb98f4227a")
    attributes = (
        text(rad.USER_NAME, "nemo")
        + attribute(rad.USER_PASSWORD, hide_password(b"arctangent", b"xyzzy5461", authenticator))
        + address(rad.NAS_IP_ADDRESS, "192.168.1.16")
        + number(rad.NAS_PORT, 3)
    )
    assert access_request(0, authenticator, attributes, b"xyzzy5461", signed=False) == bytes.fromhex(
        "010000380f403f9473978057bd83d5cb98f4227a01066e656d6f02120dbe708d93d413ce3196e43f782a0aee0406c0a80110050600000003"
    )


def test_accept_of_rfc_2865_section_7_1_is_taken_and_an_altered_one_is_not() -> None:
    octets = bytes.fromhex("0200002686fe220e7624ba2a1005f6bf9b55e0b20606000000010f06000000000e06c0a80103")
    authenticator = bytes.fromhex("0f403f9473978057bd83d5cb98f4227a")
    assert is_answer(decode(octets), authenticator, b"xyzzy5461")
    assert not is_answer(decode(octets[:-1] + b"\x04"), authenticator, b"xyzzy5461")
    assert not is_answer(decode(octets), authenticator, b"another")


def test_pyrad_accepts_our_chap_password_and_not_that_of_another_password() -> None:
    challenge = os.urandom(16)
    for password, right in ((b"arctangent", True), (b"arctangens", False)):
        chap = attribute(rad.CHAP_PASSWORD, chap_response(22, password, challenge))
        # Without CHAP-Challenge the Request Authenticator is the challenge (RFC 2865 §5.40).
        octets = access_request(1, challenge, chap, SECRET, signed=False)
        read = pyrad_packet.AuthPacket(packet=octets, secret=SECRET, dict=Dictionary())
        assert read.VerifyChapPasswd("arctangent") is right


def test_an_empty_password_is_sixteen_hidden_octets_and_no_missing_attribute() -> None:
    hidden = hide_password(b"", SECRET, bytes(16))
    assert len(hidden) == 16
    assert _pyrad_request(attribute(rad.USER_PASSWORD, hidden)).PwDecrypt(hidden) == ""


@given(st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=128))
def test_pyrad_reads_any_password_we_hide(password: str) -> None:
    hidden = hide_password(password.encode(), SECRET, bytes(16))
    assert _pyrad_request(attribute(rad.USER_PASSWORD, hidden)).PwDecrypt(hidden) == password


def test_pyrad_accepts_the_signature_of_our_access_request_and_not_with_another_secret() -> None:
    octets = access_request(9, os.urandom(16), text(rad.USER_NAME, "ana"), SECRET, signed=True)
    for secret, genuine in ((SECRET, True), (b"wrong", False)):
        read = pyrad_packet.AuthPacket(packet=octets, secret=secret, dict=Dictionary())
        assert read.verify_message_authenticator() is genuine


def test_pyrad_accepts_the_authenticator_of_our_accounting_request() -> None:
    octets = sealed_request(Code.ACCOUNTING_REQUEST, 3, number(rad.ACCT_STATUS_TYPE, 1), SECRET)
    assert pyrad_packet.AcctPacket(packet=octets, secret=SECRET, dict=Dictionary()).VerifyAcctRequest()
    assert is_sealed(decode(octets), SECRET)


def test_pyrads_coa_request_is_genuine_with_and_without_a_signature() -> None:
    for signed in (False, True):
        sent = pyrad_packet.CoAPacket(secret=SECRET, dict=Dictionary(), id=5)
        sent[1] = [b"ana"]
        if signed:
            sent.add_message_authenticator()
        octets = sent.RequestPacket()
        assert is_sealed(decode(octets), SECRET)
        assert not is_sealed(decode(octets), b"wrong")


def test_pyrad_takes_our_bare_ack_of_twenty_octets() -> None:
    sent = pyrad_packet.CoAPacket(secret=SECRET, dict=Dictionary(), id=5)
    answer = reply(Code.COA_ACK, decode(sent.RequestPacket()), b"", SECRET)
    assert len(answer) == 20
    assert sent.VerifyReply(pyrad_packet.Packet(packet=answer, secret=SECRET, dict=Dictionary()), answer)


values = st.tuples(st.sampled_from([1, 8, 25, rad.MIKROTIK_RATE_LIMIT, rad.MS_CHAP_CHALLENGE]), st.binary(max_size=247))


@given(st.lists(values, max_size=12))
def test_attributes_come_back_as_they_were_written(written: list[tuple[int, bytes]]) -> None:
    octets = sealed_request(Code.ACCOUNTING_REQUEST, 1, b"".join(attribute(*pair) for pair in written), SECRET)
    read = decode(octets).attributes
    for code in {code for code, _ in written}:
        assert read.all(code) == [value for each, value in written if each == code]


@given(st.binary(max_size=300))
def test_any_octets_are_a_packet_or_malformed(octets: bytes) -> None:
    try:
        packet = decode(octets)
    except Malformed:
        return
    assert packet.octets == octets[: len(packet.octets)]


@pytest.mark.parametrize(
    "attributes",
    [
        pytest.param(b"\x01\x01", id="length below 2"),
        pytest.param(b"\x01\x09abc", id="longer than the packet"),
        pytest.param(b"\x01", id="no length"),
        pytest.param(b"\x1a\x04\x00\x00", id="vendor cut short"),
        pytest.param(b"\x1a\x0a\x00\x00\x3a\x8c\x08\x09ab", id="vendor attribute longer than its shell"),
        pytest.param(b"\x50\x04ab", id="signature of 2 octets"),
    ],
)
def test_broken_attributes_are_malformed(attributes: bytes) -> None:
    octets = sealed_request(Code.COA_REQUEST, 1, attributes, SECRET)
    with pytest.raises(Malformed):
        decode(octets)


def test_a_value_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="more than 253"):
        attribute(rad.USER_NAME, bytes(254))
    with pytest.raises(ValueError, match="more than 247"):
        attribute(rad.MIKROTIK_RATE_LIMIT, bytes(248))


def _pyrad_request(attributes: bytes) -> pyrad_packet.AuthPacket:
    octets = access_request(1, bytes(16), attributes, SECRET, signed=False)
    return pyrad_packet.AuthPacket(packet=octets, secret=SECRET, dict=Dictionary())
