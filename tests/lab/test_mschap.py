"""MS-CHAP against the vectors of the RFCs."""

import pytest

from lab.mschap import challenge_response, md4, nt_hash, version1_response, version2_response, version2_success


@pytest.mark.parametrize(
    ("message", "digest"),
    [
        (b"", "31d6cfe0d16ae931b73c59d7e0c089c0"),
        (b"abc", "a448017aaf21d8525fc10ae87aa6729d"),
        (b"abcdefghijklmnopqrstuvwxyz", "d79e1c308aa5bbcdeea8ed63df412da9"),
        (b"1234567890" * 8, "e33b4ddc9c38f2199c3e7b164fcc0536"),
    ],
)
def test_md4_gives_the_digests_of_rfc_1320(message: bytes, digest: str) -> None:
    assert md4(message).hex() == digest


def test_version_1_answers_as_rfc_2433_appendix_b_shows() -> None:
    challenge = bytes.fromhex("102DB5DF085D3041")
    assert nt_hash("MyPw").hex().upper() == "FC156AF7EDCD6C0EDDE3337D427F4EAC"
    answer = "4E9D3C8F9CFD385D5BF4D3246791956CA4C351AB409A3D61"
    assert challenge_response(challenge, nt_hash("MyPw")).hex().upper() == answer
    assert version1_response(7, "MyPw", challenge).hex().upper() == "0701" + "00" * 24 + answer


def test_version_2_answers_and_is_answered_as_rfc_2759_section_9_2_shows() -> None:
    challenge = bytes.fromhex("5B5D7C7D7B3F2F3E3C2C602132262628")
    peer_challenge = bytes.fromhex("21402324255E262A28295F2B3A337C7E")
    response = version2_response(1, "User", "clientPass", challenge, peer_challenge)
    assert response[26:].hex().upper() == "82309ECD8D708B5EA08FAA3981CD83544233114A3D85D6DF"
    success = version2_success(1, "User", "clientPass", challenge, response)
    assert success == b"\x01S=407A5589115FD0D6209F510FE9C04566932CDA56"


def test_a_windows_domain_before_the_name_does_not_change_the_answer() -> None:
    challenge, peer_challenge = bytes(16), bytes(range(16))
    bare = version2_response(1, "ana", "secret", challenge, peer_challenge)
    assert version2_response(1, "HOME\\ana", "secret", challenge, peer_challenge) == bare
