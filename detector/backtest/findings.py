"""``findings.parquet``: every scored unit, in row groups of the same size whatever batches units came in.

A Parquet file without its end cannot be read, so what is written before a checkpoint is a file of its own, a
*segment*. Most runs have one; of several the end makes one.
"""

import os
from pathlib import Path
from typing import Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from detector.alerts.model import SCORE_DIGITS
from detector.config import MODELS
from detector.features.units import KINDS
from detector.score.structure import COLUMNS
from detector.score.trust import answered

NAME: Final = "findings.parquet"
MODEL_COLUMNS: Final = (*COLUMNS[:2], "p_structure")
GROUP_ROWS: Final = 1 << 17


class Findings:
    """Writes scored units.

    Args:
        folder: for segments.
        nothing: scored units without a row: the file has all columns whatever comes.

    Attributes:
        segments: that a checkpoint counts on.
    """

    def __init__(self, folder: Path, nothing: pl.DataFrame) -> None:
        self._folder, self._schema = folder, columns(nothing).to_arrow().schema
        self.segments = 0
        self._writer: _Groups | None = None

    def add(self, scored: pl.DataFrame) -> None:
        """Take units in scoring order."""
        if scored.height:
            self._writer = self._writer or _Groups(self._path(self.segments), self._schema)
            self._writer.add(columns(scored).to_arrow())

    def mark(self) -> int:
        """All units so far are on the disk when this returns; how many segments hold them."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
            self.segments += 1
        return self.segments

    def finish(self, path: Path) -> None:
        """No more units will come: make the file."""
        if not self.segments and self._writer is not None:
            self._writer.close()
            self._path(0).replace(path)
            return
        self.mark()
        whole = _Groups(path, self._schema)
        for number in range(self.segments):
            with pq.ParquetFile(self._path(number)) as segment:
                for group in range(segment.num_row_groups):
                    whole.add(segment.read_row_group(group))
        whole.close()

    def _path(self, number: int) -> Path:
        return self._folder / f"findings-{number:06d}.parquet"


class _Groups:
    """A Parquet file whose row groups have `GROUP_ROWS` rows each, but for the last."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path, self._schema = path, schema
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")
        self._held: list[pa.Table] = []
        self._rows = 0

    def add(self, table: pa.Table) -> None:
        self._held.append(table)
        self._rows += table.num_rows
        if self._rows >= GROUP_ROWS:
            held = pa.concat_tables(self._held)
            whole = self._rows // GROUP_ROWS * GROUP_ROWS
            for start in range(0, whole, GROUP_ROWS):
                self._write(held.slice(start, GROUP_ROWS))
            self._held, self._rows = [held.slice(whole)], self._rows - whole

    def close(self) -> None:
        if self._rows:
            self._write(pa.concat_tables(self._held))
        self._writer.close()
        with self._path.open("rb") as file:
            os.fsync(file.fileno())

    def _write(self, table: pa.Table) -> None:
        """In one piece: how it is cut would show in the bytes."""
        self._writer.write_table(table.combine_chunks(), row_group_size=GROUP_ROWS)


def columns(scored: pl.DataFrame) -> pl.DataFrame:
    """What is told of scored units."""
    p = pl.col("p_value")
    return scored.select(
        ts=pl.col("ts").cast(pl.Datetime("us", "UTC")),
        src="orig_h",
        dst="resp_h",
        service="service",
        operation="operation",
        kind=pl.col("kind").replace_strict(dict(enumerate(KINDS)), return_dtype=pl.String),
        score=(-p.log10()).round(SCORE_DIGITS).abs(),
        p_value=p,
        **{name: pl.col(name) for name in MODEL_COLUMNS},
        **{f"p_{name}": pl.col(f"p_{name}") if f"p_{name}" in scored.columns else pl.lit(1.0) for name in MODELS},
        new=pl.col("seen") <= 0,
        taught="teach",
        finding="finding",
        violation="violation",
        **answered(scored["trust"].to_numpy()).to_dict(),
        uid="uid",
        evidence=pl.format("{}:{}", "source", "position"),
    )
