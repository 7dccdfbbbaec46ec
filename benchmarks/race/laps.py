"""How the race is timed: rounds in which every contestant takes its turn, and medians of what came of them.

A busy machine slows all of a round, so a ratio is taken within each round and the median over the rounds is told.
"""

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

Pass = Callable[[], int]
"""One timed pass; returns the rows it accounted for."""
SHORT_S: Final = 0.2
"""Of a pass that takes less, the mean of as many as take this long is told."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """Who is timed.

    Args:
        rows: that a pass accounts for.
        prepare: everything that is not timed, before each pass.
        once: a pass changes what it runs on, so that it may not run twice.
        warm: it has run before, so that its first turn counts.
    """

    name: str
    rows: int
    prepare: Callable[[], Pass]
    once: bool = False
    warm: bool = False


@dataclass(frozen=True, slots=True)
class Laps:
    """What the passes of a contestant took: seconds of one pass, one entry a round."""

    name: str
    rows: int
    seconds: list[float]

    @property
    def rate(self) -> float:
        """Rows a second."""
        return median(self.rows / taken for taken in self.seconds)

    @property
    def ns(self) -> float:
        """Nanoseconds a row."""
        return median(taken / self.rows * 1e9 for taken in self.seconds)

    def against(self, other: "Laps") -> float:
        """Rate over the rate of ``other``, median of the rounds."""
        pairs = zip(self.seconds, other.seconds, strict=True)
        return median((self.rows / own) / (other.rows / theirs) for own, theirs in pairs)


def race(contestants: Sequence[Contestant], rounds: int) -> dict[str, Laps]:
    """All contestants in turn, ``rounds`` times, after a turn that warms up and is not counted."""
    taken: dict[str, list[float]] = {contestant.name: [] for contestant in contestants}
    for lap in range(rounds + 1):
        for contestant in contestants:
            if contestant.warm and not lap:
                continue
            seconds = once(contestant)
            if lap:
                taken[contestant.name].append(seconds)
    return {one.name: Laps(one.name, one.rows, taken[one.name]) for one in contestants}


def once(contestant: Contestant) -> float:
    """Seconds of one pass.

    Raises:
        RuntimeError: rows went missing, so the time says nothing.
    """
    work = contestant.prepare()
    gc.collect()
    passes, began = 0, time.perf_counter()
    while True:
        rows = work()
        passes += 1
        taken = time.perf_counter() - began
        if contestant.once or taken >= SHORT_S:
            break
    if rows != contestant.rows:
        raise RuntimeError(f"{contestant.name}: {rows:,} of {contestant.rows:,} rows are accounted for")
    return taken / passes


def some(wanted: float) -> int:
    """The largest of 1, 2, 5, 10, 20, ... up to a number, at least 1."""
    step, found = 1, 1
    while step <= wanted:
        found = max(factor * step for factor in (1, 2, 5) if factor * step <= wanted)
        step *= 10
    return found
