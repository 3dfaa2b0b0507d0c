import json
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from core.crypto import Keyring
from core.settings import Settings
from radius.image import HEADER, header, pack, rebuild
from stack.commands.image import command as image_command
from stack.doctor import (
    GIB,
    Finding,
    Level,
    PieceState,
    _look_at_image,
    check_backups,
    check_clock,
    check_disk,
    check_embedded_python,
    check_freeradius,
    check_image,
    check_journal,
    check_message_authenticator,
    check_permissions,
    check_piece,
    check_port,
    check_postgres,
    check_redis,
    check_vpn,
    examine,
    read_states,
)
from stack.installation import OWNER_ROLE, PORTAL_ROLE, SYSTEM_ROLE, password_name, write_secrets
from stack.run import Listening, port_problem

OURS = "\tlibpython3.11.so.1.0 => /lib/x86_64-linux-gnu/libpython3.11.so.1.0 (0x00007f)\n"
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("finding", "level", "words"),
    [
        pytest.param(check_freeradius((3, 2, 1)), Level.OK, "3.2.1", id="Debian 12's FreeRADIUS"),
        pytest.param(check_freeradius(None), Level.FAIL, "not installed", id="no FreeRADIUS"),
        pytest.param(check_freeradius((3, 0, 26)), Level.FAIL, "needs 3.2", id="an old FreeRADIUS"),
        pytest.param(check_freeradius((4, 0, 0)), Level.FAIL, "needs 3.2", id="a FreeRADIUS of another kind"),
        pytest.param(check_freeradius((3, 2, 9)), Level.FAIL, "empty reply attributes", id="3.2.9 empties replies"),
        pytest.param(check_freeradius((3, 2, 10)), Level.FAIL, "empty reply attributes", id="3.2.10 too"),
        pytest.param(check_embedded_python(OURS), Level.OK, "3.11", id="the same Python"),
        pytest.param(check_embedded_python("libpython3.13.so"), Level.FAIL, "3.13", id="another Python"),
        pytest.param(check_embedded_python(None), Level.FAIL, "not installed", id="no rlm_python3"),
        pytest.param(check_postgres((15, 20)), Level.OK, "15.20", id="PostgreSQL 15"),
        pytest.param(check_postgres((13, 4)), Level.FAIL, "needs 15", id="PostgreSQL 13"),
        pytest.param(check_postgres(None), Level.FAIL, "does not answer", id="no PostgreSQL"),
        pytest.param(check_backups("PORTICO_BACKUP_DIR is not set", None, NOW), Level.WARN, "none are made", id="off"),
        pytest.param(check_backups(None, None, NOW), Level.FAIL, "none yet", id="no backup"),
        pytest.param(check_backups(None, NOW - timedelta(hours=27), NOW), Level.FAIL, "1 days and 3", id="old backup"),
        pytest.param(check_backups(None, NOW - timedelta(hours=25), NOW), Level.OK, "newest is of", id="backup"),
        pytest.param(check_vpn("PORTICO_VPN=off", None), Level.OK, "cannot dial in", id="VPN switched off"),
        pytest.param(check_vpn("there is no /dev/net/tun", None), Level.WARN, "/dev/net/tun", id="no tun"),
        pytest.param(check_vpn(None, None), Level.WARN, "does not run", id="VPN not heard of"),
        pytest.param(
            check_vpn(None, {"WireGuard": "on", "OpenVPN": "port_taken"}),
            Level.WARN,
            "OpenVPN finds its port taken",
            id="half a VPN",
        ),
        pytest.param(check_vpn(None, {"WireGuard": "on", "OpenVPN": "on"}), Level.OK, "wait for routers", id="VPN"),
        pytest.param(check_redis((7, 0, 15)), Level.OK, "7.0.15", id="Redis 7"),
        pytest.param(check_redis((5, 0)), Level.WARN, "older", id="Redis 5"),
        pytest.param(check_redis(None), Level.FAIL, "not installed", id="no Redis"),
        pytest.param(check_message_authenticator((3, 2, 1), 0), Level.OK, "every NAS must", id="all NAS demand it"),
        pytest.param(
            check_message_authenticator((3, 2, 1), 2), Level.WARN, "2 NAS may", id="some NAS do not, and 3.2.1"
        ),
        pytest.param(
            check_message_authenticator((3, 2, 1), 2), Level.WARN, "limit_proxy_state", id="3.2.1 lacks the other guard"
        ),
        pytest.param(check_message_authenticator((3, 2, 1), None), Level.WARN, "no database", id="NAS not countable"),
        pytest.param(check_port("UDP port 1812", None, ours=False), Level.OK, "free", id="a free port"),
        pytest.param(check_port("UDP port 1812", "taken", ours=True), Level.OK, "held by Portico", id="our own port"),
        pytest.param(check_port("UDP port 1812", "is taken", ours=False), Level.FAIL, "taken", id="a stranger's port"),
        pytest.param(check_port("UDP port 1812", None, ours=True), Level.FAIL, "nothing listens", id="a deaf piece"),
        pytest.param(check_permissions(Path("/d/secrets.env"), 0o600, 7, 7), Level.OK, "closed", id="closed secrets"),
        pytest.param(check_permissions(Path("/d/secrets.env"), 0o640, 7, 7), Level.FAIL, "(640)", id="open secrets"),
        pytest.param(check_permissions(Path("/d/s"), 0o600, 0, 7), Level.FAIL, "belongs to", id="root's secrets"),
        pytest.param(check_permissions(Path("/d/s"), None, 0, 7), Level.WARN, "not there", id="before the first start"),
        pytest.param(check_clock(NOW, synchronized=True), Level.OK, "kept by NTP", id="a kept clock"),
        pytest.param(check_clock(NOW, synchronized=False), Level.WARN, "not synch", id="a drifting clock"),
        pytest.param(check_clock(NOW, synchronized=None), Level.OK, "does not tell", id="a container's clock"),
        pytest.param(
            check_clock(datetime(1970, 1, 3, tzinfo=UTC), synchronized=None), Level.FAIL, "past", id="an empty battery"
        ),
        pytest.param(check_disk(80 * GIB, 100 * GIB), Level.OK, "80.0 GiB", id="room"),
        pytest.param(check_disk(4 * GIB, 100 * GIB), Level.WARN, "4.0 GiB", id="little room"),
        pytest.param(check_disk(GIB // 2, 100 * GIB), Level.FAIL, "0.5 GiB", id="no room"),
        pytest.param(check_piece(PieceState("loader", True, 0, 7200)), Level.OK, "up 2 h", id="a steady piece"),
        pytest.param(check_piece(PieceState("loader", True, 3, 20)), Level.WARN, "3 times", id="a piece that dies"),
        pytest.param(check_piece(PieceState("loader", True, 3, 9000)), Level.OK, "3 times", id="a piece that died"),
        pytest.param(check_piece(PieceState("loader", False, 3, 20)), Level.FAIL, "not run", id="a dead piece"),
        pytest.param(check_image(None, 30), Level.OK, "30 s ago", id="an image"),
        pytest.param(check_image("checksum of b'N'", None), Level.FAIL, "checksum", id="a damaged image"),
        pytest.param(check_journal(0, None), Level.OK, "empty", id="an empty journal"),
        pytest.param(check_journal(5 << 20, 61), Level.OK, "1 min ago", id="a busy journal"),
        pytest.param(check_journal(300 << 20, 9000), Level.WARN, "300.0 MiB", id="a journal that nobody loads"),
    ],
)
def test_what_is_found_has_a_level_and_words_for_it(finding: Finding, level: Level, words: str):
    assert finding.level is level
    assert words in str(finding)
    assert level is Level.OK or finding.advice


def test_a_port_that_another_program_holds_is_noticed():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        wanted = Listening("radiusd", "PORTICO_AUTH_PORT", socket.SOCK_DGRAM, "127.0.0.1", port)
        assert port_problem(wanted) == f"UDP port {port} on 127.0.0.1 is taken by another program; set another"
    assert port_problem(wanted) is None


def test_a_piece_whose_process_is_gone_counts_as_dead(tmp_path):
    path = tmp_path / "pieces.json"
    path.write_text(
        json.dumps(
            {"radiusd": {"pid": 5, "since": 40, "restarts": 1}, "loader": {"pid": 6, "since": 90, "restarts": 0}}
        )
    )
    assert read_states(path, lambda pid: pid == 6, now=100) == [
        PieceState("radiusd", alive=False, restarts=1, seconds=60),
        PieceState("loader", alive=True, restarts=0, seconds=10),
    ]


def test_no_supervisor_means_no_pieces(tmp_path):
    assert read_states(tmp_path / "pieces.json", lambda _: True, now=0) == []


def test_the_image_is_read_with_the_keys_that_are_kept_beside_it(tmp_path):
    settings, keys = Settings(data_dir=tmp_path), Keyring.generate()
    kept = dict.fromkeys(map(password_name, (SYSTEM_ROLE, PORTAL_ROLE, OWNER_ROLE)), "x")
    write_secrets(settings, {**kept, "PORTICO_SECRET_KEYS": keys})
    entries = [(HEADER, pack(HEADER, header("here", "1:1:")))]
    rebuild(settings.image_dir, Keyring.parse(keys), entries).close()
    where = {"PORTICO_DATA_DIR": str(tmp_path), "PORTICO_SECRET_KEYS": None}
    verified = CliRunner().invoke(image_command, ["verify"], env=where)
    assert verified.exception is None
    assert (verified.output, verified.exit_code) == ("1 values, all whole\n", 0)
    assert _look_at_image(settings)[0] is None
    write_secrets(settings, {**kept, "PORTICO_SECRET_KEYS": Keyring.generate()})
    assert "not signed by this installation" in CliRunner().invoke(image_command, ["verify"], env=where).output
    assert _look_at_image(settings) == ("not signed by this installation", None)


@pytest.mark.system
def test_a_real_installation_before_its_first_start_is_told_what_to_do(installation):
    findings = {finding.subject: finding for finding in examine(installation)}
    assert findings["FreeRADIUS"].level is Level.OK
    assert findings["PostgreSQL"].level is Level.OK
    assert findings["Python in FreeRADIUS"].level is Level.OK
    assert findings["Message-Authenticator"].text == "every NAS must send it, every reply carries it"
    assert findings["Image"] == Finding(
        Level.FAIL,
        "Image",
        f"no image in {installation.image_dir}; `portico publisher` makes it",
        "`portico image rebuild` makes a new one",
    )
