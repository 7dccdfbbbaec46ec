"""A candidate in the shadow: it changes nothing, loses nothing in a crash, and goes on from there when promoted."""

from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

import orjson
import pytest

from detector.assets.plant import load_plant
from detector.config import Settings
from detector.engine import Engine
from detector.errors import ForeignCheckpoint
from detector.service import shadow as module
from detector.service.checks import check
from detector.state.bundle import Bundle, packed
from tests.faults.harness import Outcome, Trial
from tests.faults.stream import ENGINE, Row, rows_of
from tests.scenarios.world import in_order, told
from tests.service.test_pipeline import by_partition


@pytest.fixture(scope="module")
def rows(world) -> list[Row]:
    return rows_of(world)


@pytest.fixture(scope="module")
def candidate(bundle, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("candidate") / "candidate.model"
    path.write_bytes(packed(bundle.manifest, bundle.arrays))
    return path


@pytest.fixture(scope="module")
def alone(rows, world, tmp_path_factory) -> Outcome:
    """What the live engine says without a shadow."""
    trial = Trial(tmp_path_factory.mktemp("alone") / "trial", rows, world.plant)
    assert not trial.run()
    return trial.outcome()


def shadowed(folder: Path, rows: Sequence[Row], world, candidate: Path, **more) -> Trial:
    return Trial(folder, rows, world.plant, model={"shadow": candidate}, **more)


def said(trial: Trial) -> list[bytes]:
    return (trial.here / "outbox" / "shadow.ndjson").read_bytes().splitlines()


def unchanged(trial: Trial, alone: Outcome) -> None:
    outcome = trial.outcome()
    assert (outcome.told, outcome.letters, outcome.lines) == (alone.told, alone.letters, alone.lines)
    assert outcome.checkpoint.state == alone.checkpoint.state, "the state, byte for byte"


@pytest.fixture(scope="module")
def whole(rows, world, candidate, tmp_path_factory) -> Trial:
    """A run with a shadow that nothing happened to."""
    trial = shadowed(tmp_path_factory.mktemp("whole") / "trial", rows, world, candidate)
    assert not trial.run()
    return trial


def test_a_shadow_changes_no_byte_and_says_what_it_would(rows, world, bundle: Bundle, whole, alone):
    unchanged(whole, alone)
    final = {line["alert_id"]: line for line in map(orjson.loads, said(whole)) if "alert_id" in line}
    for line in final.values():
        del line["revision"]
    engine = Engine(Settings(**ENGINE), load_plant(world.plant), model=bundle)
    engine.push(in_order(by_partition(rows)))
    engine.finish()
    wanted = {line["alert_id"]: line for line in map(orjson.loads, told(engine)[0].splitlines())}
    assert final == wanted
    live = {orjson.loads(line)["alert_id"] for kind, line in alone.told if kind == "alert"}
    assert live != set(final), "the candidate is of another opinion, or nothing was compared"
    assert whole.counted["eastwest_shadow_alerts_total"] == len(final)


@pytest.mark.parametrize("crash", ["packed", "checkpointed:2", "appended:4"])
def test_a_crash_makes_nothing_of_the_shadow_lost_or_twice(crash, rows, world, candidate, whole, alone, tmp_path):
    trial = shadowed(tmp_path / "trial", rows, world, candidate)
    assert trial.run(crash=crash)
    assert not trial.run()
    assert trial.broken == []
    unchanged(trial, alone)
    assert said(trial) == said(whole)


def test_a_file_that_cannot_be_written_holds_nobody_up(rows, world, candidate, alone, tmp_path):
    trial = shadowed(tmp_path / "trial", rows[: len(rows) // 3], world, candidate)
    with patch.object(module, "LIMIT", 10):
        assert not trial.run()
    assert said(trial) == []
    assert trial.counted["eastwest_shadow_unwritten_total"] > 3


def test_a_promoted_candidate_goes_on_from_what_it_learned_in_the_shadow(rows, world, candidate, whole, tmp_path):
    """Stopped in the middle, promoted, started again: what it says from there on is what its shadow would have said."""
    half = len(rows) // 2
    trial = shadowed(tmp_path / "trial", rows[:half], world, candidate)
    assert not trial.run()
    before = said(trial)
    trial.rows, trial.model = rows, {"file": candidate}
    assert not trial.run()
    after = [line for _, line in trial.outcome().told]
    mine = {orjson.loads(line)["alert_id"] for line in said(whole)[len(before) :] if b'"alert_id"' in line}
    told_after = {orjson.loads(line).get("alert_id") for line in after}
    assert mine <= told_after
    assert len(mine) > 3


def test_another_model_than_either_is_refused(rows, world, candidate, bundle, tmp_path):
    trial = shadowed(tmp_path / "trial", rows[:2000], world, candidate)
    assert not trial.run()
    other = tmp_path / "other.model"
    other.write_bytes(packed(bundle.manifest.model_copy(update={"name": "other"}), bundle.arrays))
    trial.model = {"file": other}
    with pytest.raises(ForeignCheckpoint, match="the model was ''"):
        trial.run()


def test_what_cannot_be_used_is_told_before_the_start(rows, world, candidate, keys, tmp_path):
    trial = shadowed(tmp_path / "trial", rows[:10], world, candidate)
    assert [found.text for found in check(trial.settings()) if found.key == "model.shadow"] == [
        f"{candidate} is not signed: whoever can write it decides what is strange"
    ]
    trial.model = {"shadow": candidate, "key_file": keys[1]}
    (found,) = (found for found in check(trial.settings()) if found.key == "model.shadow")
    assert found.fatal
    trial.model = {"file": tmp_path / "missing"}
    (found,) = (found for found in check(trial.settings()) if found.key == "model.file")
    assert "cannot be read" in found.text
