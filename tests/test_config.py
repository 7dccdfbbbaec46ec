"""Settings: where a value comes from, and what a wrong one says."""

import pytest
import yaml

from detector.config import ENVIRONMENT_PREFIX, MODELS, Settings, load_settings
from detector.engine import Engine
from detector.errors import ConfigError


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    for name in Settings.model_fields:
        monkeypatch.delenv(ENVIRONMENT_PREFIX + name.upper(), raising=False)


@pytest.fixture
def written(tmp_path):
    """A settings file with this content."""

    def write(content):
        path = tmp_path / "eastwest.yaml"
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content), "utf-8")
        return path

    return write


def test_every_setting_has_a_default_within_its_bounds_and_says_what_it_is():
    assert load_settings(None) == Settings()
    assert Settings.model_validate(Settings().model_dump()) == Settings()
    assert all(field.description for field in Settings.model_fields.values())


def test_file_beats_default_environment_beats_file_override_beats_all(written, monkeypatch):
    path = written({"alerts_per_day": 11, "half_life_days": 12, "max_seen": 2000})
    monkeypatch.setenv("EASTWEST_HALF_LIFE_DAYS", "13")
    monkeypatch.setenv("EASTWEST_MAX_SEEN", "3000")
    settings = load_settings(path, {"max_seen": 4000})
    assert (settings.alerts_per_day, settings.half_life_days, settings.max_seen) == (11.0, 13.0, 4000)
    assert settings.batch_rows == Settings().batch_rows


@pytest.mark.parametrize("content", ["", "# only a comment\n", "{}\n"])
def test_an_empty_file_sets_nothing(written, content):
    assert load_settings(written(content)) == Settings()


@pytest.mark.parametrize(
    ("content", "key"),
    [
        ({"alerts_per_day": 0}, "alerts_per_day"),
        ({"alerts_per_day": 1e9}, "alerts_per_day"),
        ({"false_incidents_per_day": -1}, "false_incidents_per_day"),
        ({"half_life_days": 0}, "half_life_days"),
        ({"reorder_seconds": 1e6}, "reorder_seconds"),
        ({"max_entries": 999}, "max_entries"),
        ({"batch_rows": "many"}, "batch_rows"),
        ({"alert_per_day": 5}, "alert_per_day"),
        ({"columns": {"ts": 5}}, "columns.ts"),
    ],
)
def test_a_wrong_value_or_key_names_file_and_key(written, content, key):
    path = written(content)
    with pytest.raises(ConfigError) as caught:
        load_settings(path)
    assert (caught.value.file, caught.value.key) == (str(path), key)
    assert str(caught.value).startswith(f"{path}: {key}: ")


@pytest.mark.parametrize("content", ["- a\n- list\n", "just text", "a: [unclosed", "\x00"])
def test_a_file_that_is_no_mapping_is_named(written, content):
    path = written(content)
    with pytest.raises(ConfigError) as caught:
        load_settings(path)
    assert caught.value.file == str(path)


def test_a_missing_or_unreadable_file_is_named(tmp_path):
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\xfa")
    for path in (tmp_path / "missing.yaml", tmp_path, binary):
        with pytest.raises(ConfigError, match="cannot be read") as caught:
            load_settings(path)
        assert caught.value.file == str(path)


@pytest.mark.parametrize("names", [["forest", "timing"], ["timing", "forest"], "forest, timing"])
def test_models_are_in_the_order_they_run_in(names, monkeypatch):
    """However they are named: what was learned with the same models can be gone on from."""
    named = load_settings(None, {"models": names})
    assert named.models == ("timing", "forest")
    assert named == Settings(models=("timing", "forest"))
    engines = [Engine(Settings(models=models)) for models in (("forest", "timing"), ("timing", "forest"))]
    engines[0].restore(engines[1].snapshot())
    assert Settings(models=MODELS[::-1]) == Settings()


@pytest.mark.parametrize(
    ("names", "said"), [(["timing", "drip", "timing"], "named twice: timing"), (["tming"], "'timing'")]
)
def test_models_named_twice_or_wrongly_are_errors(names, said):
    with pytest.raises(ConfigError, match=said) as caught:
        load_settings(None, {"models": names})
    assert caught.value.key.startswith("models")


def test_a_wrong_variable_of_the_environment_names_its_key(monkeypatch):
    monkeypatch.setenv("EASTWEST_ALERTS_PER_DAY", "lots")
    with pytest.raises(ConfigError) as caught:
        load_settings(None)
    assert caught.value.key == "alerts_per_day"


def test_a_file_is_data_and_runs_nothing(written):
    with pytest.raises(ConfigError, match="cannot be read as YAML"):
        load_settings(written("alerts_per_day: !!python/object/apply:os.getpid []"))


def test_settings_do_not_change_once_made():
    with pytest.raises(ValueError, match="frozen"):
        Settings().alerts_per_day = 5.0
