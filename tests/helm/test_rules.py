"""The alert rules: promtool reads them, each fires when it must and only then, and names metrics that are."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from detector.metrics import NAMES
from tests.helm.rules import CASES, MORE

REPOSITORY = Path(__file__).resolve().parents[2]
RUNBOOK = REPOSITORY / "docs" / "runbook.md"
RULES = REPOSITORY / "helm" / "eastwest" / "rules" / "eastwest.yaml"
GROUPS = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
RULE = {rule["alert"]: rule for group in GROUPS for rule in group["rules"]}
LONG_MINUTES = 1000
SEVERITIES = {"critical", "warning", "info"}

pytestmark = pytest.mark.prometheus


def promtool(require_tool, *arguments):
    command = [require_tool("promtool"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def firing(name, series, minute, count):
    """A test of promtool: so many alerts of the name fire."""
    seen = f'count(ALERTS{{alertname="{name}",alertstate="firing"}}) or vector(0)'
    return {
        "interval": "1m",
        "input_series": [{"series": key, "values": values} for key, values in series.items()],
        "promql_expr_test": [
            {"expr": seen, "eval_time": f"{minute}m", "exp_samples": [{"labels": "{}", "value": count}]}
        ],
    }


def unit_tests(folder, name):
    """A file of tests of one rule alone: promtool evaluates all it is given, each minute."""
    (folder / f"{name}.rule.yml").write_text(json.dumps({"groups": [{"name": "one", "rules": [RULE[name]]}]}))
    cases = (CASES[name], *MORE.get(name, []))
    tests = [firing(name, series, case.minute, count) for case in cases
             for series, count in ((case.fires, 1), (case.quiet, 0))]  # fmt: skip
    step = "1m" if cases[0].minute < LONG_MINUTES else "10m"
    file = folder / f"{name}.test.yml"
    file.write_text(json.dumps({"rule_files": [f"{name}.rule.yml"], "evaluation_interval": step, "tests": tests}))
    return file


def test_promtool_finds_nothing_to_mend(require_tool):
    assert f"{len(RULE)} rules found" in promtool(require_tool, "check", "rules", RULES)


def test_each_rule_fires_when_it_must_and_only_then(require_tool, tmp_path):
    assert list(CASES) == list(RULE)
    assert MORE.keys() <= RULE.keys()
    files = [unit_tests(tmp_path, name) for name in RULE]
    assert promtool(require_tool, "test", "rules", *files).count("SUCCESS") == len(RULE)


def test_rules_say_how_bad_it_is_and_what_to_do():
    for name, rule in RULE.items():
        assert rule["labels"]["severity"] in SEVERITIES, name
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}, name
        assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{name.lower()}"


def test_rules_name_metrics_that_are():
    known = {metric.name for metric in NAMES}
    for name, rule in RULE.items():
        used = set(re.findall(r"\beastwest_\w+", rule["expr"]))
        assert used, name
        assert used <= known, name


def test_the_runbook_says_what_to_do_about_each_rule():
    headings = re.findall(r"^#+ (Eastwest\w+)$", RUNBOOK.read_text("utf-8"), re.MULTILINE)
    assert sorted(headings) == sorted(RULE)
