"""The image: damage is noticed, a rebuild is taken up, and the prepared answer is the one that deciding gives.

LMDB lets a process open a file once, so where a test has a reader and a writer, one is a process of its own.
"""

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aaa.facts import OpenSession, Policy, Service
from core.crypto import Keyring
from radius import image
from radius.facts import StoredService
from radius.facts_codec import plain_plan, plain_policy, plain_sessions
from radius.hooks import Hooks
from radius.image import Image, ImageDamaged, ImageMissing, ImageWriter, pack, rebuild
from radius.journal import JournalWriter, read_records, segments
from radius.prepare import prepare
from tests.radius.facts import MACS, NOW, policies, services

PROJECT = Path(__file__).resolve().parents[2]
KEYS = Keyring.generate()
KEYRING = Keyring.parse(KEYS)


def entries(
    *stored: StoredService, live: tuple[OpenSession, ...] = (), prepared: bool = True
) -> Iterable[tuple[bytes, bytes]]:
    yield image.HEADER, pack(image.HEADER, image.header("here", "1:1:"))
    yield image.GENERATION, pack(image.GENERATION, 1)
    key = image.nas_key("127.0.0.1")
    yield key, pack(key, (3, 1, "tower", KEYRING.seal("nas.secret", "s3"), False))
    for service, policy, password in stored:
        key = image.policy_key(policy.id)
        yield key, pack(key, plain_policy(policy, "es"))
        key = image.plan_key(service.plan.id)
        yield key, pack(key, plain_plan(service.plan))
        entry = prepare(StoredService(service, policy, password), NOW)
        row = list(image.unpack(entry.key, entry.row))
        row[2] = row[2] if prepared else 0.0
        yield entry.key, pack(entry.key, tuple(row))
        if entry.shared_key is not None and entry.shared is not None:
            yield entry.shared_key, entry.shared
        if live:
            key = image.live_key(service.id)
            yield key, pack(key, plain_sessions(live))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "image"


def test_without_an_image_the_error_says_who_makes_it(directory: Path):
    with pytest.raises(ImageMissing, match="portico publisher"):
        Image(directory, KEYRING)


def test_a_committed_change_is_what_the_next_packet_sees(directory: Path):
    rebuild(directory, KEYRING, entries()).close()
    reader = Image(directory, KEYRING)
    before = reader.begin()
    in_another_process(
        f"""
        writer = ImageWriter.open(Path({str(directory)!r}), Keyring.parse({KEYS!r}))
        with writer.change() as transaction:
            transaction.put(b"Sx", pack(b"Sx", (1,)))
        """
    )
    assert reader.get(b"Sx") is None
    assert reader.begin() != before
    assert reader.get(b"Sx") == (1,)
    reader.close()


def in_another_process(code: str) -> None:
    opening = "from pathlib import Path\nfrom core.crypto import Keyring\nfrom radius.image import ImageWriter, pack\n"
    subprocess.run([sys.executable, "-c", opening + textwrap.dedent(code)], check=True, cwd=PROJECT)


def test_a_rebuilt_image_is_taken_up_while_radiusd_runs(directory: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(image, "_RECHECK", 0.0)
    rebuild(directory, KEYRING, entries()).close()
    reader = Image(directory, KEYRING)
    rebuild(directory, KEYRING, [*entries(), (b"Sx", pack(b"Sx", (2,)))]).close()
    reader.begin()
    assert reader.get(b"Sx") == (2,)
    assert len(list(directory.glob("image-*.lmdb"))) == 1
    reader.close()


def test_a_deleted_image_goes_on_being_answered_from(directory: Path):
    rebuild(directory, KEYRING, entries()).close()
    reader = Image(directory, KEYRING)
    for file in directory.iterdir():
        file.unlink()
    reader.begin()
    assert reader.get(image.nas_key("127.0.0.1"))[2] == "tower"
    reader.close()


def test_a_writer_notices_that_its_image_was_deleted(directory: Path):
    writer = rebuild(directory, KEYRING, entries())
    assert writer.is_current
    (directory / image.CURRENT).unlink()
    assert not writer.is_current
    writer.close()


@pytest.mark.parametrize("octets", [0, 100, 4096, 9000])
def test_an_image_cut_short_is_refused_and_never_read(directory: Path, octets: int):
    rebuild(directory, KEYRING, entries()).close()
    path = (directory / image.CURRENT).resolve()
    os.truncate(path, octets)
    for opener in (Image, ImageWriter.open):
        with pytest.raises(ImageDamaged):
            opener(directory, KEYRING)


def test_a_flipped_bit_is_an_error_and_not_an_answer(directory: Path):
    rebuild(directory, KEYRING, entries()).close()
    path = (directory / image.CURRENT).resolve()
    content = path.read_bytes()
    place = content.index(b"tower")
    path.write_bytes(content[:place] + b"t0wer" + content[place + 5 :])
    reader = Image(directory, KEYRING)
    reader.begin()
    with pytest.raises(ImageDamaged):
        reader.get(image.nas_key("127.0.0.1"))
    reader.close()
    with pytest.raises(ImageDamaged):
        image.verify(directory, KEYRING)


def test_a_damaged_image_is_met_with_silence_and_reported_to_the_publisher(directory: Path, tmp_path: Path):
    rebuild(directory, KEYRING, entries()).close()
    path = (directory / image.CURRENT).resolve()
    content = path.read_bytes()
    place = content.index(b"tower")
    path.write_bytes(content[:place] + b"t0wer" + content[place + 5 :])
    said: list[str] = []
    hooks = Hooks(Image(directory, KEYRING), JournalWriter(tmp_path / "journal"), KEYRING, said.append)
    answer = hooks.authorize((("User-Name", "ana"), ("Tmp-String-0", "127.0.0.1")))
    assert answer == (3, {"config": (("Response-Packet-Type", ":=", "Do-Not-Respond"),)})
    assert (directory / image.DAMAGED).exists()
    assert len(said) == 1


def test_a_file_that_another_installation_made_is_refused_and_the_old_one_stays_in_use(
    directory: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(image, "_RECHECK", 0.0)
    rebuild(directory, KEYRING, entries()).close()
    reader = Image(directory, KEYRING)
    stranger = Keyring.parse(Keyring.generate())  # its key has the same id
    forged = [*entries(), (b"Sx", pack(b"Sx", ("let in",)))]
    rebuild(directory, stranger, forged).close()
    for opener in (Image, ImageWriter.open, image.verify):
        with pytest.raises(ImageDamaged, match="not signed by this installation"):
            opener(directory, KEYRING)
    reader.begin()
    assert reader.get(b"Sx") is None
    assert reader.get(image.nas_key("127.0.0.1"))[2] == "tower"
    reader.close()


@pytest.mark.parametrize("stolen", [b"", b"K"])
def test_a_row_that_somebody_put_there_is_an_error_and_not_an_answer(directory: Path, stolen: bytes):
    """Its checksum is right. The signature of another row does not help, nor does a file without a key."""
    rebuild(directory, KEYRING, entries()).close()
    key = image.nas_key("127.0.0.1")
    environment = image.open_environment((directory / image.CURRENT).resolve(), readonly=False)
    with environment.begin(write=True) as transaction:
        kept = transaction.get(image.nas_key("127.0.0.1"))
        transaction.put(key, kept[:8] + pack(key, (3, 1, "forged", KEYRING.seal("nas.secret", "mine"), False)))
        transaction.put(b"Sx", kept)  # a signed value under a name that it was not signed for
        if stolen:
            transaction.delete(stolen)
    environment.close()
    with pytest.raises(ImageDamaged):
        image.verify(directory, KEYRING)
    if stolen:
        with pytest.raises(ImageDamaged, match="not signed"):
            Image(directory, KEYRING)
        return
    reader = Image(directory, KEYRING)
    for name in (key, b"Sx"):
        with pytest.raises(ImageDamaged, match="signature"):
            reader.get(name)
    reader.close()


def test_an_image_outlives_a_change_of_the_installations_key(directory: Path):
    rebuild(directory, KEYRING, entries()).close()
    newest = Keyring.generate(2)
    new, both = Keyring.parse(newest), Keyring.parse(f"{newest},{KEYS}")
    with pytest.raises(ImageDamaged, match="not signed by this installation"):
        Image(directory, new)
    ImageWriter.open(directory, both).close()  # as the publisher does when it starts with the new key
    reader = Image(directory, new)
    assert reader.get(image.nas_key("127.0.0.1"))[2] == "tower"
    reader.close()


def test_an_image_of_another_format_is_refused(directory: Path, monkeypatch: pytest.MonkeyPatch):
    rebuild(directory, KEYRING, entries()).close()
    monkeypatch.setattr(image, "FORMAT", image.FORMAT + 1)
    with pytest.raises(ImageDamaged, match="format"):
        Image(directory, KEYRING)


REQUESTS = st.fixed_dictionaries(
    {
        "User-Name": st.just("ana"),
        "User-Password": st.sampled_from(["right", "wrong"]),
        "Calling-Station-Id": st.sampled_from([mac.upper() for mac in MACS]),
        "Acct-Session-Id": st.just("81000001"),
    },
    optional={"Framed-Protocol": st.just("PPP"), "Mikrotik-Host-IP": st.just("10.0.0.1")},
)
LIVE = st.lists(
    st.builds(OpenSession, st.just(4), st.just("other"), st.just("8"), st.sampled_from(MACS)), max_size=2
).map(tuple)


@given(services, policies, REQUESTS, LIVE)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_the_prepared_answer_is_the_one_that_deciding_gives(
    tmp_path_factory: pytest.TempPathFactory,
    fixed_clock: None,
    service: Service,
    policy: Policy,
    request_attributes: dict[str, str],
    live: tuple[OpenSession, ...],
):
    service = replace(service, name="ana")
    stored = StoredService(service, policy, KEYRING.seal("service.password", "right"))
    pairs = (*request_attributes.items(), ("Tmp-String-0", "127.0.0.1"))
    answers, records = [], []
    for prepared in (True, False):
        place = tmp_path_factory.mktemp("image")
        rebuild(place, KEYRING, entries(stored, live=live, prepared=prepared)).close()
        reader = Image(place, KEYRING)
        journal = JournalWriter(place / "journal")
        said: list[str] = []
        answers.append(Hooks(reader, journal, KEYRING, said.append).authorize(pairs))
        journal.close()
        reader.close()
        assert said == []
        written = [record for segment in segments(place / "journal") for _, record in read_records(segment, 0, 10)]
        records.append([(record[0], *record[2:]) for record in written])
    assert answers[0] == answers[1]
    assert records[0] == records[1]


@pytest.fixture
def fixed_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hold the hooks' clock at the instant that the facts are made for."""
    monkeypatch.setattr("radius.hooks.time.time", lambda: NOW.timestamp())
