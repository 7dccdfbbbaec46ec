"""The reorder buffer: rows leave in order of observation time, whatever order they came in.

A row waits until the watermark (the latest observation time seen) is two `window`s past it: one absorbs the
interleaving of files, topics and sensors, and within the other lies the end of its other half, should it be half of a
NetFlow conversation. As long as no row is more than a window behind, it makes no difference when what may leave does.

For rows that are further behind it would. So time goes in *ticks*, a 64th of a window of observation time, and
rows leave at the first row of a tick: what has left when a row comes, whether it is late, and which halves still wait
for each other follow from the order in which rows came, and not from the batches they came in. What comes after its
time has left is late: it leaves at the next tick, before what is due then.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from detector.normalize.pairing import join_halves, partners
from detector.records import FLOW, OPERATION, Decoded, merge

_NEVER: Final = int(np.iinfo(np.int64).min) // 2  # room for windows below it
_TICKS: Final = 64  # in a window; rows wait up to a tick longer, 31 ms by default, and those of a tick leave together

_HALVES: Final = {"orig_ts": pl.Int64(), "resp_ts": pl.Int64(), "paired": pl.Boolean(), "late": pl.Boolean()}
_BUFFERED_FLOW: Final = {**FLOW, "late": pl.Boolean()}
_BUFFERED_OPERATION: Final = {**OPERATION, "late": pl.Boolean()}
_FLOW_ORDER: Final = [
    "obs_ts", "ts", "orig_h", "orig_p", "resp_h", "resp_p", "proto", "uid", "conn_state", "orig_bytes", "resp_bytes",
    "orig_pkts", "resp_pkts", "orig_flags", "service", "log", "exporter", "source", "position",
]  # fmt: skip
_OPERATION_ORDER: Final = [
    "obs_ts", "ts", "orig_h", "orig_p", "resp_h", "resp_p", "protocol", "operation", "uid", "object", "outcome",
    "user", "exporter", "log", "source", "position",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Released:
    """Rows whose turn has come, each frame in scoring order.

    ``flows`` has the columns of `records.FLOW` plus ``orig_ts``, ``resp_ts``, ``paired``, ``late``;
    ``operations`` those of
    `records.OPERATION` plus ``late``.
    """

    flows: pl.DataFrame
    operations: pl.DataFrame


class Order:
    """The buffer.

    Args:
        window_us: how long a row waits for rows that belong before it, µs of observation time.
    """

    def __init__(self, window_us: int) -> None:
        self.window_us = window_us
        self.watermark = _NEVER
        self.released = _NEVER  # rows up to here have left
        self.flows = pl.DataFrame(schema=_BUFFERED_FLOW)
        self.operations = pl.DataFrame(schema=_BUFFERED_OPERATION)

    def push(self, parts: Sequence[Decoded]) -> list[Released]:
        """Take rows; returns those whose turn has come, in order.

        Rows came in the order of their turns where all parts have ``arrived``; else part by part, and those of a part
        in order of observation time.
        """
        taken = merge(parts)
        came = _order_of_arrival(parts, taken)
        times = np.concatenate([taken.flows["obs_ts"].to_numpy(), taken.operations["obs_ts"].to_numpy()])[came]
        latest = np.maximum.accumulate(np.insert(times, 0, self.watermark))
        tick = max(self.window_us // _TICKS, 1)
        ends = np.flatnonzero(np.diff(latest // tick))  # rows that begin a tick, and so end what came before
        cuts = np.maximum(latest[1:][ends] - 2 * self.window_us, self.released)
        gone = np.insert(cuts, 0, self.released)[np.searchsorted(ends, np.arange(times.size), "left")]
        behind = times <= latest[:-1] - self.window_us
        stops = _stops(ends, behind)
        self.watermark = int(latest[-1])
        late, piece = np.empty((2, times.size), dtype=np.int64)
        late[came], piece[came] = times <= gone, np.searchsorted(ends[stops], np.arange(times.size), "left")
        flows = taken.flows.with_columns(late=pl.Series(late[: taken.flows.height] == 1))
        operations = taken.operations.with_columns(late=pl.Series(late[taken.flows.height :] == 1))
        released = []
        for number, stop in enumerate(stops):
            self._wait(_piece(flows, piece[: flows.height], number), _piece(operations, piece[flows.height :], number))
            released.append(self._release(int(cuts[stop])))
        rest = len(stops)
        self._wait(_piece(flows, piece[: flows.height], rest), _piece(operations, piece[flows.height :], rest))
        return released

    def flush(self) -> Released:
        """All rows that are left."""
        released = self._release(np.iinfo(np.int64).max)
        self.released = self.watermark
        return released

    def _wait(self, flows: pl.DataFrame, operations: pl.DataFrame) -> None:
        """What waits is in order at all times."""
        self.flows = _into(self.flows, flows, _FLOW_ORDER)
        self.operations = _into(self.operations, operations, _OPERATION_ORDER)

    def _release(self, cut: int) -> Released:
        self.released = cut
        operations, self.operations = _parted(self.operations, self.operations["obs_ts"].to_numpy() <= cut)
        return Released(self._release_flows(cut), operations)

    def arrays(self) -> dict[str, NDArray[np.uint8]]:
        """The waiting rows, for a snapshot: Arrow IPC bytes."""
        return {"flows": _packed(self.flows), "operations": _packed(self.operations)}

    def state(self) -> dict[str, int]:
        """The rest of a snapshot: how far time has come, µs."""
        return {"watermark": self.watermark, "released": self.released}

    def load(self, arrays: Mapping[str, NDArray[np.uint8]]) -> None:
        """Replace the waiting rows by what `arrays` returned."""
        self.flows, self.operations = (
            pl.read_ipc(io.BytesIO(arrays[name].tobytes())) for name in ("flows", "operations")
        )

    def load_state(self, state: Mapping[str, int]) -> None:
        """Replace the time by what `state` returned."""
        self.watermark, self.released = state["watermark"], state["released"]

    def _release_flows(self, cut: int) -> pl.DataFrame:
        flows = self.flows
        partner, original = partners(flows, self.window_us)
        row = np.arange(flows.height)
        half = np.where(original >= 0, original, row)
        mate = partner[half]
        last = np.maximum(half, mate)
        times = flows["obs_ts"].to_numpy()
        go = np.where(mate >= 0, times[last], times) <= cut
        gone, self.flows = _parted(flows, go)
        single = (mate < 0)[go]
        if single.all():
            return _with_halves(gone, None)
        pairs = row[go & (mate >= 0) & ((original >= 0) | (mate > row))]
        joined = join_halves(flows, np.minimum(half, mate)[pairs], last[pairs], pairs)
        return _with_halves(gone.filter(pl.Series(single)), joined)


def _order_of_arrival(parts: Sequence[Decoded], taken: Decoded) -> NDArray[np.int64]:
    """Rows of ``taken``, flows first, in the order in which they came."""
    if not parts:
        return np.empty(0, dtype=np.int64)
    in_turns = all(part.arrived is not None for part in parts)
    keys, numbers = [], []
    for frames in ([part.flows for part in parts], [part.operations for part in parts]):
        for number, (part, frame) in enumerate(zip(parts, frames, strict=True)):
            if in_turns and part.arrived is not None:
                keys.append(part.arrived.of(part.arrived.turns, frame["position"].to_numpy()))
            else:
                keys.append(frame["obs_ts"].to_numpy())
            numbers.append(np.full(frame.height, 0 if in_turns else number))
    order: NDArray[np.int64] = np.lexsort([np.concatenate(keys), np.concatenate(numbers)])
    return order


def _stops(ends: NDArray[np.int64], behind: NDArray[np.bool_]) -> NDArray[np.int64]:
    """At which of the ticks' ``ends`` rows must leave: before a tick in which one comes more than a window behind, so
    that it finds what it would find if rows came one by one; else at the last."""
    ticks = np.unique(np.searchsorted(ends, np.flatnonzero(behind), "left"))
    stops = np.append(ticks - 1, ends.size - 1)
    return np.unique(stops[stops >= 0])


def _piece(frame: pl.DataFrame, pieces: NDArray[np.int64], number: int) -> pl.DataFrame:
    mine = pieces == number
    return frame if mine.all() else frame.filter(pl.Series(mine, dtype=pl.Boolean))


def _into(waiting: pl.DataFrame, new: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """Rows among those that wait, in order; only what does not come before all of them is touched."""
    if new.is_empty():
        return waiting
    first = np.searchsorted(waiting["obs_ts"].to_numpy(), new["obs_ts"].to_numpy().min())
    return pl.concat([waiting[:first], in_order(pl.concat([waiting[first:], new]), by)])


def _parted(frame: pl.DataFrame, chosen: NDArray[np.bool_]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The chosen rows and the others, each in order. Most often the first ones are chosen: then nothing is copied."""
    count = np.count_nonzero(chosen)
    if chosen[:count].all():
        return frame[:count], frame[count:]
    mask = pl.Series(chosen)
    return frame.filter(mask), frame.filter(~mask)


def in_order(frame: pl.DataFrame, by: Sequence[str], *, nulls_last: bool = False) -> pl.DataFrame:
    """``frame.sort(by)``, for a first column of times (int, no nulls). The other columns only matter among rows of one
    instant, which are few: sorting by all of them costs several times as much."""
    times = frame[by[0]].to_numpy()
    order = np.argsort(times, kind="stable")
    same = np.diff(times[order]) == 0
    tied = np.flatnonzero(np.append(same, False) | np.insert(same, 0, False))
    if tied.size:
        ties = frame.select(by)[order[tied]].with_columns(_row=pl.Series(order[tied]))
        order[tied] = ties.sort(by, nulls_last=nulls_last, maintain_order=True)["_row"].to_numpy()
    moved = np.flatnonzero(order != np.arange(frame.height))
    if not moved.size:
        return frame
    return pl.concat([frame[: moved[0]], frame[order[moved[0] :]]])  # what waited is in order: copy what is not


def _packed(frame: pl.DataFrame) -> NDArray[np.uint8]:
    """The same bytes for the same rows, whatever frames they were cut from: a cut may keep a mask without nulls."""
    buffer = io.BytesIO()
    pl.DataFrame(frame.to_dict(as_series=False), schema=frame.schema).write_ipc(buffer)
    return np.frombuffer(buffer.getvalue(), dtype=np.uint8)


def _with_halves(alone: pl.DataFrame, joined: pl.DataFrame | None) -> pl.DataFrame:
    columns = [*FLOW, *_HALVES]
    alone = alone.with_columns(
        orig_ts=pl.when("oriented").then(None).otherwise("ts").cast(pl.Int64),
        resp_ts=pl.lit(None, pl.Int64),
        paired=pl.lit(False),
    ).select(columns)
    return alone if joined is None else in_order(pl.concat([alone, joined.select(columns)]), _FLOW_ORDER)
