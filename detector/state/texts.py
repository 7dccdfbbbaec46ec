"""Texts where Polars has them: read in place, hashed and numbered without a copy.

A String column of Polars is an Arrow BinaryView array: 16 bytes a row, the length and then either the text itself, of
12 bytes at most, or its first four bytes, the number of a buffer and the place in it (Arrow Columnar Format, "Variable-
size Binary View Layout"). Equal views of one column are equal texts, so a text that stands in many rows one after the
other is read once.
"""

from typing import Any, Final

import numpy as np
import polars as pl
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from detector.state.compiled import kernel

_u64 = np.uint64
_INLINE: Final = 12  # bytes that a view has room for
_LOW: Final = np.uint64(0xFFFFFFFF)
_FNV_OFFSET: Final = np.uint64(0xCBF29CE484222325)
_FNV_PRIME: Final = np.uint64(0x100000001B3)
_FEW: Final = 1 << 8  # slots to number values with; more when they are many
_MANY: Final = 128  # texts that are sooner read together than one by one
_VIEWS: Final = pl.CompatLevel.newest()
_EMPTY: Final = np.empty(0, dtype=np.uint8)

Views = tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.uint8], int]
"""Views, shape (rows, 2); addresses of the buffers; bits of the rows that are not null, empty when all are not; which
bit is the first row's. As kernels take them."""


def _byte(_: Any, address: Any) -> Any:
    """The byte at an address, which nobody checks."""

    def build(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
        return builder.load(builder.inttoptr(arguments[0], context.get_value_type(types.uint8).as_pointer()))

    return types.uint8(types.int64), build


byte: Any = intrinsic(_byte)


def views(texts: pl.Series) -> tuple[Views, Any]:
    """Where the texts of a String column are, and what has to be kept as long as they are read."""
    array = texts.to_arrow(compat_level=_VIEWS)
    valid, data, *buffers = array.buffers()
    words = np.frombuffer(data, np.uint64) if data else np.empty(0, np.uint64)
    found = words.reshape(-1, 2)[array.offset : array.offset + len(array)]
    addresses = np.array([buffer.address for buffer in buffers], dtype=np.int64)
    return (found, addresses, bits(valid, array.null_count), array.offset), array


def bits(valid: Any, nulls: int) -> NDArray[np.uint8]:
    """The bits of a validity buffer; none when no row is null."""
    return np.frombuffer(valid, np.uint8) if valid is not None and nulls else _EMPTY


@kernel
def absent(valid: Any, bit: Any) -> Any:
    """Whether a row is null."""
    return valid.size > 0 and not (valid[bit >> 3] >> (bit & 7)) & 1


@kernel
def fnv(low: Any, high: Any, addresses: Any) -> Any:
    """FNV-1a over the bytes of a text, by both words of its view."""
    length, key = np.int64(low & _LOW), _FNV_OFFSET
    if length <= _INLINE:
        for place in range(length):
            word = low >> _u64(32 + 8 * place) if place < 4 else high >> _u64(8 * place - 32)
            key = (key ^ (word & _u64(0xFF))) * _FNV_PRIME
    else:
        begin = addresses[np.int64(high & _LOW)] + np.int64(high >> _u64(32))
        for place in range(length):
            key = (key ^ _u64(byte(begin + place))) * _FNV_PRIME
    return key


@kernel
def _same(left: Any, right: Any, addresses: Any) -> Any:
    """Whether two views of one column are of equal texts."""
    if left[0] != right[0]:
        return False
    if left[1] == right[1] or np.int64(left[0] & _LOW) <= _INLINE:
        return left[1] == right[1]
    first = addresses[np.int64(left[1] & _LOW)] + np.int64(left[1] >> _u64(32))
    second = addresses[np.int64(right[1] & _LOW)] + np.int64(right[1] >> _u64(32))
    length, place = np.int64(left[0] & _LOW), 0
    while place < length and byte(first + place) == byte(second + place):
        place += 1
    return place == length


@kernel
def _number_texts(texts: Any, slots: Any, codes: Any, firsts: Any) -> Any:
    """codes <- place of each row's text among the distinct ones, in order of appearance, -1 for null; firsts <- rows in
    which they appear. Returns how many there are; -1 when they are more than half the slots, a power of two."""
    words, addresses, valid, offset = texts
    count, before, code = 0, -1, 0
    for row in range(words.shape[0]):
        if absent(valid, offset + row):
            codes[row] = -1
            continue
        if before < 0 or words[row, 0] != words[before, 0] or words[row, 1] != words[before, 1]:
            key = fnv(words[row, 0], words[row, 1], addresses)
            slot = np.int64((key ^ (key >> _u64(32))) & _u64(slots.size - 1))
            while slots[slot] >= 0 and not _same(words[firsts[slots[slot]]], words[row], addresses):
                slot = (slot + 1) & (slots.size - 1)
            if slots[slot] < 0:
                if 2 * count >= slots.size:
                    return -1
                slots[slot], firsts[count] = count, row
                count += 1
            code, before = slots[slot], row
        codes[row] = code
    return count


@kernel
def _number(values: Any, slots: Any, codes: Any, firsts: Any) -> Any:
    """`_number_texts` of whole numbers."""
    count = 0
    for row in range(values.size):
        value = _u64(values[row])
        slot = np.int64((value * _FNV_PRIME >> _u64(20)) & _u64(slots.size - 1))
        while slots[slot] >= 0 and values[firsts[slots[slot]]] != values[row]:
            slot = (slot + 1) & (slots.size - 1)
        if slots[slot] < 0:
            if 2 * count >= slots.size:
                return -1
            slots[slot], firsts[count] = count, row
            count += 1
        codes[row] = slots[slot]
    return count


def _numbered(kernel: Any, values: Any, rows: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Codes and first rows; most often values are few, and so are the slots."""
    codes, firsts = np.empty((2, rows), dtype=np.int64)
    size, count = _FEW, -1
    while count < 0:
        count = kernel(values, np.full(size, -1, dtype=np.int64), codes, firsts)
        size *= 16
    return codes, firsts[:count]


def numbered(values: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each value's place among the distinct ones, in order of first appearance, and the rows of those."""
    return _numbered(_number, values, values.size)


def coded(column: pl.Series) -> tuple[NDArray[np.int64], list[str | None]]:
    """A String column as places in its distinct values, in order of first appearance; the last of them is null, whether
    it appears or not. What is worked out once a distinct value is spread over the rows by these."""
    texts, array = views(column)
    codes, firsts = _numbered(_number_texts, texts, len(array))
    distinct = (
        column.gather(firsts).to_list() if firsts.size > _MANY else [array[row].as_py() for row in firsts.tolist()]
    )
    if texts[2].size:
        codes[codes < 0] = len(distinct)
    return codes, [*distinct, None]
