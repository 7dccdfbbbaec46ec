"""The rows of a small plant as topics hold them, and a source that hands them over without Kafka."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
import orjson

from detector.simulate import SimulatedPlant
from detector.sources.kafka_merge import TICK_MS, Arrival, Partition
from detector.sources.record_batches import Records
from tests.scenarios.world import end_of, lines_by_log

POLLS = {"modbus", "s7comm"}  # most of an OT network's lines, and all alike
ENGINE = {"false_incidents_per_day": 100, "alerts_per_day": 1000}  # so that two days have some of both
_POLL_SHARE, _CONN_SHARE, _OTHER_SHARE = 40, 30, 5
_TRAILING_MS = (3_660_000, 3_720_000)  # what waits an hour to be told is told, and the row that says so goes out


class Row(NamedTuple):
    """A record of a topic; ``time`` is the broker's, in ms since the epoch."""

    time: int
    partition: Partition
    offset: int
    value: bytes | None


def rows_of(world: SimulatedPlant) -> list[Row]:
    """A log is a topic, and connections have two partitions; in the order in which they are handed over."""
    timed = []
    for log, lines in lines_by_log(world.zeek_dir).items():
        kept = lines[::_POLL_SHARE] if log in POLLS else _thinned(lines) if log == "conn" else lines[::_OTHER_SHARE]
        timed += [(int(1000 * end_of(line)), log, line.rstrip()) for line in kept]
    timed.sort()
    last = timed[-1][0]
    timed += [(last + wait, "conn", trailing(last + wait)) for wait in _TRAILING_MS]
    return in_partitions(timed)


def _thinned(lines: list[bytes]) -> list[bytes]:
    """Connections without most of what machines do all day."""
    dull = (b'"snmp"', b'"modbus"', b'"http"', b'"ssl"', b'"dns"')
    return [
        line
        for number, line in enumerate(lines)
        if number % _CONN_SHARE == 0
        or not (any(d in line for d in dull) or (b'"service":' not in line and number % _OTHER_SHARE))
    ]


def trailing(time_ms: int) -> bytes:
    """A connection of two hosts that do nothing else."""
    ends = {"id.orig_h": "10.9.9.1", "id.orig_p": 50_000, "id.resp_h": "10.9.9.2", "id.resp_p": 443}
    row = {"ts": time_ms / 1000, "uid": "Ctrailing", **ends, "proto": "tcp", "conn_state": "SF", "duration": 0.0}
    return orjson.dumps(row)


def in_partitions(timed: Iterable[tuple[int, str, bytes | None]]) -> list[Row]:
    """Records (time, topic, value) with partition and offset, in the order of `kafka_merge`."""
    ends: dict[Partition, int] = defaultdict(int)
    rows = []
    for number, (time, topic, value) in enumerate(timed):
        partition = Partition(topic, number % 2 if topic == "conn" else 0)
        rows.append(Row(time, partition, ends[partition], value))
        ends[partition] += 1
    return sorted(rows, key=lambda row: (row.time // TICK_MS, row.partition, row.offset))


def with_rubbish(rows: Sequence[Row]) -> list[Row]:
    """Now and then a record that cannot be used, between the others of a topic."""
    some = {Partition("dns", 0): (b"{", None, b"", b"\xff\xfe"), Partition("dce_rpc", 0): (b"[]", b'{"ts":1}')}
    out, moved = [], dict.fromkeys(some, 0)
    for row in rows:
        at = row.partition
        out.append(row._replace(offset=row.offset + moved.get(at, 0)))
        if at in some and row.offset % 50 == 7:
            moved[at] += 1
            value = some[at][row.offset // 50 % len(some[at])]
            out.append(Row(row.time, at, row.offset + moved[at], value))
    return out


def arrivals(rows: Sequence[Row]) -> list[Arrival]:
    """What a source would hand over at once: a run of each partition in turn."""
    return [_arrival(partition, list(run)) for partition, run in groupby(rows, key=lambda row: row.partition)]


def _arrival(partition: Partition, run: list[Row]) -> Arrival:
    values = [row.value or b"" for row in run]
    lengths = np.array([-1 if row.value is None else len(row.value) for row in run], np.int64)
    starts = np.cumsum([0, *map(len, values[:-1])]).astype(np.int64)
    offsets = np.array([row.offset for row in run], np.int64)
    times = np.array([row.time for row in run], np.int64)
    records = Records(b"".join(values), starts, lengths, offsets, times, run[-1].offset + 1, -1)
    return Arrival(partition, records, np.maximum.accumulate(times) * 1000)
