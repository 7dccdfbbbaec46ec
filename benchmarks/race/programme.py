"""The parts of the race, each in a fresh process, one after the other; and everything that came of it."""

import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final, TypeVar

from rich.console import Console

import detector

from . import batches, cores, eastwest, forest, growth, latency, pair, parsers, rivals, stages, state
from .folder import Folder
from .forest import Forests
from .growth import Growth
from .laps import Laps, race
from .latency import Latency
from .shape import Network, Shape
from .stages import Life
from .state import State
from .targets import Target, targets

ONE_THREAD: Final = ("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
PACKAGES: Final = ("polars", "duckdb", "msgspec", "river", "numba", "numpy", "pyarrow", "scikit-learn")
ONE_CORE: Final = frozenset({"laps", "life", "growth", "forest"})
"""Parts in which eastwest is compared with others, or stages with each other: nobody may use a second core."""
READY_TRIES: Final = 3

Made = TypeVar("Made")


@dataclass(slots=True)
class Report:
    """All numbers, as the JSON file has them."""

    shape: Shape
    machine: dict[str, str] = field(default_factory=dict)
    bytes_a_row: dict[str, int] = field(default_factory=dict)
    laps: dict[str, Laps] = field(default_factory=dict)
    life: list[Life] = field(default_factory=list)
    latency: list[Latency] = field(default_factory=list)
    state: State | None = None
    ready_s: float | None = None
    growth: list[Growth] = field(default_factory=list)
    forest: list[Forests] = field(default_factory=list)
    gates: dict[str, bool] = field(default_factory=dict)
    digest: str = ""
    targets: list[Target] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is run: the shape, rounds, edges to grow to; without ``apart`` all but pairs stay in this process."""

    shape: Shape
    rounds: int = 3
    known: Sequence[int] = growth.KNOWN
    apart: bool = True


def run(plan: Plan, console: Console) -> Report:
    """The whole race."""
    report = Report(plan.shape, machine())
    with tempfile.TemporaryDirectory(prefix="eastwest-race-") as path, one_thread():
        folder = Folder(Path(path), plan.shape)
        report.bytes_a_row = _part("make", partial(make, folder), plan, report, console)
        for name, work in _parts(folder, plan).items():
            enter(report, name, _part(name, work, plan, report, console))
        report.ready_s = min(_start(folder) for _ in range(READY_TRIES))
    report.targets = targets(report)
    return report


def document(report: Report) -> dict[str, Any]:
    """Everything that was measured and what follows from it, for JSON."""
    found = asdict(report)
    for name, one in report.laps.items():
        found["laps"][name] |= {"rows_per_second": one.rate, "ns_per_row": one.ns}
    found["targets"] = [asdict(target) | {"met": target.met} for target in report.targets]
    if report.state:
        found["state"] |= {"bytes_per_edge": report.state.per_edge, "bytes_per_host": report.state.per_host}
    return found


def _parts(folder: Folder, plan: Plan) -> dict[str, Callable[[], Any]]:
    return {
        "gates": partial(gates, folder),
        "laps": partial(laps, folder, plan.rounds),
        "life": partial(stages.measure, folder, plan.rounds),
        "latency": partial(latency.measure, folder),
        "state": partial(state.measure, folder),
        "growth": partial(growth.measure, folder, plan.known, plan.rounds),
        "pair": partial(pair.measure, folder, plan.rounds),
        "forest": partial(forest.measure, max(plan.rounds, 5)),
    }


def make(folder: Folder) -> dict[str, int]:
    """Write all files and teach the engine. Returns bytes a row."""
    network = Network(folder.shape)
    sizes = folder.make(network)
    eastwest.teach(folder, network)
    return sizes


def laps(folder: Folder, rounds: int) -> dict[str, Laps]:
    """Everybody who is compared with somebody takes turns."""
    texts = [contestant for name in ("zeek.json", "zeek.tsv", "goflow2.json")
             for contestant in parsers.contestants(folder.text(name))]  # fmt: skip
    sent = batches.contestants(folder.text("zeek.json"))
    return race([*texts, *sent, *rivals.contestants(folder), *eastwest.contestants(folder)], rounds)


def gates(folder: Folder) -> tuple[dict[str, bool], str]:
    """Whether the times mean anything, and the digest of what was found."""
    held, digest = eastwest.gates(folder)
    return held | {"both group-bys: same pairs, same bytes": rivals.sums_agree(folder)}, digest


def enter(report: Report, name: str, made: Any) -> None:
    """The result of a part into the report."""
    if name == "gates":
        report.gates, report.digest = made
    elif name == "laps":
        report.laps = made
    elif name == "pair":
        report.laps |= {laps.name: laps for laps in made}
    else:
        setattr(report, name, made)


def _part(name: str, work: Callable[[], Made], plan: Plan, report: Report, console: Console) -> Made:
    began = time.perf_counter()
    if plan.apart:
        held = cores.available()[:1] if name in ONE_CORE else []
        with _process(held) as pool:
            made = pool.submit(work).result()
    else:
        made = work()
    report.seconds[name] = round(time.perf_counter() - began, 1)
    console.print(f"{name}: {report.seconds[name]:.0f} s", style="dim")
    return made


def _process(held: list[int]) -> ProcessPoolExecutor:
    """One new process, held to some cores."""
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=cores.hold_to, initargs=(held,))


def _start(folder: Folder) -> float:
    """Seconds from nothing to an engine that has scored something: a new interpreter, imports, kernels, state."""
    began = time.perf_counter()
    with _process([]) as pool:
        pool.submit(state.ready, folder).result()
        return time.perf_counter() - began


@contextmanager
def one_thread() -> Iterator[None]:
    """What processes that are started meanwhile may use."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value


def machine() -> dict[str, str]:
    """Where and with what it was measured."""
    names = {
        "eastwest": detector.__version__,
        "python": platform.python_version(),
        "cores": str(os.cpu_count()),
        "load": f"{os.getloadavg()[0]:.2f}",
    }
    return names | {name: version(name) for name in PACKAGES} | {"system": platform.platform(terse=True)}
