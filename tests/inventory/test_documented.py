"""The page about the inventory says what the code does."""

from dataclasses import fields
from pathlib import Path

from detector.assets.roles import ROLES, RULES
from detector.formats.sightings import SIGHTS
from detector.inventory.model import Asset

PAGE = (Path(__file__).parents[2] / "docs" / "inventory.md").read_text(encoding="utf-8")


def test_each_field_role_and_rule_is_documented():
    assert all(f"`{field.name}`" in PAGE for field in fields(Asset))
    assert all(f"| `{role.name}` | {role.words} |" in PAGE for role in ROLES.values())
    for name, rule in RULES.items():
        if not name.startswith("named_"):
            weights = ", ".join(f"{role} {weight:+g}" for role, weight in rule.weights.items())
            assert f"| {rule.words.replace('{}', '…')} | {weights} | {rule.source} |" in PAGE


def test_each_log_that_is_looked_at_is_documented():
    assert not {log for log in SIGHTS if f"`{log.removeprefix('zeek.')}`" not in PAGE}
