"""Grids of settings: what is no grid is said, points are run once, and the later part has no say in what is chosen."""

import csv
import io
import json
import shutil
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console
from typer.testing import CliRunner

from detector.backtest.labels import load_labels, parse_time
from detector.cli import app
from detector.config import Settings
from detector.errors import ConfigError
from detector.sweep import run
from detector.sweep.console import shown
from detector.sweep.grid import MAX_POINTS, load_grid, points
from detector.sweep.written import as_csv, render, write_files
from tests.scenarios.world import plant_of

SPLIT = "2026-03-04T18:00:00Z"  # between the two campaigns
GRID = {"alerts_per_day": [3.0, 25.0]}
HOSTILE = "=1+1\x1b[35m[bold]\u202e<script>alert(1)</script>"


@pytest.fixture(scope="module")
def wish(world) -> run.Wish:
    return run.Wish(
        [str(world.zeek_dir)], plant=plant_of(world), labels=load_labels(world.labels), split=parse_time(SPLIT)
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("swept")


@pytest.fixture(scope="module")
def swept(wish, folder) -> dict:
    return run.sweep(GRID, Settings(), wish, folder)


def numbers(told: dict) -> list:
    """What a choice is made by, and what was chosen."""
    return [[point["settings"], point["metrics"], point["pareto"]] for point in told["points"]] + [told["chosen"]]


def test_points_are_measured_before_the_split_and_the_chosen_one_behind_it(swept):
    assert [point["settings"]["alerts_per_day"] for point in swept["points"]] == [3.0, 25.0]
    small, usual = (point["metrics"] for point in swept["points"])
    assert small["alerts_a_day"]["value"] < usual["alerts_a_day"]["value"]
    assert usual == swept["base"]["metrics"]
    assert usual["campaigns_found"]["counts"] == (1, 1)  # the other comes later
    assert [one["campaign"] for one in swept["later"]["campaigns"]] == ["supplier"]
    assert swept["later"]["judged_by_both"]["first"] == "2026-03-04T18:00:00.000000Z"
    assert any(point["pareto"] for point in swept["points"])


def test_what_comes_after_the_split_cannot_change_what_is_chosen(world, wish, swept, tmp_path):
    """Behind it half of the records go, the others get another target, and the labels name what never happened."""
    logs, split = tmp_path / "zeek", parse_time(SPLIT) / 1e6
    shutil.copytree(world.zeek_dir, logs)
    for file in logs.glob("2026-03-04/*.log"):
        lines = file.read_text("utf-8").splitlines(keepends=True)
        kept = [line for place, line in enumerate(lines) if json.loads(line)["ts"] < split or place % 2]
        spoiled = [
            line
            if json.loads(line)["ts"] < split
            else json.dumps(json.loads(line) | {"id.resp_h": "10.50.0.14"}) + "\n"
            for line in kept
        ]
        file.write_text("".join(spoiled), "utf-8")
    earlier = [label for label in wish.labels if label.campaign == "phish"]
    late = parse_time("2026-03-04T20:00:00Z")
    invented = earlier[0].__class__("invented", late, late + 3_600_000_000, None, None, None)
    other = run.Wish([str(logs)], plant=wish.plant, labels=[*earlier, invented], split=wish.split)
    told = run.sweep(GRID, Settings(), other, tmp_path / "out")
    assert numbers(told) == numbers(swept)
    assert told["later"]["metrics"] != swept["later"]["metrics"]


def test_finished_points_are_not_run_again(wish, folder, swept, monkeypatch):
    ran, real = [], run.backtest
    monkeypatch.setattr(run, "backtest", lambda *what, **more: ran.append(what) or real(*what, **more))
    assert run.sweep(GRID, Settings(), wish, folder) == swept
    assert ran == []
    (folder / swept["points"][0]["folder"] / "point.json").unlink()
    assert run.sweep(GRID, Settings(), wish, folder) == swept
    assert len(ran) == 1


def test_how_far_it_is_never_goes_back(wish, folder, swept):
    told = []
    run.sweep(GRID, Settings(), wish, folder, lambda stage, done, total, rows: told.append((stage, done, total)))
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
    assert told[-1] == ("points", 5000, 5000)


def point(alerts: float, hops: float, outside: float = 0.0, **settings) -> dict:
    given = {"alerts_a_day": alerts, "hops_found": hops, "campaigns_found": 1.0, "outside_a_day": outside}
    return {"settings": settings, "metrics": {name: {"value": one} for name, one in given.items()}, "pareto": False}


def test_the_front_is_what_no_other_beats():
    told = [point(5, 0.5), point(10, 0.9), point(12, 0.9), point(4, 0.1)]
    run._mark(told)
    assert [one["pareto"] for one in told] == [True, True, False, True]
    nothing = [point(5, 0.5)]
    del nothing[0]["metrics"]["hops_found"]  # without labels
    run._mark(nothing)
    assert not nothing[0]["pareto"]


def test_the_choice_prefers_hops_then_quiet_then_what_is_as_it_was(wish):
    base = Settings()
    told = [point(9, 0.9, 5, half_life_days=5.0), point(9, 0.9, 5, half_life_days=30.0), point(30, 1.0, 20)]
    assert run._choose(told, base, wish) == 2
    assert run._choose(told, base, run.Wish([], at_most=10.0)) == 1
    assert run._choose(told, base, run.Wish([], at_most=1.0)) is None


def test_a_split_needs_labels_and_something_on_both_sides(world, wish, folder):
    with pytest.raises(ConfigError, match="--split: needs --labels"):
        run.sweep(GRID, Settings(), run.Wish(wish.paths, split=1), folder)


# --- what is no grid ---


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("alert_per_day: [1]", "alert_per_day: is no setting; did you mean alerts_per_day"),
        ("nothing: [1]", "nothing: is no setting; settings are alerts_per_day, "),
        ("alerts_per_day: 5", "alerts_per_day: needs a list of values to try, such as"),
        ("alerts_per_day: []", "alerts_per_day: needs a list"),
        ("alerts_per_day: [5, -1]", r"alerts_per_day\.1: Input should be greater than 0"),
        ("alerts_per_day: [5, 5.0]", "alerts_per_day: 5.0 is there twice"),
        ("batch_rows: [5]", "batch_rows: changes no result; leave it out"),
        ("models: [[operations, sorcery]]", r"models\.0: Input should be"),
        ("[1]", "must name settings with the values to try"),
        ("", "must name settings"),
        ("a: [", "cannot be read as YAML"),
        (f"half_life_days: {list(range(1, MAX_POINTS + 2))}", "has 1,001 points, at most 1,000 are run"),
    ],
)
def test_what_is_no_grid_is_said(text, problem, tmp_path):
    (tmp_path / "grid.yaml").write_text(text)
    with pytest.raises(ConfigError, match=problem):
        load_grid(tmp_path / "grid.yaml")


def test_a_grid_is_all_combinations(tmp_path):
    (tmp_path / "grid.yaml").write_text("alerts_per_day: [5, 10]\nmodels: [[operations, timing], [forest]]\n")
    made = list(points(load_grid(tmp_path / "grid.yaml")))
    assert len(made) == 4
    assert made[1] == {"alerts_per_day": 5.0, "models": ("forest",)}


# --- what is written ---


def test_the_command_writes_tables_and_a_page(world, wish, swept, folder, tmp_path, browse):
    (tmp_path / "grid.yaml").write_text("alerts_per_day: [3, 25]\n")
    words = [
        "sweep", str(tmp_path / "grid.yaml"), str(world.zeek_dir), "--plant", str(world.plant), "--labels",
        str(world.labels), "--split", SPLIT, "--out", str(folder),
    ]  # fmt: skip
    told = CliRunner().invoke(app, words, catch_exceptions=False)
    assert told.exit_code == 0
    assert "Chosen by what came before" in told.stdout
    assert json.loads((folder / "sweep.json").read_bytes()) == json.loads(json.dumps(swept))
    table = pl.read_parquet(folder / "sweep.parquet")
    rows = list(csv.DictReader(io.StringIO((folder / "sweep.csv").read_text("utf-8"))))
    assert [row["alerts_per_day"] for row in rows] == ["3.0", "25.0"]
    assert table["hops_found"].to_list() == [one["metrics"]["hops_found"]["value"] for one in swept["points"]]
    assert table["chosen"].sum() == 1
    assert browse((folder / "sweep.html").read_text("utf-8"), "--dump-dom").count("<circle") > 6


def test_page_terminal_and_table_obey_no_setting(swept, tmp_path):
    spoiled = json.loads(json.dumps(swept))
    spoiled["grid"]["columns"] = [HOSTILE]
    for one in (spoiled["base"], *spoiled["points"]):
        one["settings"]["columns"] = {HOSTILE: HOSTILE}
    page = render(spoiled)
    assert "<script" not in page
    assert "\u202e" not in page
    console = Console(width=200, force_terminal=True)
    with console.capture() as captured:
        console.print(shown(spoiled, 9))
    assert "\x1b[35m" not in captured.get()
    assert "[bold]" in captured.get()
    assert "'=1+1\\u001b" in as_csv(spoiled)
    write_files(spoiled, tmp_path)


def test_without_labels_there_is_a_table_and_no_front(swept):
    bare = json.loads(json.dumps(swept)) | {"split": None, "chosen": None, "later": None}
    for one in (bare["base"], *bare["points"]):
        one["pareto"] = False
        for name in ("hops_found", "campaigns_found", "outside_a_day", "minutes_to_detect"):
            del one["metrics"][name]
    page = render(bare)
    assert "share of hops found" not in page
    assert "alerts a day that were asked for" in page
    Console().print(shown(bare, 9))
