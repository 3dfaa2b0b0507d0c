"""A backup, and the empty machine that it is restored on: real pg_dump, real PostgreSQL, real encryption."""

import hashlib
import json
import os
import shutil
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from click.testing import CliRunner

from core.settings import BadSettings
from db.session import signed_operator, tenancy_key
from stack.accounts import prepare_directories
from stack.backup import (
    DATABASE_FILE,
    MANIFEST_FILE,
    BackupFailed,
    back_up,
    backups,
    kept_files,
    make_key,
    next_backup,
    prune,
    verify,
)
from stack.backup_schedule import AGAIN, LOOK, once
from stack.installation import complete, settings_environment
from stack.pieces import RunningPiece
from stack.postgres import Cluster
from stack.programs import no_backups
from stack.restore import restore
from tests.conftest import fresh_settings, new_directory
from tests.factories import Isp

NIGHT = datetime(2027, 3, 4, 3, 0, 7, tzinfo=UTC)
IDENTITY, RECIPIENT = make_key()


@pytest.fixture(scope="module")
def site(installation):
    """An installation with two operators and a directory for backups."""
    first, second = Isp.create(installation, "10.1.0.1"), Isp.create(installation, "10.2.0.1")
    first.service("juana", "s3cret")
    second.service("pedro", "other")
    photo = os.urandom(400_000)  # more than a pipe holds, as in any installation that is used
    kept = {"name": "photo.jpg", "media_type": "image/jpeg", "size": len(photo), "sha256": "-", "content": photo}
    first.insert("stored_file", operator_id=first.operator_id, **kept)
    directory = new_directory()
    installation.radsec_dir.mkdir(exist_ok=True)
    (installation.radsec_dir / "ca.pem").write_text("an authority")
    yield installation.model_copy(update={"backup_dir": directory, "backup_recipient": RECIPIENT}), first.operator_id
    first.connection.close()
    second.connection.close()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def backup(site):
    return back_up(site[0], NIGHT)


@pytest.fixture
def empty_machine(site):
    directory = new_directory()
    settings = fresh_settings(directory).model_copy(update={"secret_keys": site[0].secret_keys})
    prepare_directories(settings)
    yield settings
    shutil.rmtree(directory, ignore_errors=True)


def test_an_empty_machine_becomes_what_was_backed_up(site, backup, empty_machine):
    _, operator_id = site
    restore(empty_machine, backup.directory, IDENTITY)
    assert (empty_machine.radsec_dir / "ca.pem").read_text() == "an authority"
    there = complete(empty_machine)
    with RunningPiece(Cluster(there, durable=False).piece(), there.log_dir / "postgres.log"):
        with psycopg.connect(there.database_url.get_secret_value()) as system:
            assert system.execute("SELECT name FROM service ORDER BY name").fetchall() == [("juana",), ("pedro",)]
            sealed = system.execute("SELECT password FROM service WHERE name = 'juana'").fetchone()[0]
            assert there.keyring.open("service.password", bytes(sealed)) == "s3cret"
            assert system.execute("SELECT count(*) FROM change_log").fetchone() == (0,)
            system.execute("UPDATE service SET name = 'juana2' WHERE name = 'juana'")  # triggers are there again
            assert system.execute("SELECT count(*) FROM change_log").fetchone() == (1,)
        with psycopg.connect(there.portal_database_url.get_secret_value()) as portal:  # and so is tenancy
            assert portal.execute("SELECT count(*) FROM service").fetchone() == (0,)
            signed = signed_operator(tenancy_key(there.keyring), operator_id)
            portal.execute("SELECT set_config('portico.operator', %s, true)", (signed,))
            assert portal.execute("SELECT name FROM service").fetchall() == [("juana2",)]
    with pytest.raises(BadSettings, match="already has secrets"):
        restore(empty_machine, backup.directory, IDENTITY)


def test_the_wrong_identity_opens_nothing_and_leaves_the_machine_empty(backup, empty_machine):
    with pytest.raises(BackupFailed, match="cannot be opened with this identity"):
        restore(empty_machine, backup.directory, make_key()[0])
    with pytest.raises(BackupFailed, match="not a secret key of age"):
        restore(empty_machine, backup.directory, "my dog's name")
    assert not (empty_machine.data_dir / "postgres").exists()


def test_without_the_keys_of_the_environment_nothing_is_restored(backup, empty_machine):
    with pytest.raises(BadSettings, match="PORTICO_SECRET_KEYS"):
        restore(empty_machine.model_copy(update={"secret_keys": None}), backup.directory, IDENTITY)
    assert not (empty_machine.data_dir / "postgres").exists()


def test_a_backup_is_whole_and_nothing_in_it_can_be_read(site, backup):
    tables = verify(backup.directory, IDENTITY)
    assert {"service", "ledger_entry", "session_default"} & set(tables) >= {"service", "ledger_entry"}
    assert "change_log" not in tables
    keys = site[0].secret_keys.get_secret_value()
    assert keys in dict(kept_files(backup.directory, IDENTITY))["environment.env"].decode()
    for path in backup.directory.iterdir():
        content = path.read_bytes()
        assert b"juana" not in content
        assert keys.encode() not in content
        assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("damage", ["a bit", "cut off", "no dump", "no manifest", "a newer version"])
def test_damage_is_found_before_anything_is_restored(backup, empty_machine, tmp_path, damage):
    copy = tmp_path / "copy"
    shutil.copytree(backup.directory, copy)
    dump = copy / DATABASE_FILE
    if damage == "a bit":
        content = bytearray(dump.read_bytes())
        content[len(content) // 2] ^= 1
        dump.write_bytes(content)
    elif damage == "cut off":
        dump.write_bytes(dump.read_bytes()[:-1])
    elif damage == "no dump":
        dump.unlink()
    elif damage == "a newer version":
        manifest = json.loads((copy / MANIFEST_FILE).read_text())
        (copy / MANIFEST_FILE).write_text(json.dumps(manifest | {"schema": "9999"}))
    else:
        (copy / MANIFEST_FILE).unlink()
    with pytest.raises(BackupFailed):
        restore(empty_machine, copy, IDENTITY)
    assert not (empty_machine.data_dir / "postgres").exists()


def test_what_cannot_be_decrypted_to_its_end_is_not_whole(backup, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(backup.directory, copy)
    dump, manifest = copy / DATABASE_FILE, json.loads((copy / MANIFEST_FILE).read_text())
    content = bytearray(dump.read_bytes())
    content[-1] ^= 1
    dump.write_bytes(content)
    manifest["files"][DATABASE_FILE]["sha256"] = hashlib.sha256(content).hexdigest()  # it was sealed so
    (copy / MANIFEST_FILE).write_text(json.dumps(manifest))
    with pytest.raises(BackupFailed, match="cannot be opened"):
        verify(copy, IDENTITY)


def test_a_dump_that_fails_leaves_nothing(site, tmp_path):
    settings = site[0]
    url = settings.owner_database_url.get_secret_value().replace("/copy_", "/nowhere_")
    broken = settings.model_copy(
        update={"backup_dir": tmp_path / "here", "owner_database_url": type(settings.owner_database_url)(url)}
    )
    with pytest.raises(BackupFailed, match="pg_dump says"):
        back_up(broken, NIGHT)
    assert list((tmp_path / "here").iterdir()) == []


def test_a_backup_is_made_once_a_day_and_old_ones_go_but_the_newest_stays(site, tmp_path):
    settings = site[0].model_copy(update={"backup_dir": tmp_path, "backup_days": 2})
    assert next_backup(settings, NIGHT) == NIGHT.replace(second=0)
    for days in (30, 3, 1):
        made = tmp_path / (NIGHT - timedelta(days=days)).strftime("portico-%Y%m%dT%H%M%SZ")
        shutil.copytree(back_up_once(site), made)
    (tmp_path / "portico-notes-Z").mkdir()
    assert len(backups(settings)) == 3
    assert next_backup(settings, NIGHT) == NIGHT.replace(second=0)
    assert next_backup(settings, NIGHT - timedelta(hours=1)) == NIGHT.replace(second=0)
    assert [backup.made_at for backup in prune(settings, NIGHT)] == [NIGHT - timedelta(days=n) for n in (3, 30)]
    assert len(prune(settings, NIGHT + timedelta(days=300))) == 0


def back_up_once(site):
    return backups(site[0])[0].directory


def test_the_schedule_makes_what_was_missed_and_waits_longer_after_a_failure(site, tmp_path):
    settings = site[0].model_copy(update={"backup_dir": tmp_path / "new"})
    assert once(settings) == LOOK
    assert len(backups(settings)) == 1
    assert once(settings) == LOOK
    assert len(backups(settings)) == 1
    (tmp_path / "file").write_text("")
    assert once(settings.model_copy(update={"backup_dir": tmp_path / "file" / "below"})) == AGAIN


def test_a_directory_without_a_recipient_is_said_at_the_start(site):
    assert no_backups(site[0].model_copy(update={"backup_dir": None})) == "PORTICO_BACKUP_DIR is not set"
    with pytest.raises(BadSettings, match="PORTICO_BACKUP_RECIPIENT"):
        no_backups(site[0].model_copy(update={"backup_recipient": None}))
    with pytest.raises(BadSettings, match="not a public key of age"):
        back_up(site[0].model_copy(update={"backup_recipient": "age1dog"}), NIGHT + timedelta(days=9))


def test_the_commands_say_what_they_did(site, backup, tmp_path):
    from stack.cli import portico

    environment = settings_environment(site[0])
    (tmp_path / "key").write_text(CliRunner().invoke(portico, ["backup", "key"]).output)
    listed = CliRunner().invoke(portico, ["backup", "list"], env=environment)
    assert "2027-03-04 03:00 UTC" in listed.output
    wrong = CliRunner().invoke(
        portico, ["backup", "verify", str(backup.directory), "--identity", str(tmp_path / "key")], env=environment
    )
    assert wrong.exit_code == 1
    assert "cannot be opened with this identity" in wrong.output
    (tmp_path / "key").write_text(f"# mine\n{IDENTITY}\n")
    right = CliRunner().invoke(
        portico, ["backup", "verify", str(backup.directory), "--identity", str(tmp_path / "key")], env=environment
    )
    assert "is whole" in right.output
