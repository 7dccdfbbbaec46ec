"""Flows of a table whose columns have the usual types: columns stay columns.

What `formats.columns` and `formats.netflow` do row by row happens here column by column, with the same outcome to the
last bit. A row with anything unusual in it is named, and left to them.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import polars as pl

from detector.formats.address import canonical
from detector.formats.fields import NO_VALUE, SECONDS_BELOW, TEXT_LIMIT, BadValue
from detector.formats.flow_times import NS_FROM, SPAN_MAX
from detector.formats.netflow import PORT_MAX, UNSPECIFIED, Layout, exporter
from detector.formats.protocols import WITH_PORTS, protocol, tcp_flags
from detector.records import FLOW

_TEXT: Final = frozenset({pl.String()})
_WHOLE: Final = frozenset(
    {pl.Int8(), pl.Int16(), pl.Int32(), pl.Int64(), pl.UInt8(), pl.UInt16(), pl.UInt32(), pl.UInt64()}
)
_REAL: Final = frozenset({pl.Float32(), pl.Float64()})
_TYPES: Final = {
    **dict.fromkeys(("orig_h", "resp_h", "exporter", "uid", "service", "conn_state"), _TEXT),
    **dict.fromkeys(("proto", "orig_flags", "resp_flags"), _TEXT | _WHOLE),
    **dict.fromkeys(("orig_p", "resp_p", "orig_bytes", "orig_pkts", "resp_bytes", "resp_pkts", "sampling"), _WHOLE),
    **dict.fromkeys(("start", "end", "duration"), _WHOLE | _REAL),
    "oriented": frozenset({pl.Boolean()}),
}
"""Usual types, by field of `netflow.Layout`."""
_STORED: Final = {**FLOW, "start": FLOW["ts"], "end": FLOW["obs_ts"]}
_US: Final = 1_000_000
_EXACT: Final = 9 * 10**9  # s that are an integer below 2**53 as µs, so that a float holds them
_MS_FROM, _US_FROM = 10**11, 10**14  # numbers of a time from here on are finer, see `fields.micros`


class UnusualTable(ValueError):
    """The columns have other types than these: all rows are to be read one by one."""


def read(table: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """The rows as flows: columns of `records.FLOW` without ``log``, ``source`` and ``position``, and ``usual``. Rows
    that are not usual hold anything.

    Args:
        table: columns named by the layout, whose counters stand for all packets and which implies the end.

    Raises:
        UnusualTable: a type is another, or two columns mean the same.
    """
    told = any(name in table.columns for name in layout.oriented)
    table = _named(table, layout)
    usual = ~table["orig_h"].is_in(list(UNSPECIFIED)).fill_null(True)
    for name, convert in _MEANINGS.items():
        known, good = _meant(table[name], convert)
        table, usual = table.with_columns(known.alias(name)), usual & good
    columns: list[pl.Expr] = []
    conditions: list[pl.Expr] = []
    for made, needed in (_ends(), _counters(), _times(table.schema)):
        columns += made
        conditions += needed
    texts = [pl.when(~pl.col(name).is_in(sorted(NO_VALUE))).then(name).alias(name) for name in _TEXTS]
    conditions += [pl.col(name).str.len_chars().fill_null(0) <= TEXT_LIMIT for name in _TEXTS]
    flows = table.select(
        *columns, *texts, _oriented(told).alias("oriented"), *_AS_THEY_ARE, usual=usual & pl.all_horizontal(conditions)
    )
    return flows.select(*(pl.col(name).cast(kind) for name, kind in FLOW.items() if name in flows.columns), "usual")


def _named(table: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """The same with a column for each field of the layout that is known here, null where there was none."""
    found = []
    for name, types in _TYPES.items():
        there = [table[column] for column in getattr(layout, name) if column in table.columns]
        kind = _STORED[name]
        values = there[0] if there else pl.Series([None], dtype=kind).new_from_index(0, table.height)
        values = values.cast(kind) if values.dtype == pl.Null else values
        if len(there) > 1 or values.dtype not in types:
            raise UnusualTable(f"{name}: {[str(column.dtype) for column in there]}")
        found.append(values.alias(name))
    return pl.DataFrame(found)


# --- texts and codes: each distinct value once ---

_BAD: Final = object()  # what a value means that is refused


def _told(convert: Callable[[Any], Any], value: Any) -> Any:
    try:
        return convert(value)
    except BadValue:
        return _BAD


_MEANINGS: Final[dict[str, Callable[[Any], Any]]] = {
    **dict.fromkeys(("orig_h", "resp_h"), canonical),
    **dict.fromkeys(("orig_flags", "resp_flags"), partial(_told, tcp_flags)),
    "proto": partial(_told, protocol),
    "exporter": exporter,
}
_AS_THEY_ARE: Final = ("orig_h", "resp_h", "proto", "exporter")
_TEXTS: Final = ("uid", "service", "conn_state")


def _meant(values: pl.Series, convert: Callable[[Any], Any]) -> tuple[pl.Series, pl.Series]:
    """What the values mean, and by row whether that may be; an address must be one."""
    distinct = values.unique().drop_nulls()
    told = list(map(convert, distinct.to_list()))
    known = pl.Series([None if meaning is _BAD else meaning for meaning in told], dtype=FLOW[values.name])
    if known.dtype != distinct.dtype or not known.equals(distinct):
        good = pl.Series([meaning is not _BAD for meaning in told], dtype=pl.Boolean)
        good = values.replace_strict(distinct, good, default=True, return_dtype=pl.Boolean)
        values = values.replace_strict(distinct, known, default=None, return_dtype=known.dtype)
    else:
        good = pl.repeat(True, len(values), eager=True)
    return values, good & values.is_not_null() if convert is canonical else good


# --- numbers ---

Made = tuple[list[pl.Expr], list[pl.Expr]]
"""Columns, and what must hold for a row to be usual."""


def _whole(name: str) -> pl.Expr:
    """As int64, null where it does not fit."""
    return pl.col(name).cast(pl.Int64, strict=False)


def _ends() -> Made:
    """Ports where the protocol has some, and flags where it is TCP."""
    portless = pl.col("proto").is_not_null() & ~pl.col("proto").is_in(sorted(WITH_PORTS))
    columns, conditions = [], []
    for name in ("orig_p", "resp_p"):
        fits = _whole(name).is_between(0, PORT_MAX).fill_null(False)
        columns.append(pl.when(portless).then(0).otherwise(pl.when(fits).then(_whole(name))).alias(name))
        conditions.append(portless | fits | pl.col(name).is_null())
    tcp = pl.col("proto") == "tcp"
    columns += [pl.when(tcp).then(name).alias(name) for name in ("orig_flags", "resp_flags")]
    return columns, conditions


def _counters() -> Made:
    names = ("orig_bytes", "orig_pkts", "resp_bytes", "resp_pkts", "sampling")
    columns = [_whole(name).alias(name) for name in names[:-1]]
    columns.append(pl.when(_whole("sampling") != 0).then(_whole("sampling")).alias("sampling"))
    return columns, [(_whole(name) >= 0).fill_null(False) | pl.col(name).is_null() for name in names]


def _oriented(told: bool) -> pl.Expr:
    """Whether both directions are in it: as it says, or else as reply counters or Zeek's own columns tell."""
    both = pl.col("resp_bytes").is_not_null() | pl.col("resp_pkts").is_not_null()
    if told:
        return pl.col("oriented").fill_null(both)
    return both | pl.col("uid").is_not_null() | pl.col("conn_state").is_not_null()


def _times(kinds: Mapping[str, pl.DataType]) -> Made:
    """Start, end and duration, where nothing is to be mended."""
    told, seconds = pl.col("end").is_not_null(), pl.col("duration").cast(pl.Float64)
    seconds = pl.when(seconds.is_between(0, SPAN_MAX)).then(seconds)
    begun, ended = _micros("start", kinds["start"]), _micros("end", kinds["end"])
    implied = begun + (seconds.fill_null(0) * 1e6).round().cast(pl.Int64, strict=False)
    done = pl.when(told).then(ended).otherwise(implied)
    span = pl.when(told).then((done - begun).map_batches(_seconds, return_dtype=pl.Float64()))
    columns = [begun.alias("ts"), done.alias("obs_ts"), pl.coalesce(seconds, span).alias("duration")]
    return columns, [(begun <= done).fill_null(False)]


def _seconds(micros: pl.Series) -> pl.Series:
    """By NumPy: Polars multiplies by the reciprocal, which is not the same to the last bit."""
    return pl.Series(micros.fill_null(0).to_numpy() / 1e6)


def _micros(name: str, kind: pl.DataType) -> pl.Expr:
    """µs of a time, null where it is unusual; see `fields.micros`."""
    if kind in _REAL:
        seconds = pl.col(name).cast(pl.Float64)
        usual = seconds.is_between(0, SECONDS_BELOW, closed="left")
        return pl.when(usual).then((seconds * 1e6).round().cast(pl.Int64, strict=False))
    number = _whole(name)
    return (
        pl.when(number >= NS_FROM).then(number // 1_000)
        .when(number >= _US_FROM).then(number)
        .when(number >= _MS_FROM).then(number * 1_000)
        .when(number.is_between(0, _EXACT)).then(number * _US)
    )  # fmt: skip
