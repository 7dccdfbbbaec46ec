"""docs/siem says what the renderings do: formats, severities, fields, and settings that can be used."""

import re
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from detector.renderings.json_line import LIST_LENGTH, TEXT_BYTES
from detector.renderings.kinds import RENDERINGS
from detector.renderings.levels import level_of
from detector.service.loading import load_service_settings
from tests.renderings import parsers
from tests.renderings.samples import OPEN

SIEM = Path(__file__).resolve().parents[2] / "docs" / "siem"
FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
BASE = 'kafka: {bootstrap: ["kafka.example:9092"], topics: [zeek]}\nstate: {url: state}\noutbox: {folder: outbox}\n'
EXAMPLES = [
    pytest.param(text, id=path.stem)
    for path in sorted(SIEM.glob("*.md"))
    for kind, text in FENCED.findall(path.read_text("utf-8"))
    if kind == "yaml" and text.startswith("alerts:")
]


def page(name="README.md"):
    return (SIEM / name).read_text("utf-8")


def table(section):
    """Rows of the table in a section of the index, by column."""
    text = page().partition(f"## {section}\n")[2].partition("\n## ")[0]
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[2:]]


@pytest.mark.parametrize("text", EXAMPLES)
def test_the_settings_shown_are_read(written, text):
    assert load_service_settings(written(BASE + text)).alerts.sinks


def test_every_page_is_reached():
    assert {path.name for path in SIEM.glob("*.md")} - {"README.md"} <= set(re.findall(r"\]\(([\w-]+\.md)\)", page()))


def test_every_format_is_told():
    assert [row["`format`"].strip("`") for row in table("Formats")] == list(RENDERINGS)


def test_severities_are_told():
    for row in table("Severities"):
        name = row["eastwest"]
        level = level_of("low", "suppressed") if name == "not open" else level_of(name, "open")
        told = [row[column] for column in ("`cef`", "`leef`", "`ecs`", "`ocsf`", "`cim`", "`udm`", "syslog")]
        word = level.word
        real = [level.cef, level.leef, level.elastic, level.ocsf, word, word.upper(), level.syslog]
        assert told == [str(value) for value in real]


FULL = replace(OPEN, record=replace(OPEN.record, model="0123456789abcdef"))  # has what is not always there, too


def values(name):
    line = RENDERINGS[name](FULL)
    if name in {"cef", "leef"}:
        return getattr(parsers, name)(line)[1]
    return orjson.loads(line)


def there(value, path):
    """Whether a dotted path leads somewhere; of a list, in its first."""
    for name in path.split("."):
        value = value[0] if isinstance(value, list) else value
        if not isinstance(value, dict) or name not in value:
            return False
        value = value[name]
    return True


@pytest.mark.parametrize("name", sorted(RENDERINGS))
@pytest.mark.parametrize("section", ["The same alert told again", "Fields"])
def test_fields_are_where_the_table_says(section, name):
    told = values(name)
    places = {row["Said"]: row[f"`{name}`"].strip("`") for row in table(section)}
    assert {said: place for said, place in places.items() if place and not there(told, place)} == {}


def test_slots_of_cef_have_their_labels():
    ipv6 = replace(OPEN, record=replace(OPEN.record, src="2001:db8::1", dst="2001:db8::2"))
    told = values("cef") | parsers.cef(RENDERINGS["cef"](ipv6))[1]
    rows = re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", page("cef.md"), re.MULTILINE)
    assert {slot: told[f"{slot}Label"] for slot, _ in rows} == dict(rows)
    assert {key.removesuffix("Label") for key in told if key.endswith("Label")} == {slot for slot, _ in rows}


def test_bounds_are_told():
    assert f"{TEXT_BYTES:,} bytes | {LIST_LENGTH} |" in page()
