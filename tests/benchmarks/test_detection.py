"""The command: a tiny plant through all of it, and what it does without recorded data."""

import importlib.util
from pathlib import Path

import orjson
import pytest
from contest import captures, programme
from contest.plants import Size, Trial, flows_of, grow
from typer.testing import CliRunner

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
TINY = Size("tiny", 60, 0.05, days=6, campaigns=3)


@pytest.fixture
def command():
    """The `main` of the file, which is no module."""
    spec = importlib.util.spec_from_file_location("detection", BENCHMARKS / "detection.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_seeds_reported_were_never_tuned_on():
    reported = {*programme.SMALL_SEEDS, *programme.LARGE_SEEDS, programme.ABLATION_SEED, *captures.SEEDS}
    assert not reported & set(programme.TUNING_SEEDS)


def test_parts_make_tasks_longest_first(monkeypatch, tmp_path):
    monkeypatch.setenv("EASTWEST_SHARED_DATA", str(tmp_path))
    names = [task.name for task in programme.tasks(["plants", "darpa", "captures", "ablation"])]
    assert names[:2] == [f"large {pace}, seed {programme.LARGE_SEEDS[0]}" for pace in "AB"]
    assert "DARPA" in names
    assert f"captures, seed {captures.SEEDS[0]}" in names
    assert [task.name for task in programme.tasks(["plants"], quick=True)] == [
        f"small {pace}, seed {programme.SMALL_SEEDS[0]}" for pace in "AB"
    ]
    assert {task.name for task in programme.tasks(["plants"], tuning=True)} == {
        f"small {pace}, seed {seed}" for pace in "AB" for seed in programme.TUNING_SEEDS
    }


def test_a_plant_as_comparators_see_it():
    recording = grow(Trial(TINY, "minutes", 1))
    flows = flows_of(recording)
    assert flows.height == recording.flows.height
    assert flows["ts"].is_sorted()
    assert flows.filter("inside").height > flows.height / 2
    assert set(flows["service"]) >= {"dns", "smb", "kerberos"}
    pieces = recording.pieces()
    assert sum(piece.rows for piece in pieces) == flows.height + recording.operations.height
    assert recording.start < recording.attacks_from < recording.end
    assert all(label.start >= recording.attacks_from for label in recording.labels)


@pytest.mark.slow
def test_the_command_prints_its_tables(command, monkeypatch, tmp_path):
    monkeypatch.setattr(programme, "SMALL", TINY)
    monkeypatch.setenv("EASTWEST_SHARED_DATA", str(tmp_path / "missing"))
    monkeypatch.setattr(programme, "PACES", ("minutes",))
    options = ["--quick", "--only", "plants", "--only", "darpa", "--out", str(tmp_path / "out" / "numbers.json")]
    app = command.typer.Typer()
    app.command()(command.main)
    ran = CliRunner().invoke(app, [*options, "--processes", "1"])
    assert ran.exit_code == 0, ran.output
    for line in ("No recorded data", "Plants, tiny A", "Campaigns found by kind, tiny A", "Alerts and incidents"):
        assert line in ran.output
    numbers = orjson.loads((tmp_path / "out" / "numbers.json").read_bytes())
    [plant] = numbers["plants"]
    assert plant["trial"]["seed"] == programme.SMALL_SEEDS[0]
    assert next(iter(plant["rankings"])) == "eastwest"
    assert len(plant["rankings"]) == 7
    assert set(plant["live"]) == {"10", "25", "50"}
    assert numbers["darpa"] is None
