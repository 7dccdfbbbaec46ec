"""Every number that led to an alert: the parts make the score, and what cannot be replayed is said."""

import json
import math
import shutil
from itertools import pairwise
from pathlib import Path

import orjson
import pytest
from rich.console import Console
from typer.testing import CliRunner

from detector.alerts.decisions import parse_decisions
from detector.assets.plant import Plant, load_plant
from detector.backtest.asked import read_asked
from detector.cli import app
from detector.errors import ConfigError, StateMismatch
from detector.explain import arithmetic
from detector.explain.console import shown
from detector.explain.run import explain
from detector.score.fusion import COMMON, RARE
from tests.scenarios.world import run

CLOSE = 1e-12
HOSTILE = "\x1b[31m[bold]\u202e<b>"


def records(folder: Path, name: str = "alerts.ndjson") -> list[dict]:
    return [json.loads(line) for line in (folder / name).read_bytes().splitlines()]


def recombine(explained: dict) -> None:
    """From what the JSON holds to the alert's own numbers, step by step."""
    for told in explained["findings"]:
        for one in told["models"]:
            numbers = one["numbers"]
            assert arithmetic.model_p(one) == pytest.approx(one["p_value"], rel=CLOSE)
            if one["model"] == "structure":
                assert arithmetic.structure_score(numbers) == pytest.approx(one["score"], rel=CLOSE)
            elif "chains" in numbers and "carried" not in numbers:
                assert arithmetic.backoff_score(numbers) == pytest.approx(one["score"], rel=CLOSE, abs=CLOSE)
            elif one["model"] in {"volume", "fanout"}:  # what recurs has the nats of its habit
                assert one["score"] <= arithmetic.surge_score(one) * (1 + CLOSE)
        assert arithmetic.merged_sum(told["merged"], COMMON, RARE) == pytest.approx(told["merged"]["sum"], rel=CLOSE)
        assert arithmetic.merged_p(told["merged"])[0] == pytest.approx(told["merged"]["p_value"], rel=CLOSE)
    alert = explained["alert"]
    assert arithmetic.alert_score(explained) == (alert["score"], alert["p_value"], alert["severity"])


def explained(folder: Path, wanted: str) -> dict:
    """As a program reads it."""
    return json.loads(orjson.dumps(explain(folder, wanted)))


@pytest.fixture(scope="module")
def strongest(before) -> dict:
    """What the command prints for programs, of the strongest act."""
    acts = (one for one in records(before) if {"structure", "operations"} <= one["bits"].keys())
    wanted = max(acts, key=lambda one: one["score"])["alert_id"]
    told = CliRunner().invoke(app, ["explain", wanted, "--result", str(before), "--json"], catch_exceptions=False)
    assert told.exit_code == 0
    return json.loads(told.stdout)


def test_the_parts_of_an_hour_with_too_much_make_its_score(before):
    one = next(one for one in records(before) if "volume" in one["bits"])
    found = explained(before, one["alert_id"])
    recombine(found)
    (volume,) = [said for said in found["findings"][0]["models"] if said["model"] == "volume"]
    assert volume["numbers"]["seen"] > 0
    assert arithmetic.surge_score(volume) == pytest.approx(volume["score"], rel=CLOSE)


def test_the_parts_of_the_strongest_act_make_its_score(strongest):
    recombine(strongest)
    told = strongest["findings"][0]
    assert {"structure", "operations"} <= {one["model"] for one in told["models"]}
    assert told["known_since"]["device"] < told["ts"]


def test_the_parts_of_an_alert_of_a_chain_make_its_score(before):
    reason = "continues a chain of unlikely moves"
    one = next(one for one in records(before) if any(reason in said for said in one["reasons"]))
    found = explained(before, one["alert_id"])
    recombine(found)
    told = next(told for told in found["findings"] if told["p_value"] == one["p_value"])
    chain = told["finding"]["chain"]
    assert len(chain["links"]) == chain["length"] > 1
    assert arithmetic.by_chance(chain) == pytest.approx(chain["by_chance"], rel=1e-9)
    for link in chain["links"]:
        assert link["nats"] == pytest.approx(max(math.log(link["findings_per_day"] / link["per_day"]), 0), abs=1e-9)
    assert told["p_value"] < told["merged"]["p_value"]


def test_the_least_likely_chain_makes_the_score_of_an_incident(before):
    one = records(before, "incidents.ndjson")[0]
    found = explained(before, one["incident_id"][:12])
    assert found["kind"] == "incident"
    assert arithmetic.incident_score(found) == (one["score"], one["p_value"])
    assert [(hop["ts"], hop["src"], hop["dst"]) for hop in found["hops"]] == [
        (step["ts"], step["src"], step["dst"]) for step in one["path"]
    ]
    assert sum(hop["in_chain"] for hop in found["hops"]) == found["chain"]["length"]


def test_what_was_decided_what_violates_and_a_history_of_its_own(world, before, tmp_path):
    """Each is judged by another budget, or taught by other rows."""
    plain = load_plant(world.plant).model_dump(mode="json", by_alias=True, exclude_unset=True)
    for zone in plain["zones"]:
        zone["enforced"] = zone["name"].startswith("cell")
    plain["conduits"] = []
    days = sorted(world.zeek_dir.iterdir())
    source = max(records(before), key=lambda one: one["score"])["src"]
    text = (
        f"decisions:\n- {{id: known, action: learn, by: anna, why: hers, from: 2026-03-01, scope: {{src: {source}}}}}\n"
    )
    decisions = parse_decisions(text, "decisions.yaml")
    out = run(days[2:], tmp_path / "out", plant=Plant.model_validate(plain), history=days[:2], decisions=decisions).out
    found = records(out)
    decided = next(one for one in found if one["status"] == "learned" and one["kind"] != "violation")
    violation = next(one for one in found if one["kind"] == "violation")
    for one in (decided, violation):
        recombine(explained(out, one["alert_id"]))


def test_what_does_not_exist_is_said(before):
    with pytest.raises(ConfigError, match="no alert and no incident has the id 'nothing'"):
        explain(before, "nothing")
    with pytest.raises(ConfigError, match="no alert and no incident has the id ''"):
        explain(before, "")
    first = sorted(one["alert_id"] for one in records(before))
    twice = next(one for one, other in pairwise(first) if one[0] == other[0])[0]
    with pytest.raises(ConfigError, match=f"ids begin with '{twice}'; give more of it"):
        explain(before, twice)


def copied(before: Path, tmp_path: Path) -> tuple[Path, str]:
    folder = tmp_path / "copy"
    shutil.copytree(before, folder)
    return folder, records(folder)[0]["alert_id"]


def test_folders_of_other_versions_are_refused(before, tmp_path):
    folder, wanted = copied(before, tmp_path)
    plain = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(plain | {"fingerprint": "0" * 64}))
    with pytest.raises(StateMismatch, match="reads settings and plant file otherwise"):
        explain(folder, wanted)
    (folder / "run.json").write_text(json.dumps(plain | {"format": 2}))
    with pytest.raises(ConfigError, match="format: is 2, this version reads 1"):
        explain(folder, wanted)
    (folder / "run.json").write_text(json.dumps(plain | {"more": 1}))
    with pytest.raises(ConfigError, match=r"run\.json: more: Extra inputs"):
        explain(folder, wanted)
    (folder / "run.json").write_text("[")
    with pytest.raises(ConfigError, match="cannot be read as JSON"):
        explain(folder, wanted)
    (folder / "run.json").unlink()
    with pytest.raises(ConfigError, match=r"has no run\.json: .*run it again"):
        explain(folder, wanted)


def test_other_logs_are_told_from_those_of_the_result(world, before, tmp_path):
    """A first day less: everything behind it is judged by less."""
    with pytest.raises(StateMismatch, match="the replay tells something else"):
        explain(before, records(before)[-1]["alert_id"], [str(day) for day in sorted(world.zeek_dir.iterdir())[1:]])


def test_a_model_that_was_begun_with_has_to_be_named(before, tmp_path):
    folder, wanted = copied(before, tmp_path)
    plain = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(plain | {"model": {"name": "elsewhere", "sha256": "0" * 64}}))
    with pytest.raises(ConfigError, match="--model: the result began with elsewhere, 0000000000000000: name it"):
        explain(folder, wanted)


def test_what_was_asked_for_is_read_back_whole(before, asked):
    wish = read_asked(before)
    assert Plant.model_validate(wish.plant) == asked["plant"]
    assert wish.train_until == asked["train_until"]


def test_the_terminal_shows_every_step_and_obeys_no_log(strongest):
    first = strongest["findings"][0]
    spoiled = strongest | {
        "alert": strongest["alert"] | {"title": HOSTILE},
        "findings": [
            first | dict.fromkeys(("object", "user", "orig_zone", "source", "operation"), HOSTILE),
            *strongest["findings"][1:],
        ],
    }
    console = Console(width=200, force_terminal=True)
    with console.capture() as captured:
        console.print(shown(spoiled))
    text = captured.get()
    assert "\x1b[31m" not in text
    assert "\u202e" not in text
    assert "[bold]" in text
    for step in ("1. The record", "2. What each model says", "3. Together", "4. How many a day", "5. Severity"):
        assert step in text
