"""The documents say what the code does: commands, options, settings, keys, formats, constants, links, examples."""

import fnmatch
import importlib
import json
import re
import shlex
from ast import literal_eval
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import typer

from detector.alerts.decisions import Scope, parse_decisions
from detector.alerts.model import Alert, Incident, Step
from detector.assets.plant import Plant, load_plant
from detector.backtest.labels import COLUMNS as LABEL_COLUMNS
from detector.backtest.labels import load_labels
from detector.backtest.run import backtest
from detector.cli import PARTIAL, UNREADABLE, USAGE, app
from detector.config import ENVIRONMENT_PREFIX, Settings, load_settings
from detector.engine import Engine
from detector.features.acts import CLASSES
from detector.features.units import PLACES
from detector.formats.batch import Context
from detector.formats.decode import Decoder
from detector.formats.registry import LOG_TYPES
from detector.formats.zeek_other import LOG_TYPES as UNREAD
from detector.records import Block

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
CODE = re.compile(r"`([^`\n]+)`")
FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SERVICE = {"run", "config", "status", "sinks", "spool"}
MADE_BY_INPUT = {"rejected_reasons", "filtered_reasons", "notes", "alerts.by_severity", "settings"}


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def words(name: str) -> set[str]:
    """Everything a page sets as code."""
    return set(CODE.findall(page(name)))


def commands() -> dict[str, Any]:
    return dict(typer.main.get_command(app).commands)


def options(command: Any) -> set[str]:
    return {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}


# --- commands and settings ---

GROUPS = {"feedback", "incidents", "model", "vendors", "zones"}
"""Commands of commands that have a page of their own."""


@pytest.mark.parametrize("command", sorted(commands()))
def test_each_command_and_option_is_documented(command):
    if command in GROUPS:
        text = page("models.md" if command == "model" else f"{command}.md")
        for name, part in commands()[command].commands.items():
            assert f"eastwest {command} {name}" in text
            assert {option for option in options(part) if option.startswith("--")} <= set(CODE.findall(text))
        return
    if command in SERVICE:
        told = words("service.md")
        assert f"eastwest {command}" in told
        parts = getattr(commands()[command], "commands", {})
        wanted = set(parts) if parts else options(commands()[command])
        if command in {"sinks", "spool"}:
            wanted |= {option for part in parts.values() for option in options(part) if option.startswith("-")}
        assert wanted - {"--help", "-h"} <= told
        return
    own = {"backtest", "compare", "drill", "evidence", "explain", "inventory", "reach", "sweep", "trust"}
    text = page(f"{command}.md" if command in own else "simulate.md")
    before, _, demo = text.partition("## The demo")
    assert f"eastwest {command}" in text
    told = set(CODE.findall(_first_cells(demo if command == "demo" else before)))
    assert options(commands()[command]) <= told
    assert {word for word in told if word.startswith("--")} <= options(commands()[command])


def test_the_options_before_the_command_are_documented():
    root = options(typer.main.get_command(app))
    assert {option for option in root if f"`{option}`" not in page("backtest.md")} <= {"--version"}
    assert "`eastwest --version`" in page("backtest.md")


def test_exit_codes_are_documented():
    table = page("backtest.md").partition("### Exit codes")[2].partition("##")[0]
    assert [int(code) for code in re.findall(r"^\| (\d) \|", table, re.MULTILINE)] == [0, USAGE, UNREADABLE, PARTIAL]


def test_each_setting_is_documented_with_its_default_and_variable():
    rows = {
        cells[0].strip("`"): cells
        for line in page("settings.md").splitlines()
        if line.startswith("| `")
        for cells in [[cell.strip() for cell in line.strip("|").split("|")]]
    }
    assert list(rows) == list(Settings.model_fields)
    for name, field in Settings.model_fields.items():
        assert rows[name][1] == f"`{field.default}`"
        variable = f"`{ENVIRONMENT_PREFIX}{name.upper()}`"
        assert rows[name][4] == ("none" if name == "columns" else variable)


def test_the_settings_page_tells_the_bounds():
    for line in page("settings.md").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("| `"):
            continue
        metadata = Settings.model_fields[cells[0].strip("`")].metadata
        bounds = [
            f"{word} {getattr(bound, attribute):,}"
            for bound in metadata
            for attribute, word in (("gt", "above"), ("ge", "from"), ("le", "to"))
            if hasattr(bound, attribute)
        ]
        assert not bounds or cells[2] == ", ".join(bounds)


# --- what is written ---


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A backtest of a few lines that fills every key of the summary."""
    folder = tmp_path_factory.mktemp("docs")
    logs, out = folder / "logs", folder / "out"
    logs.mkdir()
    (logs / "conn.log").write_text(f"{examples()['conn.log'][0]}\nrubbish\n", encoding="utf-8")
    (logs / "notes.txt").write_text("not a log", encoding="utf-8")
    (folder / "labels.csv").write_text(block("backtest.md", "campaign,start"), encoding="utf-8")
    backtest([logs], out, Settings(), labels=load_labels(folder / "labels.csv"))
    return out


def keys(value: Any, prefix: str = "") -> Iterator[str]:
    """Dotted names of all keys, down to those that the input makes."""
    for name, inner in value.items():
        dotted = f"{prefix}{name}"
        if isinstance(inner, dict) and dotted not in MADE_BY_INPUT:
            yield from keys(inner, f"{dotted}.")
        else:
            yield dotted
            if isinstance(inner, list) and inner and isinstance(inner[0], dict):
                yield from (f"{dotted}.{key}" for key in inner[0])


@pytest.mark.parametrize(
    ("kind", "section"),
    [(Alert, "### `alerts.ndjson`"), (Incident, "### `incidents.ndjson`"), (Step, "A hop in `path`:")],
)
def test_each_field_is_documented(kind, section):
    text = page("backtest.md").partition(section)[2].partition("\n### ")[0]
    if kind is Incident:
        text = text.partition("A hop in")[0]
    assert {field.name for field in fields(kind)} == set(CODE.findall(_first_cells(text)))


def _first_cells(text: str) -> str:
    return "\n".join(line.split("|")[1] for line in text.splitlines() if line.startswith("| `"))


def test_each_column_of_the_findings_is_documented(run):
    text = page("backtest.md").partition("### `findings.parquet`")[2].partition("\n### ")[0]
    columns = pl.read_parquet(run / "findings.parquet").columns
    assert set(columns) == set(CODE.findall(_first_cells(text)))


def test_each_key_of_the_summary_is_documented(run):
    text = page("backtest.md")
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    labels = summary.pop("labels")
    named = set(CODE.findall(text.partition("### `summary.json`")[2].partition("\n### ")[0]))
    parents = {"input.skipped", "new_edges.top"}
    missing = {key for key in keys(summary) if key not in named and not key.startswith(tuple(parents))}
    assert not missing
    assert parents <= named
    for parent in parents:
        holder, name = parent.split(".")
        assert summary[holder][name]
        assert set(summary[holder][name][0]) <= named
    told = set(CODE.findall(text.partition("## Labels file")[2].partition("\n## ")[0]))
    assert {key.removeprefix("campaigns.") for key in keys(labels)} <= told


def test_no_key_of_the_summary_is_documented_that_is_not_there(run):
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    table = page("backtest.md").partition("### `summary.json`")[2].partition("\n### ")[0]
    assert set(CODE.findall(_first_cells(table))) <= set(keys(summary)) | {"labels"}


def test_each_key_of_a_rejected_record_is_documented(run):
    (reject,) = (run / "rejected.ndjson").read_text(encoding="utf-8").splitlines()
    table = page("backtest.md").partition("### `rejected.ndjson`")[2].partition("\n## ")[0]
    assert set(json.loads(reject)) == set(CODE.findall(_first_cells(table)))


def test_each_file_written_is_documented(run):
    table = page("backtest.md").partition("## What is written")[2].partition("\n### ")[0]
    assert {file.name for file in run.iterdir()} == set(CODE.findall(_first_cells(table)))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert all(f"`{file.name}`" in readme for file in run.iterdir())


# --- formats ---


def test_each_log_type_is_documented():
    named = words("formats.md")
    patterns = [word for word in named if "*" in word and word != "zeek.*"]
    unread = {log_type.name for log_type in UNREAD}
    missing = {
        name
        for name in LOG_TYPES
        if name not in named
        and not (
            name in unread
            and any(
                name.removeprefix("zeek.") == word or fnmatch.fnmatchcase(name.removeprefix("zeek."), word)
                for word in {*patterns, *named}
            )
        )
    }
    assert not missing


def test_no_log_type_is_documented_that_is_not_there():
    told = {word for word in words("formats.md") if re.fullmatch(r"(zeek|netflow)\.[a-z_0-9]+", word)}
    assert told - set(LOG_TYPES) == {"zeek.connection"}  # the name of a shipper's data set


# --- examples ---


def block(name: str, start: str) -> str:
    """The code block of a page that begins so."""
    return next(text for _, text in FENCED.findall(page(name)) if text.startswith(start))


def examples() -> dict[str, list[str]]:
    """The records of the path of a record by file, each on one line."""
    found = re.findall(
        r"<!-- example: (\S+) -->\n```json\n(.*?)^```", page("path-of-a-record.md"), re.MULTILINE | re.DOTALL
    )
    return {name: [record.replace("\n", "") for record in re.split(r"\n(?=\{)", text)] for name, text in found}


EXAMPLE_PLANT = Plant.model_validate(
    {
        "zones": [
            {"name": "office", "purdue_level": 4, "cidrs": ["192.0.2.0/28"]},
            {"name": "servers", "purdue_level": 4, "cidrs": ["192.0.2.16/28"]},
        ]
    }
)


def plant(tmp_path: Path, text: str) -> Plant:
    path = tmp_path / "plant.yaml"
    path.write_text(text, encoding="utf-8")
    return load_plant(path)


def test_the_example_record_takes_the_path_that_is_told():
    table = {
        cells[0]: cells[1:]
        for line in page("path-of-a-record.md").splitlines()
        if line.startswith("| `")
        for cells in [[cell.strip() for cell in line.strip("|").split("|")]]
    }
    rows, units = [], []
    for name, lines in examples().items():
        decoded = Decoder(name, Context()).decode(Block(name, 1, [line.encode() for line in lines]))
        rows += decoded.flows.to_dicts()
        engine = Engine(Settings(), EXAMPLE_PLANT)
        engine.push(decoded)
        units += engine.finish().frame().to_dicts()
        assert engine.accounting.scored == len(lines)
        assert engine.accounting.paired == len(lines) - 1
    assert [str(row["ts"]) for row in rows] == table["`ts` start, µs"]
    assert [str(row["obs_ts"]) for row in rows] == table["`obs_ts` complete, µs"]
    assert [f"{row['orig_h']}:{row['orig_p']}" for row in rows] == table["`orig_h:orig_p`"]
    assert [f"{row['resp_h']}:{row['resp_p']}" for row in rows] == table["`resp_h:resp_p`"]
    assert [f"{row['source']}, {row['position']}" for row in rows] == table["`source`, `position`"]
    told = [(unit["orig_h"], unit["resp_h"], unit["resp_p"], unit["service"], unit["kind"]) for unit in units]
    assert told == [("192.0.2.10", "192.0.2.30", 445, "smb", 0)] * 2
    assert [(unit["bonus"], unit["technique"], unit["moves"]) for unit in units] == [(3.0, "T1021.002", True)] * 2
    assert [(unit["orig_zone"], unit["resp_zone"], unit["p_value"]) for unit in units] == [("office", "servers", 1)] * 2
    strata = {divmod(unit["stratum"], len(PLACES)) for unit in units}
    assert [(CLASSES[of], PLACES[place]) for of, place in strata] == [("move", "inside IT")]


def test_both_views_of_the_example_are_one_conversation():
    engine = Engine(Settings())
    for name, lines in examples().items():
        engine.push(Decoder(name, Context()).decode(Block(name, 1, [line.encode() for line in lines])))
    engine.finish()
    account = engine.accounting
    assert account.rows == 3
    assert account.duplicate > 0
    assert account.scored + account.duplicate == 3


def test_the_plant_files_shown_are_read(tmp_path):
    whole = plant(tmp_path, block("backtest.md", "timezone: Europe/London\nzones"))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    small = plant(tmp_path, next(text for kind, text in FENCED.findall(readme) if kind == "yaml"))
    assert small.permits("office", "cell1_control", "modbus")
    assert whole.permits("office", "cell1_control", "s7comm")
    assert whole.vendors
    assert whole.maintenance_windows


def test_every_section_of_the_plant_file_is_documented():
    table = page("backtest.md").partition("## Plant file")[2].partition("\n#")[0]
    assert set(Plant.model_fields) == set(CODE.findall(_first_cells(table)))


def test_the_decisions_shown_are_read():
    text = block("feedback.md", "decisions:")
    shown = parse_decisions(text, "feedback.md")
    assert [entry.action for entry in shown] == ["suppress", "learn", "end"]
    scopes = page("feedback.md").partition("| Key in `scope` |")[2].partition("\n\n")[0]
    assert set(CODE.findall(_first_cells(scopes))) == set(Scope.model_fields)


def test_the_settings_files_shown_are_read(tmp_path):
    for name, start in (("settings.md", "alerts_per_day"), ("formats.md", "# settings.yaml")):
        path = tmp_path / "settings.yaml"
        path.write_text(block(name, start), encoding="utf-8")
        assert load_settings(path).timezone == "Europe/London"


def test_the_column_map_shown_reads_its_table(tmp_path):
    text = block("formats.md", "# settings.yaml")
    header = next(line.removeprefix("# ") for line in text.splitlines() if ";" in line)
    (tmp_path / "settings.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "flows.csv").write_text(
        f"{header}\n2026-07-02 10:00:00;192.0.2.10;50122;192.0.2.30;445;tcp;3120;1890\n", encoding="utf-8"
    )
    result = backtest([tmp_path / "flows.csv"], tmp_path / "out", load_settings(tmp_path / "settings.yaml"))
    (unit,) = pl.read_parquet(result.out / "findings.parquet").to_dicts()
    assert (unit["src"], unit["dst"], unit["service"], unit["kind"]) == (
        "192.0.2.10",
        "192.0.2.30",
        "smb",
        "connection",
    )
    assert unit["ts"].hour == 9  # London in summer is an hour ahead of UTC


def test_the_labels_shown_are_read(tmp_path):
    text = block("backtest.md", "campaign,start")
    (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
    assert len(load_labels(tmp_path / "labels.csv")) == 1
    assert f"`{','.join(LABEL_COLUMNS)}`" in page("backtest.md")


# --- constants, links, commands ---


def test_constants_have_the_values_that_are_told():
    rows = re.findall(r"^\| `([a-z_.]+)\.([A-Z_]+)` \| `([^`]+)` \|", page("detection.md"), re.MULTILINE)
    assert len(rows) > 20
    told = {f"{module}.{name}": literal_eval(value) for module, name, value in rows}
    real = {
        f"{module}.{name}": getattr(importlib.import_module(f"detector.{module}"), name) for module, name, _ in rows
    }
    assert told == pytest.approx(real)


def anchors(path: Path) -> set[str]:
    """Anchors of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", path.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCED.sub("", path.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        goal = (path.parent / file).resolve() if file else path
        assert goal.exists(), target
        assert not anchor or anchor in anchors(goal), target


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_pages_name_no_place_of_one_machine(path):
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"(?<![\w.])/(?!opt/eastwest|var/lib/eastwest)(tmp|home|root|work|Users|var|opt|mnt)/", text)
    assert not re.search(r"https?://(localhost|127\.|10\.|192\.168\.)", text)


def test_every_page_is_reached_from_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    index = (DOCS / "decisions" / "README.md").read_text(encoding="utf-8")
    for path in sorted(DOCS.glob("*.md")):
        assert f"(docs/{path.name})" in readme
    for path in sorted((DOCS / "decisions").glob("2*.md")):
        assert f"({path.name})" in index


FOREIGN = {"", "cd", "chmod", "cp", "docker", "export", "install", "kafka-acls", "openssl", "pip", "python", "python3"}
FOREIGN |= {"systemctl", "systemd-sysusers", "systemd-tmpfiles"}
"""Programs of others, which a page may show beside ours."""


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_commands_shown_exist(path):
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for kind, text in FENCED.findall(path.read_text(encoding="utf-8")):
        for line in text.replace("\\\n", " ").splitlines() if kind == "sh" else ():
            program, *arguments = shlex.split(line, comments=True) or [""]
            name = program.rpartition("/")[2]
            if name == "make":
                assert {argument for argument in arguments if "=" not in argument} <= targets
            elif name not in FOREIGN:
                assert name == "eastwest"
                command = commands()[arguments[0]]
                if arguments[0] in GROUPS:
                    command = command.commands[arguments[1]]
                assert {argument for argument in arguments if argument.startswith("--")} <= options(command)
