"""From the row to the line about it: the service as a process of its own, another that sends, and this one that reads
the file which alerts go to."""

import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Final, Self

import numpy as np
import orjson
import polars as pl
from race.shape import GAP_US, START_US, Network, Shape

from detector.config import Settings
from detector.metrics import OUTCOMES, read_exposition
from tests.kafka.broker import free_ports

from . import feed, pace
from .pace import Pace, Sent
from .passes import settings_of

ENGINE: Final = {"alerts_per_day": 100_000, "false_incidents_per_day": 100}
"""So that there are alerts enough to tell a 99th percentile of; nobody would read them."""
LOOK_SECONDS: Final = 0.002  # between two looks at the file
START_SECONDS: Final = 300.0
STOP_SECONDS: Final = 60.0
_PROGRAM: Final = "from detector.cli import main; main()"  # `eastwest`, wherever that is installed
SECOND_TRY: Final = 0.05  # between two questions to the service
_TICK_SECONDS: Final = 1.0  # rows leave the reorder buffer a quarter of its window at a time


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds from a row to its line, at one pace.

    ``floor`` is what the rows wait to be put in order, by the settings: what is above it is the service's.
    """

    name: str
    wanted: float  # rows a second
    sent: Sent
    alerts: int
    p50: float
    p99: float
    most: float
    floor: float
    caught_up: float  # from the last row until the service had taken all


@dataclass(slots=True)
class Live:
    """What the process showed of itself."""

    edges: int
    first_ready_s: float = 0.0  # without a state
    ready_s: float = 0.0  # with one
    latencies: list[Latency] = field(default_factory=list)
    outcomes: dict[str, int] = field(default_factory=dict)
    pause_s: float = 0.0  # mean time that the path stood still for a checkpoint
    checkpoints: int = 0
    checkpoint_s: float = 0.0
    checkpoint_bytes: int = 0
    told: int = 0  # lines in the file


def measure(bootstrap: Sequence[str], shape: Shape, paces: Sequence[Pace], folder: Path, name: str) -> Live:
    """Teach a service the history, start it again from its checkpoint, and send at each pace.

    Raises:
        RuntimeError: a row is not accounted for, or the service ended by itself.
    """
    folder.mkdir(parents=True)
    topics = (f"{name}-conn", f"{name}-dce_rpc")
    feed.make_topics(bootstrap, *topics)
    service = Service(bootstrap, topics, folder)
    before = feed.fill(bootstrap, topics[0], [_history(shape)], feed.MANY)
    live = Live(shape.edges)
    sent = before.rows
    with service.running() as live.first_ready_s:
        service.wait(sent)
    with service.running() as live.ready_s, _process() as pool, Watch(service.alerts) as watch:
        for wish in paces:
            rows = pool.submit(pace.run, bootstrap, topics, shape, wish).result()
            sent += rows.flows + rows.acts
            service.wait(sent)
            live.latencies.append(_latency(wish, rows, watch.lines, time.time() - rows.ended))
        sent += _close(bootstrap, topics[0])
        service.wait(sent)
        numbers = service.metrics()
        live.outcomes = service.outcomes(numbers)
        _checkpoints(live, numbers)
    live.told = len(service.alerts.read_bytes().splitlines())
    _check(live, sent)
    return live


def _check(live: Live, sent: int) -> None:
    """Every row is scored but the closing one, which waits; some come late or look alike where a machine is busy."""
    outcomes = live.outcomes
    if sum(outcomes.values()) + 1 != sent or outcomes["rejected"] or outcomes["filtered"]:
        raise RuntimeError(f"{sent:,} rows were sent, and the service accounts for {outcomes}")


def _history(shape: Shape) -> pl.DataFrame:
    """What a race teaches, so late that it ends before now as it else ends before the stream."""
    shift = time.time_ns() // 1000 - START_US - GAP_US
    return Network(shape).history().with_columns(pl.col("ts", "obs_ts") + shift)


def _close(bootstrap: Sequence[str], topic: str) -> int:
    with feed.producer(bootstrap) as client:
        client.send(topic, pace.closing(time.time() + 60), partition=0)
    return 1


def _latency(wish: Pace, sent: Sent, seen: list[tuple[float, bytes]], caught_up: float) -> Latency:
    """Of the rows that have others behind them: what comes last waits until something follows, however long that is."""
    floor = 2 * Settings().reorder_seconds
    last = sent.ended - floor - _TICK_SECONDS
    made = [(at, row) for at, line in list(seen) if (row := _made(line)) is not None]
    taken = np.array([at - row for at, row in made if sent.began <= row <= last])
    p50, p99, most = np.quantile(taken, [0.5, 0.99, 1.0]).tolist() if taken.size else [float("nan")] * 3
    return Latency(wish.name, wish.rate, sent, int(taken.size), p50, p99, most, floor, caught_up)


def _made(line: bytes) -> float | None:
    """When the row was sent that an alert tells of; None for others, and for those that rest on several rows."""
    told = orjson.loads(line)
    if "alert_id" not in told or told["revision"] or len(told["evidence"]) != 1:
        return None
    return pace.sent_at(told["evidence"][0])


def _checkpoints(live: Live, numbers: dict[str, float]) -> None:
    live.checkpoints = int(numbers["stage_seconds_count checkpoint"])
    live.pause_s = numbers["stage_seconds_sum checkpoint"] / max(live.checkpoints, 1)
    live.checkpoint_s = numbers["checkpoint_duration_seconds"]
    live.checkpoint_bytes = int(numbers["checkpoint_bytes"])


class Watch(threading.Thread):
    """Reads the lines of a file as they come; ``lines`` has each with the time it was seen, seconds since the epoch."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self.lines: list[tuple[float, bytes]] = []
        self._path, self._over = path, threading.Event()

    def run(self) -> None:
        """Look until told to stop."""
        begun = b""
        while not self._path.exists():
            if self._over.wait(LOOK_SECONDS):
                return
        with self._path.open("rb") as file:
            while not self._over.wait(LOOK_SECONDS):
                *whole, begun = (begun + file.read()).split(b"\n")
                now = time.time()
                self.lines += [(now, line) for line in whole]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()


def _process() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"))


class Service:
    """`eastwest run` as a process."""

    def __init__(self, bootstrap: Sequence[str], topics: Sequence[str], folder: Path) -> None:
        [port] = free_ports(1)
        self.alerts = folder / "alerts.ndjson"
        self._url = f"http://127.0.0.1:{port}"
        self._file, self._log = folder / "eastwest.yaml", folder / "log"
        taught = datetime.now(UTC).isoformat()
        wish = settings_of(bootstrap, topics, folder, engine=ENGINE, http={"port": port}, train_until=taught)
        self._file.write_bytes(orjson.dumps(wish))

    @contextmanager
    def running(self) -> Iterator[float]:
        """Start it; gives the seconds until it was ready. It is told to stop at the end.

        Raises:
            RuntimeError: it ended by itself, or badly.
        """
        began = time.monotonic()
        command = [sys.executable, "-c", _PROGRAM, "run", "--config", str(self._file)]
        with self._log.open("ab") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
            try:
                while not self._ready():
                    if process.poll() is not None or time.monotonic() - began > START_SECONDS:
                        raise RuntimeError(f"the service does not start:\n{self._log.read_text()[-3000:]}")
                    time.sleep(SECOND_TRY)
                yield time.monotonic() - began
                process.send_signal(signal.SIGTERM)
                if process.wait(STOP_SECONDS):
                    raise RuntimeError(f"the service ended with {process.returncode}:\n{self._log.read_text()[-3000:]}")
            finally:
                process.kill()

    def wait(self, rows: int) -> None:
        """Until all rows are accounted for but those that wait to be put in order."""
        end = time.monotonic() + START_SECONDS
        while self.taken() < rows:
            if time.monotonic() > end:
                raise RuntimeError(f"{self.taken():,} of {rows:,} rows came:\n{self._log.read_text()[-3000:]}")
            time.sleep(SECOND_TRY)

    def taken(self) -> int:
        """Rows that came."""
        numbers = self.metrics()
        return int(sum(self.outcomes(numbers).values()) + numbers["rows_waiting"])

    def outcomes(self, numbers: dict[str, float] | None = None) -> dict[str, int]:
        """Rows by what became of them."""
        found = self.metrics() if numbers is None else numbers
        return {outcome: int(found[f"rows_total {outcome}"]) for outcome in OUTCOMES}

    def metrics(self) -> dict[str, float]:
        """What Prometheus would see: "name label" without our prefix."""
        with urllib.request.urlopen(f"{self._url}/metrics") as answer:  # noqa: S310 - our own
            text = answer.read().decode()
        return {
            " ".join([sample.name.removeprefix("eastwest_"), *sample.labels.values()]): sample.value
            for sample in read_exposition(text)
        }

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self._url}/readyz") as answer:  # noqa: S310 - our own
                return bool(answer.status == 200)
        except OSError:
            return False
