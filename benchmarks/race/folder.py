"""The files of a race: made once, read by every part of it."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from detector.records import Block, Decoded, Lines

from . import lines
from .shape import Network, Shape

BATCH: int = 10_000
"""Rows a block, unless latency is measured."""
_NOT_STORED = ("log", "source", "position")


@dataclass(frozen=True, slots=True)
class Text:
    """Lines of a log; the header is no record."""

    path: Path
    header: list[bytes]
    rows: list[bytes]

    def blocks(self, rows: int, size: int = BATCH) -> list[Block]:
        """The first rows, as a source hands them on."""
        return [
            Block(self.path.name, at, Lines.of(self.rows[at : min(at + size, rows)]))
            for at in range(0, min(rows, len(self.rows)), size)
        ]

    def buffer(self) -> bytes:
        """All rows with their line feeds."""
        return b"\n".join(self.rows) + b"\n"


@dataclass(frozen=True, slots=True)
class Folder:
    """Where the files of a shape are."""

    path: Path
    shape: Shape

    @property
    def parquet(self) -> Path:
        """All rows of the stream that are timed."""
        return self.path / "flows.parquet"

    @property
    def snapshot(self) -> Path:
        """What eastwest knows when the stream begins; see `eastwest.teach`."""
        return self.path / "state"

    def text(self, name: str) -> Text:
        """The lines of ``zeek.json``, ``zeek.tsv`` or ``goflow2.json``."""
        path = self.path / name
        found = path.read_bytes().splitlines()
        header = [line for line in found[: len(lines.TSV_HEADER)] if line.startswith(b"#")]
        return Text(path, header, found[len(header) :])

    def frames(self, rows: int, size: int = BATCH) -> list[Decoded]:
        """The first rows of the stream as a decoder would give them."""
        flows = Network(self.shape).flows(self.shape.lead, self.shape.lead + rows)
        return [Decoded(flows=flows[at : at + size]) for at in range(0, rows, size)]

    def make(self, network: Network) -> dict[str, int]:
        """Write everything but the snapshot. Returns bytes a row, by file."""
        lead, shape = self.shape.lead, self.shape
        flows = network.flows(lead, lead + shape.lines)
        texts = {
            "zeek.json": lines.zeek_json(flows),
            "zeek.tsv": lines.TSV_HEADER + lines.zeek_tsv(flows),
            "goflow2.json": lines.goflow2_json(flows[: shape.lines // 2 + 1])[: shape.lines],
        }
        for name, made in texts.items():
            (self.path / name).write_bytes(b"\n".join(made) + b"\n")
        self._write_parquet(network)
        sizes = {name: (self.path / name).stat().st_size // len(made) for name, made in texts.items()}
        return sizes | {self.parquet.name: self.parquet.stat().st_size // shape.rows}

    def _write_parquet(self, network: Network) -> None:
        writer: pq.ParquetWriter | None = None
        for flows in network.pieces(self.shape.lead, self.shape.lead + self.shape.rows):
            table = stored(flows).to_arrow()
            writer = writer or pq.ParquetWriter(self.parquet, table.schema, compression="zstd")
            writer.write_table(table)
        if writer is not None:
            writer.close()


def stored(flows: pl.DataFrame) -> pl.DataFrame:
    """What a table of flows keeps: columns named like ours, none that is empty throughout."""
    flows = flows.drop(_NOT_STORED)
    return flows.drop("orig_flags", "resp_flags").with_columns(pl.col("exporter").cast(pl.String))
