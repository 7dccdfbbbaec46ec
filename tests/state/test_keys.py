"""Keys never change: snapshots of other machines and versions are read with them."""

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from detector.state import keys as module
from detector.state.keys import NULL_KEY, finalize, integer_keys, mix, mix_all, text_keys, whole
from detector.state.texts import coded, numbered

MASK = (1 << 64) - 1
U64 = st.integers(0, MASK)


def test_keys_of_text():
    column = pl.Series(["", "10.0.0.1", "fe80::1", "zone é", None, "10.0.0.1"])
    assert text_keys(column).tolist() == [
        17280346270528514342, 14445829539779861640, 17936842499664183617, 11039120760585090861, int(NULL_KEY),
        14445829539779861640,
    ]  # fmt: skip


def test_keys_of_integers_and_of_keys():
    assert integer_keys(np.array([0, 1, 445, 65535, -1], dtype=np.int32)).tolist() == [
        16572613472718614229, 8761578424382355076, 6389172151538645691, 1573353739058372197, 11135198277481617706,
    ]  # fmt: skip
    assert (int(mix(np.uint64(1), np.uint64(2))), int(mix(np.uint64(2), np.uint64(1)))) == (
        6771037259167173197, 15713158275922848930,
    )  # fmt: skip
    assert (int(finalize(np.uint64(0))), int(finalize(np.uint64(1)))) == (1, 12994781566227106604)


def plain_finalize(key):
    """MurmurHash3's fmix64 in plain integers."""
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        key = (key ^ key >> 33) * factor & MASK
    return key ^ key >> 33 or 1


def plain_text(text):
    """FNV-1a in plain integers."""
    key = 0xCBF29CE484222325
    for byte in text.encode():
        key = (key ^ byte) * 0x100000001B3 & MASK
    return plain_finalize(key)


TEXTS = st.lists(
    st.none() | st.text(st.characters(codec="utf-8"), max_size=20) | st.sampled_from(["tcp", "a" * 12, "b" * 13]),
    max_size=20,
)
"""Polars keeps 12 bytes in the row itself, what is longer elsewhere."""


@given(TEXTS, st.integers(0, 5))
def test_text_keys_are_fnv_of_the_bytes(texts, begin):
    """Also of a part of a column, of chosen rows, of repeated values, and of none at all."""
    expected = [int(NULL_KEY) if text is None else plain_text(text) for text in texts]
    column = pl.Series(texts, dtype=pl.String)
    assert text_keys(column).tolist() == expected
    assert text_keys(column[begin:]).tolist() == expected[begin:]
    assert text_keys(column.gather(range(0, len(texts), 2))).tolist() == expected[::2]
    assert text_keys(pl.concat([column, column])).tolist() == expected * 2


@given(TEXTS, st.integers(0, 5))
def test_codes_are_places_in_the_distinct_values(texts, begin):
    """In order of first appearance, null last."""
    column = pl.Series(texts, dtype=pl.String)
    for part, expected in ((column[begin:], texts[begin:]), (pl.concat([column, column]), texts * 2)):
        codes, distinct = coded(part)
        assert distinct == [*dict.fromkeys(text for text in expected if text is not None), None]
        assert [distinct[code] for code in codes] == expected


def test_codes_of_many_values():
    texts = [f"{n % 5000} of many values" for n in range(20_000)]
    codes, distinct = coded(pl.Series(texts))
    assert distinct == [*dict.fromkeys(texts), None]
    assert [distinct[code] for code in codes] == texts


@given(st.lists(st.integers(0, 3) | st.integers(0, 2**63 - 1), max_size=300))
def test_numbers_of_whole_numbers(values):
    codes, firsts = numbered(np.array(values, dtype=np.int64))
    distinct = list(dict.fromkeys(values))
    assert firsts.tolist() == [values.index(value) for value in distinct]
    assert codes.tolist() == [distinct.index(value) for value in values]


@given(st.lists(st.none() | st.integers(0, 9), max_size=20), st.integers(0, 5))
def test_whole_numbers_have_another_for_null(values, begin):
    for kind in (pl.Int32, pl.Int64, pl.UInt64, pl.Float64):
        told = whole(pl.Series(values, dtype=kind)[begin:], 77)
        assert told.tolist() == [77 if value is None else value for value in values[begin:]]


@given(st.lists(st.tuples(U64, U64), min_size=1, max_size=20))
def test_mixing_is_what_it_says(pairs):
    left, right = (np.array(side, dtype=np.uint64) for side in zip(*pairs, strict=True))
    expected = [plain_finalize((a * 0x100000001B3 & MASK) ^ (b + 0x9E3779B97F4A7C15 & MASK)) for a, b in pairs]
    assert mix_all(left, right).tolist() == expected
    out = np.empty_like(left)
    with np.errstate(over="ignore"):
        module._mix_all.py_func(left, right, out)
    assert out.tolist() == expected


def test_no_two_of_many_keys_are_equal():
    addresses = pl.Series([f"10.{n >> 8}.{n & 255}.1" for n in range(20_000)])
    keys = [text_keys(addresses), integer_keys(np.arange(20_000))]
    keys.append(mix_all(*keys))
    assert len(np.unique(np.concatenate(keys))) == 60_000
