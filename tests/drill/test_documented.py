"""The page about drills says what the code does."""

import inspect
import re
from pathlib import Path

from detector.drill.cast import CLOCKS, PACES
from detector.drill.commands import drill_command
from detector.drill.records import FLOW_MARK, UID_PREFIX
from detector.drill.techniques import PLAYABLE
from detector.drill.written import CSV_COLUMNS
from detector.sources.files import DRILL_MARKER

PAGE = (Path(__file__).parents[2] / "docs" / "drill.md").read_text(encoding="utf-8")


def keys(record):
    for name, value in record.items():
        yield name
        if isinstance(value, list) and value and isinstance(value[0], dict):
            yield from keys(value[0])


def test_each_technique_is_documented_with_its_logs():
    for technique in PLAYABLE.values():
        row = re.search(rf"^\| `{re.escape(technique.id)}` \| .* \| (.*) \|$", PAGE, re.MULTILINE)
        assert row
        assert row[1] == ", ".join(sorted(technique.shown_by))


def test_each_field_is_documented(played):
    parts = [*keys({"coverage": played.summary["coverage"], "campaigns": played.summary["campaigns"]}),
             *played.summary["control"]]  # fmt: skip
    assert not {name for name in (*parts, *CSV_COLUMNS) if f"`{name}`" not in PAGE}


def test_marks_paces_clocks_and_defaults_are_documented():
    assert all(f"`{word}`" in PAGE for word in (UID_PREFIX, FLOW_MARK, DRILL_MARKER, *PACES, *CLOCKS))
    parameters = inspect.signature(drill_command).parameters
    for name in ("campaigns", "seed", "limit"):
        assert f"| `--{name}` | {parameters[name].default} |" in PAGE
