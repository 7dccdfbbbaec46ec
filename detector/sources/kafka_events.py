"""What happens while a topic is read and somebody must hear of."""

from dataclasses import dataclass

from detector.sources.kafka_merge import Partition


@dataclass(frozen=True, slots=True)
class Gap:
    """Offsets ``wanted`` to before ``earliest`` were deleted before they were read: ``lost`` of them."""

    partition: Partition
    wanted: int
    earliest: int
    lost: int


@dataclass(frozen=True, slots=True)
class Truncated:
    """The brokers lost the end of the log: what was read from ``resumed`` to before ``wanted`` is no longer in it."""

    partition: Partition
    wanted: int
    resumed: int


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record batch was given up: offsets ``first`` to before ``next`` were not read."""

    partition: Partition
    first: int
    next: int
    reason: str


@dataclass(frozen=True, slots=True)
class Tombstones:
    """So many of the records that were handed over have no value."""

    partition: Partition
    count: int


@dataclass(frozen=True, slots=True)
class OutOfOrder:
    """So many records came when others that sort behind them were handed over already."""

    partition: Partition
    count: int


@dataclass(frozen=True, slots=True)
class NewPartition:
    """It was not there before, and is read from its start."""

    partition: Partition


@dataclass(frozen=True, slots=True)
class Stalled:
    """There are records, and for long none came. ``action`` says what was done."""

    partition: Partition
    action: str


@dataclass(frozen=True, slots=True)
class NotAppendTime:
    """The topic's ``message.timestamp.type`` is not LogAppendTime: the order among its partitions means little."""

    topic: str
    type: str


@dataclass(frozen=True, slots=True)
class Failed:
    """Something that only serves others did not work: committed offsets, or a look at the topic's settings."""

    what: str
    reason: str


Event = Gap | Truncated | Unreadable | Tombstones | OutOfOrder | NewPartition | Stalled | NotAppendTime | Failed
