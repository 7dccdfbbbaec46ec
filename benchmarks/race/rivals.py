"""Who else scores or counts flows: a naive River pipeline, group-bys of Polars and DuckDB, MIDAS-R."""

from typing import Any, Final

import numpy as np
import polars as pl
from contest.comparators import midas
from numpy.typing import NDArray
from river.anomaly import HalfSpaceTrees
from river.stats import EWMean

from .folder import Folder
from .laps import Contestant, Pass
from .parsers import connect
from .shape import Network

RIVER: Final = "River, per flow"
POLARS: Final = "Polars group-by"
DUCKDB: Final = "DuckDB group-by"
MIDAS: Final = "MIDAS-R"
RIVER_ROWS: Final = 50_000
MIDAS_WIDTH: Final = 1_024  # cells of a sketch row, as in the paper
_TICK_US: Final = 1_000_000  # the stream is minutes long
_SPANS: Final = {"orig_bytes": 14.0, "resp_bytes": 14.0, "duration": 2.0, "resp_p": 11.0}
"""Largest logarithms, so that half-space trees see numbers from 0 to 1."""


def contestants(folder: Folder) -> list[Contestant]:
    """All of them, on the same Parquet file or on what is in it."""
    rows, numbers = folder.shape.rows, _Midas(folder)
    return [
        Contestant(POLARS, rows, lambda: lambda: _polars(folder)),
        Contestant(DUCKDB, rows, lambda: _duckdb(folder)),
        Contestant(MIDAS, rows, lambda: numbers.run),
        Contestant(RIVER, min(RIVER_ROWS, folder.shape.lines), lambda: _river(folder)),
    ]


def _polars(folder: Folder) -> int:
    size = pl.col("orig_bytes").sum()
    pairs = pl.scan_parquet(folder.parquet).group_by("orig_h", "resp_h").agg(pl.len(), size).collect()
    return int(pairs["len"].sum())


def _duckdb(folder: Folder) -> Pass:
    connection = connect()
    query = f"SELECT orig_h, resp_h, count(*) AS len, sum(orig_bytes) FROM '{folder.parquet}' GROUP BY orig_h, resp_h"  # noqa: S608
    return lambda: int(np.sum(connection.sql(query).to_arrow_table().column("len").to_numpy()))


def sums_agree(folder: Folder) -> bool:
    """Whether both group-bys find the same pairs and bytes."""
    by = ["orig_h", "resp_h"]
    flows = pl.scan_parquet(folder.parquet)
    ours = flows.group_by(by).agg(pl.col("orig_bytes").sum().cast(pl.Int64)).collect().sort(by)
    size = "coalesce(sum(orig_bytes), 0)::BIGINT AS orig_bytes"
    query = f"SELECT orig_h, resp_h, {size} FROM '{folder.parquet}' GROUP BY orig_h, resp_h"  # noqa: S608
    theirs = pl.DataFrame(connect().sql(query).to_arrow_table()).sort(by)
    return ours.equals(theirs)


class _Midas:
    """The numbers MIDAS starts from, made once: it is timed from integer ids on, hashing and scoring."""

    def __init__(self, folder: Folder) -> None:
        columns = ["obs_ts", "orig_h", "resp_h", "proto", "resp_p"]
        flows = pl.read_parquet(folder.parquet, columns=columns)
        ids = {side: _ids(flows[side]) for side in ("orig_h", "resp_h")}
        service = flows["resp_p"].cast(pl.UInt64).to_numpy() * np.uint64(2) + (flows["proto"] == "udp").to_numpy()
        target = ids["resp_h"] << np.uint64(17) | service
        self.keys = (ids["orig_h"] << np.uint64(40) | target, ids["orig_h"], target)
        self.ticks = flows["obs_ts"].to_numpy() // _TICK_US

    def run(self) -> int:
        draw = np.random.default_rng(1)
        edge, source, target = (midas.hashed(keys, MIDAS_WIDTH, draw) for keys in self.keys)
        return int(midas.midas_r(edge, source, target, self.ticks, MIDAS_WIDTH, midas.DECAY).size)


def _ids(hosts: pl.Series) -> NDArray[np.uint64]:
    return hosts.rank("dense").to_numpy().astype(np.uint64)


def _river(folder: Folder) -> Pass:
    """Rows as dictionaries in, a score a row out: half-space trees on four numbers, and each host against its mean."""
    rows = min(RIVER_ROWS, folder.shape.lines)
    flows = Network(folder.shape).flows(folder.shape.lead, folder.shape.lead + rows)
    listed = flows.select("orig_h", *(pl.col(name).fill_null(0) for name in _SPANS)).to_dicts()
    return lambda: len(_river_scores(listed))


def _river_scores(rows: list[dict[str, Any]]) -> list[float]:
    trees, scores = HalfSpaceTrees(seed=7), []
    means: dict[str, EWMean] = {}
    for row in rows:
        x = {name: min(float(np.log1p(row[name])) / span, 1.0) for name, span in _SPANS.items()}
        mean = means.setdefault(row["orig_h"], EWMean())
        apart = abs(x["orig_bytes"] - mean.get())
        scores.append(trees.score_one(x) + apart)
        trees.learn_one(x)
        mean.update(x["orig_bytes"])
    return scores
