"""What the audit of packages says, and that it never says "clean" when it could not ask."""

import json

import pytest

from stack.audit import FILES, ROOT, Verdict, judge, loose_requirements, pinned

GOOD = """\
flask==3.1.2 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
    # via -r requirements.in
psycopg[binary]==3.2.1 \\
    --hash=sha256:cc
"""


def said(*dependencies: dict) -> str:
    return json.dumps({"dependencies": list(dependencies), "fixes": []})


@pytest.mark.parametrize("name", FILES)
def test_what_we_install_has_one_version_and_hashes(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert loose_requirements(text) == []
    assert len(pinned(text)) > 30


def test_what_we_ship_is_what_the_tests_ran_with():
    shipped, tested = (pinned((ROOT / name).read_text(encoding="utf-8")) for name in FILES)
    assert {name: tested.get(name) for name in shipped} == shipped


def test_a_requirement_without_version_or_hash_is_found():
    assert loose_requirements(GOOD) == []
    assert loose_requirements(GOOD + "celery>=5\n") == ["celery>=5"]
    assert loose_requirements(GOOD + "redis==5.0.1\n") == ["redis==5.0.1"]
    assert pinned(GOOD) == {"flask": "3.1.2", "psycopg": "3.2.1"}


def test_a_known_hole_is_told_with_the_version_that_mends_it():
    hole = {"id": "PYSEC-2027-1", "fix_versions": ["3.1.3"], "aliases": [], "description": ""}
    report = judge(1, said({"name": "flask", "version": "3.1.2", "vulns": [hole]}), "")
    assert report.verdict is Verdict.BAD
    assert report.lines == ("flask 3.1.2: PYSEC-2027-1, fixed in 3.1.3",)


def test_nothing_known_is_clean():
    assert judge(0, said({"name": "flask", "version": "3.1.2", "vulns": []}), "").verdict is Verdict.CLEAN


@pytest.mark.parametrize(
    ("status", "output", "complaint"),
    [
        pytest.param(1, "", "ERROR: Could not connect to the index", id="no network"),
        pytest.param(0, "", "", id="said nothing"),
        pytest.param(0, "[]", "", id="another form"),
        pytest.param(0, said(), "", id="asked about nothing"),
        pytest.param(0, said({"name": "flask", "skip_reason": "not found"}), "", id="skipped one"),
    ],
)
def test_not_having_asked_is_neither_clean_nor_bad(status, output, complaint):
    assert judge(status, output, complaint).verdict is Verdict.NOT_ASKED
