"""Rows by column are the table they came from, whatever way a column is asked for."""

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from detector.rows import ABSENT, Coded, Rows
from detector.state.keys import text_keys

TEXTS = st.none() | st.sampled_from(["tcp", "10.0.0.1", "a text of more than twelve bytes"])
TABLE = st.lists(st.tuples(TEXTS, st.none() | st.integers(0, 9), st.booleans()), min_size=1, max_size=9)
SCHEMA = {"text": pl.String(), "orig_bytes": pl.Int64(), "flag": pl.Boolean()}


def table(rows):
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


@given(TABLE, st.lists(st.integers(0, 8), max_size=9), st.integers(0, 5))
def test_chosen_rows_are_those_of_the_table(rows, places, begin):
    frame = table(rows)
    which = np.array(places, dtype=np.int64) % len(rows)
    known = Rows.of(frame)
    known.keys("text")  # what is known of all is known of a part
    for part, expected in (
        (Rows.of(frame).at(which), frame[which]),
        (known.at(which), frame[which]),
        (known.at(slice(begin, None)).at(slice(1, None)), frame[begin:][1:]),
        (Rows.concat([known.at(which), Rows.of(frame)]), pl.concat([frame[which], frame])),
    ):
        assert_frame_equal(part.frame(), expected)
        assert part.keys("text").tolist() == text_keys(expected["text"]).tolist()
        assert part.array("orig_bytes").tolist() == expected["orig_bytes"].fill_null(ABSENT["orig_bytes"]).to_list()
        assert part.array("flag").tolist() == expected["flag"].to_list()
        codes, names = part.coded("text")
        assert [names[code] for code in codes] == expected["text"].to_list()
        assert part.dicts(np.arange(part.height)) == expected.to_dicts()


def test_what_nobody_asks_for_is_not_made():
    def fail():
        raise AssertionError("it was made")

    rows = Rows(2, {"asked": np.array([1, 2]), "not": fail}).at(np.array([1])).plus({"more": lambda: pl.Series(["x"])})
    assert rows.only(["asked", "more"]).frame().rows() == [(2, "x")]


def test_codes_and_numbers_are_columns_with_nulls():
    codes = Coded(np.array([1, 0, 1]), [None, "a"])
    rows = Rows(
        3, {"text": codes, "vendor": np.array([0, -1, 2], np.int32), "orig_level": np.array([1.0, np.nan, 2.0])}
    )
    expected = [("a", 0, 1.0), (None, None, None), ("a", 2, 2.0)]
    assert rows.frame().rows() == expected
    assert [tuple(row.values()) for row in rows.dicts(np.array([0, 1, 2]))] == expected
    both = Rows.concat([rows, rows.at(np.array([1]))])
    assert both.coded("text").names == [None, "a", None, "a"]
    assert both.frame().rows() == [*expected, expected[1]]
    assert rows.plus({"vendor": np.array([5, 5, 5])}).array("vendor").tolist() == [5, 5, 5]
