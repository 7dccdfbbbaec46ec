"""What is kept of all rows: sums by key, within bounds, the same whatever order rows come in.

Sums, firsts and lasts do not mind the order. A bound could: who is dropped when a table is full must not depend on when
it filled up. So of too many keys those with the smallest hashes stay, a sample drawn by lot (bottom-k, as in KMV
sketches; Bar-Yossef et al. 2002). A key that is out once can never come back, and one that is in has lost no row.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import polars as pl

from detector.state.keys import Keys, mix_all, text_keys

_COMPACT_ROWS: Final = 200_000  # rows that wait before they are summed up; some 30 MB
_KEY: Final = "_key"
SIGHTING: Final[dict[str, pl.DataType]] = {
    "ts": pl.Int64(),
    "host": pl.String(),
    "kind": pl.String(),
    "value": pl.String(),
    "log": pl.String(),
}
"""Statements about hosts: when (µs), about whom, of what kind, what, in which log."""
_STATEMENT: Final[dict[str, pl.DataType]] = {
    **{name: kind for name, kind in SIGHTING.items() if name != "ts"},
    **dict.fromkeys(("first", "last", "count"), pl.Int64()),
}
VALUES: Final = 16
"""Statements of one kind about one host that are kept; who claims to be a thousand hosts fills no memory."""


class Sums:
    """Rows summed up by key.

    Args:
        by: columns that make the key, text.
        sums: whole-number columns to add up; ``first`` and ``last`` (µs) are kept of all.
        limit: keys at most.
    """

    def __init__(self, by: Sequence[str], sums: Mapping[str, pl.DataType], limit: int) -> None:
        self.by, self.limit = list(by), limit
        self._schema = {**{name: pl.String() for name in by}, **sums, "first": pl.Int64(), "last": pl.Int64()}
        self._totals = [pl.col(name).sum() for name in sums]
        self._below: int | None = None  # keys with this hash and above are out
        self._waiting: list[pl.DataFrame] = []
        self._rows = 0

    def add(self, rows: pl.DataFrame) -> None:
        """Take rows: the key's columns, those to sum up, ``first`` and ``last``."""
        self._waiting.append(self._summed(rows.select(self._schema.keys())))
        self._rows += self._waiting[-1].height
        if self._rows > _COMPACT_ROWS:
            self._compact()

    @property
    def kept(self) -> float:
        """The share of all keys that is kept, 1 = all; an estimate, from how small the hashes had to be."""
        return 1.0 if self._below is None else self._below / 2**64

    def frame(self) -> pl.DataFrame:
        """All sums, in order of their keys."""
        self._compact()
        return self._waiting[0].sort(self.by)

    def _summed(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.group_by(self.by).agg(*self._totals, pl.col("first").min(), pl.col("last").max())

    def _compact(self) -> None:
        merged = self._summed(pl.concat([pl.DataFrame(schema=self._schema), *self._waiting]))
        if merged.height > self.limit or self._below is not None:
            merged = self._bounded(merged)
        self._waiting, self._rows = [merged], 0 if merged.height < _COMPACT_ROWS else merged.height - _COMPACT_ROWS // 2

    def _bounded(self, merged: pl.DataFrame) -> pl.DataFrame:
        keys = keys_of(merged, self.by)
        if merged.height > self.limit:
            cut = int(np.partition(keys, self.limit)[self.limit])
            self._below = cut if self._below is None else min(cut, self._below)
        return merged.filter(pl.Series(keys < np.uint64(self._below or 0)))


class Sightings:
    """Statements about hosts, `VALUES` of each kind and host at most, and of so many hosts and kinds.

    Args:
        limit: pairs of host and kind.
    """

    def __init__(self, limit: int) -> None:
        self._subjects = Sums(("host", "kind"), {"count": pl.Int64()}, limit)
        self._parts: list[pl.DataFrame] = []
        self._rows = 0

    def add(self, rows: pl.DataFrame) -> None:
        """Take statements, see `SIGHTING`."""
        counted = rows.with_columns(first="ts", last="ts", count=pl.lit(1, pl.Int64)).drop("ts")
        self._subjects.add(counted)
        self._parts.append(_stated(counted))
        self._rows += self._parts[-1].height
        if self._rows > _COMPACT_ROWS:
            self._compact()

    @property
    def kept(self) -> float:
        """As of `Sums`, of pairs of host and kind."""
        return self._subjects.kept

    def frame(self) -> pl.DataFrame:
        """``host``, ``kind``, ``value``, ``log``, ``count``, ``first``, ``last``, in that order; ``more`` where
        statements of that kind were left out."""
        self._compact()
        statements = self._parts[0]
        more = statements.group_by("host", "kind").agg(more=pl.col("value").n_unique() > VALUES)
        within = statements.filter(pl.col("_rank") <= VALUES).drop("_rank", _KEY)
        return within.join(more, on=["host", "kind"]).sort("host", "kind", "value", "log")

    def _compact(self) -> None:
        parts = [part.select(*_STATEMENT) for part in self._parts]
        merged = _stated(pl.concat([pl.DataFrame(schema=_STATEMENT), *parts]))
        known = self._subjects.frame().select("host", "kind")
        merged = merged.join(known, on=["host", "kind"], how="semi")
        merged = merged.with_columns(pl.Series(_KEY, keys_of(merged, ["value"])))
        rank = pl.col(_KEY).rank("dense").over("host", "kind").alias("_rank")
        merged = merged.with_columns(rank).filter(pl.col("_rank") <= VALUES + 1)  # one more shows that there are more
        self._parts, self._rows = [merged], 0 if merged.height < _COMPACT_ROWS else merged.height - _COMPACT_ROWS // 2


def _stated(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.group_by("host", "kind", "value", "log").agg(
        pl.col("first").min(), pl.col("last").max(), pl.col("count").sum()
    )


def keys_of(frame: pl.DataFrame, by: Sequence[str]) -> Keys:
    """One hash a row of these text columns, the same on every machine."""
    keys = text_keys(frame[by[0]])
    for name in by[1:]:
        keys = mix_all(keys, text_keys(frame[name]))
    return keys
