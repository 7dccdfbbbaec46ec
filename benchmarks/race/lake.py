"""A lake of made flows: Parquet files in a folder for each day, as Zeek's conn.log lies in one."""

from pathlib import Path
from typing import Final

import polars as pl
import pyarrow.parquet as pq

from .folder import stored
from .shape import CHUNK, Network

GROUP_ROWS: Final = 122_880  # of a row group: what DuckDB writes by default
DAY_US: Final = 86_400_000_000
_LEFT_OUT: Final = ("obs_ts", "oriented", "sampling")  # a conn.log has none of them


def write(network: Network, folder: Path) -> int:
    """Rows ``0`` to ``shape.rows`` of the stream as ``day=YYYY-MM-DD/conn.parquet``; returns bytes written.

    A row lies in the day its conversation ended, as Zeek rotates its logs.
    """
    total, shape = 0, network.shape
    writer: _Day | None = None
    for flows in network.pieces(0, shape.rows):
        for (day,), part in flows.group_by(pl.col("obs_ts") // DAY_US, maintain_order=True):
            if writer is None or writer.day != day:
                total += writer.close() if writer else 0
                writer = _Day(folder, day)
            writer.add(part)
    return total + (writer.close() if writer else 0)


class _Day:
    """The file of a day, whose row groups are whole but for the last."""

    def __init__(self, folder: Path, day: int) -> None:
        self.day = day
        name = pl.Series([day]).cast(pl.Date).dt.strftime("day=%Y-%m-%d")[0]
        self._path = folder / name / "conn.parquet"
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._writer: pq.ParquetWriter | None = None
        self._held: list[pl.DataFrame] = []

    def add(self, flows: pl.DataFrame) -> None:
        self._held.append(stored(flows).drop(_LEFT_OUT))
        if sum(part.height for part in self._held) >= GROUP_ROWS + CHUNK:
            self._flush()

    def close(self) -> int:
        while self._held:
            self._flush()
        if self._writer:
            self._writer.close()
        return self._path.stat().st_size

    def _flush(self) -> None:
        held = pl.concat(self._held)
        group, rest = held[:GROUP_ROWS], held[GROUP_ROWS:]
        self._held = [rest] if rest.height else []
        table = group.with_columns(pl.col("ts").cast(pl.Datetime("us", "UTC"))).to_arrow()
        self._writer = self._writer or pq.ParquetWriter(self._path, table.schema, compression="zstd")
        self._writer.write_table(table, row_group_size=GROUP_ROWS)
