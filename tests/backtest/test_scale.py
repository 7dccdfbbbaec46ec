"""Months of logs: parts, workers, objects, what is passed over, and going on after a kill. The bytes are the same."""

import logging
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from urllib.request import Request, urlopen

import orjson
import polars as pl
import pytest
from moto.server import ThreadedMotoServer

from detector.backtest import findings as findings_module
from detector.backtest import parts as parts_module
from detector.backtest import pieces, work
from detector.backtest.findings import NAME, Findings
from detector.backtest.parts import ALWAYS, Between, plan
from detector.config import Settings
from detector.errors import FolderInUse, UnreadableInput
from detector.formats.batch import Context
from detector.sources import objects
from tests.scenarios.world import decoded, plant_of, run, simulated

LENIENT = Settings(false_incidents_per_day=100)  # a day is too young for sure incidents
FILES = ("alerts.ndjson", "incidents.ndjson", "entities.ndjson", "rejected.ndjson", NAME)
HOUR_US = 3_600_000_000
GROUP = 500


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    return simulated(tmp_path_factory, days=2, hosts=40, seed=3)


@pytest.fixture(scope="session")
def logs(world, tmp_path_factory):
    """Its first hours, and a line that is none."""
    folder = tmp_path_factory.mktemp("logs")
    for file in sorted((world.zeek_dir / "2026-03-02").iterdir()):
        lines = file.read_bytes().splitlines(keepends=True)
        (folder / file.name).write_bytes(b"".join([*lines[: len(lines) // 3], b"{rubbish\n"]))
    return folder


@pytest.fixture(scope="session")
def done(world, logs, tmp_path_factory):
    return run([logs], tmp_path_factory.mktemp("done"), LENIENT, plant=plant_of(world))


def outcome(out: Path) -> dict[str, object]:
    """All that must be the same, whoever did the work."""
    summary = orjson.loads((out / "summary.json").read_bytes())
    told = {name: (out / name).read_bytes() for name in FILES}
    return told | {key: value for key, value in summary.items() if key not in {"seconds", "rows_per_second"}}


@pytest.fixture(scope="session")
def lake(world, tmp_path_factory):
    """The conversations of both days as Parquet, a folder a day, row groups of `GROUP` rows."""
    folder = tmp_path_factory.mktemp("lake")
    frames = [part.flows for part in decoded(sorted(world.zeek_dir.rglob("conn.log")))]
    rows = pl.concat(frames).sort("obs_ts").drop("source", "position", "log")
    for (day,), part in rows.group_by(pl.col("obs_ts") // (24 * HOUR_US), maintain_order=True):
        name = pl.Series([day]).cast(pl.Date).dt.strftime("day=%Y-%m-%d")[0]
        (folder / name).mkdir()
        part.with_columns(pl.col("ts", "obs_ts").cast(pl.Datetime("us", "UTC"))).write_parquet(
            folder / name / "conn.parquet", row_group_size=GROUP
        )
    return folder


# --- parts; that several processes tell the same is in `tests/integration/test_parity.py` ---


def test_small_parts_tell_what_large_ones_tell(world, logs, done, tmp_path, monkeypatch):
    monkeypatch.setattr(parts_module, "PART_BYTES", 20_000)  # many parts
    made = plan([logs], Context(), ALWAYS)
    assert len(made.parts) > 5
    result = run([logs], tmp_path, LENIENT, plant=plant_of(world))
    assert outcome(tmp_path) == outcome(done.out)
    assert result.alerts
    assert not (tmp_path / work.NAME).exists()


# --- Parquet ---


@pytest.fixture(scope="session")
def whole_lake(world, lake, tmp_path_factory):
    """All of the lake, decoded at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("detector.backtest.run.plan", lambda *asked: plan(*asked).at_once())
        return run([lake], tmp_path_factory.mktemp("whole"), LENIENT, plant=plant_of(world))


def test_row_groups_come_when_their_time_comes(world, lake, whole_lake, tmp_path, monkeypatch):
    """Row groups of a lake, some at a time, tell what the rows tell when all of them are known before."""
    monkeypatch.setattr(parts_module, "PART_ROWS", 3 * GROUP)
    made = plan([lake], Context(), ALWAYS)
    assert len(made.parts) > 3
    assert None not in [part.lower for part in made.parts]
    wanted = [part.number for part in sorted(made.parts, key=lambda part: (part.lower, part.number))]
    asked: list[int] = []
    real = pieces.decode

    def decode(part, job, tick):
        asked.append(part.number)
        return real(part, job, tick)

    monkeypatch.setattr("detector.backtest.workers.decode", decode)
    seen = []
    run(
        [lake], tmp_path, LENIENT, plant=plant_of(world),
        progress=lambda stage, *_: seen.append((stage, len(asked))),
    )  # fmt: skip
    assert asked == wanted
    assert next(count for stage, count in seen if stage == "score") < len(made.parts), "scored before all was read"
    assert outcome(tmp_path) == outcome(whole_lake.out)


def test_what_lies_outside_is_not_read_and_accounted_for(lake, tmp_path, monkeypatch):
    monkeypatch.setattr(parts_module, "PART_ROWS", GROUP)
    times = pl.concat([pl.read_parquet(file, columns=["obs_ts"]) for file in sorted(lake.rglob("*.parquet"))])["obs_ts"]
    first, stop = (int(times.dt.epoch("us").sort()[times.len() * share // 10]) for share in (4, 6))
    between = Between(first, stop)
    made = plan([lake], Context(), between)
    assert made.passed_groups > 4
    result = run([lake], tmp_path, Settings(), between=between)
    rows, passed = result.summary["rows"], result.summary["input"]["passed_over"]
    inside = int(times.dt.epoch("us").is_between(first, stop, closed="left").sum())
    assert rows["in"] == times.len() == sum(count for name, count in rows.items() if name != "in")
    assert (rows["filtered"], passed["rows"]) == (times.len() - inside, made.passed_rows)
    assert made.passed_rows > (times.len() - inside) / 2
    told = pl.read_parquet(tmp_path / NAME)["ts"].dt.epoch("us")
    assert told.max() < stop
    assert result.summary["filtered_reasons"] == {f"columns: {pieces.OUTSIDE}": times.len() - inside}


@pytest.mark.parametrize(
    ("folder", "outside"),
    [
        ("day=2026-03-01", True),
        ("2026-03-01", True),
        ("dt=2026-03-04", False),  # within a day of the first
        ("year=2026/month=02/day=27", True),
        ("year=2026/month=02", True),
        ("year=2026/month=03", False),
        ("year=2025", True),
        ("year=2026", False),
        ("month=02", False),  # of which year?
        ("day=2026-02-31", False),
        ("case-2026-03-01", False),
        ("20260301", False),
        ("2026-03-20", True),
    ],
)
def test_folders_that_name_a_day_outside_are_passed_over(tmp_path, folder, outside):
    file = tmp_path / folder / "conn.log"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"{}\n")
    day = 24 * HOUR_US
    march = 1_772_323_200_000_000  # 2026-03-01
    made = plan([tmp_path], Context(), Between(march + 4 * day, march + 10 * day))
    assert (made.passed_files, len(made.files)) == ((1, 0) if outside else (0, 1))
    assert plan([tmp_path], Context(), ALWAYS).passed_files == 0


def test_statistics_that_lie_are_found_out(tmp_path, lake, monkeypatch):
    """Rows that come after their time would be scored otherwise than they should."""
    part = plan([lake], Context(), ALWAYS).parts[0]
    (tmp_path / "now").mkdir()
    with pytest.raises(UnreadableInput, match="older than the statistics"):
        pieces.decode(replace(part, lower=part.lower + HOUR_US), pieces.Job(tmp_path / "now", Settings()))


# --- objects ---


@pytest.fixture
def bucket(logs, lake, monkeypatch):
    """URL of a bucket that holds the logs and the lake, on a server of this host that speaks S3."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    for variable, value in {
        "AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "anna", "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
    }.items():  # fmt: skip
        monkeypatch.setenv(variable, value)
    with urlopen(Request(f"{url}/bucket", method="PUT")):  # noqa: S310 - our own address
        pass
    objects._store.cache_clear()
    for root in (logs, lake):
        for file in sorted(file for file in root.rglob("*.*") if file.is_file()):
            with objects._store().open_output_stream(f"bucket/{root.name}/{file.relative_to(root)}") as stream:
                stream.write(file.read_bytes())
    yield "s3://bucket"
    objects._store.cache_clear()
    server.stop()


def test_objects_are_read_as_files_are(bucket, world, done, whole_lake, tmp_path):
    plant = plant_of(world)
    for local, name in ((done, "logs0"), (whole_lake, "lake0")):
        out = tmp_path / name
        result = run([f"{bucket}/{name}"], out, LENIENT, plant=plant)
        assert result.summary["rows"] == local.summary["rows"]
        assert result.summary["alerts"] == local.summary["alerts"]
        there, here = (pl.read_parquet(folder / NAME) for folder in (out, local.out))
        assert there["evidence"].str.starts_with(f"{bucket}/{name}/").all()
        assert there.drop("evidence").equals(here.drop("evidence"))
    with pytest.raises(UnreadableInput, match="no such object"):
        run([f"{bucket}/nothing"], tmp_path / "none")


# --- stopped, and started again ---

_KILLED = """
import os, signal, sys
from pathlib import Path
from detector.backtest import run as module
from detector.backtest import parts
from detector.backtest.workers import Means
from detector.assets.plant import load_plant
from detector.config import Settings
parts.PART_ROWS, parts.PART_BYTES = 1500, 20_000
paths, out, plant, steps = sys.argv[1].split(","), sys.argv[2], sys.argv[3], int(sys.argv[4])
real, seen = module._Run._checkpoint, []
def checkpoint(self, rows):
    real(self, rows)
    seen.append(1)
    if len(seen) == steps:
        os.kill(os.getpid(), signal.SIGKILL)
module._Run._checkpoint = checkpoint
module.backtest(paths, Path(out), Settings(false_incidents_per_day=100), plant=load_plant(Path(plant)),
                means=Means(checkpoint_seconds=0), notice=print)
"""


def _one(arguments):
    return subprocess.run(
        [sys.executable, "-c", _KILLED, *map(str, arguments)], capture_output=True, text=True, check=False
    )


def test_a_killed_run_goes_on_from_its_last_checkpoint_with_the_same_bytes(world, lake, logs, whole_lake, tmp_path):
    """Twice, at different places, with logs and a lake in it."""
    plain = run([lake, logs], tmp_path / "plain", LENIENT, plant=plant_of(world))
    out = tmp_path / "killed"
    arguments = [f"{lake},{logs}", out, world.plant]
    killed = [_one([*arguments, steps]) for steps in (2, 1)]
    assert [one.returncode for one in killed] == [-signal.SIGKILL] * 2, killed[0].stderr + killed[1].stderr
    assert not (out / "alerts.ndjson").exists()
    before, after = ([line for line in one.stdout.splitlines() if "goes on" in line] for one in killed)
    assert (len(before), len(after)) == (0, 1)
    last = _one([*arguments, 0])
    assert last.returncode == 0, last.stderr
    assert "goes on behind" in last.stdout
    assert outcome(out) == outcome(plain.out)
    assert not (out / work.NAME).exists()


def test_work_on_other_files_or_settings_is_not_gone_on_with(tmp_path):
    with work.working(tmp_path, "one") as first:
        (first.folder / "now").mkdir()
        with pytest.raises(FolderInUse, match="another backtest"), work.working(tmp_path, "one"):
            pass
        kept = first.folder
        (kept / "identity").rename(tmp_path / "identity")
    kept.mkdir()
    (tmp_path / "identity").rename(kept / "identity")
    (kept / "piece").write_bytes(b"x")
    with work.working(tmp_path, "one") as again:
        assert (again.folder / "piece").exists()
    kept.mkdir()
    (kept / "identity").write_text("one")
    (kept / "piece").write_bytes(b"x")
    with work.working(tmp_path, "two") as other:
        assert not (other.folder / "piece").exists()


# --- findings ---


def test_segments_become_the_file_that_one_would_be(done, tmp_path, monkeypatch):
    monkeypatch.setattr(findings_module, "GROUP_ROWS", 700)
    rows = pl.read_parquet(done.out / NAME)
    monkeypatch.setattr(findings_module, "columns", lambda frame: frame)
    whole, cut = Findings(tmp_path, rows[:0]), Findings(tmp_path / "cut", rows[:0])
    (tmp_path / "cut").mkdir()
    for start in range(0, rows.height, 333):
        whole.add(rows[start : start + 333])
    whole.finish(tmp_path / NAME)
    for number, start in enumerate(range(0, rows.height, 501)):
        cut.add(rows[start : start + 501])
        if number % 2:
            cut.mark()
    cut.finish(tmp_path / "cut" / NAME)
    assert cut.segments > 1
    assert (tmp_path / "cut" / NAME).read_bytes() == (tmp_path / NAME).read_bytes()
    assert pl.read_parquet(tmp_path / NAME).equals(rows)
