"""The service in this process, on a source of rows and a disk that loses what was not synced; and the invariants that
hold whatever happens to it (docs/reliability.md)."""

import random
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

import orjson

from detector.metrics import Metrics, read_exposition
from detector.service import loop, saved
from detector.service.settings import ServiceSettings
from detector.sinks.outbox import Outbox
from detector.sources.kafka import Lag
from detector.sources.kafka_events import Event
from detector.sources.kafka_merge import Arrival, Partition
from detector.sources.record_batches import NO_TIMESTAMP
from detector.state.checkpoints import Checkpoint, Checkpoints
from detector.state.stores import FolderStore
from tests.faults.disk import Disk
from tests.faults.stream import ENGINE, Row, arrivals

CLUSTER = "a cluster of tests"
EVERY_ROWS = 700  # so that a run of some thousand rows has several checkpoints


class Crash(BaseException):
    """The power went."""


class Rows:
    """In place of `KafkaSource`: hands over rows in portions, and ends the run when there are no more."""

    def __init__(
        self, rows: Sequence[Row], stop: threading.Event, chance: random.Random, dead: threading.Event
    ) -> None:
        self.rows, self.stop, self.chance, self.dead = rows, stop, chance, dead
        self.happened: list[Event] = []
        self._ends: dict[Partition, int] = {}
        for row in rows:
            self._ends[row.partition] = row.offset + 1

    def __call__(self, _settings: object) -> "Rows":
        """As if it were the class."""
        return self

    def begin(
        self, positions: Mapping[Partition, int] | None = None, clocks: Mapping[Partition, int] | None = None
    ) -> None:
        self._positions = dict.fromkeys(self._ends, 0) | dict(positions or {})
        self._clocks = dict.fromkeys(self._ends, NO_TIMESTAMP) | dict(clocks or {})
        self._left = [row for row in self.rows if row.offset >= self._positions[row.partition]]

    def poll(self, _seconds: float) -> list[Arrival]:
        if self.dead.is_set():
            raise Crash
        count = self.chance.choice((1, 40, 300, 900))
        portion, self._left = self._left[:count], self._left[count:]
        for row in portion:
            self._positions[row.partition] = row.offset + 1
            self._clocks[row.partition] = max(self._clocks[row.partition], row.time)
        if not portion:
            self.stop.set()
        return arrivals(portion)

    def events(self) -> list[Event]:
        happened, self.happened = self.happened, []
        return happened

    def positions(self) -> dict[Partition, int]:
        return dict(self._positions)

    def clocks(self) -> dict[Partition, int]:
        return dict(self._clocks)

    def lag(self) -> dict[Partition, Lag]:
        return {at: Lag(end - self._positions[at], 0.0) for at, end in self._ends.items()}

    def silent(self) -> dict[Partition, float]:
        return {}

    def cluster_id(self) -> str:
        return CLUSTER

    def topic_ids(self) -> dict[str, str]:
        return {at.topic: f"id of {at.topic}" for at in self._ends}

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def commit(self, positions: object) -> bool:
        return True

    def close(self) -> None: ...


@dataclass
class Outcome:
    """What a run, or several, left behind."""

    told: list[tuple[str, bytes]]  # of the outbox: kind and line
    letters: list[bytes]
    lines: list[bytes]  # of the file that the sink wrote
    checkpoint: Checkpoint
    metrics: dict[str, float]


@dataclass
class Trial:
    """A service whose process ends again and again, until all rows are through."""

    folder: Path
    rows: Sequence[Row]
    plant: Path
    seed: int = 0
    kills: int = 0
    promised: int = 0  # rows of the last checkpoint that was said to be written
    broken: list[str] = field(default_factory=list)  # promises that were not kept
    metrics: Metrics | None = None
    counted: dict[str, float] = field(default_factory=dict)  # metrics of all runs
    model: dict[str, Path] | None = None  # the setting
    state: dict[str, object] = field(default_factory=dict)  # more settings of that section

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        (self.folder / "0").mkdir(parents=True)

    @property
    def here(self) -> Path:
        return self.folder / str(self.kills)

    def settings(self) -> ServiceSettings:
        here = self.here
        wish = {
            "kafka": {"bootstrap": "nowhere:9092", "topics": sorted({row.partition.topic for row in self.rows})},
            "engine": ENGINE,
            "plant": self.plant,
            "model": self.model,
            "state": {"url": str(here / "state"), "every_rows": 1000, "every_seconds": 3600} | self.state,
            "outbox": {"folder": here / "outbox"},
            "dead_letters": {"file": here / "dead.ndjson"},
            "alerts": {"sinks": [{"type": "file", "path": here / "alerts.ndjson"}]},
            "http": {"port": 0},
        }
        made = ServiceSettings.model_validate(wish)
        return made.model_copy(update={"state": made.state.model_copy(update={"every_rows": EVERY_ROWS})})

    def run(self, *faults: object, crash: str = "", at_sync: int = 0) -> bool:
        """Run once, to the end of the rows or to a crash: at a point (name:n) or at the n-th fsync. True if it
        crashed; the next run finds what the disk kept."""
        stop, dead = threading.Event(), threading.Event()
        source = Rows(self.rows, stop, self.chance, dead)
        name, _, number = crash.partition(":")
        passed: dict[str, int] = {}
        with Disk(self.here) as disk, ExitStack() as stack:

            def die() -> None:
                if not dead.is_set():
                    dead.set()
                    disk.image(self.folder / str(self.kills + 1), self.chance)

            def point(place: str) -> None:
                passed[place] = passed.get(place, 0) + 1
                if place == name and passed[place] == int(number or 1):
                    die()
                if dead.is_set():
                    raise Crash

            def count(number: int) -> None:
                if number == at_sync:
                    die()  # in whatever thread; what happens from now on is not on the disk

            disk.at_sync = count
            for fault in (
                patch.object(loop, "KafkaSource", source),
                patch.object(loop, "warm", lambda _: None),
                *(patch.object(module, "point", point) for module in (loop, saved)),
                patch.object(loop, "Metrics", self._metrics),
                *self._watching(dead),
                *faults,
            ):
                stack.enter_context(fault)
            with suppress(Crash):
                loop.run(self.settings(), stop)
            self._count()
        self.kills += dead.is_set()
        return dead.is_set()

    def _metrics(self, *about: str) -> Metrics:
        self.metrics = Metrics(*about)
        return self.metrics

    def _count(self) -> None:
        if self.metrics is None:
            return
        for sample in read_exposition(self.metrics.exposition()[0].decode()):
            if sample.name.startswith("eastwest_") and not sample.name.endswith("_bucket"):
                self.counted[sample.name] = self.counted.get(sample.name, 0.0) + sample.value

    def _watching(self, dead: threading.Event) -> list[object]:
        """A checkpoint that was written is found by the next process, or what it promises is not kept."""
        write, latest = Checkpoints.write, Checkpoints.latest

        def written(ours: Checkpoints, checkpoint: Checkpoint) -> None:
            write(ours, checkpoint)
            if not dead.is_set() and ours.scope == "service":
                self.promised = checkpoint.position

        def found(ours: Checkpoints, *about: object, **more: object) -> object:
            loaded = latest(ours, *about, **more)
            position = loaded.checkpoint.position if loaded.checkpoint else 0
            if position < self.promised and ours.scope == "service":
                self.broken.append(f"a checkpoint of {self.promised} rows is gone; there is one of {position}")
            return loaded

        return [patch.object(Checkpoints, "write", written), patch.object(Checkpoints, "latest", found)]

    def outcome(self) -> Outcome:
        """To be asked for after a run that did not crash."""
        told, letters = (records(self.here / "outbox" / name) for name in ("alerts", "dead-letters"))
        lines = (self.here / "alerts.ndjson").read_bytes().splitlines()
        return Outcome(told, [line for _, line in letters], lines, newest(self.here / "state"), dict(self.counted))


def records(folder: Path) -> list[tuple[str, bytes]]:
    """Kind and line of all that an outbox has."""
    with Outbox(folder) as outbox:
        return [(record.kind, record.payload) for record in outbox.read(0, 1 << 30)]


def newest(folder: Path) -> Checkpoint:
    """The last checkpoint of a service, without looking whose it is."""
    with patch.object(Checkpoints, "_require_own", lambda *_: None):
        loaded = Checkpoints(FolderStore(folder), "service").latest(None)
    assert loaded.checkpoint
    return loaded.checkpoint


# --- invariants ---


def broken(golden: Outcome, faulted: Outcome, rows: Sequence[Row] = ()) -> list[str]:
    """What does not hold of I1 to I3, in words; nothing when all is well."""
    found = []
    if (missing := len({*golden.told} - {*faulted.told})) or golden.told != faulted.told:
        found.append(
            f"I1: the outbox differs: {len(golden.told)} were told, {len(faulted.told)} are; {missing} missing"
        )
    if [*dict.fromkeys(faulted.lines)] != golden.lines:
        found.append("I1: the sink's lines differ")
    if faulted.letters != golden.letters:
        found.append(f"I1: dead letters differ: {len(golden.letters)} there were, {len(faulted.letters)} there are")
    ours, theirs = faulted.checkpoint, golden.checkpoint
    if ours.counters != theirs.counters or ours.position != theirs.position:
        found.append(f"I2: rows became {ours.counters}, not {theirs.counters}")
    if sum(sum(each.values()) for each in ours.offsets.values()) != (len(rows) or _records_of(theirs)):
        found.append(f"I2: offsets {ours.offsets} do not stand at the end")
    if ours.state != theirs.state:
        found.append("I3: the state differs")
    if faulted.metrics.get("eastwest_replay_mismatch_total", 0):
        found.append("I1: what was told again differed from what is stored")
    return found


def _records_of(checkpoint: Checkpoint) -> int:
    return sum(sum(each.values()) for each in checkpoint.offsets.values())


def duplicates(outcome: Outcome) -> int:
    """Lines that the sink got more than once."""
    return len(outcome.lines) - len(set(outcome.lines))


# --- results ---


def note(path: Path, **row: object) -> None:
    """Add a row to the file that `tests.faults.table` reads."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(orjson.dumps(row) + b"\n")
