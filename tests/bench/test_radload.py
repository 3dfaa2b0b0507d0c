"""The load generator against a plain FreeRADIUS, which judges its passwords and packets."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import baselines
from bench.generator import GeneratorFailed, run_load, write_users
from bench.rounds import Contender
from bench.site import Site, make_users, open_site

pytestmark = pytest.mark.system
USERS = make_users(30)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with open_site() as site:
        yield site


@pytest.fixture(scope="module")
def users(site: Site) -> Path:
    return write_users(site.directory / "users.csv", USERS)


@pytest.fixture(scope="module")
def files(site: Site, users: Path) -> Iterator[Contender]:
    with baselines.files(site, USERS, users) as contender:
        yield contender


@pytest.mark.parametrize("mode", ["pap", "chap", "mschap2", "mix"])
def test_freeradius_accepts_each_kind_of_password(files: Contender, users: Path, mode: str) -> None:
    load = run_load(mode, files.auth_port, users, "-n", 300)
    assert (load.accepted, load.rejected, load.lost, load.forged) == (300, 0, 0, 0)


@pytest.mark.parametrize("mode", ["pap", "chap", "mschap2"])
def test_wrong_passwords_are_rejected_and_counted_as_right_answers(files: Contender, users: Path, mode: str) -> None:
    load = run_load(mode, files.auth_port, users, "-n", 100, "-B", 5)
    assert (load.accepted, load.rejected, load.wrong) == (80, 20, 0)


def test_a_rejected_good_password_is_counted_as_wrong(files: Contender, site: Site) -> None:
    strangers = write_users(site.directory / "strangers.csv", [("nobody", "secret")])
    load = run_load("pap", files.auth_port, strangers, "-n", 10)
    assert (load.rejected, load.wrong, load.faultless) == (10, 10, False)


def test_message_authenticator_is_believed(files: Contender, users: Path) -> None:
    assert run_load("pap", files.auth_port, users, "-n", 50, "-M").accepted == 50


def test_answers_signed_with_another_secret_are_not_counted(files: Contender, users: Path) -> None:
    load = run_load("chap", files.auth_port, users, "-n", 5, "-k", "another", "-t", 0.2, "-r", 0)
    assert (load.answered, load.lost) == (0, 5)
    assert load.forged == 5


def test_the_log_of_acknowledged_accounting_is_what_the_server_wrote(site: Site, users: Path) -> None:
    log = site.directory / "acknowledged.csv"
    with baselines.detail(site, users) as contender:
        load = run_load("acct", contender.acct_port, users, "-n", 200, "-x", "t-", "-A", str(log))
    assert (load.acknowledged, load.starts + load.interims + load.stops) == (200, 200)
    written = (site.directory / "detail/radacct/detail").read_text(encoding="utf-8").split("\n\n")
    names = {"Start": "1", "Stop": "2", "Interim-Update": "3"}
    records = []
    for record in filter(None, written):
        status, session = (
            re.search(pattern, record) for pattern in (r"Status-Type = (\S+)", r'Acct-Session-Id = "(\S+)"')
        )
        assert status is not None
        assert session is not None
        seconds = re.search(r"Session-Time = (\d+)", record)
        step = int(seconds[1]) // 300 if seconds else 0
        records.append(f"{session[1]},{names[status[1]]},{step}")
    assert sorted(records) == sorted(log.read_text(encoding="utf-8").split())


def test_only_loopback_is_ever_loaded(users: Path) -> None:
    with pytest.raises(GeneratorFailed, match=r"127\.0\.0\.0/8"):
        run_load("pap", 1812, users, "-s", "192.0.2.1", "-n", 1)
