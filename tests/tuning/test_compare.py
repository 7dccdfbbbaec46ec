"""Two results side by side: what is the same, what came and went, and what cannot be compared."""

import json
import shutil
from dataclasses import replace

import pytest
from rich.console import Console
from typer.testing import CliRunner

from detector.alerts.model import Decision, alert_of, incident_of
from detector.backtest.labels import load_labels
from detector.cli import app
from detector.compare import matching
from detector.compare.console import shown
from detector.compare.run import compare
from detector.compare.written import render, write_files
from detector.config import Settings
from detector.errors import ConfigError
from tests.scenarios.world import run

HOSTILE = "\x1b[35m[bold]\u202e<script>alert(1)</script>"
HOUR = 3_600_000_000
LONG = (0, 1 << 60)


@pytest.fixture(scope="module")
def alerts(before):
    return [alert_of(json.loads(line)) for line in (before / "alerts.ndjson").read_bytes().splitlines()]


@pytest.fixture(scope="module")
def compared(before, after, world):
    return compare(before, after, load_labels(world.labels))


def fates(pairs):
    return {fate: sum(pair.fate == fate for pair in pairs) for fate in matching.FATES}


def test_a_result_is_the_same_as_itself(before, world):
    same = compare(before, before, load_labels(world.labels))
    assert same["notices"] == same["settings"] == same["alert_pairs"] == []
    assert same["alerts"]["same"] == same["before"]["alerts"]
    assert {one["difference"] for one in same["metrics"] if one["name"] != "alerts inside of labels"} == {0.0}


def test_a_smaller_budget_loses_the_weakest_alerts(compared, before, after):
    assert compared["settings"] == [{"key": "alerts_per_day", "before": 25.0, "after": 5.0}]
    counts = compared["alerts"]
    assert counts["lost"] > 5
    assert counts["lost"] - counts["gained"] == compared["before"]["alerts"] - compared["after"]["alerts"]
    lost = [pair["before"] for pair in compared["alert_pairs"] if pair["fate"] == "lost"]
    kept = {json.loads(line)["alert_id"] for line in (after / "alerts.ndjson").read_bytes().splitlines()}
    assert kept.isdisjoint(one["alert_id"] for one in lost)
    strongest = max(compared["alert_scores"], key=lambda one: one["before"] or 0)
    assert strongest["after"] is not None


def test_numbers_against_labels_are_those_of_the_backtests(compared, before, after):
    by_name = {one["name"]: one for one in compared["metrics"]}
    for side, folder in (("before", before), ("after", after)):
        labels = json.loads((folder / "summary.json").read_text())["labels"]
        assert by_name["campaigns found"][f"{side}_counts"] == (labels["campaigns_found"], labels["campaigns_total"])
        assert by_name["hops found"][f"{side}_counts"] == (labels["hops_found"], labels["hops_total"])
        assert by_name["alerts inside of labels"][f"{side}_counts"][0] == labels["true_alerts"]
    found = by_name["hops found"]
    assert found["difference_interval"][0] <= found["difference"] <= found["difference_interval"][1]
    assert by_name["alerts a day"]["method"] == "none: 2 days are too few"


def test_alerts_of_one_case_are_the_same_whatever_opened_it(alerts):
    one = alerts[0]
    near, far = (
        replace(one, alert_id=name, ts=one.ts[:11] + hour) for name, hour in (("a", "00:50:00Z"), ("b", "02:30:00Z"))
    )
    one = replace(one, ts=one.ts[:11] + "00:10:00Z", score=3.0)
    pairs = matching.alerts([one], [far, near], LONG)
    assert [(pair.fate, pair.after.alert_id) for pair in pairs] == [("moved", "a"), ("gained", "b")]
    assert {"ts", "score"} <= set(pairs[0].changed)


def test_an_alert_more_moves_none_of_the_others(alerts):
    weak, strong = replace(alerts[0], score=2.0), replace(alerts[1], score=9.0)
    assert fates(matching.alerts([weak], [strong, weak], LONG)) == {
        "gained": 1, "lost": 0, "moved": 0, "same": 1, "apart": 0
    }  # fmt: skip
    (first, _) = matching.alerts([weak, strong], [replace(weak, score=9.5), strong], LONG)
    assert first.changed == ("score", "rank")


def test_what_somebody_decided_about_is_lost_to_the_reader(alerts):
    one = alerts[0]
    decided = replace(one, status="suppressed", decision=Decision("d", "suppress", "anna", "hers", None))
    (pair,) = matching.alerts([one], [decided], LONG)
    assert (pair.fate, pair.after.status) == ("lost", "suppressed")
    assert matching.alerts([decided], [decided], LONG) == []


def test_what_only_one_run_judged_is_neither_gained_nor_lost(alerts):
    assert fates(matching.alerts(alerts[:1], [], (1 << 59, 1 << 60)))["apart"] == 1
    assert fates(matching.alerts(alerts[:1], [], None))["apart"] == 1


def test_incidents_are_the_same_when_they_share_hops(before):
    (first, *_) = [incident_of(json.loads(line)) for line in (before / "incidents.ndjson").read_bytes().splitlines()]
    longer = replace(first, incident_id="other", score=9.0)
    apart = replace(first, incident_id="apart", path=tuple(replace(step, src="192.0.2.1") for step in first.path))
    pairs = matching.incidents([first], [apart, longer], LONG)
    assert [(pair.fate, pair.after.incident_id) for pair in pairs] == [("moved", "other"), ("gained", "apart")]
    assert pairs[0].changed == ("score",)


def test_results_over_other_logs_and_times_say_so(world, before, asked, tmp_path):
    day = max(world.zeek_dir.iterdir())
    other = run([day], tmp_path / "other", plant=asked["plant"]).out
    told = compare(before, other)
    said = " ".join(told["notices"])
    assert "The logs are not the same files" in said
    assert "They judged different times; only 2026-03-04" in said
    assert "different times until which rows only taught" in said
    assert told["alerts"]["apart"] > 0


def test_an_empty_run_is_compared_and_said_to_be_one(before, tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "conn.log").write_text("#separator \\x09\n#path\tconn\n#fields\tts\tuid\n")
    empty = run([tmp_path / "logs"], tmp_path / "empty", Settings()).out
    told = compare(before, empty)
    assert f"{empty} judged nothing: it has no scored row." in told["notices"]
    assert told["alerts"]["gained"] == told["alerts"]["lost"] == 0
    assert compare(empty, empty)["metrics"][0]["before"] is None
    Console().print(shown(told, 3))
    assert "no time that both judged" in render(told)


def test_a_folder_of_another_version_is_refused_or_said(before, tmp_path):
    old = tmp_path / "old"
    shutil.copytree(before, old)
    (old / "run.json").unlink()
    assert any("has no run.json" in notice for notice in compare(before, old)["notices"])
    (old / "incidents.ndjson").write_text('{"incident_id": "x"}\n')
    with pytest.raises(ConfigError, match=r"incidents\.ndjson: line 1: is no record of this version"):
        compare(before, old)
    (old / "summary.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"summary\.json: version: is missing: another version wrote it"):
        compare(before, old)
    with pytest.raises(ConfigError, match=r"holds no summary\.json"):
        compare(before, tmp_path)


def test_page_and_terminal_obey_no_log(compared, browse):
    spoiled = json.loads(json.dumps(compared))
    spoiled["notices"].append(HOSTILE)
    spoiled["before"]["folder"] = HOSTILE
    for pair in spoiled["alert_pairs"]:
        pair["before"] = pair["before"] and pair["before"] | {"title": HOSTILE}
        pair["after"] = pair["after"] and pair["after"] | {"title": HOSTILE}
    for campaign in spoiled["campaigns"]:
        campaign["campaign"] = HOSTILE
    page = render(spoiled)
    assert "<script" not in page
    assert "\u202e" not in page
    console = Console(width=160, force_terminal=True)
    with console.capture() as captured:
        console.print(shown(spoiled, 5))
    assert "\x1b[35m" not in captured.get()
    assert "[bold]" in captured.get()
    drawn = browse(page, "--dump-dom")
    assert drawn.count("<circle") > 10
    assert "alert(1)" in drawn


def test_the_command_writes_a_page_and_json(before, after, world, tmp_path):
    words = ["compare", str(before), str(after), "--labels", str(world.labels), "--out", str(tmp_path)]
    told = CliRunner().invoke(app, words, catch_exceptions=False)
    assert told.exit_code == 0
    assert "campaigns found" in told.stdout
    printed = CliRunner().invoke(app, [*words[:3], "--json"], catch_exceptions=False)
    assert json.loads(printed.stdout)["alerts"] == json.loads((tmp_path / "compare.json").read_bytes())["alerts"]
    assert (tmp_path / "compare.html").stat().st_size > 5000


def test_the_same_results_give_the_same_bytes(compared, tmp_path):
    for name in ("one", "two"):
        write_files(compared, tmp_path / name)
    for file in ("compare.json", "compare.html"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
