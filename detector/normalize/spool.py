"""Rows of many files in order of observation time, in bounded memory.

Logs of one time lie in many files, and a file need not be sorted. Rows are collected, spilled by hour of observation
once they are many, and handed out hour by hour: memory holds one hour, not the history.
"""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from detector.records import FLOW, OPERATION, Decoded

HOUR_US: Final = 3_600_000_000
APART_HOURS: Final = 30 * 24
APART_SHARE: Final = 0.01
SPILL_ROWS: Final = 2_000_000  # rows held before the first spill, about 1 GB


class Spool:
    """Collects, then hands out in order.

    Args:
        folder: where spilled hours go; the caller removes it.
        spill_rows: rows held in memory at most while collecting.
    """

    def __init__(self, folder: Path, spill_rows: int = SPILL_ROWS) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.rows = 0
        self._hours: dict[int, tuple[int, int, int]] = {}  # hour -> rows, first, last observation time in µs
        self._folder = folder
        self._spill_rows = spill_rows
        self._held: list[Decoded] = []
        self._held_rows = 0
        self._parts: dict[int, list[Path]] = defaultdict(list)

    def add(self, decoded: Decoded) -> None:
        """Take the frames of a block; rejects and counts are the caller's."""
        rows = decoded.flows.height + decoded.operations.height
        if not rows:
            return
        self._note_times(pl.concat([decoded.flows["obs_ts"], decoded.operations["obs_ts"]]))
        self._held.append(Decoded(decoded.flows, decoded.operations))
        self._held_rows += rows
        self.rows += rows
        if self._held_rows > self._spill_rows:
            self._spill()

    def _note_times(self, times: pl.Series) -> None:
        seen = times.to_frame("time").group_by(pl.col("time") // HOUR_US, maintain_order=True)
        time = pl.col("time")
        hours = seen.agg(rows=pl.len(), first=time.min(), last=time.max())
        for hour, rows, first, last in hours.iter_rows():
            before, low, high = self._hours.get(hour, (0, first, last))
            self._hours[hour] = before + rows, min(low, first), max(high, last)

    def span(self) -> tuple[int, int]:
        """First and last observation time, µs, of what belongs together.

        A sensor without a clock dates records 1970 or 2099; what lies `APART_HOURS` from the rest and is less than
        `APART_SHARE` of all rows does not say when the history was. (0, 0) when there are no rows.
        """
        parts: list[list[int]] = []
        for hour in sorted(self._hours):
            if not parts or hour - parts[-1][-1] > APART_HOURS:
                parts.append([])
            parts[-1].append(hour)
        wanted = APART_SHARE * self.rows
        bulk = [hour for part in parts for hour in part if sum(self._hours[h][0] for h in part) >= wanted]
        return (self._hours[bulk[0]][1], self._hours[bulk[-1]][2]) if bulk else (0, 0)

    def _spill(self) -> None:
        flows, operations = self._take()
        hours = pl.concat([flows["obs_ts"], operations["obs_ts"]]) // HOUR_US
        for hour in hours.unique().sort():
            path = self._folder / f"{hour}-{len(self._parts[hour])}"
            inside = pl.col("obs_ts") // HOUR_US == hour
            flows.filter(inside).write_ipc(path.with_suffix(".flows"), compression="lz4")
            operations.filter(inside).write_ipc(path.with_suffix(".operations"), compression="lz4")
            self._parts[hour].append(path)

    def _take(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        flows = pl.concat([pl.DataFrame(schema=FLOW), *(part.flows for part in self._held)])
        operations = pl.concat([pl.DataFrame(schema=OPERATION), *(part.operations for part in self._held)])
        self._held, self._held_rows = [], 0
        return flows, operations

    def batches(self, batch_rows: int) -> Iterator[Decoded]:
        """All rows in order of observation time, ``batch_rows`` at a time; empties the spool."""
        if not self._parts:
            yield from _slices(*self._take(), batch_rows)
            return
        self._spill()
        for hour in sorted(self._parts):
            paths = self._parts.pop(hour)
            flows = pl.concat([pl.read_ipc(path.with_suffix(".flows")) for path in paths])
            operations = pl.concat([pl.read_ipc(path.with_suffix(".operations")) for path in paths])
            yield from _slices(flows, operations, batch_rows)
            for path in paths:
                path.with_suffix(".flows").unlink()
                path.with_suffix(".operations").unlink()


def _slices(flows: pl.DataFrame, operations: pl.DataFrame, batch_rows: int) -> Iterator[Decoded]:
    flows, operations = (
        flows.sort("obs_ts", maintain_order=True),
        operations.sort("obs_ts", maintain_order=True),
    )
    times = np.concatenate([flows["obs_ts"].to_numpy(), operations["obs_ts"].to_numpy()])
    is_flow = np.argsort(times, kind="stable") < flows.height
    taken_flows = np.concatenate([[0], np.cumsum(is_flow)])
    for start in range(0, times.size, batch_rows):
        stop = min(start + batch_rows, times.size)
        first, last = int(taken_flows[start]), int(taken_flows[stop])
        yield Decoded(flows[first:last], operations[start - first : stop - last])
