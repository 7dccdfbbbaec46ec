"""Random draws that are the same bytes on every machine.

Only integers are drawn and only integer arithmetic follows. ``lognormal``, ``poisson`` and the like go
through the C library's ``exp`` and ``log``, whose last bits differ between processors, and a compiler may
fuse float products.
"""

from collections.abc import Sequence
from enum import IntEnum, auto
from typing import Final

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Box = tuple[int, int, int, int, int]
"""A box plot: minimum, lower quartile, median, upper quartile, maximum; whole numbers in the user's unit."""

_STEP: Final = 20  # bits of resolution inside a quarter of the box
_LAST: Final = 3  # the last of the four quarters


class Purpose(IntEnum):
    """What a random stream is for. Each draws alone, so that no part of the plant disturbs another."""

    PLANT = 1
    HIRED = auto()
    LEASES = auto()
    CAMPAIGNS = auto()
    PRESENCE = auto()
    OFFICE = auto()
    SERVERS = auto()
    CELLS = auto()
    SUPPLIERS = auto()
    DRIFT = auto()
    LOOKUPS = auto()
    WIRE = auto()
    ATTACK = auto()
    ZEEK = auto()
    NETFLOW = auto()
    DENSITY = auto()
    HOURS = auto()
    ADMINISTRATORS = auto()
    AUTOMATION = auto()
    BURSTS = auto()
    BREACHES = auto()


def stream(seed: int, purpose: Purpose, day: int = 0) -> np.random.Generator:
    """The generator of one purpose on one day."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([purpose, day, seed])))


def boxes(rng: np.random.Generator, knots: Ints) -> Ints:
    """One value for each row of ``knots`` (n x 5, each a `Box`).

    Linear between the quartiles; the last quarter rises with the cube, which gives the long tail of sizes and
    durations in real networks without a maximum that is met every day.
    """
    ticks = rng.integers(0, 4 << _STEP, size=len(knots), dtype=np.int64)
    quarter, part = ticks >> _STEP, ticks & ((1 << _STEP) - 1)
    cubed = (((part * part) >> _STEP) * part) >> _STEP
    part = np.where(quarter == _LAST, cubed, part)
    rows = np.arange(len(knots))
    low = knots[rows, quarter]
    values: Ints = low + (((knots[rows, quarter + 1] - low) * part) >> _STEP)
    return values


def box(rng: np.random.Generator, knots: Box, n: int) -> Ints:
    """``n`` values from one box plot."""
    return boxes(rng, np.broadcast_to(np.array(knots, dtype=np.int64), (n, 5)))


def one(rng: np.random.Generator, knots: Box) -> int:
    """A single value from a box plot."""
    return int(box(rng, knots, 1)[0])


def below(rng: np.random.Generator, limit: int, n: int) -> Ints:
    """``n`` whole numbers in [0, limit)."""
    return rng.integers(0, limit, size=n, dtype=np.int64)


def weighted(rng: np.random.Generator, weights: Sequence[int], n: int) -> Ints:
    """``n`` positions into ``weights``, each as likely as its weight."""
    edges = np.cumsum(np.array(weights, dtype=np.int64))
    return np.searchsorted(edges, below(rng, int(edges[-1]), n), side="right").astype(np.int64)


def pick(rng: np.random.Generator, pool: Ints, n: int) -> Ints:
    """``n`` members of ``pool``, with repetition."""
    return pool[below(rng, len(pool), n)]


def chance(rng: np.random.Generator, percent: int, n: int) -> Mask:
    """``n`` coins that show true ``percent`` times of a hundred."""
    coins: Mask = below(rng, 100, n) < percent
    return coins


def some(rng: np.random.Generator, pool: Ints, permille: int) -> Ints:
    """The members of ``pool`` that a coin of ``permille``/1000 lets through, in order."""
    return pool[below(rng, 1000, len(pool)) < permille]


def dice(rng: np.random.Generator, n: int, width: int) -> list[list[int]]:
    """``width`` large numbers for each of ``n`` rows; their remainders make a row's small choices."""
    return rng.integers(0, 1 << 40, size=(n, width), dtype=np.int64).tolist()  # type: ignore[no-any-return]
