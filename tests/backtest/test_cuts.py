"""A large log in stretches is decoded as it is in one."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import orjson
import polars as pl
import pytest

from detector.backtest import cuts as module
from detector.backtest import parts as parts_module
from detector.backtest.cuts import cuts
from detector.backtest.parts import ALWAYS, plan
from detector.config import Settings
from detector.errors import StorageFailed
from detector.formats.batch import Context
from detector.reading import Reader
from tests.scenarios.world import lines_by_log, run, simulated, tab_separated

FILES = ("alerts.ndjson", "incidents.ndjson", "entities.ndjson", "rejected.ndjson", "findings.parquet")


@pytest.fixture(scope="session")
def logs(tmp_path_factory) -> dict[str, list[bytes]]:
    world = simulated(tmp_path_factory, days=2, hosts=40, seed=3)
    return {log: lines[:3000] for log, lines in lines_by_log(world.zeek_dir).items() if log in {"conn", "dns"}}


@pytest.fixture(params=[100])
def short(request, monkeypatch):
    """Stretches are of a hundred lines or so many, and files are looked at in odd portions."""
    monkeypatch.setattr(module, "LINES", request.param)
    monkeypatch.setattr(module, "_CHUNK", 4093)
    monkeypatch.setattr(parts_module, "PART_BYTES", 1)


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("short", [700], indirect=True)
@pytest.mark.parametrize("table", [False, True], ids=["json", "tsv"])
def test_stretches_are_decoded_as_the_whole_is_and_a_backtest_tells_the_same(table, logs, short, tmp_path, monkeypatch):
    """With rubbish in them, lines that are cut off, and a last line without an end."""
    folder = tmp_path / "logs"
    if table:
        tab_separated(logs, folder)
        broken = b"cut\toff\n"
    else:
        folder.mkdir()
        for log, lines in logs.items():
            (folder / f"{log}.log").write_bytes(b"".join(lines))
        broken = b'{"cut": \n'
    conn = folder / "conn.log"
    lines = conn.read_bytes().splitlines(keepends=True)
    without_uid = [line.replace(b'"uid"', b'"other"') for line in lines]  # so that evidence is the number of the line
    lines = [*without_uid[:1234], broken, b"\n", *without_uid[1234:-1], without_uid[-1].rstrip(b"\n")]
    conn.write_bytes(b"".join(lines))
    made = plan([folder], Context(), ALWAYS)
    assert Counter(part.files[0].name for part in made.parts)["conn.log"] == 1 + (len(lines) - 1) // 700 == 5
    assert sum(part.size for part in made.parts) == sum(file.stat().st_size for file in folder.iterdir())
    run([folder], tmp_path / "cut", Settings(false_incidents_per_day=100))
    monkeypatch.setattr(parts_module, "cuts", lambda _: [])
    assert len(plan([folder], Context(), ALWAYS).parts) == 2
    run([folder], tmp_path / "whole", Settings(false_incidents_per_day=100))
    for name in FILES:
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    rejected = [orjson.loads(line) for line in (tmp_path / "cut" / "rejected.ndjson").read_bytes().splitlines()]
    assert 1235 in [one["position"] for one in rejected]
    findings = pl.read_parquet(tmp_path / "cut" / "findings.parquet")
    assert findings.height > 1000


JSON = b'{"ts":1}\n' * 250
TABLE = b"#separator \\x09\n#fields\tts\tuid\n" + b"1\tC1\n" * 250


@pytest.mark.parametrize(
    ("content", "stretches"),
    [
        (JSON, 3),
        (JSON + b"#close\n", 3),
        (JSON + b"#fields\tts\n" + JSON, 0),  # lines behind it are read otherwise
        (JSON + b"ts,sa,da\n" + JSON, 0),  # it might be the header of a table
        (JSON[:99] + b"\n\r\n" + JSON, 3),
        (TABLE, 3),
        (TABLE + b"#close\t2026\n", 3),
        (TABLE + b"#close\t2026\n" + TABLE, 0),  # rotated files that were joined
        (TABLE.replace(b"#fields", b"#nothing"), 0),
        (b"#" * 70_000 + b"\n" + TABLE, 0),
        (b"[" + JSON, 0),
        (b'{\n"ts":1}\n' * 250, 0),
        (JSON[:900], 0),  # one stretch
        (b"", 0),
    ],
)
def test_only_what_keeps_its_meaning_is_cut(content, stretches, short, tmp_path):
    made = cuts(written(tmp_path / "some.log", content))
    assert len(made) == stretches
    assert b"".join(content[one.begin : one.end] for one in made) in (content, b"")
    for one in made:
        assert content[: one.begin].count(b"\n") + 1 == one.line
        assert one.header == (() if one.line == 1 or content[:1] == b"{" else tuple(TABLE.split(b"\n")[:2]))


def test_a_log_that_is_shorter_now_ends_the_run(short, tmp_path):
    path = written(tmp_path / "some.log", JSON)
    stretch = cuts(path)[2]
    path.write_bytes(JSON[:-1])
    with (tmp_path / "rejected").open("wb") as rejected, pytest.raises(StorageFailed, match="was longer"):
        list(Reader(Settings(), "auto", lambda *_: None, rejected).lines(path, stretch))
    path.unlink()
    with (tmp_path / "rejected").open("wb") as rejected, pytest.raises(StorageFailed, match="No such file"):
        list(Reader(Settings(), "auto", lambda *_: None, rejected).lines(path, replace(stretch)))
