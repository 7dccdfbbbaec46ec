"""Columns of units as arrays, each made once for all models."""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from detector.rows import Rows

_WIDE: Final = {"kind": np.int64, "stratum": np.int64}


Made = TypeVar("Made")


class Columns:
    """Units in scoring order, by column, and what was said of them.

    Args:
        units: the columns of `features.units.Enrich` and ``teach``, and of what has scored them already.
    """

    def __init__(self, units: Rows | pl.DataFrame) -> None:
        self.units = Rows.of(units)
        self.height = units.height
        self._arrays: dict[str, NDArray[Any]] = {}
        self._said: dict[str, NDArray[Any]] = {}
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> NDArray[Any]:
        """A column without nulls (see `rows.ABSENT`), contiguous. Models that run side by side may make one twice; both
        are the same."""
        array = self._arrays.get(name)
        if array is None:
            said = self._said.get(name)
            made = self.units.array(name) if said is None else said
            array = self._arrays[name] = _fixed(made, _WIDE.get(name))
        return array

    def add(self, said: Mapping[str, NDArray[Any]]) -> None:
        """Columns that others may read from now on; one that is there is replaced."""
        self._said.update(said)
        for name in said:
            self._arrays.pop(name, None)

    def at(self, rows: NDArray[np.int64]) -> "Part":
        """Some of the rows."""
        return Part(self, rows)

    def once(self, make: "Callable[[Columns], Made]") -> Made:
        """What several models make of these units, made once; like a column it may be made twice, and is the same."""
        if make.__qualname__ not in self._made:
            self._made[make.__qualname__] = make(self)
        return cast("Made", self._made[make.__qualname__])

    def judged(self) -> NDArray[np.bool_]:
        """Rows that the structure model took for a new hour."""
        return self.once(_judged)


class Part:
    """Some rows of units, by column.

    Attributes:
        rows: their places, ascending.
    """

    def __init__(self, units: Columns, rows: NDArray[np.int64]) -> None:
        self.units, self.rows = units, rows

    def __getitem__(self, name: str) -> NDArray[Any]:
        """See `Columns`."""
        part: NDArray[Any] = self.units[name][self.rows]
        return part


def _judged(units: Columns) -> NDArray[np.bool_]:
    news: NDArray[np.bool_] = units["p_structure"] < 1.0
    return news


def _fixed(array: NDArray[Any], dtype: Any = None) -> NDArray[Any]:
    """Contiguous and not to be written, whatever it came from: kernels are compiled once for each kind of array."""
    fixed = np.ascontiguousarray(array, dtype).view()
    fixed.flags.writeable = False
    return fixed
