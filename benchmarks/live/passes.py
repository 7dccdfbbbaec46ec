"""Who takes the same records from the same broker, in turns: a consumer that only looks at them, the source of the
service, and the whole loop of the service with everything it does on a disk."""

import gc
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from kafka import KafkaConsumer, TopicPartition
from race.laps import Laps
from race.shape import START_US

from detector.engine import Engine
from detector.incidents.book import Book
from detector.metrics import STAGES, Metrics
from detector.service.deliveries import Deliveries
from detector.service.health import Health
from detector.service.kafka_options import source_settings
from detector.service.loop import Loop
from detector.service.pipeline import Pipeline
from detector.service.settings import ServiceSettings
from detector.service.warm import warm
from detector.sinks.outbox import Outbox
from detector.sources.kafka import KafkaSource
from detector.sources.kafka_merge import Partition

from .feed import Stretch

BARE: Final = "kafka-python, poll and len"
SOURCE: Final = "KafkaSource.poll"
LOOP: Final = "eastwest run, the loop"
POLL_SECONDS: Final = 0.2
GIVE_UP_SECONDS: Final = 600.0  # of one pass
DRAIN_SECONDS: Final = 10.0


@dataclass(slots=True)
class Turn:
    """One pass: wall clock, CPU time of all threads, and of the loop seconds by stage of its own metrics."""

    seconds: float
    cpu: float
    stages: dict[str, float] = field(default_factory=dict)
    turns: int = 0  # that the loop took
    restore_s: float = 0.0  # from nothing to a source that stands where the checkpoint says
    pause_s: float = 0.0  # that the path stood still for the checkpoint at the end
    checkpoint_s: float = 0.0  # until that was on the disk
    checkpoint_bytes: int = 0


@dataclass(slots=True)
class Runner:
    """All turns of one contestant over one stretch; ``said`` is what that stretch is called."""

    name: str
    said: str
    stretch: Stretch
    turns: list[Turn]

    @property
    def laps(self) -> Laps:
        """For rates and ratios."""
        return Laps(self.name, self.stretch.rows, [turn.seconds for turn in self.turns])


def race(
    bootstrap: Sequence[str], taught: Sequence[tuple[str, Stretch, Path]], rounds: int, folder: Path
) -> list[Runner]:
    """All in turn over each stretch, ``rounds`` times after one that warms up and is not counted.

    Args:
        taught: stretches with their names, and for each the folder of a service that has read what is before it.
    """
    work: list[tuple[Runner, Callable[[], Turn]]] = []
    for said, stretch, before in taught:
        work.append((Runner(BARE, said, stretch, []), partial(bare, bootstrap, stretch)))
        work.append((Runner(SOURCE, said, stretch, []), partial(source, bootstrap, stretch)))
        work.append((Runner(LOOP, said, stretch, []), partial(loop, bootstrap, stretch, before, folder)))
    for lap in range(rounds + 1):
        for runner, turn in work:
            gc.collect()
            taken = turn()
            if lap:
                runner.turns.append(taken)
    return [runner for runner, _ in work]


def bare(bootstrap: Sequence[str], stretch: Stretch) -> Turn:
    """kafka-python as its users write it; fetch sizes are those of the service."""
    wish = ServiceSettings.model_validate(settings_of(bootstrap, [stretch.topic], Path("unused"))).kafka
    consumer = KafkaConsumer(
        bootstrap_servers=list(bootstrap), enable_auto_commit=False, auto_offset_reset="none",
        fetch_max_bytes=wish.fetch_bytes, max_partition_fetch_bytes=wish.partition_bytes, max_poll_records=10_000,
    )  # fmt: skip
    at = TopicPartition(stretch.topic, 0)
    consumer.assign([at])
    consumer.seek(at, stretch.begin)
    clock, records, size = Clock(), 0, 0
    while records < stretch.records and clock.goes_on():
        for batch in consumer.poll(timeout_ms=int(1000 * POLL_SECONDS)).values():
            for record in batch:
                size += len(record.value)
            records += len(batch)
    taken = clock.turn()
    consumer.close()
    _account(BARE, (records, size), (stretch.records, stretch.size))
    return taken


def source(bootstrap: Sequence[str], stretch: Stretch) -> Turn:
    """What the service reads with: record batches taken apart, partitions merged; no row is looked at."""
    wish = ServiceSettings.model_validate(settings_of(bootstrap, [stretch.topic], Path("unused")))
    reader = KafkaSource(source_settings(wish.kafka))
    reader.begin({Partition(stretch.topic, 0): stretch.begin})
    clock, records, size = Clock(), 0, 0
    while records < stretch.records and clock.goes_on():
        for arrival in reader.poll(POLL_SECONDS):
            records += len(arrival.records)
            size += int(arrival.records.lengths.sum())
    taken = clock.turn()
    reader.close()
    _account(SOURCE, (records, size), (stretch.records, stretch.size))
    return taken


def loop(bootstrap: Sequence[str], stretch: Stretch, before: Path, folder: Path) -> Turn:
    """The service goes on from a checkpoint until it has taken the stretch."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(before, folder)
    return serve(bootstrap, stretch.topic, folder, stretch.rows)


def serve(bootstrap: Sequence[str], topic: str, folder: Path, rows: int) -> Turn:
    """The loop of the service in this process, with outbox, checkpoints and a file that is told, for so many rows.

    Raises:
        RuntimeError: they did not come, or not each of them is accounted for.
    """
    folder.mkdir(parents=True, exist_ok=True)
    settings = ServiceSettings.model_validate(settings_of(bootstrap, [topic], folder))
    warm(settings.engine)
    with ExitStack() as stack:
        alerts, letters = (
            stack.enter_context(Outbox(settings.outbox.folder / name)) for name in ("alerts", "dead-letters")
        )
        metrics = Metrics("benchmark", "")
        pipeline = Pipeline(settings, None, alerts, letters, metrics)
        service = Loop(settings, pipeline, alerts, letters, metrics, Health(), Book(settings.outbox.folder))
        began = time.perf_counter()
        reader = service.restore()
        restore_s = time.perf_counter() - began
        stack.callback(reader.close)
        deliveries = stack.enter_context(Deliveries(settings, alerts, letters, metrics))
        until = Until(pipeline.engine, rows, metrics)
        service.go(reader, deliveries, until)
        deliveries.stop(DRAIN_SECONDS)
        account, taken = pipeline.engine.accounting, until.turn
        _account(LOOP, (account.rows, account.rejected.total()), (until.wanted, 0))
    taken.restore_s, taken.pause_s = restore_s, stages(metrics)["checkpoint"] - taken.stages["checkpoint"]
    taken.checkpoint_s = shown(metrics, "checkpoint_duration_seconds")
    taken.checkpoint_bytes = int(shown(metrics, "checkpoint_bytes"))
    return taken


class Clock:
    """Wall clock and CPU time since it was made."""

    def __init__(self) -> None:
        self._began, self._cpu = time.perf_counter(), time.process_time()

    def goes_on(self) -> bool:
        """True until it is too late."""
        return time.perf_counter() - self._began < GIVE_UP_SECONDS

    def turn(self) -> Turn:
        """What it shows."""
        return Turn(time.perf_counter() - self._began, time.process_time() - self._cpu)


class Until(threading.Event):
    """Is set when the engine has taken so many rows more, and knows what that took: from the first look at it, which is
    when the loop begins, to the first that finds it set."""

    def __init__(self, engine: Engine, rows: int, metrics: Metrics) -> None:
        super().__init__()
        self.wanted = engine.accounting.rows + rows
        self._engine, self._metrics = engine, metrics
        self._clock: Clock | None = None
        self._looks = 0

    def is_set(self) -> bool:
        """Asked before each turn of the loop."""
        if self._clock is None:
            self._clock = Clock()
        if self._engine.accounting.rows < self.wanted and self._clock.goes_on():
            self._looks += 1
            return False
        self.turn = self._clock.turn()
        self.turn.stages, self.turn.turns = stages(self._metrics), self._looks
        return True


def stages(metrics: Metrics) -> dict[str, float]:
    """Seconds by stage."""
    return {stage: shown(metrics, "stage_seconds_sum", stage=stage) for stage in STAGES}


def shown(metrics: Metrics, name: str, **labels: str) -> float:
    """A number that Prometheus would see."""
    return metrics.registry.get_sample_value(f"eastwest_{name}", labels) or 0.0


def settings_of(bootstrap: Sequence[str], topics: Sequence[str], folder: Path, **more: Any) -> dict[str, Any]:
    """Settings of a service that keeps everything in a folder; what is not said is as shipped."""
    return {
        "kafka": {"bootstrap": list(bootstrap), "topics": list(topics), "group_id": f"eastwest-{topics[0]}"},
        "state": {"url": str(folder / "state")},
        "outbox": {"folder": str(folder / "outbox")},
        "alerts": {"sinks": [{"type": "file", "path": str(folder / "alerts.ndjson")}]},
        "train_until": datetime.fromtimestamp(START_US / 1e6, UTC).isoformat(),
    } | more


def _account(who: str, found: tuple[int, int], wanted: tuple[int, int]) -> None:
    if found != wanted:
        raise RuntimeError(f"{who}: {found} is accounted for, and not {wanted}")
