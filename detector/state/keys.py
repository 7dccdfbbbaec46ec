"""64-bit keys from text and from other keys: stable across processes, machines and versions.

Python's ``hash()`` is salted per process and Polars' is free to change between releases, so neither may decide what a
snapshot means. This is FNV-1a over the bytes (Fowler, Noll, Vo; draft-eastlake-fnv) with MurmurHash3's 64-bit
finalizer.
"""

from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from detector.state.compiled import kernel
from detector.state.texts import absent, bits, fnv, views

Keys = NDArray[np.uint64]

_FNV_PRIME: Final = np.uint64(0x100000001B3)
_M1: Final = np.uint64(0xFF51AFD7ED558CCD)
_M2: Final = np.uint64(0xC4CEB9FE1A85EC53)
GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
"""2**64 / golden ratio (D. Knuth, TAOCP 3, 6.4)."""
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
    return finalize(left * _FNV_PRIME ^ (right + GOLDEN))


@kernel
def _hash_texts(texts: Any, out: Any) -> None:
    words, addresses, valid, offset = texts
    before = -1
    for row in range(out.size):
        if absent(valid, offset + row):
            out[row] = NULL_KEY
        elif before >= 0 and words[row, 0] == words[before, 0] and words[row, 1] == words[before, 1]:
            out[row] = out[before]
        else:
            out[row] = finalize(fnv(words[row, 0], words[row, 1], addresses))
            before = row


def text_keys(texts: pl.Series) -> Keys:
    """One key a value of a String column; null has `NULL_KEY`."""
    found, _held = views(texts)
    keys = np.empty(len(texts), dtype=np.uint64)
    _hash_texts(found, keys)
    return keys


@kernel
def _fill(values: Any, valid: Any, offset: Any, other: Any, out: Any) -> None:
    for row in range(out.size):
        out[row] = other if absent(valid, offset + row) else values[row]


def whole(column: pl.Series, other: int) -> NDArray[Any]:
    """Whole numbers of the column's type, ``other`` for null."""
    if not column.null_count():
        return column.to_numpy()
    array = column.to_arrow()
    valid, data = array.buffers()
    out = np.empty(len(array), dtype=array.type.to_pandas_dtype())
    values = np.frombuffer(data, out.dtype)[array.offset : array.offset + out.size] if data else out
    _fill(values, bits(valid, array.null_count), array.offset, out.dtype.type(other), out)
    return out


@kernel
def integer_key(value: Any) -> Any:
    """The key of a whole number."""
    return mix(np.uint64(value), np.uint64(1))


@kernel
def _integer_keys(values: Any, out: Any) -> None:
    for row in range(out.size):
        out[row] = integer_key(values[row])


def integer_keys(values: NDArray[np.integer]) -> Keys:
    """One key a whole number."""
    keys = np.empty(values.size, dtype=np.uint64)
    _integer_keys(values.astype(np.int64), keys)
    return keys


@kernel
def _mix_all(left: Any, right: Any, out: Any) -> None:
    for row in range(out.size):
        out[row] = mix(left[row], right[row])


def mix_all(left: Keys, right: Keys) -> Keys:
    """`mix` over two arrays of the same length."""
    out = np.empty_like(left)
    _mix_all(left, right, out)
    return out
