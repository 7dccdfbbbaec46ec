"""docs/service-settings.md and docs/metrics.md say what the code does."""

import re
from pathlib import Path

import pytest

from detector.metrics import CASE_STATES, CASE_STEPS, NAMES, OUTCOMES, REASONS, STAGES
from detector.service.health import BEAT_SECONDS, NEEDS
from detector.service.loading import keys, load_service_settings
from detector.service.settings import ServiceSettings

DOCS = Path(__file__).resolve().parents[2] / "docs"
FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def page(name):
    return (DOCS / name).read_text("utf-8")


def rows(name):
    return [line for line in page(name).splitlines() if re.match(r"\| `(?!eastwest )", line)]


def expected_settings():
    """The rows of the tables, made from the model; what settings.md has is left to it."""
    for key in keys():
        if not key.path.startswith("engine."):
            default = key.default if key.default in {"none", "required"} else f"`{key.default}`"
            variable = f"`{key.variable}`" if key.variable else "none"
            yield f"| `{key.path}` | {default} | {key.allowed} | {key.field.description} | {variable} |"


def test_the_tables_of_settings_are_those_of_the_model():
    assert "\n".join(sorted(rows("service-settings.md"))) == "\n".join(sorted(expected_settings()))


def test_each_section_of_settings_is_told():
    told = re.findall(r"^## `(\w+)`", page("service-settings.md"), re.MULTILINE)
    sections = [
        name for name in ServiceSettings.model_fields if name not in {"stages", "plant", "decisions", "train_until"}
    ]
    assert told == sections


@pytest.mark.parametrize("text", [text for kind, text in FENCED.findall(page("service-settings.md")) if kind == "yaml"])
def test_the_settings_files_shown_are_read(written, text):
    assert load_service_settings(written(text)).kafka.topics


def test_every_metric_is_told():
    told = [line.split(" | ") for line in rows("metrics.md")]
    ours = [(cells[0].strip("| `"), cells[1], cells[2]) for cells in told if cells[0].startswith("| `eastwest_")]
    assert ours == [
        (metric.name, metric.kind, ", ".join(f"`{label}`" for label in metric.labels) or "none") for metric in NAMES
    ]
    assert [cells[3] for cells in told if cells[0].startswith("| `eastwest_")] == [metric.help for metric in NAMES]


def test_every_value_of_a_known_label_is_told():
    text = page("metrics.md")
    for values in (OUTCOMES, STAGES, REASONS, CASE_STATES, CASE_STEPS):
        assert ", ".join(f"`{value}`" for value in values) in text


def test_health_is_told():
    text = page("metrics.md")
    assert all(f"`{need}`" in text for need in NEEDS)
    assert f"{BEAT_SECONDS:.0f} s" in text
