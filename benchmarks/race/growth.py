"""What a row costs as more edges are known.

Feeding millions of edges would take longer than the whole race. So every count table that has more entries than the
network has hosts, and thus grows with edges, is filled in place: with random 64-bit keys, and with cells and times of
entries that are there, in the proportion in which the edges grow. Rows go on meeting the taught edges; what they pay
for is tables that no longer fit any cache. A table stops short of the bound of the settings: at it the oldest entries
would go.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np

from detector.engine import Engine
from detector.records import Decoded
from detector.state.counts import Counts

from . import eastwest
from .eastwest import Sources
from .folder import BATCH, Folder
from .laps import Contestant, Laps, Pass, race, some
from .state import captured, held, reachable

KNOWN: Final = (5_000_000, 50_000_000)
SNAPSHOT_LIMIT_S: Final = 2.0
"""The state of millions of edges is only captured when that of the taught ones takes less: it takes memory too."""
_PASS_S: Final = 2.0
_BELOW_BOUND: Final = 0.95
_SEED: Final = 6
_LOAD: Final = 0.6  # of a table, at most; see `state.counts`
_MOST_MEMORY: Final = 0.8  # of what is free
_CAPTURE_COPIES: Final = 2  # of the state while it is captured


@dataclass(frozen=True, slots=True)
class Growth:
    """Attributes:
    edges: known.
    entries: of all tables.
    tables: bytes of all arrays.
    full: tables that hold less than their share because of their bound.
    ns: nanoseconds a row from decoded frames; None = skipped, see ``note``.
    times_small: this cost over that of the taught edges alone, median of the rounds.
    capture_s: seconds that the path stops; None = not measured.
    """

    edges: int
    rows: int = 0
    entries: int = 0
    tables: int = 0
    full: int = 0
    ns: float | None = None
    times_small: float | None = None
    capture_s: float | None = None
    note: str = ""


def measure(folder: Folder, known: Sequence[int], rounds: int) -> list[Growth]:
    """Cost with the taught edges, and with as many as ``known`` says; all engines take turns over the same slices."""
    grown = [_grow(folder, edges) for edges in known]
    engines = {folder.shape.edges: eastwest.taught(folder)}
    engines |= {growth.edges: engine for growth, engine in grown if engine is not None}
    rows = some(min(eastwest.sized(eastwest.FRAMES, Sources(folder), _PASS_S), folder.shape.lines // (rounds + 1)))
    frames = folder.frames(rows * (rounds + 1), min(rows, BATCH))
    runs = {edges: _slices(engine, frames, rows) for edges, engine in engines.items()}
    laps = race([Contestant(str(edges), rows, run, once=True) for edges, run in runs.items()], rounds)
    small = laps[str(folder.shape.edges)]
    found = []
    for growth in [Growth(folder.shape.edges), *(growth for growth, _ in grown)]:
        engine = engines.get(growth.edges)
        found.append(growth if engine is None else _described(growth, engine, laps[str(growth.edges)], small))
    return _with_captures(found, engines)


def _grow(folder: Folder, edges: int) -> tuple[Growth, Engine | None]:
    """An engine that knows so many edges, or the reason why there is none."""
    engine, factor = eastwest.taught(folder), edges / folder.shape.edges
    tables = edge_tables(engine, folder.shape.hosts)
    wanted = [round(factor * int(table.used[0])) for table in tables]
    bound = min(table.max_entries for table in tables)
    if min(wanted) > bound:
        return Growth(edges, note=f"no table may hold them: its bound is {bound:,} entries (max_entries)"), None
    needed, free = held(engine) + memory(tables, wanted), free_memory()
    if needed > _MOST_MEMORY * free:
        return Growth(edges, note=f"needs {needed / 1e9:.0f} GB of memory; {free / 1e9:.0f} are free"), None
    full = sum(fill(table, entries) for table, entries in zip(tables, wanted, strict=True))
    return Growth(edges, full=full), engine


def edge_tables(engine: Engine, hosts: int) -> list[Counts]:
    """The count tables of the scorer that grow with edges."""
    tables = [thing for thing in reachable(engine.scorer) if isinstance(thing, Counts)]
    return [table for table in tables if int(table.used[0]) > hosts]


def memory(tables: Sequence[Counts], wanted: Sequence[int]) -> int:
    """Bytes of the filled tables, whose capacities are powers of two, and of three copies of the entries of the
    largest: so many there are while it is filled."""
    whole, most = 0, 0
    for table, entries in zip(tables, wanted, strict=True):
        entry = sum(array[:1].nbytes for array in (table.keys, table.cells, table.last))
        filled = min(entries, table.max_entries)
        whole += entry << math.ceil(math.log2(filled / _LOAD))
        most = max(most, entry * filled)
    return whole + 3 * most


def fill(table: Counts, entries: int) -> bool:
    """Add random entries until there are so many; whether the bound came first."""
    draw = np.random.default_rng(_SEED)
    limit = min(entries, int(_BELOW_BOUND * table.max_entries))
    arrays = table.arrays()
    there = arrays["keys"].size
    more = max(limit - there, 0)
    like = draw.integers(0, there, more)
    new = draw.integers(1, 1 << 64, more, dtype=np.uint64)
    added = {"keys": new, "cells": arrays["cells"][like], "last": arrays["last"][like], "since": arrays["since"][like]}
    table.load(arrays | {name: np.concatenate([arrays[name], array]) for name, array in added.items()})
    return limit < entries


def free_memory() -> int:
    """Bytes that can be had without swapping (Linux, proc(5))."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    found = next(line for line in lines if line.startswith("MemAvailable:"))
    return int(found.split()[1]) * 1024


def _slices(engine: Engine, frames: Sequence[Decoded], rows: int) -> Callable[[], Pass]:
    """Each pass takes the next rows of the stream."""
    rest, batches = iter(frames), rows // frames[0].rows
    return lambda: partial(eastwest.push, engine, iter(list(islice(rest, batches))))


def _described(growth: Growth, engine: Engine, laps: Laps, small: Laps) -> Growth:
    tables = [thing for thing in reachable(engine) if isinstance(thing, Counts)]
    entries = sum(int(table.used[0]) for table in tables)
    return replace(
        growth, entries=entries, tables=held(engine), ns=laps.ns, times_small=small.against(laps), rows=laps.rows
    )


def _with_captures(found: Sequence[Growth], engines: Mapping[int, Engine]) -> list[Growth]:
    """Smallest first; once one takes too long no larger one is tried."""
    timed: list[Growth] = []
    slow = False
    for growth in found:
        if growth.edges not in engines or slow or growth.tables * _CAPTURE_COPIES > _MOST_MEMORY * free_memory():
            timed.append(growth)
            continue
        taken = captured(engines[growth.edges])
        timed.append(replace(growth, capture_s=taken))
        slow = taken > SNAPSHOT_LIMIT_S
    return timed
