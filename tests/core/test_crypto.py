import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.crypto import BadKeyring, Keyring, SecretUnreadable

KEYRING = Keyring.parse(Keyring.generate())


@given(st.text(max_size=300))
def test_what_is_sealed_opens(clear):
    assert KEYRING.open("service.password", KEYRING.seal("service.password", clear)) == clear


def test_a_sealed_value_does_not_show_its_content_or_repeat():
    one, two = (KEYRING.seal("service.password", "secreto") for _ in range(2))
    assert b"secreto" not in one
    assert one != two


def test_a_sealed_value_does_not_open_for_another_purpose():
    with pytest.raises(SecretUnreadable):
        KEYRING.open("nas.secret", KEYRING.seal("service.password", "secreto"))


@given(st.integers(0, 40), st.integers(1, 255))
def test_an_altered_value_does_not_open(position, change):
    sealed = bytearray(KEYRING.seal("service.password", "una clave"))
    sealed[position % len(sealed)] ^= change
    with pytest.raises(SecretUnreadable):
        KEYRING.open("service.password", bytes(sealed))


def test_a_new_key_seals_while_the_old_still_opens():
    old = Keyring.generate(1)
    sealed = Keyring.parse(old).seal("nas.secret", "x")
    rotated = Keyring.parse(f"{Keyring.generate(2)},{old}")
    assert rotated.open("nas.secret", sealed) == "x"
    assert rotated.seal("nas.secret", "x")[0] == 2
    with pytest.raises(SecretUnreadable):
        Keyring.parse(Keyring.generate(2)).open("nas.secret", sealed)


@pytest.mark.parametrize("text", ["", "1", "1:", "1:abc", "x:" + "A" * 43 + "=", "1:AAAA", "0:" + "A" * 43 + "="])
def test_a_bad_keyring_is_refused(text):
    with pytest.raises(BadKeyring):
        Keyring.parse(text)


def test_derived_keys_differ_by_purpose():
    assert KEYRING.derive("tenancy") != KEYRING.derive("cookies")
    assert KEYRING.derive("tenancy") == KEYRING.derive("tenancy")
