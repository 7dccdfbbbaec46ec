"""What the pages for people who run it say: one section an alert rule, commands that are there, formats as they are."""

import re
import shlex
from pathlib import Path

import pytest
import typer
import yaml

from detector.cli import app
from detector.metrics import NAMES
from detector.service.settings import ServiceSettings
from detector.state import checkpoints, snapshot
from tests.image.dockerfile import stages

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = ("runbook.md", "operations.md", "hardening.md", "install.md")
RULES = [
    rule
    for path in sorted((ROOT / "helm" / "eastwest" / "rules").glob("*.yaml"))
    for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
SHELL = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
OPERATIONS = {"Read", "Write", "Create", "Describe", "DescribeConfigs"}


def page(name):
    return (DOCS / name).read_text(encoding="utf-8")


def lines(name):
    """The commands of a page, each on one line."""
    return [
        line.partition(" #")[0].strip()
        for block in SHELL.findall(page(name))
        for line in block.replace("\\\n", " ").splitlines()
        if line.strip()
    ]


def test_each_alert_rule_has_its_section_and_each_section_its_rule():
    sections = re.findall(r"^## (\S+)$", page("runbook.md"), re.MULTILINE)
    assert sections == [rule["alert"] for rule in RULES]
    for rule in RULES:
        assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{rule['alert'].lower()}"


def test_a_section_says_what_it_means_and_what_to_do():
    for section in re.split(r"^## ", page("runbook.md"), flags=re.MULTILINE)[1:]:
        assert "**Means**: " in section, section
        assert re.search(r"^1\. ", section, re.MULTILINE), section


@pytest.mark.parametrize("name", PAGES)
def test_metrics_settings_and_commands_that_are_named_are_there(name):
    words = re.findall(r"`([^`\n]+)`", page(name))
    assert {word for word in words if re.fullmatch(r"eastwest_[a-z_]+", word)} <= {named.name for named in NAMES}
    commands = typer.main.get_command(app).commands
    for line in lines(name):
        program, *rest = shlex.split(line)
        assert Path(program).name != "eastwest" or rest[0] in commands, line
    for word in words:
        section, _, key = word.partition(".")
        fields = getattr(ServiceSettings.model_fields.get(section), "annotation", None)
        known = getattr(fields, "model_fields", None)
        assert known is None or not re.fullmatch(r"[a-z_]+", key) or key in known, word


def test_the_formats_are_those_of_now():
    text = " ".join(page("operations.md").split())
    assert f"of the checkpoint ({checkpoints.FORMAT} now" in text
    assert f"of the engine's state in it ({snapshot.FORMAT} now" in text


def test_an_installation_by_hand_takes_the_steps_of_the_image():
    steps = [step.rest for step in stages(ROOT / "Dockerfile")[1] if step.word == "RUN"]
    download, warm = (next(step for step in steps if word in step) for word in ("pip download", "python -P"))
    told = lines("install.md")
    assert download.replace("/wheels", "wheels") in told
    assert warm in told
    assert any(line.startswith("/opt/eastwest/bin/eastwest demo") for line in told)
    for word in (word for line in told for word in line.split()):
        assert not word.startswith(("deploy/", "requirements/")) or (ROOT / word).exists(), word


def test_rights_name_operations_and_resources_of_kafka():
    commands = [shlex.split(line) for line in lines("hardening.md")]
    assert len(commands) > 8
    for program, *words in commands:
        assert program == "kafka-acls"
        assert {words[at + 1] for at, word in enumerate(words) if word == "--operation"} <= OPERATIONS
        assert {"--topic", "--group", "--transactional-id"} & set(words)
