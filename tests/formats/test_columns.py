"""Tables by column names: which headers are taken, how cells are read, and Parquet."""

from pathlib import Path

import polars as pl
import pytest

from detector.errors import UnreadableInput
from detector.formats import csv_header
from detector.formats.batch import Context
from detector.formats.columns import read_parquet, renames
from detector.formats.fields import BadValue
from detector.records import FLOW, merge
from tests.formats.lines import convert

START = 1_760_000_000  # s, 2025-10-09


def conn(rows: int) -> pl.DataFrame:
    numbers = pl.int_range(rows, eager=True)
    return pl.DataFrame(
        {
            "ts": pl.Series([START + number / 8 for number in range(rows)]),
            "uid": pl.select(pl.format("C{}", numbers)).to_series(),
            "id.orig_h": ["10.20.1.15"] * rows,
            "id.orig_p": numbers + 40_000,
            "id.resp_h": ["10.20.9.7"] * rows,
            "id.resp_p": [445] * rows,
            "proto": ["tcp"] * rows,
            "duration": [0.5] * rows,
            "orig_bytes": numbers,
        }
    )


def test_parquet_with_zeek_names_is_read_in_batches(tmp_path: Path) -> None:
    conn(250).write_parquet(tmp_path / "conn.parquet")
    parts = list(read_parquet(tmp_path / "conn.parquet", Context(), 100))
    assert [part.flows.height for part in parts] == [100, 100, 50]
    flows = merge(parts).flows
    assert flows["position"].to_list() == list(range(250))
    assert flows["orig_bytes"].to_list() == list(range(250))
    assert flows["oriented"].all()
    assert (flows["obs_ts"] - flows["ts"]).unique().to_list() == [500_000]


def test_parquet_keeps_our_own_frame_as_it_is(tmp_path: Path) -> None:
    row = {
        "ts": START * 1_000_000,
        "obs_ts": START * 1_000_000 + 7,
        "orig_h": "10.0.0.1",
        "orig_p": 5,
        "resp_h": "10.0.0.2",
    }
    row |= {
        "resp_p": 445,
        "proto": "tcp",
        "orig_bytes": 4000,
        "sampling": 100,
        "oriented": False,
        "duration": 7e-06,
    }
    frame = pl.DataFrame([row], schema=FLOW)
    frame.write_parquet(tmp_path / "flows.parquet")
    (part,) = read_parquet(tmp_path / "flows.parquet", Context(), 10)
    assert part.flows.drop("log", "source", "position").equals(frame.drop("log", "source", "position"))


def test_parquet_times_durations_and_categories_of_arrow(tmp_path: Path) -> None:
    frame = conn(3).with_columns(
        pl.from_epoch(pl.col("ts") * 1_000, time_unit="ms").dt.replace_time_zone("UTC"),
        (pl.col("duration") * 1_000_000).cast(pl.Duration("us")),
        pl.col("id.orig_h").cast(pl.Categorical),
    )
    frame.write_parquet(tmp_path / "conn.parquet")
    (part,) = read_parquet(tmp_path / "conn.parquet", Context(), 10)
    assert part.flows["ts"].to_list() == [START * 1_000_000 + number * 125_000 for number in range(3)]
    assert part.flows["duration"].to_list() == [0.5] * 3


def test_parquet_with_a_column_map(tmp_path: Path) -> None:
    conn(2).rename({"id.orig_h": "Source", "ts": "When"}).write_parquet(tmp_path / "conn.parquet")
    context = Context(columns={"orig_h": "Source", "ts": "When"})
    (part,) = read_parquet(tmp_path / "conn.parquet", context, 10)
    assert part.flows["orig_h"].to_list() == ["10.20.1.15"] * 2


def test_a_bad_parquet_row_is_a_reject(tmp_path: Path) -> None:
    frame = conn(3).with_columns(pl.Series("id.resp_h", ["10.0.0.1", "printer", None]))
    frame.write_parquet(tmp_path / "conn.parquet")
    (part,) = read_parquet(tmp_path / "conn.parquet", Context(), 10)
    assert part.rows == 3
    assert [(reject.position, reject.reason, reject.detail) for reject in part.rejects] == [
        (1, "columns: resp_h: not an address", "'printer'")
    ]
    assert part.filtered.total() == 1


def test_unreadable_parquet_says_why(tmp_path: Path) -> None:
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 torn")
    with pytest.raises(UnreadableInput, match="not a readable Parquet"):
        read_parquet(tmp_path / "torn.parquet", Context(), 10)
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "other.parquet")
    with pytest.raises(UnreadableInput, match="column map"):
        read_parquet(tmp_path / "other.parquet", Context(), 10)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"a,b,c",
        b"ts,orig_h",
        b'"ts,orig_h,resp_h',
        b"\xff\xfe",
        b"ts resp_h orig_h",
        b"{}",
        b"#fields\tts",
    ],
)
def test_other_first_lines_are_no_header(line: bytes) -> None:
    assert csv_header.match(line, Context()) is None


@pytest.mark.parametrize("separator", [",", "\t", ";", "|"])
def test_separators_quotes_and_byte_order_mark(separator: str) -> None:
    header = "\ufeff" + separator.join(["ts", '"orig_h"', "resp_h"]) + "\r\n"
    reader = csv_header.match(header.encode(), Context())
    assert reader is not None
    row = reader.row(separator.join([str(START), '"10.0.0.1"', " 10.0.0.2"]).encode() + b"\r\n")
    assert row == {"ts": str(START), "orig_h": "10.0.0.1", "resp_h": "10.0.0.2"}
    assert reader.row(b"") is None
    assert reader.row(header.lstrip("\ufeff").encode()) is None
    with pytest.raises(BadValue, match="not as many cells as the header has: 2 of 3"):
        reader.row(f"1{separator}2".encode())


def test_a_column_map_that_does_not_fit_is_not_used() -> None:
    names = ["ts", "orig_h", "resp_h", "bytes"]
    assert renames(names, Context(columns={"orig_h": "Source"})) == {name: name for name in names[:3]}
    assert renames(names, Context(columns={"orig_bytes": "bytes"})) == {
        "ts": "ts",
        "orig_h": "orig_h",
        "resp_h": "resp_h",
        "bytes": "orig_bytes",
    }
    assert renames(["a", "b", "c"], Context(columns={"orig_h": "a", "resp_h": "b"})) is None


def test_counters_of_tables_are_not_scaled_again() -> None:
    row = {"ts": START, "orig_h": "10.0.0.1", "resp_h": "10.0.0.2", "orig_bytes": 5, "sampling": 100}
    assert convert("columns", [row]).flows["orig_bytes"].to_list() == [5]
