"""How many rows a second a topic may bring: a flood of one source must not take the time and the state of all.

A token bucket for each topic that has a quota, in the form of the generic cell rate algorithm (ITU-T I.371, annex A):
all that is kept of a topic is the time at which its bucket is full again. The clock is the broker's, so the same
records lose the same rows whenever they are read.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from detector.records import Decoded
from detector.sources.kafka_merge import Partition
from detector.state.compiled import kernel

BURST_SECONDS: Final = 60
"""Worth of its quota that a topic may bring at once: shippers that rotate files send a minute together."""

OVER_QUOTA: Final = "over the quota of its topic"
_KAFKA: Final = "kafka"  # the log of what is no row of any log
_NS: Final = 1_000_000_000  # in a second
_NS_OF_US: Final = 1000

Turns = NDArray[np.int64]


class Quotas:
    """The buckets of all topics.

    Args:
        rate_of: rows a second that a topic may bring; None = any number.
    """

    def __init__(self, rate_of: Callable[[str], int | None]) -> None:
        self._rate_of = rate_of
        self._full: dict[str, int] = {}  # ns since the epoch

    def apply(self, decoded: Mapping[Partition, Sequence[Decoded]]) -> None:
        """Take out what is too much of a portion; it becomes `OVER_QUOTA` in ``filtered``.

        A record is kept or left out as a whole, and costs its rows and rejects. What it teaches a decoder (the header
        of a table) stays.

        Args:
            decoded: of each partition, in which order it arrived.
        """
        topics: dict[str, list[Decoded]] = defaultdict(list)
        for partition, parts in decoded.items():
            topics[partition.topic] += parts
        for topic, parts in topics.items():
            rate = self._rate_of(topic)
            if rate is not None:
                denied = self._denied(topic, rate, parts)
                for part in parts if len(denied) else ():
                    _leave_out(part, denied)

    def _denied(self, topic: str, rate: int, parts: Sequence[Decoded]) -> Turns:
        """Turns of records that are too much."""
        turns = np.concatenate([_turns(part, position) for part in parts for position in _positions(part)])
        if not len(turns):
            return turns
        turns, rows = np.unique(turns, return_counts=True)
        admitted = np.zeros(len(turns), np.bool_)
        step = _NS // rate
        self._full[topic] = int(_admit(_times(parts, turns), rows, step, self._full.get(topic, 0), admitted))
        return turns[~admitted]

    def state(self) -> list[list[Any]]:
        """JSON types only, in the order of topics."""
        return [[topic, full] for topic, full in sorted(self._full.items())]

    def load_state(self, state: Sequence[Sequence[Any]]) -> None:
        """Go on where other quotas were when they gave their `state`."""
        self._full = {topic: full for topic, full in state}  # noqa: C416 - dict() takes no lists of lists for mypy


@kernel
def _admit(times: Any, rows: Any, step: Any, full: Any, admitted: Any) -> Any:
    """Mark the records that there is room for; returns when the bucket is full again.

    Args:
        times: µs. rows: that each record costs. step: ns that a row takes. full: ns.
    """
    for record in range(times.size):
        now = times[record] * _NS_OF_US
        full = max(full, now)
        if full - now <= BURST_SECONDS * _NS:
            admitted[record] = True
            full += rows[record] * step
    return full


def _positions(part: Decoded) -> tuple[NDArray[np.int64], ...]:
    """Offsets of what a record can become, in three parts."""
    rejects = np.array([reject.position for reject in part.rejects], np.int64)
    return part.flows["position"].to_numpy(), part.operations["position"].to_numpy(), rejects


def _turns(part: Decoded, positions: NDArray[np.int64]) -> Turns:
    arrived = part.arrived
    assert arrived is not None  # noqa: S101 - records of a topic have their turns
    return arrived.of(arrived.turns, positions)


def _times(parts: Sequence[Decoded], turns: Turns) -> NDArray[np.int64]:
    """Broker times, µs, of the records with these turns."""
    known = {id(part.arrived): part.arrived for part in parts if part.arrived is not None}.values()
    all_turns = np.concatenate([arrived.turns for arrived in known])
    times = np.concatenate([arrived.times for arrived in known])
    order = np.argsort(all_turns)
    found: NDArray[np.int64] = times[order][all_turns[order].searchsorted(turns)]
    return found


def _leave_out(part: Decoded, denied: Turns) -> None:
    before = part.rows
    flows, operations, rejects = (~np.isin(_turns(part, position), denied) for position in _positions(part))
    part.flows = part.flows.filter(pl.Series(flows))
    part.operations = part.operations.filter(pl.Series(operations))
    part.rejects = [reject for reject, kept in zip(part.rejects, rejects.tolist(), strict=True) if kept]
    if before > part.rows:
        part.filtered = part.filtered + Counter({(_KAFKA, OVER_QUOTA): before - part.rows})
