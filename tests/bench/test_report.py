import re
from dataclasses import replace
from pathlib import Path

import pytest

from bench import report
from bench.generator import Load
from bench.machine import Machine
from bench.report import Kept, Section, Table, at_least, keep, page, read_kept, rounds_table, under
from bench.rounds import Measured

MACHINE = Machine("Some processor", 2, 4096, "6.1", "3.11.2", {"freeradius": "3.2.1"})
SECTION = Section(
    "auth",
    "Access-Request",
    (at_least("of the limit", 0.6, 0.64), under("p99", 250, 300.0, "ms")),
    (Table(("a", "b"), (("1", "2"),)),),
    ("A note.",),
)
LOAD = Load("pap", 64, 0, 2.0, 2000, 2000, 2000, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1000.0, 1, 1, 1, 1, 1, 0.1)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "KEPT", tmp_path / "results")
    monkeypatch.setattr(report, "RESULTS", tmp_path / "RESULTS.md")


def test_a_section_that_is_kept_comes_back_as_it_was() -> None:
    kept = Kept(SECTION, MACHINE, "2027-01-02", "abc1234")
    keep(kept)
    assert read_kept() == [kept]


def test_measuring_one_section_again_leaves_the_others() -> None:
    keep(Kept(SECTION, MACHINE, "2027-01-02"))
    keep(Kept(replace(SECTION, name="image", title="Image"), MACHINE, "2027-01-03"))
    keep(Kept(replace(SECTION, title="Again"), MACHINE, "2027-01-04"))
    assert [(kept.section.title, kept.day) for kept in read_kept()] == [
        ("Again", "2027-01-04"),
        ("Image", "2027-01-03"),
    ]


def test_a_missed_target_stands_out_on_the_page() -> None:
    text = page([Kept(SECTION, MACHINE, "2027-01-02")])
    assert "| auth | of the limit | at least 0.60 | 0.64 | yes |" in text
    assert "| auth | p99 | under 250 ms | 300 ms | **no** |" in text


def test_each_machine_is_named_once() -> None:
    other = Kept(replace(SECTION, name="image"), MACHINE, "2027-01-02")
    text = page([Kept(SECTION, MACHINE, "2027-01-02"), other])
    assert re.findall(r"Machine: .*", text) == [
        "Machine: Some processor, 2 cores, 4 GiB, Linux 6.1; Python 3.11.2; freeradius 3.2.1. (auth, image.)"
    ]


def test_contenders_are_shown_as_shares_of_the_limit() -> None:
    rounds = {
        "limit": [Measured("limit", LOAD, 2.0, 0.0, {"radiusd": 10.0})],
        "ours": [Measured("ours", replace(LOAD, per_second=640.0), 2.0, 0.0, {"radiusd": 15.0})],
    }
    rows = rounds_table(rounds, "limit").rows
    assert [row[:3] for row in rows] == [
        ("limit", "1,000 (1,000 to 1,000)", "1.00"),
        ("ours", "640 (640 to 640)", "0.64"),
    ]
