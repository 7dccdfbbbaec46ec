"""`eastwest model`, and what a backtest and a service make of a model."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import orjson
import pytest
from typer.testing import CliRunner

from detector.cli import app
from detector.config import Settings
from detector.engine import Engine
from detector.errors import ConfigError, StateMismatch
from detector.models.card import card
from detector.models.compare import differences
from detector.models.promote import history, journal_of, promote
from detector.models.train import train
from detector.state.bundle import is_shipped, packed, read_bundle
from tests.faults.stream import ENGINE, arrivals, rows_of
from tests.scenarios.world import in_order, plant_of, run, told, written
from tests.service.test_pipeline import Service, by_partition, last_told

ROOT = Path(__file__).resolve().parents[2]
NAME = "simulated"  # by which it is found
SHIPPED = ROOT / "models" / f"{NAME}.model"
WHEN = datetime(2026, 3, 9, 8, tzinfo=UTC)


def eastwest(*words: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture
def model(content, tmp_path) -> Path:
    path = tmp_path / "small.model"
    path.write_bytes(content)
    return path


# --- training ---


def test_the_same_data_gives_the_same_bytes_wherever_it_lies(world, content, tmp_path):
    """Copied elsewhere, its folders named one by one and in another order."""
    moved = shutil.copytree(world.zeek_dir, tmp_path / "moved")
    plant = shutil.copy(world.plant, tmp_path / "other-name.yaml")
    out = tmp_path / "again.model"
    eastwest("model", "train", moved, "--plant", plant, "--name", "small", "--out", out)
    assert out.read_bytes() == content
    assert (tmp_path / "again.md").read_text("utf-8") == card(read_bundle(out))


def test_the_manifest_says_what_taught(bundle, world):
    training = bundle.manifest.training
    files = sorted(path.relative_to(world.zeek_dir) for path in world.zeek_dir.rglob("*.log"))
    assert [file.name for file in training.files] == [str(path) for path in files]
    assert training.first.startswith("2026-03-02T0")
    assert 1.9 < training.days <= 2.0
    assert training.hosts >= 40
    assert len(bundle.manifest.strata) == 20
    assert bundle.manifest.features["forest"][0] == "p_structure"


def test_logs_that_hold_nothing_teach_nothing(tmp_path):
    header = "#separator \\x09\n#path\tconn\n#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\n"
    (tmp_path / "conn.log").write_text(header)
    with pytest.raises(ConfigError, match="no record to learn from"):
        train([tmp_path], Settings(), "none")


def test_a_bundle_names_no_host_and_no_account(content, bundle, world):
    arrays = b"".join(array.tobytes() for array in bundle.arrays.values())
    assert b"10.10." not in content
    assert b"10.10." not in arrays
    assert not any("key" in name for name in bundle.arrays)


# --- show, verify, diff ---


def test_show_and_verify(model, keys):
    told = eastwest("model", "show", model)
    assert "unsigned" in told
    assert "structure, operations" in told
    assert eastwest("model", "show", model, "--card").startswith("# Model card: small\n")
    assert "unsigned, fits" in eastwest("model", "verify", model)
    with pytest.raises(ConfigError, match="not signed, and a key is set"):
        CliRunner().invoke(app, ["model", "verify", str(model), "--key", str(keys[1])], catch_exceptions=False)


def test_a_card_escapes_what_others_wrote(bundle):
    hostile = "<script>|`x`\n# h \x1b[31m"
    training = bundle.manifest.training
    file = training.files[0].model_copy(update={"name": hostile})
    manifest = bundle.manifest.model_copy(
        update={"training": training.model_copy(update={"files": [file]}), "libraries": {"numpy": hostile}}
    )
    text = card(type(bundle)(manifest, bundle.arrays, bundle.sha256, bundle.signature))
    assert "<script>" not in text
    assert "\x1b" not in text
    assert "\n# h" not in text


def test_diff_tells_manifest_and_scores_apart(bundle, content, tmp_path):
    same, other = tmp_path / "a.model", tmp_path / "b.model"
    same.write_bytes(content)
    arrays = dict(bundle.arrays) | {"structure.scores": bundle.arrays["structure.scores"] * 2}
    other.write_bytes(packed(bundle.manifest.model_copy(update={"name": "twice"}), arrays))
    assert "no difference" in eastwest("model", "diff", same, same)
    found = {one.what: one for one in differences(read_bundle(same), read_bundle(other))}
    assert found.keys() == {"name", "structure.scores"}
    assert found["structure.scores"].before.endswith("nats or more")
    assert "twice" in eastwest("model", "diff", same, other, code=1)


# --- promotion ---


def test_a_promotion_replaces_the_live_model_whole_and_is_written_down(bundle, content, model, tmp_path):
    live = tmp_path / "live" / "live.model"
    first = promote(model, live, None, "anna", "the first", WHEN)
    assert live.read_bytes() == content
    model.write_bytes(packed(bundle.manifest.model_copy(update={"name": "second"}), bundle.arrays))
    eastwest("model", "promote", model, live, "--by", "ben", "--why", "a week of ours")
    entries = history(live)
    assert [(entry["by"], entry["model"]) for entry in entries] == [("anna", "small"), ("ben", "second")]
    assert entries[1]["replaces"] == first.sha256
    assert sorted(path.name for path in live.parent.iterdir()) == ["live.model", "live.model.journal"]
    assert "by ben: a week of ours" in eastwest("model", "show", live)


def test_what_must_not_be_live_does_not_become_it(content, model, keys, tmp_path):
    live = tmp_path / "live.model"
    live.write_bytes(content)
    for candidate, key, by in ((tmp_path / "missing", None, "anna"), (model, keys[1], "anna"), (model, None, " ")):
        with pytest.raises(ConfigError):
            promote(candidate, live, key, by, "why", WHEN)
    assert live.read_bytes() == content
    assert not journal_of(live).exists()


def test_a_crash_between_record_and_replacement_leaves_the_old_one_live(bundle, content, model, tmp_path, monkeypatch):
    live = tmp_path / "live.model"
    live.write_bytes(content)
    model.write_bytes(packed(bundle.manifest.model_copy(update={"name": "second"}), bundle.arrays))

    def crash(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        promote(model, live, None, "anna", "why", WHEN)
    assert live.read_bytes() == content
    assert [entry["by"] for entry in history(live)] == ["anna"]
    assert [path.name for path in tmp_path.glob(".*")] == []


# --- using one ---


@pytest.fixture(scope="module")
def alone(world, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("alone")
    run([world.zeek_dir], out, plant=plant_of(world))
    return out


def test_a_model_changes_the_first_day_and_the_summary_says_which(world, alone, model, bundle, tmp_path):
    told = eastwest(
        "backtest", world.zeek_dir, "--plant", world.plant, "--out", tmp_path / "out", "--shadow", model, "--labels",
        world.labels,
    )  # fmt: skip
    assert "shadow" in told
    assert written(tmp_path / "out") == written(alone), "a shadow changes nothing of what the live one says"
    assert orjson.loads((alone / "summary.json").read_bytes())["model"] is None
    shadow = orjson.loads((tmp_path / "out" / "shadow" / "summary.json").read_bytes())
    assert shadow["model"] == {"name": "small", "sha256": bundle.sha256, "signature": "unsigned"}
    live, other = ((out / "alerts.ndjson").read_bytes() for out in (alone, tmp_path / "out" / "shadow"))
    assert b'"model"' not in live
    mark = b',"model":"%s"}' % bundle.sha256[:16].encode()
    assert other.count(mark) == other.count(b"\n") > 0
    assert other.replace(mark, b"}") != live


def test_with_a_model_portions_restarts_and_a_backtest_are_the_same(world, bundle, tmp_path):
    rows, plant = rows_of(world), plant_of(world)
    cut = int(len(rows) * 0.3)
    with (
        Service(tmp_path / "a", rows, plant, (), bundle) as whole,
        Service(tmp_path / "b", rows, plant, (), bundle) as b,
    ):
        whole.feed([])
        b.pipeline.take(arrivals(rows[:cut]))
        taken = b.pipeline.capture({})
        b.pipeline = b.anew()
        b.pipeline.restore(taken.capture.write())
        b.alerts.rewind(taken.alerts)
        b.feed(range(cut + 1009, len(rows), 1009), begin=cut)
        assert b.out() == whole.out()
        assert b.state() == whole.state()
        stands, _ = last_told(whole)
    engine = Engine(Settings(**ENGINE), plant, model=bundle)
    engine.push(in_order(by_partition(rows)))
    engine.finish()
    final = {line["alert_id"]: line for line in map(orjson.loads, told(engine)[0].splitlines())}
    assert {key: line for (of, key), line in stands.items() if of == "alert"} == final
    without = Engine(Settings(**ENGINE), plant)
    without.push(in_order(by_partition(rows)))
    without.finish()
    mark = b',"model":"%s"}' % bundle.short.encode()
    assert told(without)[0] != told(engine)[0].replace(mark, b"}"), "the model has a say"


def test_a_state_is_only_gone_on_from_with_the_model_it_was_begun_with(bundle):
    small = Settings(max_entries=1000, max_seen=1000)
    begun = Engine(small, model=bundle)
    assert begun.fingerprint != Engine(small).fingerprint
    with pytest.raises(StateMismatch, match="another model"):
        Engine(small).restore(begun.snapshot())
    Engine(small, model=bundle).restore(begun.snapshot())


def test_other_models_than_it_was_trained_with_are_refused(bundle):
    with pytest.raises(StateMismatch, match="was trained with the models operations"):
        Engine(Settings(models=("timing",)), model=bundle)


# --- the shipped one ---


def test_the_shipped_model_is_what_its_card_says_and_fits():
    bundle = read_bundle(Path(NAME))
    assert SHIPPED.with_suffix(".md").read_text("utf-8") == card(bundle)
    assert SHIPPED.stat().st_size < 1 << 20
    Engine(Settings(), model=bundle)


def test_it_is_found_by_its_name_wherever_one_is_and_nothing_else_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / NAME).write_bytes(b"somebody else's")
    assert eastwest("model", "verify", NAME).startswith(f"{NAME}: {read_bundle(SHIPPED).sha256}")
    assert not is_shipped(SHIPPED)
    for other in (Path("other"), tmp_path / NAME, Path("..") / NAME, Path(".."), Path()):
        assert not is_shipped(other)
        with pytest.raises(ConfigError):
            read_bundle(other)


@pytest.mark.long
def test_it_is_made_again_byte_for_byte_by_what_the_docs_say(tmp_path, monkeypatch):
    """With the versions of libraries it was made with; with others all but these and the last digits of numbers."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / SHIPPED.relative_to(ROOT)).parent.mkdir(parents=True)
    shutil.copy(SHIPPED.with_suffix(".about.md"), tmp_path / SHIPPED.relative_to(ROOT).parent)
    page = (ROOT / "docs" / "models.md").read_text("utf-8").partition("## The one that comes with it")[2]
    for line in page.partition("```sh\n")[2].partition("```")[0].splitlines():
        eastwest(*line.split()[1:])
    made, bundle = read_bundle(tmp_path / SHIPPED.relative_to(ROOT)), read_bundle(SHIPPED)
    alike = {"libraries": bundle.manifest.libraries, "detector": bundle.manifest.detector}
    assert made.manifest.model_copy(update=alike) == bundle.manifest
    for name, array in bundle.arrays.items():
        np.testing.assert_allclose(made.arrays[name], array, rtol=1e-9, err_msg=name)
    if made.manifest == bundle.manifest:
        assert (tmp_path / SHIPPED.relative_to(ROOT)).read_bytes() == SHIPPED.read_bytes()
