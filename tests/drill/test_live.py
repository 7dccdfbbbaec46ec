"""A drill at the configuration that runs: out of the service's settings file, or a backtest's."""

import json
import re

import pytest
import yaml
from typer.testing import CliRunner

from detector.alerts.model import iso
from detector.cli import app
from detector.config import Settings
from detector.drill.live import Live, load_live
from detector.errors import ConfigError
from detector.service.settings import ServiceSettings

SERVICE = {
    "kafka": {"bootstrap": ["kafka.example:9092"], "topics": ["zeek"]},
    "state": {"url": "checkpoints"},
    "outbox": {"folder": "outbox"},
    "engine": {"alerts_per_day": 7},
}
FIRST = 1_700_000_000


def written(path, content):
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


@pytest.fixture
def logs(tmp_path):
    """An hour of file sharing between public addresses: inside for a plant file only."""
    folder = tmp_path / "logs"
    folder.mkdir()
    lines = [
        json.dumps({
            "ts": FIRST + i * 40, "uid": f"C{i}", "id.orig_h": f"198.51.100.{1 + i % 5}", "id.orig_p": 50_000 + i,
            "id.resp_h": "198.51.100.9", "id.resp_p": 445, "proto": "tcp", "conn_state": "SF", "duration": 1.5,
            "orig_bytes": 900, "resp_bytes": 800, "orig_pkts": 9, "resp_pkts": 8,
        })
        for i in range(90)
    ]  # fmt: skip
    (folder / "conn.log").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return folder


@pytest.fixture
def service(tmp_path):
    """A service's file that names a plant file and decisions, and its content."""
    zones = {"zones": [{"name": "office", "cidrs": ["198.51.100.0/24"], "purdue_level": 4}]}
    names = {
        "plant": str(written(tmp_path / "plant.yaml", zones)),
        "decisions": str(written(tmp_path / "decisions.yaml", {"decisions": []})),
    }
    content = SERVICE | names | {"train_until": "2023-11-14T22:43:20Z"}
    return written(tmp_path / "eastwest.yaml", content), content


def play(logs, out, *options):
    return CliRunner().invoke(app, ["drill", str(logs), "--out", str(out), "--campaigns", "2", *map(str, options)])


def test_no_file_is_the_defaults():
    assert load_live(None) == Live(Settings())


def test_a_backtests_file_is_told_from_a_services(tmp_path, service):
    assert load_live(written(tmp_path / "short.yaml", {"alerts_per_day": 3})) == Live(Settings(alerts_per_day=3))
    path, content = service
    live = load_live(path)
    assert live.settings.alerts_per_day == 7
    assert (str(live.plant), str(live.decisions)) == (content["plant"], content["decisions"])
    assert iso(live.train_until) == "2023-11-14T22:43:20.000000Z"


def test_the_two_kinds_share_no_key():
    assert not set(Settings.model_fields) & set(ServiceSettings.model_fields)


def test_a_drill_takes_all_of_it_from_the_services_file(logs, service, tmp_path):
    done = play(logs, tmp_path / "out", "--config", service[0])
    assert done.exit_code == 0, done.output
    told = json.loads((tmp_path / "out" / "drill.json").read_bytes())
    assert told["settings"]["alerts_per_day"] == 7
    assert told["history"]["judged_from"] == "2023-11-14T22:43:20.000000Z"
    assert told["hosts"] == 6  # inside by the plant file only


def test_bars_tell_each_part(logs, service, tmp_path):
    done = play(logs, tmp_path / "out", "--config", service[0])
    parts = ("history: read", "history: sum up", "copy", "without: read", "without: score", "with: read", "with: score")
    for part in parts:
        assert re.search(rf"^{part}\s.*100%", done.stderr, re.MULTILINE), part


def test_what_is_given_comes_before_the_file(logs, service, tmp_path):
    path, content = service
    written(path, content | {"plant": "nowhere.yaml", "decisions": "nowhere.yaml"})
    options = ["--plant", content["plant"], "--decisions", content["decisions"]]
    done = play(logs, tmp_path / "out", "--config", path, *options, "--train-until", "2023-11-14T22:50:00Z")
    assert done.exit_code == 0, done.output
    told = json.loads((tmp_path / "out" / "drill.json").read_bytes())
    assert told["history"]["judged_from"] == "2023-11-14T22:50:00.000000Z"


@pytest.mark.parametrize("name", ["plant", "decisions"])
def test_a_file_that_the_service_names_must_be_there(logs, service, tmp_path, name):
    path, content = service
    written(path, content | {name: "nowhere.yaml"})
    done = play(logs, tmp_path / "out", "--config", path)
    assert isinstance(done.exception, ConfigError)
    assert "nowhere.yaml" in str(done.exception)


def test_a_service_trained_long_ago_leaves_the_history_its_two_thirds(logs, service, tmp_path):
    path, content = service
    written(path, content | {"train_until": "2023-01-01T00:00:00Z"})
    assert play(logs, tmp_path / "out", "--config", path).exit_code == 0
    told = json.loads((tmp_path / "out" / "drill.json").read_bytes())
    seen = FIRST * 1_000_000 + 1_500_000  # when the first connection had ended
    assert told["history"]["judged_from"] == iso(seen + 89 * 40_000_000 * 2 // 3)


def test_errors_are_those_of_the_file_it_is(tmp_path):
    with pytest.raises(ConfigError, match="did you mean bootstrap"):
        load_live(written(tmp_path / "service.yaml", {"kafka": {"bootstap": []}}))
    with pytest.raises(ConfigError, match="alerts_a_day"):
        load_live(written(tmp_path / "short.yaml", {"alerts_a_day": 3}))
    with pytest.raises(ConfigError, match="cannot be read"):
        load_live(tmp_path / "nowhere.yaml")
