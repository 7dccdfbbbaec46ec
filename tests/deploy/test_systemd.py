"""The unit of systemd: systemd finds nothing to mend in it, and it lets the service do no more than needed."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import typer

from detector.cli import app

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "systemd"
UNIT = (FOLDER / "eastwest.service").read_text(encoding="utf-8")
EXPOSURE = 15  # of 100 that systemd-analyze gives to a service without any protection; it says 13


def settings(name):
    return re.findall(rf"^{name}=(.*)$", UNIT, re.MULTILINE)


@pytest.fixture
def unit(tmp_path):
    """The unit with a program that is there."""
    path = tmp_path / "eastwest.service"
    path.write_text(UNIT.replace("/opt/eastwest/bin/eastwest", "/bin/true"))
    return path


def test_systemd_finds_nothing_to_mend(unit, require_tool):
    checked = subprocess.run(
        [require_tool("systemd-analyze"), "verify", unit], check=False, capture_output=True, text=True
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_it_is_exposed_no_more_than_it_has_to_be(unit, require_tool):
    command = [require_tool("systemd-analyze"), "security", "--offline=true", f"--threshold={EXPOSURE}", unit]
    checked = subprocess.run(command, check=False, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


def test_its_commands_are_those_of_the_program():
    known = typer.main.get_command(app).commands
    for line in settings("ExecStart") + settings("ExecStartPre"):
        program, command, *_ = shlex.split(line)
        assert program == "/opt/eastwest/bin/eastwest"
        assert command in known
    assert settings("Type") == ["exec"], "the program does not tell systemd that it is ready"


def test_it_is_not_started_again_when_people_have_to_mend_something():
    assert settings("Restart") == ["always"]
    assert settings("RestartPreventExitStatus") == ["2"]  # docs/backtest.md#exit-codes


def test_account_and_folders_are_made_with_the_rights_the_unit_wants(tmp_path, require_tool):
    if os.geteuid():
        pytest.skip("only root makes accounts and folders of others")
    (tmp_path / "etc").mkdir()
    for tool, file in (("systemd-sysusers", "sysusers"), ("systemd-tmpfiles", "tmpfiles")):
        create = ["--create"] if tool.endswith("tmpfiles") else []
        command = [require_tool(tool), f"--root={tmp_path}", *create, FOLDER / f"eastwest.{file}.conf"]
        made = subprocess.run(command, check=False, capture_output=True, text=True)
        assert made.returncode == 0, made.stderr
    assert settings("User") == settings("Group") == ["eastwest"]
    (account,) = (tmp_path / "etc/passwd").read_text().splitlines()
    assert re.fullmatch("eastwest:.*:/var/lib/eastwest:/usr/sbin/nologin", account)
    modes = {name: oct((tmp_path / name).stat().st_mode & 0o777) for name in ("etc/eastwest", "etc/eastwest/secrets")}
    assert modes == {"etc/eastwest": "0o750", "etc/eastwest/secrets": "0o700"}
    assert settings("LoadCredential") == ["secrets:/etc/eastwest/secrets"]
