"""What the tests of the whole path share: simulated plants, runs of the engine over them, and logs in other clothes."""

import fcntl
import gzip
import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest
import zstandard

from detector.alerts.model import to_json
from detector.assets.plant import Plant, load_plant
from detector.backtest.run import Result, backtest
from detector.config import Settings
from detector.engine import Engine
from detector.formats.batch import Context
from detector.formats.decode import Decoder
from detector.records import Decoded, merge
from detector.simulate import SimulatedPlant, simulate
from detector.sources.files import Files

_PATHS = ("root", "zeek_dir", "netflow_dir", "labels", "plant")


def simulated(factory: pytest.TempPathFactory, **wish: Any) -> SimulatedPlant:
    """A simulated plant; made once for all workers of a test run, since the same wish gives the same bytes."""
    base = factory.getbasetemp().parent if os.environ.get("PYTEST_XDIST_WORKER") else factory.getbasetemp()
    folder = base / "-".join(["simulated", *(f"{name}{value}" for name, value in sorted(wish.items()))])
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = folder / "done.json"
        if not done.exists():
            plant = simulate(folder, **wish)
            done.write_text(json.dumps(asdict(plant), default=str), "utf-8")
    plain = json.loads(done.read_text("utf-8"))
    return SimulatedPlant(**(plain | {name: Path(plain[name]) for name in _PATHS if plain[name] is not None}))


def run(paths: Sequence[Path], out: Path, settings: Settings | None = None, **options: Any) -> Result:
    """A backtest whose settings do not come from the environment."""
    return backtest(paths, out, settings or Settings(), **options)


def written(out: Path) -> tuple[bytes, bytes]:
    """What must be byte-equal: alerts and incidents."""
    return (out / "alerts.ndjson").read_bytes(), (out / "incidents.ndjson").read_bytes()


def plant_of(world: SimulatedPlant) -> Plant:
    return load_plant(world.plant)


# --- logs in other clothes ---


def lines_by_log(zeek_dir: Path) -> dict[str, list[bytes]]:
    """All lines of each log over all days, in order of the files."""
    lines: dict[str, list[bytes]] = defaultdict(list)
    for file in sorted(zeek_dir.rglob("*.log")):
        lines[file.stem] += file.read_bytes().splitlines(keepends=True)
    return lines


def end_of(line: bytes) -> float:
    """When a Zeek JSON line was complete, s: `records.FLOW.obs_ts`, but for rounding."""
    row = orjson.loads(line)
    return float(row["ts"]) + float(row.get("duration") or 0.0)


def between(lines: Iterable[bytes], start: float, stop: float) -> list[bytes]:
    return [line for line in lines if start <= end_of(line) < stop]


def concatenated(lines: dict[str, list[bytes]], folder: Path) -> Path:
    """One file a log."""
    folder.mkdir(parents=True)
    for log, content in lines.items():
        (folder / f"{log}.log").write_bytes(b"".join(content))
    return folder


def hourly(lines: dict[str, list[bytes]], folder: Path) -> Path:
    """Many files a log, each with an hour of starts, as Zeek rotates."""
    for log, content in lines.items():
        hours: dict[int, list[bytes]] = defaultdict(list)
        for line in content:
            hours[int(orjson.loads(line)["ts"] // 3600)].append(line)
        for hour, part in hours.items():
            (folder / f"{hour}").mkdir(parents=True, exist_ok=True)
            (folder / f"{hour}" / f"{log}.{hour % 24:02d}:00:00-{(hour + 1) % 24:02d}:00:00.log").write_bytes(
                b"".join(part)
            )
    return folder


def gzipped(lines: dict[str, list[bytes]], folder: Path) -> Path:
    """One gzip file a log, of two members, as rotated files that were joined."""
    folder.mkdir(parents=True)
    for log, content in lines.items():
        half = len(content) // 2
        parts = (b"".join(content[:half]), b"".join(content[half:]))
        (folder / f"{log}.log.gz").write_bytes(b"".join(gzip.compress(part, 1) for part in parts))
    return folder


def zstandard_files(lines: dict[str, list[bytes]], folder: Path) -> Path:
    folder.mkdir(parents=True)
    for log, content in lines.items():
        (folder / f"{log}.log.zst").write_bytes(zstandard.compress(b"".join(content), 1))
    return folder


def tab_separated(lines: dict[str, list[bytes]], folder: Path) -> Path:
    """The same records as Zeek's ASCII writer prints them."""
    folder.mkdir(parents=True)
    for log, content in lines.items():
        (folder / f"{log}.log").write_bytes(_tsv(log, [orjson.loads(line) for line in content]))
    return folder


def _tsv(log: str, rows: list[dict[str, Any]]) -> bytes:
    names = list(dict.fromkeys(name for row in rows for name in row))
    kinds = [next((_kind(name, row[name]) for row in rows if row.get(name) is not None), "string") for name in names]
    header = (
        f"#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\t{log}\n"
        "#open\t2026-03-02-00-00-00\n" + "\t".join(["#fields", *names]) + "\n" + "\t".join(["#types", *kinds]) + "\n"
    )
    body = ["\t".join(_cell(row.get(name)) for name in names) + "\n" for row in rows]
    return (header + "".join(body) + "#close\t2026-03-09-00-00-00\n").encode()


def _kind(name: str, value: Any) -> str:
    if name == "ts" or name.startswith("times."):
        return "time"
    if name.endswith("_h") and isinstance(value, str):
        return "addr"
    if name.endswith("_p"):
        return "port"
    if isinstance(value, list):
        return "vector[string]"
    return {bool: "bool", int: "count", float: "interval", str: "string"}[type(value)]


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "T" if value else "F"
    if isinstance(value, float):
        return f"{value:.6f}"
    if isinstance(value, list):
        return ",".join(map(_cell, value)) or "(empty)"
    if isinstance(value, int):
        return str(value)
    return value.replace("\\", "\\\\").replace("\t", "\\x09").replace("\n", "\\x0a") or "(empty)"


# --- the engine without files ---


def decoded(paths: Sequence[Path], block_lines: int = 8192) -> Iterator[Decoded]:
    """All records of the paths, block by block."""
    decoder: Decoder | None = None
    for block in Files(paths, block_lines):
        if decoder is None or decoder.source != block.source:
            decoder = Decoder(block.source, Context("UTC", None))
        yield decoder.decode(block)


def in_order(parts: Iterable[Decoded]) -> Decoded:
    """One whole, each frame in order of observation: what a source hands over when nothing is late."""
    whole = merge(parts)
    whole.flows = whole.flows.sort("obs_ts", maintain_order=True)
    whole.operations = whole.operations.sort("obs_ts", maintain_order=True)
    return whole


def cut(whole: Decoded, times: Sequence[int]) -> list[Decoded]:
    """Rows before the first time, between the first and the second, ..., from the last on."""
    bounds = [-(1 << 62), *times, 1 << 62]
    parts = []
    for low, high in pairwise(bounds):
        flows, operations = (
            frame.filter((frame["obs_ts"] >= low) & (frame["obs_ts"] < high))
            for frame in (whole.flows, whole.operations)
        )
        parts.append(Decoded(flows, operations))
    return parts


def told(engine: Engine) -> tuple[bytes, bytes]:
    """Alerts and incidents as they would be written."""
    alerts, incidents = (
        b"".join(to_json(record) + b"\n" for record in records)
        for records in (engine.judge.final_alerts(), engine.judge.incidents())
    )
    return alerts, incidents


Wear = Callable[[dict[str, list[bytes]], Path], Path]
"""Writes lines by log into a new folder in some layout."""
LAYOUTS: dict[str, Wear] = {
    "concatenated": concatenated,
    "hourly": hourly,
    "gzip": gzipped,
    "zstd": zstandard_files,
    "tsv": tab_separated,
}
