"""When rows were observed, hour by hour: which stretch of time they belong to, but for those that are misdated."""

from collections.abc import Iterable, Iterator
from typing import Final

import polars as pl

HOUR_US: Final = 3_600_000_000
APART_HOURS: Final = 30 * 24
APART_SHARE: Final = 0.01


class Hours:
    """Rows, first and last observation time (µs) of each hour."""

    def __init__(self, known: Iterable[tuple[int, int, int, int]] = ()) -> None:
        self._hours: dict[int, tuple[int, int, int]] = {}
        for hour, *rest in known:
            self._add(hour, *rest)

    def note(self, times: pl.Series) -> None:
        """Count rows observed at these times, µs."""
        seen = times.alias("time").to_frame().group_by(pl.col("time") // HOUR_US, maintain_order=True)
        time = pl.col("time")
        for found in seen.agg(rows=pl.len(), first=time.min(), last=time.max()).iter_rows():
            self._add(*found)

    def add(self, other: "Hours") -> None:
        """Count what another one counted, too."""
        for found in other:
            self._add(*found)

    def __iter__(self) -> Iterator[tuple[int, int, int, int]]:
        """Hour since the epoch, rows, first and last time of each, in order."""
        yield from ((hour, *self._hours[hour]) for hour in sorted(self._hours))

    @property
    def rows(self) -> int:
        """All rows."""
        return sum(rows for rows, _, _ in self._hours.values())

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

    def _add(self, hour: int, rows: int, first: int, last: int) -> None:
        before, low, high = self._hours.get(hour, (0, first, last))
        self._hours[hour] = before + rows, min(low, first), max(high, last)
