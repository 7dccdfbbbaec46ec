"""What a second core adds: threads of one process, or two shards that know nothing of each other.

All read the same rows from their own copy; rows a second of both shards together are taken from the first start to the
last end. A shard is held to a core of its own. All take turns.
"""

import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from typing import TYPE_CHECKING, Any, Final

from . import cores, eastwest
from .eastwest import Sources
from .folder import Folder
from .laps import Laps

if TYPE_CHECKING:
    from multiprocessing.queues import SimpleQueue

ALONE: Final = "1 process, 1 core"
TOGETHER: Final = "2 processes, 1 core each"
THREADS: Final = "1 process, all cores"
_WAIT_S: Final = 300.0
_own: dict[str, Any] = {}  # of a worker: its sources, the barrier, its core and all of them


def measure(folder: Folder, rounds: int) -> list[Laps]:
    """Seconds of each, over the same rows of Zeek JSON."""
    context = get_context("spawn")
    every = cores.available()
    taken: SimpleQueue[list[int]] = context.SimpleQueue()
    for worker in range(2):
        taken.put(every[worker % len(every) :][:1] if every else [])
    rows = eastwest.sized(eastwest.JSON, Sources(folder))
    laps: dict[str, list[float]] = {ALONE: [], TOGETHER: [], THREADS: []}
    given = (folder, context.Barrier(2), taken, every)
    with ProcessPoolExecutor(2, mp_context=context, initializer=_begin, initargs=given) as pool:
        for lap in range(rounds + 1):
            for name, found in laps.items() if lap else [(TOGETHER, [])]:  # both warm up
                workers = 2 if name == TOGETHER else 1
                seconds = _span(list(pool.map(_pass, [rows] * workers, [workers == 2] * workers, [name] * workers)))
                found.append(seconds)
    return [Laps(name, rows * (2 if name == TOGETHER else 1), found) for name, found in laps.items()]


def _begin(folder: Folder, barrier: Barrier, taken: "SimpleQueue[list[int]]", every: list[int]) -> None:
    _own.update(sources=Sources(folder), barrier=barrier, core=taken.get(), every=every)


def _pass(rows: int, together: bool, name: str) -> tuple[float, float]:
    """Begin and end; the clock is that of the machine (CLOCK_MONOTONIC, the same in all its processes)."""
    cores.hold_to(_own["every"] if name == THREADS else _own["core"])
    work = _own["sources"].run(eastwest.JSON, rows)
    if together:  # so that each worker takes one
        _own["barrier"].wait(_WAIT_S)
    began = time.perf_counter()
    work()
    return began, time.perf_counter()


def _span(passes: list[tuple[float, float]]) -> float:
    return max(end for _, end in passes) - min(begin for begin, _ in passes)
