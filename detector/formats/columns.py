"""Tables whose columns are named by us, by Zeek, or by the user's column map: CSV and Parquet.

Counters are taken as they stand: a ``sampling`` column says what they were scaled by. Without an ``oriented``
column, a row with a Zeek ``uid`` or ``conn_state`` or with reply counters is a whole conversation.
"""

import sys
from collections.abc import Collection, Iterator
from itertools import chain
from pathlib import Path
from typing import Final

import polars as pl

from detector.errors import UnreadableInput
from detector.formats import flow_tables
from detector.formats.batch import Batch, Context, LogType, Row
from detector.formats.netflow import Layout, flows
from detector.records import FLOW, Decoded

NAME: Final = "columns"

LAYOUT: Final = Layout(
    orig_h=("orig_h", "id.orig_h", "id_orig_h"),
    resp_h=("resp_h", "id.resp_h", "id_resp_h"),
    orig_p=("orig_p", "id.orig_p", "id_orig_p"),
    resp_p=("resp_p", "id.resp_p", "id_resp_p"),
    proto=("proto",),
    orig_bytes=("orig_bytes",),
    orig_pkts=("orig_pkts",),
    resp_bytes=("resp_bytes",),
    resp_pkts=("resp_pkts",),
    orig_flags=("orig_flags",),
    resp_flags=("resp_flags",),
    start=("ts",),
    end=("obs_ts",),
    duration=("duration",),
    exporter=("exporter",),
    sampling=("sampling",),
    uid=("uid",),
    service=("service",),
    conn_state=("conn_state",),
    oriented=("oriented",),
    implied_end=True,
    relative_times=True,
    scaled=True,
)

_READ: Final = frozenset(
    chain.from_iterable(value for name in LAYOUT.__slots__ if isinstance(value := getattr(LAYOUT, name), tuple))
)
_READ_ROWS: Final = 1 << 17
"""Rows of a Parquet file that are read at once: its row groups mostly have as many, and are read whole anyway."""
_ENDS: Final = (LAYOUT.start, LAYOUT.orig_h, LAYOUT.resp_h)


def convert(batch: Batch, context: Context) -> Decoded:
    """One row a record; see the module for what is taken for granted."""
    rows = [_whole(row) for row in batch.rows]
    return flows(Batch(batch.log, batch.source, batch.positions, rows), context, LAYOUT)


def _whole(row: Row) -> Row:
    if "oriented" not in row and (row.get("uid") is not None or row.get("conn_state") is not None):
        return {**row, "oriented": True}
    return row


def renames(names: Collection[str], context: Context) -> dict[str, str] | None:
    """Column name -> the name `convert` reads it by; None when these columns are no flows.

    The user's column map comes first, and counts only when all the columns it names are there. Columns it
    does not name keep their meaning when they are named like ours.
    """
    mapped = {column: ours for ours, column in (context.columns or {}).items() if ours in FLOW}
    known = {name: name for name in names if name in _READ}
    if mapped and mapped.keys() <= set(names):
        known = {name: ours for name, ours in known.items() if ours not in mapped.values()} | mapped
    ours = set(known.values())
    return known if all(ours & set(alternatives) for alternatives in _ENDS) else None


def read_parquet(
    path: Path, context: Context, batch_rows: int, span: tuple[int, int] | None = None, source: str = ""
) -> Iterator[Decoded]:
    """The flows of a Parquet file, ``batch_rows`` rows at a time; positions are row numbers from 0.

    Args:
        span: the first row to read, and the one to stop before; all by default.
        source: what the file is called in the frames; its path by default.

    Raises:
        UnreadableInput: no Parquet, or no columns that are flows.
    """
    try:
        table = pl.scan_parquet(path)
        schema = table.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as problem:
        raise UnreadableInput(f"{path}: not a readable Parquet file: {problem}") from None
    known = renames(schema.names(), context)
    if known is None:
        raise UnreadableInput(
            f"{path}: no columns for time, originator and responder among {', '.join(schema.names())[:400]}; "
            "name them in the column map"
        )
    table = table.select(_plain(pl.col(column), schema[column]).alias(ours) for column, ours in known.items())
    return _batches(table, source or str(path), context, batch_rows, span or (0, sys.maxsize))


def _plain(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Times as integer µs (naive ones are UTC, as Parquet writers mean them) and durations as seconds."""
    if isinstance(dtype, pl.Datetime):
        return column.dt.epoch("us")
    if isinstance(dtype, pl.Duration):
        return column.dt.total_microseconds() / 1e6
    if isinstance(dtype, pl.Categorical | pl.Enum):
        return column.cast(pl.String)
    return column


def _batches(
    table: pl.LazyFrame, source: str, context: Context, batch_rows: int, span: tuple[int, int]
) -> Iterator[Decoded]:
    (position, stop), some = span, max(batch_rows, _READ_ROWS // batch_rows * batch_rows)
    while position < stop:
        try:
            frame = table.slice(position, min(some, stop - position)).collect()
        except (pl.exceptions.PolarsError, OSError) as problem:
            raise UnreadableInput(f"{source}: damaged after row {position}: {problem}") from None
        if frame.is_empty():
            return
        for part in frame.iter_slices(batch_rows):
            yield decode(part, source, position, context)
            position += part.height


def decode(table: pl.DataFrame, source: str, first: int, context: Context) -> Decoded:
    """Rows of a table, the first at position ``first``: the usual ones all at once, the others one by one."""
    try:
        flows = flow_tables.read(table, LAYOUT)
    except flow_tables.UnusualTable:
        flows = pl.DataFrame(schema={**FLOW, "usual": pl.Boolean()}).clear(table.height)
    places = {"log": pl.lit(NAME), "source": pl.lit(source), "position": pl.int_range(first, first + table.height)}
    usual = flows.with_columns(**places).filter("usual").select(list(FLOW))
    if usual.height == table.height:
        return Decoded(flows=usual)
    unusual = flows["usual"].not_().fill_null(True).arg_true()
    rows = convert(Batch(NAME, source, (unusual + first).to_list(), table[unusual].to_dicts()), context)
    rows.flows = pl.concat([usual, rows.flows]).sort("position")
    return rows


LOG_TYPE: Final = LogType(NAME, convert)
