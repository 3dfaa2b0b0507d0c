"""Copies of backups in object storage: a server that answers as S3 does, in a process of its own, and its faults."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import pytest
import requests
from click.testing import CliRunner
from pydantic import SecretStr

from core.settings import BadSettings, Settings
from stack import backup_schedule, offsite
from stack.backup import DATABASE_FILE, BackupFailed, back_up, backups, make_key, verify
from stack.backup_schedule import AGAIN, LOOK, once
from stack.cli import portico
from stack.doctor import Level, check_copies
from stack.installation import settings_environment
from stack.offsite import copies, copy_missing, copy_out, fetch, prune_copies
from tests.conftest import free_port, new_directory
from tests.factories import Isp

NIGHT = datetime(2027, 3, 4, 3, 0, tzinfo=UTC)
IDENTITY, RECIPIENT = make_key()
BUCKET, REGION = "isp-backups", "us-east-1"


@pytest.fixture(scope="module")
def storage() -> Iterator[str]:
    """The address of the storage."""
    port = free_port(socket.SOCK_STREAM)
    command = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(port)]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment) as process:
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
        process.kill()


@pytest.fixture(scope="module")
def key(storage: str) -> tuple[str, str]:
    """The key of a user who may use the storage; from then on nobody else may."""
    iam = boto3.client(
        "iam", endpoint_url=storage, region_name=REGION, aws_access_key_id="x", aws_secret_access_key="x"
    )
    iam.create_user(UserName="portico")
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    iam.put_user_policy(UserName="portico", PolicyName="all", PolicyDocument=json.dumps(policy))
    made = iam.create_access_key(UserName="portico")["AccessKey"]
    pair = made["AccessKeyId"], made["SecretAccessKey"]
    s3 = boto3.client(
        "s3", endpoint_url=storage, region_name=REGION, aws_access_key_id=pair[0], aws_secret_access_key=pair[1]
    )
    s3.create_bucket(Bucket=BUCKET)
    assert requests.post(f"{storage}/moto-api/reset-auth", data=b"0", timeout=5).ok
    return pair


@pytest.fixture(scope="module")
def settings(installation: Settings, storage: str, key: tuple[str, str]) -> Iterator[Settings]:
    isp = Isp.create(installation)
    isp.service("juana", "s3cret")
    directory = new_directory()
    yield installation.model_copy(
        update={
            "backup_dir": directory,
            "backup_recipient": RECIPIENT,
            "backup_s3_bucket": f"{BUCKET}/north",
            "backup_s3_endpoint": storage,
            "backup_s3_key": key[0],
            "backup_s3_secret": SecretStr(key[1]),
        }
    )
    isp.connection.close()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not try again for half a minute, and forget what an earlier test copied."""
    monkeypatch.setattr(offsite, "_RETRIES", 0)
    monkeypatch.setattr(backup_schedule, "_copied", set())


@contextmanager
def cut_after(address: str, octets: int) -> Iterator[str]:
    """A line to the storage that breaks after so many octets have gone there."""
    target = "127.0.0.1", int(address.rpartition(":")[2])
    listener = socket.create_server(("127.0.0.1", 0))
    left = [octets]

    def pipe(source: socket.socket, sink: socket.socket, *, counted: bool) -> None:
        try:
            while data := source.recv(4096):
                if counted:
                    left[0] -= len(data)
                    if left[0] < 0:
                        break
                sink.sendall(data)
        except OSError:
            pass
        for each in (source, sink):
            each.close()

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
                server = socket.create_connection(target)
            except OSError:
                return
            threading.Thread(target=pipe, args=(client, server), kwargs={"counted": True}, daemon=True).start()
            threading.Thread(target=pipe, args=(server, client), kwargs={"counted": False}, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def test_a_backup_is_copied_fetched_and_whole(settings: Settings, tmp_path: Path) -> None:
    made = back_up(settings, NIGHT)
    copied = copy_out(settings, made)
    assert (copied.made_at, copied.octets) == (NIGHT, made.octets)
    assert copies(settings) == [copied]
    assert copy_missing(settings) is None
    fetched = fetch(settings, copied.name, tmp_path)
    assert (fetched / DATABASE_FILE).read_bytes() == (made.directory / DATABASE_FILE).read_bytes()
    assert "service" in verify(fetched, IDENTITY)
    environment = settings_environment(settings)
    listed = CliRunner().invoke(portico, ["backup", "list"], env=environment)
    assert f"s3:{copied.name}" in listed.output


def test_a_line_that_breaks_leaves_no_half_copy_and_the_next_turn_makes_it_whole(settings: Settings) -> None:
    made = back_up(settings, NIGHT + timedelta(days=1))
    with (
        cut_after(settings.backup_s3_endpoint or "", 20_000) as broken,
        pytest.raises(BackupFailed, match="the storage"),
    ):
        copy_out(settings.model_copy(update={"backup_s3_endpoint": broken}), made)
    assert made.directory.name not in {copy.name for copy in copies(settings)}
    copied = copy_missing(settings)
    assert copied is not None
    assert copied.name == made.directory.name


def test_a_wrong_key_and_a_missing_bucket_are_told_as_the_storage_tells_them(settings: Settings) -> None:
    made = backups(settings)[0]
    with pytest.raises(BackupFailed, match=r"InvalidAccessKeyId|SignatureDoesNotMatch|AccessDenied"):
        copy_out(settings.model_copy(update={"backup_s3_key": "AKIA0000000000000000"}), made)
    with pytest.raises(BackupFailed, match="NoSuchBucket"):
        copy_out(settings.model_copy(update={"backup_s3_bucket": "nobody-has-this"}), made)
    with pytest.raises(BackupFailed, match="the storage"):
        copies(settings.model_copy(update={"backup_s3_endpoint": "http://127.0.0.1:1"}))
    with pytest.raises(BadSettings, match="PORTICO_BACKUP_S3_SECRET"):
        copies(settings.model_copy(update={"backup_s3_secret": None}))
    with pytest.raises(BackupFailed, match="not the name of a backup"):
        fetch(settings, "../../etc", Path("/nowhere"))
    with pytest.raises(BackupFailed, match="the storage"):
        fetch(settings, "portico-20200101T000000Z", made.directory.parent)


def test_a_copy_that_was_altered_is_refused_before_anything_is_restored(settings: Settings, tmp_path: Path) -> None:
    name = copies(settings)[0].name
    key, secret = settings.backup_s3_key, settings.backup_s3_secret
    assert secret is not None
    s3 = boto3.client(
        "s3", endpoint_url=settings.backup_s3_endpoint, region_name=REGION, aws_access_key_id=key,
        aws_secret_access_key=secret.get_secret_value(),
    )  # fmt: skip
    where = {"Bucket": BUCKET, "Key": f"north/{name}/{DATABASE_FILE}"}
    content = bytearray(s3.get_object(**where)["Body"].read())
    content[len(content) // 2] ^= 1
    s3.put_object(Body=bytes(content), **where)
    with pytest.raises(BackupFailed, match="damaged"):
        fetch(settings, name, tmp_path)
    assert list(tmp_path.iterdir()) == []
    refused = CliRunner().invoke(
        portico, ["restore", f"s3:{name}", "--identity", "-"], input=IDENTITY, env=settings_environment(settings)
    )
    assert refused.exit_code == 1
    assert "damaged" in refused.output


def test_the_doctor_asks_the_storage(settings: Settings) -> None:
    now = NIGHT + timedelta(days=1, hours=2)
    newest = copies(settings)[0].made_at
    assert check_copies(None, newest, now).level is Level.OK
    assert check_copies(None, newest, now + timedelta(days=2)).level is Level.FAIL
    assert check_copies("the storage says no", None, now).level is Level.FAIL


def test_old_copies_go_but_never_the_newest(settings: Settings) -> None:
    newest, *old = copies(settings)
    assert old
    assert prune_copies(settings, NIGHT + timedelta(days=300)) == old
    assert copies(settings) == [newest]


def test_the_schedule_tries_a_copy_again_until_the_storage_takes_it(settings: Settings, tmp_path: Path) -> None:
    fresh = settings.model_copy(update={"backup_dir": tmp_path / "new", "backup_s3_bucket": f"{BUCKET}/south"})
    away = fresh.model_copy(update={"backup_s3_endpoint": "http://127.0.0.1:1"})
    assert once(away) == AGAIN  # the backup itself is made
    assert len(backups(fresh)) == 1
    assert once(away) == AGAIN
    assert len(backups(fresh)) == 1
    assert once(fresh) == LOOK
    assert [copy.name for copy in copies(fresh)] == [backups(fresh)[0].directory.name]
    assert once(away) == LOOK  # nobody asks when there is nothing to copy
