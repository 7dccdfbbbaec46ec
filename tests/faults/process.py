"""`eastwest run` as a process of its own, on a real broker."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from detector.metrics import read_exposition
from detector.sources.kafka_merge import Partition
from tests.faults.harness import Outcome, newest, records
from tests.faults.stream import ENGINE, Row
from tests.kafka.broker import free_ports
from tests.kafka.fixtures import Broker

SECONDS = float(os.environ.get("EASTWEST_FAULT_SECONDS") or 120)  # that anything may take on a busy machine
STOP_SECONDS = 60.0  # that an end in order may take
_COMMAND = [sys.executable, "-c", "from detector.cli import main; main()", "run", "-c"]
_CONFIGS = {
    "message.timestamp.type": "CreateTime",  # the rows' own, so that a quick replay merges as the day did
    "message.timestamp.before.max.ms": str(10**13),
    "retention.ms": "-1",
}


def named_for(rows: Sequence[Row], prefix: str) -> list[Row]:
    """The rows with topics that only one test has; each object says which log it is of."""
    out = []
    for row in rows:
        log, value = row.partition.topic, row.value
        if value is not None and value.startswith(b"{") and len(value) > 1:
            value = b'{"_path":"%s",' % log.encode() + value[1:]
        out.append(row._replace(partition=Partition(f"{prefix}-{log}", row.partition.partition), value=value))
    return out


def create(broker: Broker, rows: Sequence[Row]) -> None:
    """Make the topics of the rows."""
    topics: dict[str, int] = {}
    for row in rows:
        topics[row.partition.topic] = max(topics.get(row.partition.topic, 1), row.partition.partition + 1)
    with broker.admin() as admin:
        wish = {name: {"num_partitions": count, "configs": _CONFIGS} for name, count in topics.items()}
        admin.create_topics(wish, wait_for_metadata=True)


def publish(broker: Broker, rows: Sequence[Row]) -> None:
    """Produce the rows, each at its time."""
    sent = []
    with broker.producer(linger_ms=20, batch_size=1 << 16) as producer:
        for row in rows:
            topic, partition = row.partition
            key = b"gone" if row.value is None else None  # a tombstone has one
            sent.append(producer.send(topic, row.value, key, partition=partition, timestamp_ms=row.time))
    for each in sent:
        each.get(timeout=0)  # or it is not there


class Service:
    """A service with folders of its own; it may be started again and again.

    Args:
        changes: sections of the settings with other values.
    """

    def __init__(
        self, folder: Path, bootstrap: Sequence[str], topics: Sequence[str], plant: Path, **changes: dict[str, object]
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, [self._port] = folder, free_ports(1)
        wish: dict[str, object] = {
            # Small answers, so that there is something in between to be killed in.
            "kafka": {"bootstrap": list(bootstrap), "topics": list(topics), "partition_bytes": 32768},
            "engine": ENGINE,
            "plant": str(plant),
            "state": {"url": str(folder / "state"), "every_rows": 1000, "every_seconds": 1},
            "outbox": {"folder": str(folder / "outbox")},
            "dead_letters": {"file": str(folder / "dead.ndjson")},
            "alerts": {"sinks": [{"type": "file", "path": str(folder / "alerts.ndjson")}]},
            "http": {"port": self._port},
        }
        for section, values in changes.items():
            wish[section] = {**wish.get(section, {}), **values}
        (folder / "eastwest.yaml").write_text(json.dumps(wish))
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Service":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    @property
    def log(self) -> str:
        """What it said since it was started last."""
        return (self.folder / "log").read_text(errors="replace")

    def start(self, **environment: str) -> "Service":
        clean = {name: value for name, value in os.environ.items() if not name.startswith("EASTWEST_")}
        with (self.folder / "log").open("wb") as log:
            command = [*_COMMAND, str(self.folder / "eastwest.yaml")]
            self.process = subprocess.Popen(command, env=clean | environment, stderr=log, stdout=log)
        return self

    def wait(self, until: Callable[[], bool], seconds: float = SECONDS) -> float:
        """Seconds until something was so; the process must live meanwhile."""
        begin = time.monotonic()
        while not until():
            assert self.process
            assert self.process.poll() is None, self.log[-3000:]
            assert time.monotonic() - begin < seconds, self.log[-3000:]
            time.sleep(0.05)
        return time.monotonic() - begin

    def running(self) -> bool:
        """Whether it reads."""
        return '"running"' in self.log

    def url(self, path: str) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self._port}{path}"

    def metrics(self) -> dict[str, float]:
        """Sums by name; by name and outcome for rows. Nothing while it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=5) as answer:
                text = answer.read().decode()
        except (urllib.error.URLError, OSError):
            return {}
        sums: dict[str, float] = {}
        for sample in read_exposition(text):
            name = sample.name + (":" + sample.labels["outcome"] if "outcome" in sample.labels else "")
            sums[name] = sums.get(name, 0.0) + sample.value
        return sums

    def done(self, records: int) -> Callable[[], bool]:
        """Whether all records are through: counted, and none left in Kafka."""

        def through() -> bool:
            found = self.metrics()
            counted = sum(value for name, value in found.items() if name.startswith("eastwest_rows_total:"))
            return (
                found.get("eastwest_lag_rows") == 0
                and counted + found["eastwest_rows_waiting"] == records
                and found["eastwest_sink_waiting"] == 0
            )

        return through

    def kill(self) -> None:
        assert self.process
        self.process.kill()
        self.process.wait()

    def stop(self) -> tuple[int, float]:
        """End it in order: exit code and seconds."""
        assert self.process
        begin = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(2 * STOP_SECONDS), time.monotonic() - begin

    def outcome(self) -> Outcome:
        """What is there after it ended."""
        told, letters = (records(self.folder / "outbox" / name) for name in ("alerts", "dead-letters"))
        lines = (self.folder / "alerts.ndjson").read_bytes().splitlines()
        return Outcome(told, [line for _, line in letters], lines, newest(self.folder / "state"), {})
