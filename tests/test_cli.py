"""The command line as a contract: options, exit codes, files and their keys, and one line for every mistake."""

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

import detector
from detector import cli
from detector.config import Settings
from tests.scenarios.world import concatenated, end_of, lines_by_log, plant_of, run, simulated, written

T0 = 1_772_409_600
OUTPUTS = {
    "alerts.ndjson", "incidents.ndjson", "entities.ndjson", "findings.parquet", "summary.json", "report.html",
    "rejected.ndjson", "run.json",
}  # fmt: skip
ALERT_KEYS = {
    "alert_id", "ts", "src", "dst", "service", "score", "p_value", "severity", "techniques", "reasons", "incident_id",
    "evidence",
}  # fmt: skip
INCIDENT_KEYS = {
    "incident_id", "first_ts", "last_ts", "score", "p_value", "hosts", "path", "techniques", "summary",
}  # fmt: skip
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The one line of an error; progress bars stand before it."""
        lines = [line for line in self.err.splitlines() if line.startswith("eastwest: ")]
        assert len(lines) == 1, self.err
        assert self.err.rstrip("\n").endswith(lines[0]), "more than one line"
        assert "Traceback" not in self.err
        return lines[0]


Command = Callable[..., Said]


@pytest.fixture
def eastwest(monkeypatch, capsys) -> Command:
    """The console script in this process, without settings of the environment."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"EASTWEST_{name.upper()}", raising=False)

    def call(*arguments: Any) -> Said:
        monkeypatch.setattr(sys, "argv", ["eastwest", *map(str, arguments)])
        capsys.readouterr()
        try:
            cli.main()
            code: Any = 0
        except SystemExit as stop:
            code = stop.code
        said = capsys.readouterr()
        assert "Traceback" not in said.out + said.err
        return Said(0 if code is None else code, said.out, said.err)

    return call


def conn(second: float, number: int = 0, **more: Any) -> bytes:
    row = {
        "ts": T0 + second, "uid": f"C{second}-{number}", "id.orig_h": f"10.0.0.{1 + number % 20}", "id.orig_p": 40_000,
        "id.resp_h": "10.0.1.1", "id.resp_p": 443, "proto": "tcp", "conn_state": "SF", "duration": 0.25,
        "orig_bytes": 9, "resp_bytes": 9, "orig_pkts": 3, "resp_pkts": 3,
    }  # fmt: skip
    return orjson.dumps(row | more) + b"\n"


@pytest.fixture
def logs(tmp_path) -> Path:
    """A folder with a quiet log of 200 rows."""
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "conn.log").write_bytes(b"".join(conn(number * 30, number) for number in range(200)))
    return folder


def rows_of(out: Path) -> dict[str, int]:
    return orjson.loads((out / "summary.json").read_bytes())["rows"]


def records(file: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in file.read_bytes().splitlines()]


# --- before the command ---


def test_version(eastwest):
    assert eastwest("--version").out == f"eastwest {detector.__version__}\n"


@pytest.mark.parametrize("command", [[], ["backtest"], ["simulate"], ["demo"]])
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help(command, option, eastwest, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    said = eastwest(*command, option)
    assert said.code == 0
    assert "Usage" in said.out
    if command == ["backtest"]:
        for name in (
            "--out", "--format", "--plant", "--labels", "--train-until", "--history", "--alerts-per-day", "--config",
            "--batch-size", "--max-rejects",
        ):  # fmt: skip
            assert name in said.out


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["--nonsense"],
        ["backtest"],
        ["backtest", "logs"],
        ["backtest", "logs", "--out", "out", "--nonsense"],
        ["backtest", "logs", "--out", "out", "--batch-size", "many"],
        ["backtest", "logs", "--out", "out", "--alerts-per-day", "few"],
        ["simulate"],
        ["simulate", "--out", "x", "--hosts", "3"],
        ["simulate", "--out", "x", "--seed", "-1"],
        ["simulate", "--out", "x", "--days", "0"],
    ],
    ids=" ".join,
)
def test_wrong_usage(arguments, eastwest, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert eastwest(*arguments).code == 2
    assert not list(tmp_path.iterdir())


# --- a whole run ---


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    return simulated(tmp_path_factory, days=2, hosts=40, seed=3)


@pytest.fixture(scope="session")
def dense(world) -> dict[str, list[bytes]]:
    """The day of the attacks without the polling of the plant."""
    polls = ("modbus", "s7comm")
    return {log: part[::25] if log in polls else part for log, part in lines_by_log(world.zeek_dir).items()}


def test_the_outputs(eastwest, world, dense, tmp_path, monkeypatch):
    # A day is too young for sure incidents, and some must be there.
    monkeypatch.setenv("EASTWEST_FALSE_INCIDENTS_PER_DAY", "100")
    zeek, out = concatenated(dense, tmp_path / "zeek"), tmp_path / "new" / "out"
    said = eastwest(
        "backtest",
        zeek,
        "--out",
        out,
        "--plant",
        world.plant,
        "--labels",
        world.labels,
        "--train-until",
        world.train_until,
    )
    assert said.code == 0
    assert {file.name for file in out.iterdir()} == OUTPUTS

    alerts = records(out / "alerts.ndjson")
    assert len(alerts) >= 3
    for alert in alerts:
        assert alert.keys() >= ALERT_KEYS
        assert TIME.fullmatch(alert["ts"])
        assert alert["severity"] in ("info", "low", "medium", "high", "critical")
        assert alert["reasons"]
        assert alert["evidence"]
        assert 0 < alert["p_value"] <= 1
    assert len({alert["alert_id"] for alert in alerts}) == len(alerts)

    incidents = records(out / "incidents.ndjson")
    assert incidents
    for incident in incidents:
        assert incident.keys() >= INCIDENT_KEYS
        times = [hop["ts"] for hop in incident["path"]]
        assert times == sorted(times)
        assert (times[0], times[-1]) == (incident["first_ts"], incident["last_ts"])
        assert all(hop.keys() >= {"ts", "src", "dst", "service", "techniques"} for hop in incident["path"])
        assert set(incident["hosts"]) == {host for hop in incident["path"] for host in (hop["src"], hop["dst"])}
    known = {incident["incident_id"] for incident in incidents}
    assert {alert["incident_id"] for alert in alerts} - {None} <= known

    findings = pl.read_parquet(out / "findings.parquet")
    columns = {"ts", "src", "dst", "service", "score", "p_value", "structure_forward", "structure_reverse", "taught"}
    assert columns <= set(findings.columns)
    summary = orjson.loads((out / "summary.json").read_bytes())
    assert findings.height == summary["rows"]["scored"] - summary["paired"]
    assert findings["taught"].sum() == summary["taught"] > 1000
    begin = findings.filter(~pl.col("taught"))["ts"].dt.epoch("us")
    assert set(begin.to_list()) >= {micros(alert["ts"]) for alert in alerts}
    assert (findings["p_value"] > 0).all()

    assert summary["rows"]["in"] == sum(map(len, dense.values())) == accounted(summary["rows"])
    assert summary["alerts"]["count"] == len(alerts)
    assert summary["incidents"]["count"] == len(incidents)
    assert summary["labels"]["campaigns_total"] == 2
    assert summary["labels"]["hops_total"] == 10
    assert summary["settings"]["alerts_per_day"] == 25
    html = (out / "report.html").read_text("utf-8")
    assert html.lower().startswith("<!doctype html>")
    assert "Campaign" in said.out
    assert "\x1b" not in said.out, "no terminal sequences where there is no terminal"


def micros(text: str) -> int:
    return int(pl.Series([text]).str.to_datetime(time_zone="UTC", time_unit="us").dt.epoch("us")[0])


def accounted(rows: dict[str, int]) -> int:
    return sum(count for name, count in rows.items() if name != "in")


def test_a_second_run_replaces_the_first(eastwest, logs, tmp_path):
    out = tmp_path / "out"
    for _ in range(2):
        assert eastwest("backtest", logs, "--out", out).code == 0
        first = written(out), (out / "findings.parquet").read_bytes()
    assert {file.name for file in out.iterdir()} == OUTPUTS
    (logs / "conn.log").write_bytes(conn(0))
    assert eastwest("backtest", logs, "--out", out).code == 0
    assert rows_of(out)["in"] == 1
    assert pl.read_parquet(out / "findings.parquet").height == 1
    assert first


@pytest.mark.parametrize("rows", [1, pytest.param(7, marks=pytest.mark.long)])
def test_batch_size(rows, eastwest, world, dense, tmp_path):
    """Some hours around the first hops of the attack; every alert is there, byte for byte."""
    begin = orjson.loads(dense["conn"][0])["ts"] // 86_400 * 86_400 + 86_400 + 8 * 3600
    lines = {
        log: [line for line in part if begin <= end_of(line) < begin + (1.75 if rows == 1 else 8) * 3600]
        for log, part in dense.items()
    }
    assert sum(map(len, lines.values())) > 900
    zeek = concatenated(lines, tmp_path / "zeek")
    assert eastwest("backtest", zeek, "--out", tmp_path / "a", "--plant", world.plant, "--batch-size", rows).code == 0
    run([zeek], tmp_path / "b", plant=plant_of(world))
    assert written(tmp_path / "a") == written(tmp_path / "b")
    assert written(tmp_path / "a")[0]
    summary = orjson.loads((tmp_path / "a" / "summary.json").read_bytes())
    assert summary["settings"]["batch_rows"] == rows


# --- teaching ---


def strange(second: float) -> bytes:
    """A service installed from afar, which nobody did before."""
    row = {
        "ts": T0 + second, "uid": f"D{second}", "id.orig_h": "10.0.0.7", "id.orig_p": 40_001, "id.resp_h": "10.0.1.1",
        "id.resp_p": 445, "endpoint": "svcctl", "operation": "CreateServiceW", "named_pipe": "svcctl",
    }  # fmt: skip
    return orjson.dumps(row) + b"\n"


@pytest.fixture
def two_days(tmp_path) -> Path:
    """Quiet hours of a whole crowd, and the same strange act late on the second day."""
    folder = tmp_path / "two"
    folder.mkdir()
    quiet = b"".join(conn(number * 300, number) for number in range(2 * 288))
    (folder / "conn.log").write_bytes(quiet)
    (folder / "dce_rpc.log").write_bytes(strange(1.9 * 86_400))
    return folder


def test_rows_before_train_until_yield_no_alerts(eastwest, two_days, tmp_path):
    out = tmp_path / "out"
    assert eastwest("backtest", two_days, "--out", out, "--train-until", "2026-03-03T12:00:00Z").code == 0
    alerts = records(out / "alerts.ndjson")
    assert [(alert["service"], alert["operation"]) for alert in alerts] == [("dce_rpc", "svcctl::CreateServiceW")]
    assert eastwest("backtest", two_days, "--out", out, "--train-until", "2026-03-04").code == 0
    assert records(out / "alerts.ndjson") == []
    summary = orjson.loads((out / "summary.json").read_bytes())
    assert summary["taught"] == summary["rows"]["scored"]
    assert summary["rows"]["scored"] == 577


@pytest.mark.parametrize(
    "time", ["2026-03-03T12:00:00Z", "2026-03-03T13:00:00+01:00", "2026-03-03 12:00", "1772539200"]
)
def test_ways_to_say_a_time(time, eastwest, two_days, tmp_path):
    assert eastwest("backtest", two_days, "--out", tmp_path / "out", "--train-until", time).code == 0
    findings = pl.read_parquet(tmp_path / "out" / "findings.parquet")
    until = pl.datetime(2026, 3, 3, 12, time_unit="us", time_zone="UTC")
    assert findings.filter(pl.col("taught") != (pl.col("ts") + pl.duration(milliseconds=250) < until)).height == 0
    assert 0 < findings["taught"].sum() < findings.height


@pytest.mark.parametrize("days_later", [-3, 0, 400])
def test_history_teaches_first_whatever_its_time(days_later, eastwest, two_days, tmp_path):
    """With the act in the history it is known; without, it is an alert. Earlier, overlapping or later makes no odds."""
    past, out = tmp_path / "past", tmp_path / "out"
    past.mkdir()
    shift = days_later * 86_400
    (past / "conn.log").write_bytes(b"".join(conn(shift + number * 300, number) for number in range(2 * 288)))
    now = [two_days / "dce_rpc.log"]
    assert eastwest("backtest", *now, "--out", out, "--history", past).code == 0
    assert [alert["operation"] for alert in records(out / "alerts.ndjson")] == ["svcctl::CreateServiceW"]
    assert rows_of(out)["in"] == 577
    assert rows_of(out)["late"] == 0
    findings = pl.read_parquet(out / "findings.parquet")
    assert findings.height == 1, "the history is no part of the findings"
    summary = orjson.loads((out / "summary.json").read_bytes())
    assert summary["taught"] == 576

    (past / "dce_rpc.log").write_bytes(b"".join(strange(shift + hour * 3600 - 1) for hour in range(1, 48)))
    assert eastwest("backtest", *now, "--out", out, "--history", past).code == 0
    assert records(out / "alerts.ndjson") == []


def test_history_given_in_parts(eastwest, two_days, tmp_path):
    options = ["--history", two_days / "conn.log", "--history", two_days / "dce_rpc.log"]
    assert eastwest("backtest", two_days, "--out", tmp_path / "out", *options).code == 0
    assert rows_of(tmp_path / "out")["in"] == 2 * 577


def test_paths_are_no_markup(eastwest, logs, tmp_path):
    """Folders may be called what rich takes for a tag; and a path is not broken over lines."""
    out = tmp_path / "[bold]out[/red] and a long name, because rich breaks lines where a terminal might end"
    said = eastwest("backtest", logs, "--out", out)
    assert said.code == 0
    assert f"Written to {out}: " in said.out


# --- settings ---


@pytest.mark.parametrize("budget", [3, 60])
def test_alerts_per_day(budget, eastwest, world, dense, tmp_path):
    zeek, out = concatenated(dense, tmp_path / "zeek"), tmp_path / "out"
    until = ["--train-until", "2026-03-02T12:00:00Z", "--plant", world.plant]
    assert eastwest("backtest", zeek, "--out", out, "--alerts-per-day", budget, *until).code == 0
    alerts = len(records(out / "alerts.ndjson"))
    assert alerts <= budget * 2.5  # a day and a half, and a full bucket to begin with
    assert alerts >= {3: 2, 60: 8}[budget]


def test_precedence_of_settings(eastwest, logs, tmp_path, monkeypatch):
    """Defaults < file < environment < option."""
    config, out = tmp_path / "c.yaml", tmp_path / "out"
    config.write_text("alerts_per_day: 7\nhalf_life_days: 9\nreorder_seconds: 3\n")
    monkeypatch.setenv("EASTWEST_HALF_LIFE_DAYS", "11")
    monkeypatch.setenv("EASTWEST_ALERTS_PER_DAY", "8")
    assert eastwest("backtest", logs, "--out", out, "--config", config, "--alerts-per-day", 6).code == 0
    settings = orjson.loads((out / "summary.json").read_bytes())["settings"]
    names = ("alerts_per_day", "half_life_days", "reorder_seconds", "batch_rows")
    assert [settings[name] for name in names] == [6, 11, 3, Settings().batch_rows]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_tables_with_a_column_map(kind, eastwest, tmp_path):
    table = pl.DataFrame(
        {
            "When": [T0 + n for n in range(50)], "From": ["10.0.0.1"] * 50, "Port": [443] * 50, "Proto": ["tcp"] * 50,
            "To": [f"10.0.1.{n % 5}" for n in range(50)],
        }
    )  # fmt: skip
    file, config, out = tmp_path / f"flows.{kind}", tmp_path / "c.yaml", tmp_path / "out"
    table.write_csv(file) if kind == "csv" else table.write_parquet(file)
    config.write_text("columns: {ts: When, orig_h: From, resp_h: To, resp_p: Port, proto: Proto}\n")
    assert eastwest("backtest", file, "--out", out, "--config", config).code == 0
    assert rows_of(out) == {"in": 50, "scored": 50, "rejected": 0, "duplicate": 0, "late": 0, "filtered": 0}
    assert set(pl.read_parquet(out / "findings.parquet")["service"]) == {"https"}


def test_a_format_for_all(eastwest, logs, tmp_path):
    (logs / "conn.log").rename(logs / "unnamed.txt")
    assert eastwest("backtest", logs, "--out", tmp_path / "out", "--format", "zeek.conn").code == 0
    assert rows_of(tmp_path / "out")["scored"] == 200


# --- mistakes ---


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--train-until", "soon", "--train-until: 'soon' is not a time"),
        ("--train-until", "inf", "--train-until: 'inf' is not a time"),
        ("--train-until", "nan", "--train-until: 'nan' is not a time"),
        ("--train-until", "1e300", "--train-until: '1e300' is not a time"),
        ("--max-rejects", "many", "--max-rejects: 'many' is neither"),
        ("--max-rejects", "-1", "--max-rejects: '-1' is neither"),
        ("--max-rejects", "nan", "--max-rejects: 'nan' is neither"),
        ("--max-rejects", "", "--max-rejects: '' is neither"),
        ("--batch-size", "0", "batch_rows: "),
        ("--alerts-per-day", "0", "alerts_per_day: "),
        ("--alerts-per-day", "nan", "alerts_per_day: "),
        ("--format", "nonsense", "--format: nonsense: unknown"),
    ],
)
def test_wrong_values(option, value, says, eastwest, logs, tmp_path):
    said = eastwest("backtest", logs, "--out", tmp_path / "out", option, value)
    assert said.code == 2
    assert says in said.complaint
    assert not (tmp_path / "out" / "summary.json").exists()


@pytest.mark.parametrize(
    ("option", "content", "says"),
    [
        ("--plant", "zones: [\n - {name: x\n", "cannot be read as YAML"),
        ("--plant", "zones:\n - {name: a, cidrs: [10.0.0.0/33]}\n", "zones.0.cidrs.0: "),
        ("--plant", "zones:\n - {name: a}\n - {name: a}\n", "zones: zone 'a' is declared twice"),
        ("--plant", "- 1\n", "wrong: "),
        ("--plant", b"\xff\xfe", "cannot be read as YAML"),
        ("--config", "alerts_per_day: [\n x: y\n: :", "cannot be read as YAML"),
        ("--config", "nonsense: 1\n", "nonsense: "),
        ("--config", "alerts_per_day: few\n", "alerts_per_day: "),
        ("--config", "timezone: Nowhere/At\n", "timezone: "),
        ("--config", "timezone: ../etc/passwd\n", "timezone: "),
        ("--config", "columns: {nonsense: x}\n", "columns: "),
        ("--config", "- 1\n", "must be a mapping"),
        ("--labels", "campaign,start\na,b\n", "header: "),
        ("--labels", "campaign,start,end,src,dst,technique\na,soon,,,,\n", "line 2: start: 'soon' is not a time"),
        ("--labels", "campaign,start,end,src,dst,technique\na,,,host,,\n", "line 2: src: 'host' is not an address"),
        ("--labels", b"\xff\xfe", "cannot be read as CSV"),
    ],
)
def test_wrong_files(option, content, says, eastwest, logs, tmp_path):
    wrong = tmp_path / "wrong"
    wrong.write_bytes(content if isinstance(content, bytes) else content.encode())
    said = eastwest("backtest", logs, "--out", tmp_path / "out", option, wrong)
    assert said.code == 2
    assert f"{wrong}: " in said.complaint
    assert says in said.complaint


@pytest.mark.parametrize("option", ["--plant", "--config", "--labels"])
@pytest.mark.parametrize("name", ["missing", "logs"])
def test_files_that_are_none(option, name, eastwest, logs, tmp_path):
    said = eastwest("backtest", logs, "--out", tmp_path / "out", option, tmp_path / name)
    assert said.code == 2
    assert str(tmp_path / name) in said.complaint


def test_values_are_not_repeated(eastwest, logs, tmp_path, monkeypatch):
    """A value may be a secret that slipped; only its key is named."""
    config = tmp_path / "c.yaml"
    config.write_text("password: hunter2\n")
    assert "password" in (said := eastwest("backtest", logs, "--out", tmp_path / "out", "--config", config)).complaint
    assert "hunter2" not in said.out + said.err
    monkeypatch.setenv("EASTWEST_ALERTS_PER_DAY", "hunter2")
    assert "alerts_per_day" in (said := eastwest("backtest", logs, "--out", tmp_path / "out")).complaint
    assert "hunter2" not in said.out + said.err


def test_an_out_that_is_a_file(eastwest, logs, tmp_path):
    (tmp_path / "out").write_text("mine")
    for out in (tmp_path / "out", tmp_path / "out" / "below"):
        said = eastwest("backtest", logs, "--out", out)
        assert said.code == 2
        assert str(out) in said.complaint
    assert (tmp_path / "out").read_text() == "mine"


# --- input that cannot be read ---


def test_a_missing_path(eastwest, logs, tmp_path):
    said = eastwest("backtest", logs, tmp_path / "missing", "--out", tmp_path / "out")
    assert said.code == 3
    assert f"{tmp_path / 'missing'}: no such file or folder" in said.complaint


def test_a_folder_without_logs(eastwest, tmp_path):
    (tmp_path / "empty").mkdir()
    said = eastwest("backtest", tmp_path / "empty", "--out", tmp_path / "out")
    assert (said.code, "no files found" in said.complaint) == (3, True)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.pcap", b"\xd4\xc3\xb2\xa1\x02\x00\x04\x00" + bytes(100)),
        ("a.pcapng", b"\x0a\x0d\x0d\x0a" + bytes(100)),
        ("photo.png", b"\x89PNG\r\n\x1a\n" + bytes(100)),
        ("notes.txt", b"Dear diary,\ntoday I saw no lateral movement.\n"),
    ],
)
def test_nothing_that_can_be_read(name, content, eastwest, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(content)
    said = eastwest("backtest", tmp_path / "in", "--out", tmp_path / "out")
    assert said.code == 3
    assert name in said.complaint
    if "pcap" in name:
        assert "run Zeek" in said.complaint


def test_history_that_cannot_be_read(eastwest, logs, tmp_path):
    """Or its user would think that it had taught."""
    (tmp_path / "in").mkdir()
    for history in (tmp_path / "missing", tmp_path / "in"):
        said = eastwest("backtest", logs, "--out", tmp_path / "out", "--history", history)
        assert said.code == 3
        assert said.complaint
    (tmp_path / "in" / "a.pcap").write_bytes(b"\xd4\xc3\xb2\xa1" + bytes(100))
    said = eastwest("backtest", logs, "--out", tmp_path / "out", "--history", tmp_path / "in")
    assert said.code == 3
    assert "--history: " in said.complaint


def test_a_pcap_beside_logs_is_skipped_and_named(eastwest, logs, tmp_path):
    (logs / "a.pcap").write_bytes(b"\xd4\xc3\xb2\xa1" + bytes(100))
    assert eastwest("backtest", logs, "--out", tmp_path / "out").code == 0
    summary = orjson.loads((tmp_path / "out" / "summary.json").read_bytes())
    assert [
        (Path(skipped["path"]).name, "run Zeek" in skipped["reason"]) for skipped in summary["input"]["skipped"]
    ] == [("a.pcap", True)]


HEADER = (
    b"#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tconn\n"
    b"#fields\tts\tuid\tid.orig_h\n#types\ttime\tstring\taddr\n#close\t2026-03-02-00-00-00\n"
)


def test_a_log_of_headers_only_is_a_quiet_one(eastwest, tmp_path):
    (tmp_path / "conn.log").write_bytes(HEADER)
    out = tmp_path / "out"
    said = eastwest("backtest", tmp_path / "conn.log", "--out", out, "--max-rejects", 0)
    assert said.code == 0
    assert set(rows_of(out).values()) == {0}
    assert written(out) == (b"", b"")
    assert pl.read_parquet(out / "findings.parquet").height == 0
    assert {file.name for file in out.iterdir()} == OUTPUTS


# --- partial ---


@pytest.mark.parametrize(
    ("limit", "code"), [("0", 4), ("1", 4), ("2", 0), ("0.9%", 4), ("1%", 0), ("10%", 0), (None, 0)]
)
def test_max_rejects(limit, code, eastwest, logs, tmp_path):
    """Two of 202 records are bad: 0.99 %."""
    with (logs / "conn.log").open("ab") as log:
        log.write(b'{"ts":1}\nnonsense\xff\n')
    out = tmp_path / "out"
    said = eastwest("backtest", logs, "--out", out, *([] if limit is None else ["--max-rejects", limit]))
    assert said.code == code
    assert rows_of(out) == {"in": 202, "scored": 200, "rejected": 2, "duplicate": 0, "late": 0, "filtered": 0}
    letters = records(out / "rejected.ndjson")
    assert [letter["position"] for letter in letters] == [201, 202]
    assert [letter["raw"].encode("latin-1") for letter in letters] == [b'{"ts":1}', b"nonsense\xff"]
    assert all(letter.keys() == {"source", "position", "reason", "detail", "raw"} for letter in letters)
    assert ("rejected.ndjson" in said.err) == (code == 4)


def test_a_clean_log_may_have_none(eastwest, logs, tmp_path):
    assert eastwest("backtest", logs, "--out", tmp_path / "out", "--max-rejects", 0).code == 0


# --- simulate ---


def test_simulate_says_what_to_do_next(eastwest, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = eastwest("simulate", "--out", "a", "--days", 0.5, "--hosts", 40, "--seed", 5, "--no-campaigns")
    assert said.code == 0
    line = next(line for line in said.out.splitlines() if line.startswith("Try: eastwest "))
    again = eastwest("simulate", "--out", "a", "--days", 0.5, "--hosts", 40)
    assert again.code == 2
    assert "holds logs already" in again.complaint
    assert eastwest(*line.removeprefix("Try: eastwest ").split()).code == 0
    assert rows_of(tmp_path / "a" / "result")["in"] > 5000
