"""Many sorted files of rows as one stream in order of observation time, in bounded memory.

Of each file that is open a block is in memory, and a file is open from its first row's time to its last's. When more
than `MOST_OPEN` are, half of them, those with the fewest rows left, become one file first: so a row is written
log(files) times at most, and memory holds some `MOST_OPEN` times `BLOCK_ROWS` rows, whatever the files look like.
"""

import heapq
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from detector.records import FLOW, OPERATION, Decoded

BLOCK_ROWS: Final = 1 << 14
MOST_OPEN: Final = 64
SCHEMAS: Final = {"flows": FLOW, "operations": OPERATION}
_LZ4: Final = pa.ipc.IpcWriteOptions(compression="lz4")


class Run(NamedTuple):
    """A file of rows in order of observation time; its name ends with what they are: ``.flows`` or ``.operations``."""

    first: int
    """µs, of its first row."""
    name: str
    rows: int

    @property
    def kind(self) -> str:
        """``flows`` or ``operations``."""
        return self.name.rpartition(".")[2]


class Source(NamedTuple):
    """Runs that come when they are needed.

    Args:
        lower: no row of them was observed before, µs; None = that is not known, so they are needed first.
        runs: makes them.
    """

    lower: int | None
    runs: Callable[[], Sequence[Run]]


def write_run(folder: Path, name: str, frames: Iterator[pl.DataFrame]) -> Run:
    """A run of frames that are in order and not empty; durable when this returns."""
    writer, rows, first = None, 0, 0
    path = folder / name
    for frame in frames:
        table = frame.to_arrow()
        if writer is None:
            first = int(frame["obs_ts"][0])
            writer = pa.ipc.new_file(str(path), table.schema, options=_LZ4)
        writer.write_table(table, max_chunksize=BLOCK_ROWS)
        rows += frame.height
    if writer is None:
        raise ValueError("a run has rows")
    writer.close()
    with path.open("rb") as file:
        os.fsync(file.fileno())
    return Run(first, name, rows)


class _Stream:
    """A run that is read, block by block."""

    def __init__(self, folder: Path, run: Run, taken: int = 0) -> None:
        self.run, self.taken = run, taken
        self._file = pa.ipc.open_file(pa.OSFile(str(folder / run.name)))
        self._block = 0
        self.held = pl.DataFrame(schema=SCHEMAS[run.kind])
        skip = taken
        while skip >= self.held.height and self._more():
            skip -= self.held.height
            self._load()
        self.held = self.held[skip:]

    @property
    def last(self) -> int:
        """Of the rows in memory, the time of the last, µs."""
        return int(self.held["obs_ts"][-1])

    @property
    def left(self) -> int:
        """Rows not taken yet."""
        return self.run.rows - self.taken

    def take(self, limit: int) -> pl.DataFrame:
        """Rows in memory up to a time, which leave; the next ones come when none is left."""
        count = int(self.held["obs_ts"].search_sorted(limit, side="right"))
        gone, self.held = self.held[:count], self.held[count:]
        self.taken += count
        if not self.held.height and self._more():
            self._load()
        return gone

    def _more(self) -> bool:
        return bool(self._block < self._file.num_record_batches)

    def _load(self) -> None:
        frame = pl.from_arrow(self._file.get_batch(self._block))
        assert isinstance(frame, pl.DataFrame)  # noqa: S101 - of a batch
        self.held, self._block = frame, self._block + 1


@dataclass(slots=True)
class _Place:
    """How far a merge came: sources that were asked, files that were made of others."""

    asked: int = 0
    made: int = 0


class Merge:
    """Hands out the rows of sources in order of observation time; those of one time in any order.

    Args:
        folder: where runs are.
        sources: in order of ``lower``, None first.
        most_open: runs read at once.
    """

    def __init__(self, folder: Path, sources: Sequence[Source], most_open: int = MOST_OPEN) -> None:
        self._folder, self._sources, self._most_open = folder, sources, most_open
        self._place = _Place()
        self._waiting: list[Run] = []
        self._open: list[_Stream] = []
        self._done: list[Path] = []

    def steps(self) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
        """Flows and operations, each sorted; no row of a step was observed before one of an earlier step."""
        while (limit := self._admitted()) is not None:
            step = _rows(self._open, "flows", limit), _rows(self._open, "operations", limit)
            self._close()
            yield step

    def batches(self, batch_rows: int) -> Iterator[Decoded]:
        """The same, ``batch_rows`` at a time at most. What was handed out is removed."""
        for flows, operations in self.steps():
            yield from slices(flows, operations, batch_rows)
            self.forget()
        self.forget()

    def state(self) -> dict[str, Any]:
        """Where it is between two steps (JSON types); what it needs to go on is kept until `forget`."""
        return {
            "asked": self._place.asked,
            "made": self._place.made,
            "waiting": [list(run) for run in sorted(self._waiting)],
            "open": [[*stream.run, stream.taken] for stream in self._open],
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on where another one of the same sources was."""
        self._place = _Place(state["asked"], state["made"])
        self._waiting = [Run(*run) for run in state["waiting"]]
        self._open = [_Stream(self._folder, Run(*run), taken) for *run, taken in state["open"]]

    @property
    def asked(self) -> int:
        """How many sources were asked for their runs."""
        return self._place.asked

    def forget(self) -> None:
        """Remove the runs that were handed out."""
        for path in self._done:
            path.unlink(missing_ok=True)
        self._done = []

    def _admitted(self) -> int | None:
        """Open what has rows to hand out; up to which time all are there, µs. None = nothing is left."""
        while True:
            limit = min((stream.last for stream in self._open), default=None)
            if self._asks(limit):
                continue
            if self._waiting and (limit is None or self._waiting[0].first <= limit):
                self._open.append(_Stream(self._folder, heapq.heappop(self._waiting)))
                if len(self._open) > self._most_open:
                    self._join()
                continue
            return limit

    def _asks(self, limit: int | None) -> bool:
        """Ask the next source, if its rows may belong before what is known."""
        if self._place.asked == len(self._sources):
            return False
        source = self._sources[self._place.asked]
        known = [limit, self._waiting[0].first if self._waiting else None]
        soonest = min((time for time in known if time is not None), default=None)
        if source.lower is not None and soonest is not None and source.lower > soonest:
            return False
        self._place.asked += 1
        for run in source.runs():
            heapq.heappush(self._waiting, run)
        return True

    def _join(self) -> None:
        """Of half of what is open, make one file."""
        kinds = [stream.run.kind for stream in self._open]
        kind = max(sorted(set(kinds)), key=kinds.count)
        alike = sorted((s for s in self._open if s.run.kind == kind), key=lambda stream: (stream.left, stream.run))
        few = alike[: max(2, len(alike) // 2)]
        self._open = [stream for stream in self._open if stream not in few]
        self._done += [self._folder / stream.run.name for stream in few]
        self._place.made += 1
        made = write_run(self._folder, f"joined-{self._place.made:06d}.{kind}", _drained(few, kind))
        self._open.append(_Stream(self._folder, made))

    def _close(self) -> None:
        ended = [stream for stream in self._open if not stream.left]
        self._done += [self._folder / stream.run.name for stream in ended]
        self._open = [stream for stream in self._open if stream.left]


def _drained(streams: list[_Stream], kind: str) -> Iterator[pl.DataFrame]:
    """All that is left of some streams."""
    while left := [stream for stream in streams if stream.left]:
        yield _rows(left, kind, min(stream.last for stream in left))


def _rows(streams: Sequence[_Stream], kind: str, limit: int) -> pl.DataFrame:
    alike = sorted((stream for stream in streams if stream.run.kind == kind), key=lambda stream: stream.run.name)
    taken = [stream.take(limit) for stream in alike]
    rows = pl.concat([pl.DataFrame(schema=SCHEMAS[kind]), *(part for part in taken if part.height)])
    return rows.sort("obs_ts", maintain_order=True)


def slices(flows: pl.DataFrame, operations: pl.DataFrame, batch_rows: int) -> Iterator[Decoded]:
    """Both tables, each sorted, by time and ``batch_rows`` at a time."""
    times = np.concatenate([flows["obs_ts"].to_numpy(), operations["obs_ts"].to_numpy()])
    is_flow = np.argsort(times, kind="stable") < flows.height
    taken_flows = np.concatenate([[0], np.cumsum(is_flow)])
    for start in range(0, times.size, batch_rows):
        stop = min(start + batch_rows, times.size)
        first, last = int(taken_flows[start]), int(taken_flows[stop])
        yield Decoded(flows[first:last], operations[start - first : stop - last])
