"""Tables taken as columns change nothing but the time it takes: row by row the same comes of them."""

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.formats import columns, flow_tables
from detector.formats.batch import Batch, Context
from detector.formats.netflow import UNSPECIFIED
from tests.formats.usual import equal

FIRST = 7  # position of the first row
PLAIN: dict[str, Any] = {
    "ts": 1_760_000_000_000_000, "obs_ts": 1_760_000_000_000_007, "uid": "C1", "orig_h": "10.0.0.1", "orig_p": 50_000,
    "resp_h": "192.0.2.7", "resp_p": 445, "proto": "tcp", "service": "smb", "conn_state": "SF", "duration": 0.5,
    "orig_bytes": 7, "orig_pkts": 1, "resp_bytes": 0, "resp_pkts": 0, "orig_flags": 27, "resp_flags": 2,
    "oriented": True, "exporter": "192.0.2.1", "sampling": 1,
}  # fmt: skip
ADDRESSES = st.sampled_from(
    ["10.0.0.1", *UNSPECIFIED, "fe80::1%eth0", "::FFFF:10.0.0.9", "010.001.002.003", "", "-", "printer"]
)
CODES = st.sampled_from(["tcp", "UDP", "6", "17", "ICMP", "icmp6", "1", "300", "a\n", "", "...AP.SF", "0x1b"])
TEXTS = st.sampled_from(["C1", "-", "", "(empty)", "x" * 1024, "x" * 1025, "é" * 1025, "Smb"])
WHOLE = st.integers(-3, 3) | st.sampled_from([255, 65_535, 65_536, 2**31, 2**63 - 1, -(2**63)])
TIMES = (
    st.integers(1_759_000_000, 1_761_000_000)
    | st.integers(0, 10**6).map(lambda late: 1_760_000_000_000_000 + late)
    | st.sampled_from([0, -1, 9 * 10**9, 10**11 - 1, 10**11, 1_760_000_000_000, 10**14 - 1, 10**14])
    | st.sampled_from([10**17 - 1, 10**17, 1_760_000_000_000_000_123, 2**63 - 1])
)
REAL = (
    st.floats() | st.floats(1.759e9, 1.761e9) | st.floats(0, 2e9) | st.sampled_from([1e11, 1e9, -0.0, 2.5e-7, 1.5e-6])
)
KINDS: dict[str, list[tuple[pl.DataType, st.SearchStrategy[Any]]]] = {
    "address": [(pl.String(), ADDRESSES)] * 3 + [(pl.Categorical(), ADDRESSES)],
    "text": [(pl.String(), TEXTS)] * 3 + [(pl.Int64(), WHOLE)],
    "code": [
        (pl.String(), CODES),
        (pl.Int64(), WHOLE),
        (pl.UInt8(), st.integers(0, 255)),
    ],
    "whole": [(pl.Int64(), WHOLE)] * 3
    + [(pl.UInt64(), st.integers(0, 2**64 - 1) | st.integers(0, 9)), (pl.Int32(), st.integers(-1, 70_000))],
    "time": [
        (pl.Int64(), TIMES),
        (pl.UInt64(), st.integers(0, 2**64 - 1)),
        (pl.Float64(), REAL),
        (pl.Float32(), st.floats(width=32)),
        (pl.Datetime("us"), st.datetimes()),
        (pl.String(), st.just("2025-10-09 08:53:20.5")),
    ],
    "truth": [(pl.Boolean(), st.booleans())] * 3 + [(pl.String(), st.sampled_from(["T", "no"]))],
}  # fmt: skip
OF: dict[str, str] = {
    **dict.fromkeys(("orig_h", "resp_h"), "address"),
    **dict.fromkeys(("uid", "service", "conn_state", "exporter"), "text"),
    **dict.fromkeys(("proto", "orig_flags", "resp_flags"), "code"),
    **dict.fromkeys(("ts", "obs_ts"), "time"),
    "oriented": "truth",
    "duration": "time",
}
SPELLINGS = {"orig_h": "id.orig_h", "resp_h": "id_resp_h", "orig_p": "id_orig_p", "resp_p": "id.resp_p"}


@st.composite
def tables(draw: st.DrawFn) -> pl.DataFrame:
    """Rows as they usually are, some columns gone, some with values of any kind."""
    rows = draw(st.integers(1, 6))
    given = {name: pl.Series([value] * rows) for name, value in PLAIN.items()}
    for name in draw(st.lists(st.sampled_from(sorted(PLAIN)), max_size=6, unique=True)):
        kind, values = draw(st.sampled_from(KINDS[OF.get(name, "whole")]))
        some = draw(st.lists(values | st.none() | st.just(PLAIN[name]), min_size=rows, max_size=rows))
        try:
            given[name] = pl.Series(some, dtype=kind)
        except (TypeError, pl.exceptions.PolarsError, OverflowError):  # the plain value of another type
            given[name] = pl.Series([None] * rows, dtype=kind)
    for name in draw(st.lists(st.sampled_from(sorted(given.keys() - {"ts", "orig_h", "resp_h"})), max_size=4)):
        given.pop(name, None)
    for name in draw(st.lists(st.sampled_from(sorted(given)), max_size=1)):
        given[name] = pl.Series([None] * rows)
    for name in draw(st.lists(st.sampled_from(sorted(SPELLINGS)), max_size=2)):
        if name in given:
            given[SPELLINGS[name]] = given[name] if draw(st.integers(0, 9)) == 0 else given.pop(name)
    return pl.DataFrame(given)


def both(table: pl.DataFrame) -> None:
    """As columns and row by row the same comes of it."""
    table = table.select(columns._plain(pl.col(name), kind).alias(name) for name, kind in table.schema.items())
    rows = Batch(columns.NAME, "t", list(range(FIRST, FIRST + table.height)), table.to_dicts())
    equal(columns.decode(table, "t", FIRST, Context()), columns.convert(rows, Context()))


@settings(max_examples=200)
@given(tables())
def test_row_by_row_the_same_comes_of_it(table: pl.DataFrame) -> None:
    both(table)


@settings(max_examples=60)
@given(st.sampled_from(["time", "whole"]), st.data())
def test_numbers_of_every_size(kind: str, data: st.DataObject) -> None:
    name = "ts" if kind == "time" else data.draw(st.sampled_from(["orig_p", "orig_bytes", "sampling"]))
    dtype, values = data.draw(st.sampled_from(KINDS[kind]))
    some = data.draw(st.lists(values | st.none(), min_size=1, max_size=20))
    keep = {"orig_h", "resp_h", "proto"} | ({"ts"} - {name})
    plain = {key: pl.Series([PLAIN[key]] * len(some)) for key in sorted(keep)}
    both(pl.DataFrame({**plain, name: pl.Series(some, dtype=dtype)}))


def test_usual_rows_stay_columns() -> None:
    table = pl.DataFrame([PLAIN, PLAIN | {"orig_h": "printer"}, PLAIN | {"resp_bytes": None, "exporter": None}])
    assert flow_tables.read(table, columns.LAYOUT)["usual"].to_list() == [True, False, True]


@pytest.mark.parametrize("change", [{"ts": ["2025-10-09"]}, {"id.orig_h": ["10.0.0.1"]}, {"orig_bytes": [1.0]}])
def test_other_types_are_left(change: dict[str, list[Any]]) -> None:
    table = pl.DataFrame({**{name: [value] for name, value in PLAIN.items()}, **change})
    with pytest.raises(flow_tables.UnusualTable):
        flow_tables.read(table, columns.LAYOUT)
    both(table)


def test_two_addresses_that_are_not_set_are_no_flow() -> None:
    unset = PLAIN | dict.fromkeys(("orig_h", "resp_h"), UNSPECIFIED[0])
    both(pl.DataFrame([PLAIN, unset, unset | {"resp_h": "10.0.0.1"}]))
