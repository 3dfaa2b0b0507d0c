import os
import subprocess
import sys

import pytest

from core.crypto import Keyring
from stack.cli import portico
from stack.installation import PROJECT


def run(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PORTICO_")}
    environment |= {"LC_ALL": "C", "LANGUAGE": ""} | settings
    command = [sys.executable, "-m", "stack", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=PROJECT)


@pytest.mark.parametrize("name", portico.list_commands(None))
def test_every_command_explains_itself(name):
    shown = run(name, "--help")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith(f"Usage: portico {name}")


def test_a_generated_key_is_a_keyring():
    assert Keyring.parse(run("keys", "generate", "--id", "7").stdout.strip()).sealing_id == 7


def test_a_wrong_setting_ends_with_one_line_and_status_2():
    ended = run("migrate", PORTICO_PORTAL_PORT="http")
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert ended.stderr.startswith("portico: PORTICO_PORTAL_PORT: ")


def test_a_user_that_is_not_there_is_named(tmp_path):
    ended = run("run", PORTICO_DATA_DIR=str(tmp_path), PORTICO_USER="nobody-of-this-name")
    assert ended.returncode == 2
    assert "there is no user 'nobody-of-this-name' on this machine" in ended.stderr


def test_a_data_directory_too_deep_for_sockets_is_refused(tmp_path):
    ended = run("run", PORTICO_DATA_DIR=str(tmp_path / ("deep" * 30)))
    assert ended.returncode == 2
    assert "is too long; sockets in it may have 107 octets" in ended.stderr


def test_who_mistypes_is_told_so_in_the_language_of_the_terminal():
    ended = run("restore", LC_ALL="es_MX.UTF-8")
    assert ended.stderr.splitlines()[-1] == "Error: Falta el argumento 'BACKUP'."
    assert "Pruebe 'portico restore --help' para ver la ayuda." in ended.stderr


def test_answers_are_in_the_language_of_the_terminal_and_say_the_same():
    spanish, english = (run("backup", "key", LC_ALL=language).stdout for language in ("es_MX.UTF-8", "C"))
    assert "Guarde esta línea fuera de la máquina" in spanish
    assert "Keep this line apart from the machine" in english
    lines = [line.partition("=")[0] for line in (spanish + english).splitlines() if "PORTICO_BACKUP_RECIPIENT" in line]
    assert lines == ["# PORTICO_BACKUP_RECIPIENT"] * 2  # what is pasted is never translated


def test_help_is_in_the_language_of_the_terminal():
    spanish = run("platform", "create", "--help", LC_ALL="es_MX.UTF-8").stdout
    assert "Uso: portico platform create" in spanish
    assert "Registrar a alguien de la plataforma." in spanish
    assert "Mostrar esta ayuda y salir." in spanish
    assert "Usage: portico platform create" in run("platform", "create", "--help", LC_ALL="fr_FR.UTF-8").stdout
