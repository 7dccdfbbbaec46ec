"""What a second process adds: two shards that know nothing of each other, against one alone.

Both read the same rows from their own copy; rows a second of both together are taken from the first start to the last
end. Alone and together take turns.
"""

import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from typing import Any, Final

from . import eastwest
from .eastwest import Sources
from .folder import Folder
from .laps import Laps

ALONE: Final = "1 process"
TOGETHER: Final = "2 processes"
_WAIT_S: Final = 300.0
_own: dict[str, Any] = {}  # of a worker: its sources and the barrier


def measure(folder: Folder, rounds: int) -> list[Laps]:
    """Seconds of one and of two processes, over the same rows of Zeek JSON each."""
    context = get_context("spawn")
    barrier = context.Barrier(2)
    rows = eastwest.sized(eastwest.JSON, Sources(folder))
    alone, together = [], []
    with ProcessPoolExecutor(2, mp_context=context, initializer=_begin, initargs=(folder, barrier)) as pool:
        list(pool.map(_pass, [rows] * 2, [True] * 2))  # warms up
        for _ in range(rounds):
            alone.append(_span([pool.submit(_pass, rows, False).result()]))
            together.append(_span(list(pool.map(_pass, [rows] * 2, [True] * 2))))
    return [Laps(ALONE, rows, alone), Laps(TOGETHER, 2 * rows, together)]


def _begin(folder: Folder, barrier: Barrier) -> None:
    _own.update(sources=Sources(folder), barrier=barrier)


def _pass(rows: int, together: bool) -> tuple[float, float]:
    """Begin and end; the clock is that of the machine (CLOCK_MONOTONIC, the same in all its processes)."""
    work = _own["sources"].run(eastwest.JSON, rows)
    if together:  # so that each worker takes one
        _own["barrier"].wait(_WAIT_S)
    began = time.perf_counter()
    work()
    return began, time.perf_counter()


def _span(passes: list[tuple[float, float]]) -> float:
    return max(end for _, end in passes) - min(begin for begin, _ in passes)
