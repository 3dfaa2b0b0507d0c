import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.mac import NotAMac, find_mac, parse_mac

OCTETS = st.binary(min_size=6, max_size=6)


def spelled(octets: bytes, spelling: str) -> str:
    digits = octets.hex()
    pairs = [digits[i : i + 2] for i in range(0, 12, 2)]
    return {
        "XX:XX:XX:XX:XX:XX": ":".join(pairs).upper(),
        "XXXX:XXXX:XXXX": ":".join(digits[i : i + 4] for i in (0, 4, 8)).upper(),
        "XXXXXX:XXXXXX": f"{digits[:6]}:{digits[6:]}".upper(),
        "XX-XX-XX-XX-XX-XX": "-".join(pairs).upper(),
        "XXXXXX-XXXXXX": f"{digits[:6]}-{digits[6:]}".upper(),
        "XXXXXXXXXXXX": digits.upper(),
        "XX XX XX XX XX XX": " ".join(pairs).upper(),
        "lower": ":".join(pairs),
        "cisco": ".".join(digits[i : i + 4] for i in (0, 4, 8)),
        "client-id": "1:" + ":".join(pairs),
        "client-id octets": "01" + digits,
    }[spelling]


SPELLINGS = [
    "XX:XX:XX:XX:XX:XX", "XXXX:XXXX:XXXX", "XXXXXX:XXXXXX", "XX-XX-XX-XX-XX-XX", "XXXXXX-XXXXXX", "XXXXXXXXXXXX",
    "XX XX XX XX XX XX", "lower", "cisco", "client-id", "client-id octets",
]  # fmt: skip


@given(OCTETS, st.sampled_from(SPELLINGS))
def test_every_spelling_of_routeros_is_read_into_one(octets, spelling):
    assert parse_mac(spelled(octets, spelling)) == octets.hex(":")


@given(OCTETS)
def test_the_canonical_spelling_is_read_as_itself(octets):
    assert parse_mac(octets.hex(":")) == octets.hex(":")


@pytest.mark.parametrize(
    "text",
    ["", "juan", "aa:bb:cc:dd:ee", "aa:bb:cc:dd:ee:ff:00", "gg:bb:cc:dd:ee:ff", "aabbccddeeff'--", "٠٠:bb:cc:dd:ee:ff"],
)
def test_other_text_is_no_mac(text):
    assert find_mac(text) is None
    with pytest.raises(NotAMac):
        parse_mac(text)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused_without_an_accident(text):
    mac = find_mac(text)
    assert mac is None or parse_mac(mac) == mac
