"""64-bit keys from text and from other keys: stable across processes, machines and versions.

Python's ``hash()`` is salted per process and Polars' is free to change between releases, so neither may decide what a
snapshot means. This is FNV-1a over the bytes (Fowler, Noll, Vo; draft-eastlake-fnv) with MurmurHash3's 64-bit
finalizer.
"""

from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from detector.state.compiled import kernel

Keys = NDArray[np.uint64]

_FNV_OFFSET: Final = np.uint64(0xCBF29CE484222325)
_FNV_PRIME: Final = np.uint64(0x100000001B3)
_M1: Final = np.uint64(0xFF51AFD7ED558CCD)
_M2: Final = np.uint64(0xC4CEB9FE1A85EC53)
_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_SHIFT: Final = np.uint64(33)
NULL_KEY: Final = np.uint64(0x6E756C6C)


@kernel
def finalize(key: Any) -> Any:
    """MurmurHash3 fmix64; never 0, which marks an empty slot."""
    key ^= key >> _SHIFT
    key *= _M1
    key ^= key >> _SHIFT
    key *= _M2
    key ^= key >> _SHIFT
    return key if key != np.uint64(0) else np.uint64(1)


@kernel
def mix(left: Any, right: Any) -> Any:
    """One key from two, order matters."""
    return finalize(left * _FNV_PRIME ^ (right + _GOLDEN))


@kernel
def _hash_texts(offsets: Any, data: Any, out: Any) -> None:
    for row in range(out.size):
        key = _FNV_OFFSET
        for position in range(offsets[row], offsets[row + 1]):
            key = (key ^ np.uint64(data[position])) * _FNV_PRIME
        out[row] = finalize(key)


def coded(column: pl.Series) -> tuple[NDArray[np.int64], pl.Series]:
    """A String column as places in its distinct values, in order of first appearance; the last of them is null, whether
    it appears or not. What is worked out once a distinct value is spread over the rows by these."""
    encoded = column.to_arrow().cast(pa.large_string()).dictionary_encode()
    distinct = pl.Series(column.name, encoded.dictionary, pl.String)
    codes = encoded.indices.fill_null(len(distinct)).to_numpy(zero_copy_only=False).astype(np.int64)
    return codes, distinct.append(pl.Series([None], dtype=pl.String))


def text_keys(texts: pl.Series) -> Keys:
    """One key a value of a String column; null has `NULL_KEY`."""
    content = texts.to_arrow().cast(pa.large_string())
    keys = np.empty(len(content), dtype=np.uint64)
    if len(content):
        _, offsets, data = content.buffers()
        bounds = np.frombuffer(offsets, dtype=np.int64)[content.offset : content.offset + len(content) + 1]
        _hash_texts(bounds, np.frombuffer(data, dtype=np.uint8) if data else np.zeros(1, np.uint8), keys)
    if texts.null_count():
        keys[texts.is_null().to_numpy()] = NULL_KEY
    return keys


def whole(column: pl.Series, absent: int) -> NDArray[Any]:
    """Whole numbers of the column's type, ``absent`` for null."""
    numbers = column.to_arrow()
    filled = numbers.fill_null(absent) if numbers.null_count else numbers
    values: NDArray[Any] = filled.to_numpy(zero_copy_only=False)
    return values


def integer_keys(column: pl.Series) -> Keys:
    """One key a value of an integer column; null has its own."""
    values = whole(column, -1).astype(np.int64).astype(np.uint64)
    return mix_all(values, np.ones_like(values))


@kernel
def _mix_all(left: Any, right: Any, out: Any) -> None:
    for row in range(out.size):
        out[row] = mix(left[row], right[row])


def mix_all(left: Keys, right: Keys) -> Keys:
    """`mix` over two arrays of the same length."""
    out = np.empty_like(left)
    _mix_all(left, right, out)
    return out
