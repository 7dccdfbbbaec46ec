"""`eastwest config` and `eastwest status`, as people type them."""

import json
import re
import subprocess
import sys

import pytest
import typer
import yaml
from typer.testing import CliRunner

from detector.errors import ConfigError, UnreadableInput
from detector.metrics import Metrics
from detector.service import commands
from detector.service.health import NEEDS, Health, HealthServer
from detector.service.loading import load_service_settings

app = typer.Typer()
app.add_typer(commands.config_app, name="config")
app.command("status")(commands.status_command)


@pytest.fixture
def run(monkeypatch):
    """Call it with arguments to get exit code and everything printed; errors of ours are raised."""
    for console in (commands.out, commands.err):
        monkeypatch.setattr(console, "_width", 200)

    def call(*arguments):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if isinstance(result.exception, Exception):
            raise result.exception
        return result.exit_code, result.output

    return call


def test_check_tells_good_from_bad(run, written, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = written({"alerts.sinks": [{"type": "console"}], "dead_letters": {"file": "dead"}})
    assert run("config", "check", path) == (0, f"{path}: ok\n")
    code, said = run("config", "check", written({"plant": "none.yaml"}))
    assert code == commands.INVALID
    assert f"error: {path}: plant: none.yaml: cannot be read" in said
    assert f"warning: {path}: alerts.sinks: nobody is told" in said
    assert "ok" not in said
    with pytest.raises(ConfigError, match="did you mean"):
        run("config", "check", written({"kafka.bootstap": ["a:1"]}))


def test_schema_is_json(run):
    code, said = run("config", "schema")
    assert code == 0
    assert json.loads(said)["title"] == "ServiceSettings"


def test_show_gives_what_loads_again_and_says_where_it_is_from(run, written, tmp_path, monkeypatch):
    path = written(
        {
            "kafka.topics": ["zeek", {"pattern": "flows\\..*"}],
            "kafka.security": {
                "protocol": "SASL_SSL",
                "sasl": {"mechanism": "PLAIN", "username": "u", "password_file": "/secrets/word"},
            },
            "engine.columns": {"orig_h": "src"},
            "train_until": "2026-03-02T07:00:00Z",
            "alerts.sinks": [{"type": "file", "path": "a b # c"}],
        }
    )
    monkeypatch.setenv("EASTWEST_HTTP__PORT", "9999")
    code, said = run("config", "show", path)
    assert code == 0
    assert "  port: 9999  # EASTWEST_HTTP__PORT\n" in said
    assert f"  url: checkpoints  # {path}\n" in said
    assert "  host: 127.0.0.1\n" in said
    again = tmp_path / "again.yaml"
    again.write_text(said, "utf-8")
    monkeypatch.delenv("EASTWEST_HTTP__PORT")
    settings = load_service_settings(again)
    monkeypatch.setenv("EASTWEST_HTTP__PORT", "9999")
    assert settings == load_service_settings(path)


def test_show_names_secrets_and_never_shows_them(run, written, tmp_path, monkeypatch):
    (tmp_path / "word").write_text("hunter2")
    monkeypatch.setenv("WORD", "hunter2")
    monkeypatch.setenv("EASTWEST_KAFKA__SECURITY__SASL__PASSWORD_ENV", "WORD")
    path = written(
        {
            "kafka.security": {
                "protocol": "SASL_SSL",
                "sasl": {"mechanism": "PLAIN", "username_file": str(tmp_path / "word")},
            }
        }
    )
    for command in ("show", "check"):
        _, said = run("config", command, path)
        assert "hunter2" not in said
        assert command == "check" or "password_env: WORD" in said


# --- status ---


@pytest.fixture
def metrics():
    metrics = Metrics("1.2.3", "abcdef")
    metrics.rows({"scored": 12345, "late": 6})
    metrics.partition("flows", 0, 10, 1.5)
    metrics.partition("zeek", 7, 999, 70.0)
    metrics.evicted({"forest.counts": 8})
    metrics.decided({"nightly-copy": 12})
    metrics.set("state_entries", 77, table="forest.counts")
    metrics.set("sink_waiting", 4, sink="siem")
    metrics.set("sink_blocked", 1, sink="siem")
    metrics.count("stalls", 2)
    metrics.set("outbox_fill_ratio", 0.25)
    return metrics


@pytest.fixture
def serving(metrics):
    health = Health()
    health.done("warm")
    with HealthServer("127.0.0.1", 0, health, metrics.exposition) as server:
        yield f"http://127.0.0.1:{server.port}", health


def test_status_shows_what_the_service_shows(run, serving):
    url, health = serving
    code, said = run("status", "--url", url)
    assert code == 0
    assert "eastwest 1.2.3, settings abcdef: not ready: assigned (not yet), restored (not yet)" in said
    rows = [re.split(r"\s*[│┃]\s*", line.strip("│┃ \n")) for line in said.splitlines()]
    assert ["12,345", "0", "0", "6", "0", "0"] in rows
    assert rows.index(["zeek", "7", "999", "70.0"]) < rows.index(["flows", "0", "10", "1.5"])
    assert ["forest.counts", "77", "8"] in rows
    assert ["nightly-copy", "12"] in rows
    assert ["siem", "0", "4", "0", "never", "blocked"] in rows
    assert "25% of its limit" in said
    assert "2 partitions stalled" in said
    for need in NEEDS:
        health.done(need)
    assert "settings abcdef: ready\n" in run("status", "--url", url)[1]


def test_status_shows_the_partitions_that_are_furthest_behind(run, serving, metrics):
    for partition in range(30):
        metrics.partition("many", partition, 1, partition)
    _, said = run("status", "--url", serving[0])
    assert "12 more" in said
    assert said.count("many") == 19


def test_status_of_an_older_service_that_shows_less(run):
    health = Health()
    with HealthServer("127.0.0.1", 0, health, lambda accept: (b"# nothing\n", "text/plain")) as server:
        code, said = run("status", "--url", f"http://127.0.0.1:{server.port}")
    assert code == 0
    assert "eastwest ?" in said


def test_names_that_would_move_the_cursor_are_escaped(run, serving, metrics):
    metrics.partition("\x1b[2J[red]x[/red]", 0, 1, 1000.0)
    _, said = run("status", "--url", serving[0])
    assert "\x1b" not in said
    assert "[red]x" in said


def test_who_does_not_answer_is_told(run, serving):
    with pytest.raises(UnreadableInput, match="nobody answers"):
        run("status", "--url", "http://127.0.0.1:1")
    with pytest.raises(UnreadableInput, match="answer 404"):
        run("status", "--url", f"{serving[0]}/metrics")
    for url in ("https://127.0.0.1", "file:///etc/passwd", "127.0.0.1:9108", "http://"):
        with pytest.raises(ConfigError, match="--url"):
            run("status", "--url", url)
    with (
        HealthServer("127.0.0.1", 0, Health(), lambda accept: (b"{]}\n", "text/plain")) as server,
        pytest.raises(UnreadableInput, match="no answer of eastwest"),
    ):
        run("status", "--url", f"http://127.0.0.1:{server.port}")


def test_commands_import_late():
    """So that --help stays quick."""
    program = "import sys, detector.service.commands; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"polars", "kafka", "yaml", "pydantic", "prometheus_client"} & set(done.stdout.split())


def test_what_is_shown_is_yaml():
    assert yaml.safe_load("\n".join(commands.shown({"a": {"b": {}, "c": [1]}, "d": "x: # y"}, {}))) == {
        "a": {"b": None, "c": [1]},
        "d": "x: # y",
    }
