"""Bytes in memory, 64 looked at in one step: a mask tells which of them are what is asked for.

As in G. Langdale and D. Lemire, "Parsing gigabytes of JSON per second" (2019): a register of AVX-512, two of AVX2, four
of SSE2 or NEON. An address is an integer that nobody checks: all 64 bytes have to be there.
"""

from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from detector.state.compiled import inlined, kernel

STEP: Final = 64
"""Bytes of one look, and bits of a mask; the lowest bit is the first byte."""
_BYTE: Final = ir.IntType(8)
_BYTES: Final = ir.VectorType(_BYTE, STEP)
_MASK: Final = ir.IntType(STEP)
_1: Final = np.uint64(1)
_0: Final = np.uint64(0)


def _compared(comparison: str) -> Any:
    def of(_: Any, address: Any, value: Any) -> Any:
        def build(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
            there = builder.load(builder.inttoptr(arguments[0], _BYTES.as_pointer()), align=1)
            one = builder.insert_element(ir.Constant(_BYTES, ir.Undefined), builder.trunc(arguments[1], _BYTE),
                                         ir.Constant(ir.IntType(32), 0))  # fmt: skip
            all_of_it = builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(ir.IntType(32), STEP), None))
            return builder.bitcast(builder.icmp_signed(comparison, there, all_of_it), _MASK)

        return types.uint64(types.int64, types.int64), build

    return intrinsic(of)


equal: Any = _compared("==")
"""(address, value) -> the bytes that have this value."""
below: Any = _compared("<")
"""(address, value) -> the bytes less than this value, as signed ones: what is not ASCII is less than all that is."""


def _first(_: Any, mask: Any) -> Any:
    """The number of the lowest bit that is set; 64 when none is."""

    def build(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), build


def _leading(_: Any, mask: Any) -> Any:
    """How many bits above the highest one that is set; 64 when none is."""

    def build(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(types.uint64), build


def _many(_: Any, mask: Any) -> Any:
    """How many bits are set."""

    def build(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.int64(types.uint64), build


first: Any = intrinsic(_first)
leading: Any = intrinsic(_leading)
many: Any = intrinsic(_many)


@inlined
def rest(mask: Any) -> Any:
    """The mask without its lowest bit."""
    return mask & (mask - _1)


def places(data: bytes | memoryview, value: int) -> NDArray[np.int64]:
    """Where a byte value stands in ``data``, ascending."""
    found = np.empty(len(data), dtype=np.int64)  # memory that is not written is not had
    return found[: find(np.frombuffer(data, np.uint8), value, found)].copy()


@kernel
def find(data: Any, value: Any, found: Any) -> Any:
    """Put the places of a byte value in ``data`` into ``found``, which has room for all; how many there are."""
    count, whole = 0, data.size & ~(STEP - 1)
    at = data.ctypes.data
    for place in range(0, whole, STEP):
        marks = equal(at + place, value)
        while marks != _0:
            found[count] = place + first(marks)
            marks = rest(marks)
            count += 1
    for place in range(whole, data.size):
        if data[place] == value:
            found[count] = place
            count += 1
    return count
