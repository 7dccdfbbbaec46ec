"""Who decodes the parts: this process, some processes of this machine, or Ray."""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context, parent_process
from typing import Final, Literal

from detector.backtest.parts import Part
from detector.backtest.pieces import Job, Piece, Tick, decode, load
from detector.errors import WorkerFailed

Start = Callable[[Part, Job, Tick], Callable[[], Piece]]
"""Begins a part; what it returns waits for the piece."""
_KILLED: Final = "a worker was killed, perhaps for want of memory; run the same command again to go on"


@dataclass(frozen=True, slots=True)
class Means:
    """Who does the work, and how often it is kept. No result depends on it.

    Args:
        workers: processes that decode; one = this process does everything, but with Ray.
        checkpoint_seconds: between two checkpoints.
        engine: whose processes they are.
        address: of a Ray cluster, ``host:port``; None = a Ray of our own on this machine.
    """

    workers: int = 1
    checkpoint_seconds: float = 300.0
    engine: Literal["processes", "ray"] = "processes"
    address: str | None = None

    @property
    def ahead(self) -> int:
        """Parts that are begun before they are needed: of each worker one in work and one that is done."""
        return 1 if self.workers == 1 and self.engine == "processes" else 2 * self.workers


ALONE: Final = Means()


def workers(means: Means) -> AbstractContextManager[Start]:
    """Those who decode parts.

    Raises:
        MissingLibrary: Ray is not installed.
    """
    if means.engine == "ray":
        from detector.backtest.cluster import nodes  # noqa: PLC0415 - an extra, and slow to import

        return nodes(means.workers, means.address)
    return nullcontext(_here) if means.workers == 1 else _processes(means.workers)


def _here(part: Part, job: Job, tick: Tick) -> Callable[[], Piece]:
    """This process decodes a part when it is needed."""
    return lambda: decode(part, job, tick)


@contextmanager
def _processes(count: int) -> Iterator[Start]:
    """So many processes of this machine decode, and end with this one, whatever ends it."""
    with ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=_end_with_parent) as pool:

        def start(part: Part, job: Job, tick: Tick) -> Callable[[], Piece]:
            return partial(_waited, pool.submit(_decode, part, job), part, job)

        try:
            yield start
        finally:
            pool.shutdown(cancel_futures=True)


def _waited(future: Future[None], part: Part, job: Job) -> Piece:
    """
    Raises:
        WorkerFailed: the one who decodes was killed.
    """
    try:
        future.result()
    except BrokenProcessPool:
        raise WorkerFailed(_KILLED) from None
    piece = load(job.folder, part)
    if piece is None:
        raise WorkerFailed(_KILLED)
    return piece


def _decode(part: Part, job: Job) -> None:
    """In a worker: the piece stays in the folder that all share."""
    decode(part, job)


def _end_with_parent() -> None:
    """A worker waits for work in a pipe that it holds both ends of: nothing tells it that nobody is there any more."""
    parent = parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
