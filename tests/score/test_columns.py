"""Columns are the frame's, of one kind each, whatever the frame was put together from."""

import numpy as np
import polars as pl
import pytest

from detector.score.columns import Columns

FRAME = pl.DataFrame(
    {
        "orig_id": pl.Series([1, 2**64 - 1, 3], dtype=pl.UInt64),
        "user_id": pl.Series([None, 2**64 - 1, 5], dtype=pl.UInt64),
        "orig_bytes": pl.Series([2**53 + 1, None, 0], dtype=pl.Int64),
        "vendor": pl.Series([None, 0, 7], dtype=pl.Int32),
        "kind": pl.Series([0, 1, 2], dtype=pl.Int32),
        "moves": [True, False, True],
        "p_structure": [1.0, 0.5, 0.0],
    }
)


def test_nulls_are_what_no_value_is():
    columns = Columns(FRAME)
    assert columns["user_id"].tolist() == [0, 2**64 - 1, 5]
    assert columns["orig_bytes"].tolist() == [2**53 + 1, -1, 0]
    assert columns["vendor"].tolist() == [-1, 0, 7]
    assert columns["orig_id"].tolist() == FRAME["orig_id"].to_list()
    assert columns.judged().tolist() == [False, True, True]


@pytest.mark.parametrize("name", FRAME.columns)
def test_a_column_is_of_one_kind_whatever_it_came_from(name):
    """Or a kernel would be compiled again in the middle of the work."""
    frames = [FRAME, FRAME[:0], pl.concat([FRAME[:1], FRAME[1:]]), FRAME[1:], FRAME.filter(pl.col("kind") != 1)]
    made = [Columns(frame)[name] for frame in frames]
    assert {(array.dtype, array.flags.c_contiguous, array.flags.writeable) for array in made} == {
        (made[0].dtype, True, False)
    }
    assert [array.size for array in made] == [3, 0, 3, 2, 2]


def test_what_is_added_is_read_by_others_and_written_by_nobody():
    columns, out = Columns(FRAME), np.arange(6.0).reshape(3, 2)
    columns.add({"windows": out[:, 1], "kind": np.array([7, 8, 9])})
    assert columns["windows"].tolist() == [1.0, 3.0, 5.0]
    assert columns["windows"].flags.c_contiguous
    assert columns["kind"].tolist() == [7, 8, 9]
    with pytest.raises(ValueError, match="read-only"):
        columns["windows"][0] = 0.0
    assert out.flags.writeable
