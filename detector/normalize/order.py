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
from functools import partial, reduce
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from detector.normalize.pairing import join_halves, partners
from detector.records import FLOW, OPERATION, Decoded
from detector.rows import Column, Rows, nothing
from detector.state.compiled import kernel

_NEVER: Final = int(np.iinfo(np.int64).min) // 2  # room for windows below it
_TICKS: Final = 64  # in a window; rows wait up to a tick longer, 31 ms by default, and those of a tick leave together
_FEW_ROWS: Final = 512  # a block that is smaller takes in the next one

_FLOW_ORDER: Final = [
    "obs_ts", "ts", "orig_h", "orig_p", "resp_h", "resp_p", "proto", "uid", "conn_state", "orig_bytes", "resp_bytes",
    "orig_pkts", "resp_pkts", "orig_flags", "service", "log", "exporter", "source", "position",
]  # fmt: skip
_OPERATION_ORDER: Final = [
    "obs_ts", "ts", "orig_h", "orig_p", "resp_h", "resp_p", "protocol", "operation", "uid", "object", "outcome",
    "user", "exporter", "log", "source", "position",
]  # fmt: skip
_MANY_CHUNKS: Final = 16  # of a table, each of which costs every look at it
_TIMES: Final = ("obs_ts", "ts")
_MOST_OFTEN: Final = 5  # columns by which rows differ: times, hosts, a port


@dataclass(frozen=True, slots=True)
class Block:
    """Rows that wait, in scoring order: those of ``table`` at ``order``; None = all, as they stand there. ``late`` and
    ``times`` (of observation, µs) have an entry a row. Where they are ``whole``, none is half of a conversation."""

    table: pl.DataFrame
    order: NDArray[np.int64] | None
    late: NDArray[np.bool_]
    times: NDArray[np.int64]
    whole: bool

    @classmethod
    def of(cls, table: pl.DataFrame, late: NDArray[np.bool_]) -> "Block":
        """Rows with what is to be told apart from them."""
        whole = "oriented" not in table.columns or bool(table["oriented"].all())
        return cls(table, None, late, table["obs_ts"].to_numpy(), whole)

    def part(self, begin: int, end: int) -> "Block":
        """Rows from one to another. Rows stand near their place, so most of the table goes with them."""
        order, low, high = self.order, begin, end
        if order is not None and begin < end:
            low, high = int(order[begin:end].min()), int(order[begin:end].max()) + 1
        table = self.table.slice(low, high - low)
        order = None if order is None else order[begin:end] - low
        part = Block(table, order, self.late[begin:end], self.times[begin:end], self.whole)
        return part if high - low <= 2 * (end - begin) else Block.of(part.frame(), part.late)

    def chosen(self, mask: NDArray[np.bool_]) -> "Block":
        """Some of the rows. Most often they stand together: then nothing is copied."""
        begin, count = int(mask.argmax()) if mask.size else 0, int(np.count_nonzero(mask))
        if mask[begin : begin + count].all():
            return self.part(begin, begin + count)
        return Block.of(self.frame().filter(pl.Series(mask)), self.late[mask])

    def sorted(self, by: Sequence[str]) -> "Block":
        """All rows in scoring order."""
        order = order_of(self.rows(), _TIMES, by)
        if order is None:
            return self
        places = order if self.order is None else self.order[order]
        return Block(self.table, places, self.late[order], self.times[order], self.whole)

    def rows(self) -> Rows:
        """The rows by column."""
        rows = Rows.of(self.table)
        return rows if self.order is None else rows.at(self.order)

    def frame(self) -> pl.DataFrame:
        """The rows as a table of their own."""
        return self.table if self.order is None else self.table[self.order]


Blocks = tuple[Block, ...]
"""Rows that wait: in scoring order, and so are the blocks."""
_NO_FLOWS: Final = Block.of(pl.DataFrame(schema=FLOW), np.empty(0, np.bool_))
_NO_OPERATIONS: Final = Block.of(pl.DataFrame(schema=OPERATION), np.empty(0, np.bool_))


@dataclass(frozen=True, slots=True)
class Released:
    """Rows whose turn has come, each table in scoring order.

    ``flows`` has the columns of `records.FLOW` plus ``orig_ts``, ``resp_ts``, ``paired``, ``late``;
    ``operations`` those of
    `records.OPERATION` plus ``late``.
    """

    flows: Rows
    operations: Rows


@kernel
def _turns(
    times: Any, came: Any, watermark: Any, released: Any, windows: Any, late: Any, ends: Any, cuts: Any, stops: Any
) -> Any:
    """What happens as rows come one by one: ``late`` is which ones do; ``ends`` which of them, in order of arrival,
    begin a tick, and so end what came before; ``cuts`` the time up to which rows have left by then; ``stops`` at which
    of the ticks' ends rows must leave: before a tick in which one comes more than a window behind, so that it finds
    what it would find if rows came one by one; else at the last. Returns the watermark, and how many stops there are.
    """
    window, tick = windows
    ended, stopping, gone = 0, 0, released
    for row in range(came.size):
        time = times[came[row]]
        late[came[row]] = time <= gone
        if time <= watermark - window and ended > 0 and (stopping == 0 or stops[stopping - 1] < ended - 1):
            stops[stopping] = ended - 1
            stopping += 1
        if time > watermark:
            if time // tick != watermark // tick:
                gone = max(time - 2 * window, released)
                ends[ended], cuts[ended] = row, gone
                ended += 1
            watermark = time
    if ended > 0 and (stopping == 0 or stops[stopping - 1] < ended - 1):
        stops[stopping] = ended - 1
        stopping += 1
    return watermark, stopping


@kernel
def _pieces(came: Any, ends: Any, piece: Any) -> None:
    """piece <- how many of the ends, ascending, each row came after."""
    number = 0
    for row in range(came.size):
        if number < ends.size and ends[number] < row:
            number += 1
        piece[came[row]] = number


class Order:
    """The buffer.

    Args:
        window_us: how long a row waits for rows that belong before it, µs of observation time.

    Attributes:
        flows, operations: what waits; replaced, never changed.
    """

    def __init__(self, window_us: int) -> None:
        self.window_us = window_us
        self.watermark = _NEVER
        self.released = _NEVER  # rows up to here have left
        self.flows: Blocks = ()
        self.operations: Blocks = ()

    def push(self, parts: Sequence[Decoded]) -> list[Released]:
        """Take rows; returns those whose turn has come, in order.

        Rows came in the order of their turns where all parts have ``arrived``; else part by part, and those of a part
        in order of observation time.
        """
        came = _order_of_arrival(parts)
        new = [
            _stacked([_NO_FLOWS.table, *(part.flows for part in parts)]),
            _stacked([_NO_OPERATIONS.table, *(part.operations for part in parts)]),
        ]
        times = np.concatenate([frame["obs_ts"].to_numpy() for frame in new])
        late, piece = np.empty(times.size, dtype=np.bool_), np.empty(times.size, dtype=np.int64)
        ends, cuts, stops = np.empty((3, times.size), dtype=np.int64)
        windows = self.window_us, max(self.window_us // _TICKS, 1)
        self.watermark, stopping = _turns(times, came, self.watermark, self.released, windows, late, ends, cuts, stops)
        stops = stops[:stopping]
        _pieces(came, ends[stops], piece)
        count = new[0].height
        taken, acts = Block.of(new[0], late[:count]), Block.of(new[1], late[count:])
        released = []
        for number in range(len(stops) + 1):
            mine = piece == number
            self.flows = _into(self.flows, taken.chosen(mine[:count]), _FLOW_ORDER)
            self.operations = _into(self.operations, acts.chosen(mine[count:]), _OPERATION_ORDER)
            if number < len(stops):
                released.append(self._release(int(cuts[stops[number]])))
        return released

    def flush(self) -> Released:
        """All rows that are left."""
        released = self._release(np.iinfo(np.int64).max)
        self.released = self.watermark
        return released

    def _release(self, cut: int) -> Released:
        self.released = cut
        gone, self.operations = _parted(self.operations, cut)
        operations = _one(gone, _NO_OPERATIONS)
        return Released(self._release_flows(cut), operations.rows().plus({"late": operations.late}))

    def arrays(self) -> dict[str, NDArray[np.uint8]]:
        """The waiting rows, for a snapshot: Arrow IPC bytes."""
        flows, operations = _one(self.flows, _NO_FLOWS), _one(self.operations, _NO_OPERATIONS)
        return {"flows": _packed(flows), "operations": _packed(operations)}

    def state(self) -> dict[str, int]:
        """The rest of a snapshot: how far time has come, µs."""
        return {"watermark": self.watermark, "released": self.released}

    def load(self, arrays: Mapping[str, NDArray[np.uint8]]) -> None:
        """Replace the waiting rows by what `arrays` returned."""
        self.flows, self.operations = (
            (Block.of(frame.drop("late"), frame["late"].to_numpy()),) if frame.height else ()
            for frame in (pl.read_ipc(io.BytesIO(arrays[name].tobytes())) for name in ("flows", "operations"))
        )

    def load_state(self, state: Mapping[str, int]) -> None:
        """Replace the time by what `state` returned."""
        self.watermark, self.released = state["watermark"], state["released"]

    def _release_flows(self, cut: int) -> Rows:
        if all(block.whole for block in self.flows):
            gone, self.flows = _parted(self.flows, cut)
            return _alone(_one(gone, _NO_FLOWS))
        waiting = _one(self.flows, _NO_FLOWS)
        flows = Block.of(waiting.frame(), waiting.late)
        partner, original = partners(flows.table, self.window_us)
        row = np.arange(flows.times.size)
        half = np.where(original >= 0, original, row)
        mate = partner[half]
        last = np.maximum(half, mate)
        go = np.where(mate >= 0, flows.times[last], flows.times) <= cut
        rest = flows.chosen(~go)
        self.flows = (rest,) if rest.times.size else ()
        pairs = row[go & (mate >= 0) & ((original >= 0) | (mate > row))]
        alone = _alone(flows.chosen(go & (mate < 0)))
        if not pairs.size:
            return alone
        frame = flows.table.with_columns(late=pl.Series(flows.late))
        joined = join_halves(frame, np.minimum(half, mate)[pairs], last[pairs], pairs)
        return in_order(Rows.concat([alone, Rows.of(joined.select(list(alone.columns)))]), _TIMES, _FLOW_ORDER)


def _order_of_arrival(parts: Sequence[Decoded]) -> NDArray[np.int64]:
    """Rows of the parts, flows first, in the order in which they came."""
    in_turns = all(part.arrived is not None for part in parts)
    keys, numbers = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for frames in ([part.flows for part in parts], [part.operations for part in parts]):
        for number, (part, frame) in enumerate(zip(parts, frames, strict=True)):
            if in_turns and part.arrived is not None:
                keys.append(part.arrived.of(part.arrived.turns, frame["position"].to_numpy()))
            else:
                keys.append(frame["obs_ts"].to_numpy())
            numbers.append(np.full(frame.height, 0 if in_turns else number))
    if in_turns or len(parts) == 1:
        return np.argsort(np.concatenate(keys), kind="stable")
    order: NDArray[np.int64] = np.lexsort([np.concatenate(keys), np.concatenate(numbers)])
    return order


def _stacked(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The rows of all frames, of which there is at least one; they are copied when they are in many pieces."""
    filled = [frame for frame in frames if frame.height] or frames[:1]
    stacked = reduce(pl.DataFrame.vstack, filled)
    return stacked.rechunk() if stacked.n_chunks() > _MANY_CHUNKS else stacked


def _one(blocks: Sequence[Block], none: Block) -> Block:
    """All rows as one block."""
    if len(blocks) < 2:
        return blocks[0] if blocks else none
    order = None
    if any(block.order is not None for block in blocks):
        begins = np.cumsum([0, *(block.table.height for block in blocks)]).tolist()
        order = np.concatenate([_places(block) + begin for block, begin in zip(blocks, begins, strict=False)])
    return Block(
        _stacked([block.table for block in blocks]),
        order,
        np.concatenate([block.late for block in blocks]),
        np.concatenate([block.times for block in blocks]),
        all(block.whole for block in blocks),
    )


def _places(block: Block) -> NDArray[np.int64]:
    return np.arange(block.times.size) if block.order is None else block.order


def _into(waiting: Blocks, new: Block, by: Sequence[str]) -> Blocks:
    """Rows among those that wait; only what does not come before all of them is touched."""
    if not new.times.size:
        return waiting
    first, before, touched = new.times.min(), list(waiting), [new]
    while before and (before[-1].times[-1] >= first or before[-1].times.size < _FEW_ROWS):
        last = before.pop()
        place = int(np.searchsorted(last.times, first)) if last.times.size >= _FEW_ROWS else 0
        if place:
            before.append(last.part(0, place))
        touched.insert(0, last.part(place, last.times.size))
        if place:
            break
    return (*before, _one(touched, new).sorted(by))


def _parted(blocks: Blocks, cut: int) -> tuple[Blocks, Blocks]:
    """Rows observed up to the cut, and the others."""
    gone = sum(int(block.times[-1]) <= cut for block in blocks)
    if gone == len(blocks):
        return blocks, ()
    split = blocks[gone]
    place = int(np.searchsorted(split.times, cut, "right"))
    if not place:
        return blocks[:gone], blocks[gone:]
    first, second = split.part(0, place), split.part(place, split.times.size)
    return (*blocks[:gone], first), (second, *blocks[gone + 1 :])


def order_of(
    rows: Rows, numbers: Sequence[str], by: Sequence[str], *, nulls_last: bool = False
) -> NDArray[np.int64] | None:
    """Places of rows sorted by columns, of which the first are ``numbers``: whole, without nulls. None when they stand
    so. The others only matter among rows alike in all numbers, which are few: sorting by all of them costs several
    times as much."""
    keys = [rows.array(name) for name in numbers]
    ascending = rows.height < 2 or bool((keys[0][1:] >= keys[0][:-1]).all())
    order = np.arange(rows.height) if ascending else np.argsort(keys[0], kind="stable")
    tied = _alike([keys[0] if ascending else keys[0][order]])
    if tied.size:
        few = order[tied]
        few = few[np.lexsort([key[few] for key in reversed(keys)])]
        again = _alike([key[few] for key in keys])
        if again.size:
            few[again] = few[again][_by_content(rows.at(few[again]), by, nulls_last)]
        order[tied] = few
    elif ascending:
        return None
    return order if (order[1:] < order[:-1]).any() else None


def _by_content(rows: Rows, by: Sequence[str], nulls_last: bool) -> NDArray[np.int64]:
    """Places of rows in order. Most often they differ in the first columns, and nothing else is looked up; a few are
    sooner sorted here than by Polars, in the same order: texts by their code points."""
    if rows.height > _FEW_ROWS:
        ties = rows.frame(by).with_row_index("_row").sort(by, nulls_last=nulls_last, maintain_order=True)
        return ties["_row"].to_numpy().astype(np.int64)
    places, told = np.arange(rows.height), []
    for names in (by[:_MOST_OFTEN], by[_MOST_OFTEN:]):
        told += [[((value is None) == nulls_last, value) for value in rows.values(name, places)] for name in names]
        keys = list(zip(*told, strict=True))
        if len(set(keys)) == len(keys):
            break
    return np.array(sorted(range(rows.height), key=keys.__getitem__), dtype=np.int64)


def _alike(keys: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Places of rows that have the same keys as the one before or behind them."""
    same = np.logical_and.reduce([key[1:] == key[:-1] for key in keys])
    first = np.flatnonzero(same)
    return np.union1d(first, first + 1)


def in_order(rows: Rows, numbers: Sequence[str], by: Sequence[str], *, nulls_last: bool = False) -> Rows:
    """Rows as `order_of` has them."""
    order = order_of(rows, numbers, by, nulls_last=nulls_last)
    return rows if order is None else rows.at(order)


def _packed(block: Block) -> NDArray[np.uint8]:
    """The same bytes for the same rows, whatever frames they were cut from: a cut may keep a mask without nulls."""
    frame = block.frame().with_columns(late=pl.Series(block.late, dtype=pl.Boolean))
    buffer = io.BytesIO()
    pl.DataFrame(frame.to_dict(as_series=False), schema=frame.schema).write_ipc(buffer)
    return np.frombuffer(buffer.getvalue(), dtype=np.uint8)


def _alone(block: Block) -> Rows:
    """Rows that are no pair: of a half its start is known, of the other half nothing."""
    flows = block.rows()
    halves: dict[str, Column] = {
        "orig_ts": partial(_starts, flows),
        "resp_ts": partial(nothing, flows.height, pl.Int64()),
        "paired": np.zeros(flows.height, np.bool_),
        "late": block.late,
    }
    return flows.plus(halves)


def _starts(flows: Rows) -> pl.Series:
    return (
        flows.frame(("oriented", "ts"))
        .select(pl.when("oriented").then(None).otherwise("ts").cast(pl.Int64))
        .to_series()
    )
