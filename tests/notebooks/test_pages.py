"""What the pages for people who tune and program show is run as it stands there."""

import re
from pathlib import Path

import polars as pl
import pytest
from matplotlib.figure import Figure

import detector
from detector.config import Settings
from detector.errors import ConfigError
from detector.models.promote import history
from tests.scenarios.world import run as backtest

DOCS = Path(__file__).resolve().parents[2] / "docs"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def scores(plant) -> detector.Scores:
    return detector.scores(
        plant / "zeek", plant=plant / "plant.yaml", labels=plant / "labels.csv", train_until="2026-03-04T00:00:00Z"
    )


def test_the_page_of_python_runs(plant, monkeypatch, capsys):
    monkeypatch.chdir(plant.parent)
    names: dict[str, object] = {}
    for kind, text in BLOCK.findall((DOCS / "python.md").read_text("utf-8")):
        if kind == "python":
            exec(compile(text, "python.md", "exec"), names)  # noqa: S102 - it is our own page
    assert isinstance(names["figure"], Figure)
    assert isinstance(names["logs"], detector.Logs)
    assert names["alert"].title in capsys.readouterr().out  # type: ignore[attr-defined]
    told = set(re.findall(r"^\| `(\w+)[`(]", (DOCS / "python.md").read_text("utf-8"), re.MULTILINE))
    plots = {name for name, made in vars(detector.plots).items() if getattr(made, "__module__", "") == "detector.plots"}
    assert {"flows", "operations", "rejected", *detector.Scores.__slots__} <= told | {"annotations"}
    assert {name for name in plots if name.islower() and not name.startswith("_")} <= told


def test_scores_are_those_of_a_backtest(plant, scores, tmp_path):
    result = backtest(
        [plant / "zeek"], tmp_path, Settings(), plant=detector.api.load_plant(plant / "plant.yaml"),
        train_until=detector.api.parse_time("2026-03-04T00:00:00Z"),
    )  # fmt: skip
    assert scores.alerts["alert_id"].to_list() == [alert.alert_id for alert in result.alerts]
    assert scores.findings.equals(pl.read_parquet(tmp_path / "findings.parquet"))
    assert scores.hosts["host"].to_list() == [host.host for host in result.hosts]
    hops = [(one.incident_id, step.src, step.dst) for one in result.incidents for step in one.path]
    assert scores.incidents.select("incident_id", "src", "dst").rows() == hops
    assert hops
    assert scores.alerts["ts"].dtype == pl.Datetime("us", "UTC")


def test_logs_are_frames_with_times(plant):
    logs = detector.load([plant / "zeek" / "2026-03-03"])
    assert logs.flows["ts"].dtype == logs.operations["obs_ts"].dtype == pl.Datetime("us", "UTC")
    assert set(logs.flows["ts"].dt.date().unique()) >= {logs.flows["ts"].dt.date().max()}
    assert logs.flows["obs_ts"].is_sorted()
    assert logs.operations.height > 1000
    assert logs.rejected == {}


def test_an_incident_that_is_none_and_a_setting_that_is_none(scores, plant):
    with pytest.raises(KeyError):
        detector.plots.path(scores, "none")
    with pytest.raises(ConfigError):
        detector.scores(plant / "zeek", alerts_a_day=3)
    with pytest.raises(AttributeError):
        _ = detector.nothing


def test_the_page_of_tuning_leads_to_a_promoted_model(plant, shell, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "site").symlink_to(plant)
    said = ""
    for kind, text in BLOCK.findall((DOCS / "tuning.md").read_text("utf-8")):
        if kind == "yaml":
            name = text.splitlines()[0].removeprefix("# ") if text.startswith("# ") else "settings.yaml"
            (tmp_path / name).write_text(text)
        for line in text.splitlines() if kind == "sh" else ():
            if not line.startswith("eastwest simulate"):
                said += shell(line)
    assert (tmp_path / "live.model").read_bytes() == (tmp_path / "candidate.model").read_bytes()
    assert [entry["by"] for entry in history(tmp_path / "live.model")] == ["anna"]
    assert "verified" in said
    assert "shadow" in said
    assert "S = " in said  # an alert was explained
    assert "Chosen by what came before 2026-03-05" in said
    assert {"compare.html", "compare.json"} == {file.name for file in (tmp_path / "compared").iterdir()}
