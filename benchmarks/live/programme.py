"""The parts of the measurement, one after the other against one broker; and everything that came of it."""

import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from race import cores
from race.programme import machine, one_thread
from race.shape import Network, Shape
from rich.console import Console

from tests.kafka.broker import Cluster

from . import feed, latency, passes
from .pace import Pace
from .passes import LOOP, Runner
from .report import Report, facts, targets

SINGLE: Final = "one line a record"
SEVERAL: Final = f"{feed.MANY} lines a record"
TOPICS: Final = {SINGLE: 1, SEVERAL: feed.MANY}
QUIET: Final = 1_000.0  # rows a second
LOAD: Final = 0.5  # of what the loop takes, for latency under load


@dataclass(frozen=True, slots=True)
class Plan:
    """What is run: the shape, whose ``rows`` are those of a pass; rounds; seconds of each pace.

    Without ``apart`` passes run in this process.
    """

    shape: Shape
    rounds: int = 3
    seconds: float = 40.0
    apart: bool = True


def run(plan: Plan, bootstrap: Sequence[str], console: Console) -> Report:
    """Everything, against a broker on this machine; one of its own without ``bootstrap``."""
    report = Report(plan.shape, machine() | facts())
    with tempfile.TemporaryDirectory(prefix="eastwest-stream-") as path, _kafka(Path(path), bootstrap) as servers:
        began = time.perf_counter()

        def part(name: str) -> None:
            nonlocal began
            report.seconds[name] = round(time.perf_counter() - began, 1)
            console.print(f"{name}: {report.seconds[name]:.0f} s", style="dim")
            began = time.perf_counter()

        name = f"eastwest-stream-{time.time_ns() % 10**9}"
        report.runners = _alone(plan, partial(rates, plan, servers, name, Path(path)))
        part("rates")
        report.live = latency.measure(servers, plan.shape, paces(plan, report.runners), Path(path) / "live", name)
        part("latency")
    report.targets = list(targets(report))
    return report


def rates(plan: Plan, bootstrap: Sequence[str], name: str, folder: Path) -> list[Runner]:
    """Make the topics, teach a service for each, and have all take turns."""
    shape, network = plan.shape, Network(plan.shape)
    taught = []
    for said, many in TOPICS.items():
        topic, before = f"{name}-{many}", folder / f"taught-{many}"
        feed.make_topics(bootstrap, topic)
        history = feed.fill(bootstrap, topic, [network.history(), network.flows(0, shape.lead)], feed.MANY)
        passes.serve(bootstrap, topic, before, history.rows)
        pieces = network.pieces(shape.lead, shape.lead + shape.rows)
        taught.append((said, feed.fill(bootstrap, topic, pieces, many), before))
    try:
        return passes.race(bootstrap, taught, plan.rounds, folder / "pass")
    finally:
        for _, _, before in taught:
            shutil.rmtree(before)


def paces(plan: Plan, runners: Sequence[Runner]) -> list[Pace]:
    """A quiet one, and half of what the loop took, for each kind of topic."""
    loops = {one.said: one.laps.rate for one in runners if one.name == LOOP}
    wanted = [("quiet, " + SINGLE, QUIET, 1), *((f"half, {said}", LOAD * loops[said], TOPICS[said]) for said in TOPICS)]
    first, made = plan.shape.lead + plan.shape.rows, []
    for name, rate, many in wanted:
        made.append(Pace(name, rate, plan.seconds, many, first))
        first += made[-1].rows
    return made


def _alone(plan: Plan, work: "partial[list[Runner]]") -> list[Runner]:
    """In a new process that has one core and one thread, as each consumer would; the broker has what is left."""
    if not plan.apart:
        return work()
    with one_thread():
        held = cores.available()[:1]
        context = get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context, initializer=cores.hold_to, initargs=(held,)) as pool:
            return pool.submit(work).result()


@contextmanager
def _kafka(folder: Path, bootstrap: Sequence[str]) -> Iterator[Sequence[str]]:
    if bootstrap:
        yield bootstrap
        return
    with Cluster(folder / "kafka") as cluster:
        yield cluster.bootstrap
