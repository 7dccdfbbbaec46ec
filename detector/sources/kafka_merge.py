"""One sequence out of several partitions, the same however their records were fetched.

Records are put in the order of (tick, topic, partition, offset). The tick is the broker's time, the latest within the
partition so far, in steps of `TICK_MS`: so that what comes out are runs of one partition and not single records.

A record may go out when nothing that sorts before it can come any more: each other partition was fetched past it, or
was asked at least a tick after the record had come and had nothing. A partition that does not answer holds the others
back for a while only. What then comes behind what is out already goes out at once, counted as late: nothing else
depends on when something was fetched.

The broker's time means something only with ``message.timestamp.type=LogAppendTime``, and is as good as the clocks of
the brokers agree.

What cannot be read has no time of its own. It goes out with the record behind it, which any reader finds there, and
until then the position stays before it.
"""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from operator import itemgetter
from typing import Any, Final, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from detector.sources.record_batches import NO_TIMESTAMP

TICK_MS: Final = 100
"""Of the broker's time. Longer runs cost latency: a record waits until its tick is over."""

_US: Final = 1000  # in a millisecond
_TICK_SECONDS: Final = TICK_MS / 1000


class Partition(NamedTuple):
    """Of a topic."""

    topic: str
    partition: int


@dataclass(frozen=True, slots=True)
class Damaged:
    """Record batches that were given up: offsets ``first`` to before ``next``. ``reason`` is that of the first."""

    first: int
    next: int
    reason: str
    batches: int = 1


class Content(Protocol):
    """What is put in order: `record_batches.Records`, or `runs.Run`; both say what these are."""

    @property
    def offsets(self) -> NDArray[np.int64]: ...  # noqa: D102
    @property
    def timestamps(self) -> NDArray[np.int64]: ...  # noqa: D102
    @property
    def next_offset(self) -> int: ...  # noqa: D102
    @property
    def nulls(self) -> NDArray[np.int64]: ...  # noqa: D102
    @property
    def size(self) -> int: ...  # noqa: D102
    def __len__(self) -> int: ...
    def part(self, start: int, stop: int) -> Self: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Arrival:
    """Records of one partition, handed over at once.

    ``times`` (int64, µs since the epoch, ascending) is the latest broker time up to each record. ``late`` says that
    they sort before what was handed over earlier. ``damaged`` stands before the first of them and could not be read.
    """

    partition: Partition
    records: Any  # a Content
    times: NDArray[np.int64]
    late: bool = False
    damaged: Damaged | None = None


class _Key(NamedTuple):
    """Where in the sequence the records of one partition within one tick stand."""

    tick: float
    partition: Partition


_FIRST: Final = _Key(-math.inf, Partition("", -1))
_NEVER: Final = _Key(math.inf, Partition("", -1))


@dataclass(slots=True, eq=False)
class _Chunk:
    """What was fetched at once and is not handed over yet, from record ``taken`` on."""

    records: Content
    times: NDArray[np.int64]  # ms
    ticks: NDArray[np.int64]
    came: float
    damaged: Damaged | None
    taken: int = 0

    def before(self, limit: _Key, partition: Partition) -> int:
        """How many of its records sort before ``limit``."""
        if math.isinf(limit.tick):
            return len(self.ticks) if limit.tick > 0 else 0
        return int(np.searchsorted(self.ticks, int(limit.tick), "right" if partition < limit.partition else "left"))


@dataclass(slots=True, eq=False)
class _Lane:
    """A partition."""

    partition: Partition
    offset: int  # next to be handed over
    clock: int  # latest broker time handed over, ms
    fetched: int  # latest broker time fetched, ms
    heard: float  # when it answered last
    asked: float = -math.inf  # when the last request was sent that was told all there was
    idle: bool = False  # it had nothing more when it answered last
    damaged: Damaged | None = None  # behind all chunks
    chunks: deque[_Chunk] = field(default_factory=deque)

    @property
    def last(self) -> _Key:
        """Nothing that is fetched later sorts before this."""
        return _Key(self.fetched // TICK_MS, self.partition)


class Merge:
    """Partitions side by side. It has no clock: ``now`` and ``asked`` are monotonic seconds.

    Args:
        wait: seconds that a partition which had nothing more holds the others back when it does not answer.
        patience: the same for one that has more, or never answered.
    """

    def __init__(self, wait: float, patience: float) -> None:
        self._wait, self._patience = wait, patience
        self._lanes: dict[Partition, _Lane] = {}
        self._out = _FIRST  # the last that was handed over

    def open(self, partition: Partition, offset: int, now: float, clock: int = NO_TIMESTAMP) -> None:
        """Add a partition that is read from ``offset`` on; ``clock`` is the latest broker time before that, in ms."""
        self._lanes[partition] = _Lane(partition, offset, clock, clock, now)
        self._lanes = dict(sorted(self._lanes.items()))

    def close(self, partition: Partition) -> None:
        """A partition is not read any more; what waits of it is dropped."""
        del self._lanes[partition]

    def add(self, partition: Partition, records: Content, now: float, came: float | None = None) -> None:
        """Take what was fetched. Without records the position moves only, in its turn.

        ``came`` is when it was there at the latest, by the clock of ``asked``; now if it is not given.
        """
        lane = self._lanes[partition]
        if lane.damaged and not len(records):
            if records.next_offset > lane.damaged.first:
                return  # the position moves with the next record
            lane.damaged = None  # the log was cut before it
        times = np.maximum(np.maximum.accumulate(records.timestamps), lane.fetched)
        if len(times):
            lane.fetched = int(times[-1])
        lane.chunks.append(_Chunk(records, times, times // TICK_MS, now if came is None else came, lane.damaged))
        lane.damaged, lane.heard = None, now

    def give_up(self, partition: Partition, damaged: Damaged) -> None:
        """What was to be added next cannot be read. Several in a row, which may have no end, become one."""
        lane = self._lanes[partition]
        if lane.damaged:
            damaged = replace(lane.damaged, next=damaged.next, batches=lane.damaged.batches + 1)
        lane.damaged = damaged

    def answered(self, partition: Partition, now: float, asked: float, more: bool) -> None:
        """A partition answered a request sent at ``asked``; ``more``: there is something behind what it gave."""
        lane = self._lanes[partition]
        lane.heard, lane.idle = now, not more
        if not more:
            lane.asked = asked

    def excuse(self, partition: Partition, now: float) -> None:
        """A partition was not asked, so that its silence means nothing."""
        self._lanes[partition].heard = now

    def away(self, seconds: float) -> None:
        """Nobody was asked for so long."""
        for lane in self._lanes.values():
            lane.heard += seconds

    def held(self, partition: Partition) -> int:
        """Bytes that wait, roughly."""
        return sum(chunk.records.size for chunk in self._lanes[partition].chunks)

    def waiting(self, partition: Partition) -> Content | None:
        """The first of what was taken and is not wholly handed over."""
        chunks = self._lanes[partition].chunks
        return chunks[0].records if chunks else None

    def positions(self) -> dict[Partition, int]:
        """The next offset of each partition, after what was handed over."""
        return {partition: lane.offset for partition, lane in self._lanes.items()}

    def clocks(self) -> dict[Partition, int]:
        """The latest broker time of each partition that was handed over, ms; `NO_TIMESTAMP` if none was."""
        return {partition: lane.clock for partition, lane in self._lanes.items()}

    def take(self, now: float) -> list[Arrival]:
        """What may go out, in order."""
        lanes = list(self._lanes.values())
        late = [self._hand_over(piece, late=True) for lane in lanes for piece in _pieces(lane, self._out)]
        awaited = [lane for lane in lanes if now - lane.heard <= (self._wait if lane.idle else self._patience)]
        awaited.sort(key=lambda lane: lane.last)
        limit = min((_first_held(lane, awaited) for lane in lanes), default=_NEVER)
        pieces = [piece for lane in lanes for piece in _pieces(lane, limit)]
        if any(piece.lane is not pieces[0].lane for piece in pieces):
            pieces = _in_turns(pieces)
        in_order = [self._hand_over(piece, late=False) for piece in pieces]
        for lane in lanes:
            _drop_taken(lane)
        return late + in_order

    def _hand_over(self, piece: "_Piece", late: bool) -> Arrival:
        lane, chunk, start, stop = piece
        records, times = chunk.records.part(start, stop), chunk.times[start:stop]
        damaged = chunk.damaged if start == 0 else None
        chunk.taken = stop
        lane.offset, lane.clock = records.next_offset, int(times[-1])
        self._out = max(self._out, _Key(int(chunk.ticks[stop - 1]), lane.partition))
        return Arrival(lane.partition, records, times * _US, late, damaged)


class Apart(Merge):
    """Partitions that wait for none: each in its order, in none among each other."""

    def __init__(self) -> None:
        super().__init__(0.0, 0.0)

    def take(self, now: float) -> list[Arrival]:
        """All there is, a partition after the other."""
        lanes = list(self._lanes.values())
        arrivals = [self._hand_over(piece, late=False) for lane in lanes for piece in _pieces(lane, _NEVER)]
        for lane in lanes:
            _drop_taken(lane)
        return arrivals

    def idle(self) -> dict[Partition, float]:
        """When partitions were asked that had nothing more; all they had is handed over."""
        return {at: lane.asked for at, lane in self._lanes.items() if lane.idle and not lane.chunks}


class _Piece(NamedTuple):
    """Records ``start`` to before ``stop`` of a chunk."""

    lane: _Lane
    chunk: _Chunk
    start: int
    stop: int


def _pieces(lane: _Lane, limit: _Key) -> Iterator[_Piece]:
    """What of a partition sorts before ``limit``."""
    for chunk in lane.chunks:
        stop = chunk.before(limit, lane.partition)
        if stop > chunk.taken:
            yield _Piece(lane, chunk, chunk.taken, stop)


def _drop_taken(lane: _Lane) -> None:
    """Forget the chunks that are handed over. Those without records move the position, back too if the log was cut."""
    done = None
    while lane.chunks and lane.chunks[0].taken == len(lane.chunks[0].ticks):
        done = lane.chunks.popleft()
    if done and not (lane.chunks and lane.chunks[0].taken):
        lane.offset = done.records.next_offset


def _first_held(lane: _Lane, awaited: list[_Lane]) -> _Key:
    """The first key of a partition that something may still come before."""
    for chunk in lane.chunks:
        limit = next((p.last for p in awaited if p is not lane and chunk.came > p.asked - _TICK_SECONDS), _NEVER)
        stop = max(chunk.before(limit, lane.partition), chunk.taken)
        if stop < len(chunk.ticks):
            return _Key(int(chunk.ticks[stop]), lane.partition)
    return _NEVER


def _in_turns(pieces: list[_Piece]) -> list[_Piece]:
    """The pieces cut where their tick ends, and put in order; those of one partition are in order already."""
    turns: list[tuple[_Key, _Piece]] = []
    for lane, chunk, start, stop in pieces:
        ends = np.flatnonzero(np.diff(chunk.ticks[start:stop])) + start + 1
        bounds = [start, *ends.tolist(), stop]
        for first, end in pairwise(bounds):
            turns.append((_Key(int(chunk.ticks[first]), lane.partition), _Piece(lane, chunk, first, end)))
    turns.sort(key=itemgetter(0))
    joined: list[_Piece] = []
    for _, piece in turns:
        if joined and joined[-1].chunk is piece.chunk:
            joined[-1] = joined[-1]._replace(stop=piece.stop)
        else:
            joined.append(piece)
    return joined
