"""Rows by column: numbers, texts and codes, each made when somebody first asks for it.

Stages hand rows on without touching what they do not need: an array of numbers is gathered once, a text only for the
few rows that people see, or for a table that is written out.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from detector.state.keys import Keys, text_keys, whole
from detector.state.texts import coded

ABSENT: Final[dict[str, int]] = {
    "user_id": 0, "orig_bytes": -1, "resp_bytes": -1, "vendor": -1, "orig_p": -1, "resp_p": -1,
}  # fmt: skip
"""What stands for null in arrays of these numbers; no key, number of bytes, vendor or port is so."""
_LEVELS: Final = ("orig_level", "resp_level")  # here it is NaN


_FEW: Final = 64  # values of a column that are sooner read one by one than by Polars


class Coded(NamedTuple):
    """A text a row, as its place among ``names``; null is a name too."""

    codes: NDArray[np.int64]
    names: Sequence[str | None]


Made = NDArray[Any] | pl.Series | Coded
Column = Made | Callable[[], Made]
"""A function is called when its column is wanted for the first time."""
Which = NDArray[np.int64] | slice


class Rows:
    """Rows of one table.

    Args:
        height: how many.
        columns: by name; columns of `ABSENT` have that for null where they are arrays.
    """

    def __init__(self, height: int, columns: Mapping[str, Column]) -> None:
        self.height = height
        self.columns = columns
        self._made: dict[str, Made] = {}
        self._arrays: dict[str, NDArray[Any]] = {}
        self._keys: dict[str, Keys] = {}

    @classmethod
    def of(cls, frame: "pl.DataFrame | Rows") -> "Rows":
        """The rows of a frame."""
        if isinstance(frame, Rows):
            return frame
        return cls(frame.height, {name: partial(frame.get_column, name) for name in frame.columns})

    def made(self, name: str) -> Made:
        """A column as it is kept."""
        made = self._made.get(name)
        if made is None:
            column = self.columns[name]
            made = self._made[name] = column() if callable(column) else column
        return made

    def __getitem__(self, name: str) -> pl.Series:
        """A column as people want it, with nulls."""
        return _series(name, self.made(name))

    def array(self, name: str) -> NDArray[Any]:
        """Numbers or truth values, without nulls (see `ABSENT`)."""
        array = self._arrays.get(name)
        if array is None:
            column = self.columns[name]
            if isinstance(column, _Taken):
                array = column.rows.array(column.name)[column.which]
            else:
                made = self.made(name)
                array = made if isinstance(made, np.ndarray) else _array(name, _series(name, made))
            self._arrays[name] = array
        return array

    def keys(self, name: str) -> Keys:
        """`text_keys` of a column."""
        keys = self._keys.get(name)
        if keys is None:
            column = self.columns[name]
            keys = column.keys() if isinstance(column, _Taken) else text_keys(self[name])
            self._keys[name] = keys
        return keys

    def coded(self, name: str) -> Coded:
        """A column of texts by the place in its names."""
        column = self.columns[name]
        if isinstance(column, _Taken):
            codes, names = column.rows.coded(column.name)
            return Coded(codes[column.which], names)
        made = self.made(name)
        if not isinstance(made, Coded):
            made = self._made[name] = Coded(*coded(_series(name, made)))
        return made

    def at(self, which: Which) -> "Rows":
        """Some of the rows, in the order of their places; nothing is looked up but what somebody asks for."""
        height = len(range(*which.indices(self.height))) if isinstance(which, slice) else which.size
        if isinstance(which, slice) and height == self.height:
            return self
        return Rows(height, {name: _Taken(self, name, which) for name in self.columns})

    def plus(self, columns: Mapping[str, Column]) -> "Rows":
        """The rows with more columns; one that is there is replaced."""
        return self._with({**self.columns, **columns}, [name for name in self.columns if name not in columns])

    def only(self, names: Iterable[str]) -> "Rows":
        """Some of the columns, in another order."""
        columns = {name: self.columns[name] for name in names}
        return self._with(columns, columns)

    def _with(self, columns: Mapping[str, Column], same: Iterable[str]) -> "Rows":
        """Other columns, of which those of the same name are as they were."""
        rows, kept = Rows(self.height, columns), set(same)
        rows._made = {name: made for name, made in self._made.items() if name in kept}
        rows._arrays = {name: array for name, array in self._arrays.items() if name in kept}
        rows._keys = {name: keys for name, keys in self._keys.items() if name in kept}
        return rows

    @staticmethod
    def concat(parts: Sequence["Rows"]) -> "Rows":
        """Rows of tables with the same columns, one after the other; of at least one."""
        filled = [part for part in parts if part.height] or parts[:1]
        if len(filled) == 1:
            return filled[0]
        names = filled[0].columns
        return Rows(sum(part.height for part in filled), {name: partial(_joined, name, filled) for name in names})

    def frame(self, names: Iterable[str] | None = None) -> pl.DataFrame:
        """All columns, or some."""
        return pl.DataFrame({name: self[name] for name in (self.columns if names is None else names)})

    def dicts(self, places: NDArray[np.int64]) -> list[dict[str, Any]]:
        """Some rows as Python has them."""
        values = [self.values(name, places) for name in self.columns]
        return [dict(zip(self.columns, row, strict=True)) for row in zip(*values, strict=True)]

    def values(self, name: str, places: NDArray[np.int64]) -> list[Any]:
        """Some rows of a column as Python has them. Where it was taken from other rows they are looked up there, and
        the column is not put together."""
        column = self.columns[name]
        if isinstance(column, _Taken) and name not in self._made:
            return column.rows.values(column.name, column.places()[places])
        made = self.made(name)
        if isinstance(made, Coded):
            return [made.names[code] for code in made.codes[places].tolist()]
        if isinstance(made, pl.Series):
            if places.size > _FEW:
                return made[places].to_list()
            return [made[place] for place in places.tolist()]
        few = made[places]
        if name not in ABSENT and name not in _LEVELS:
            told: list[Any] = few.tolist()
            return told
        return [None if missing else value for value, missing in zip(few.tolist(), _missing(name, few), strict=True)]


@dataclass(frozen=True, slots=True)
class _Taken:
    """Some rows of a column of other rows."""

    rows: Rows
    name: str
    which: Which

    def keys(self) -> Keys:
        return self.rows.keys(self.name)[self.which]

    def places(self) -> NDArray[np.int64]:
        return np.arange(self.rows.height)[self.which] if isinstance(self.which, slice) else self.which

    def __call__(self) -> Made:
        made = self.rows.made(self.name)
        return Coded(made.codes[self.which], made.names) if isinstance(made, Coded) else made[self.which]


def _series(name: str, column: Made) -> pl.Series:
    if isinstance(column, pl.Series):
        return column.alias(name)
    if isinstance(column, Coded):
        return pl.Series(name, column.names, dtype=pl.String)[column.codes]
    if name not in ABSENT and name not in _LEVELS:
        return pl.Series(name, column)
    return pl.Series(name, pa.array(column, mask=_missing(name, column)))


def _missing(name: str, column: NDArray[Any]) -> NDArray[np.bool_]:
    """Where a column that can have nulls has them."""
    missing: NDArray[np.bool_] = np.isnan(column) if name in _LEVELS else column == ABSENT[name]
    return missing


def nothing(height: int, kind: pl.DataType) -> pl.Series:
    """So many times null."""
    return pl.Series([None], dtype=kind).new_from_index(0, height)


def _array(name: str, column: pl.Series) -> NDArray[Any]:
    if column.dtype == pl.Boolean:
        return column.to_numpy()
    return whole(column, ABSENT.get(name, 0))


def _joined(name: str, parts: Sequence[Rows]) -> Made:
    columns = [part.made(name) for part in parts]
    arrays = [column for column in columns if isinstance(column, np.ndarray)]
    if len(arrays) == len(columns):
        return np.concatenate(arrays)
    codes = [column for column in columns if isinstance(column, Coded)]
    if len(codes) == len(columns):
        begins = np.cumsum([0, *(len(column.names) for column in codes)])
        moved = [column.codes + begin for column, begin in zip(codes, begins[:-1], strict=True)]
        return Coded(np.concatenate(moved), [name for column in codes for name in column.names])
    return pl.concat([_series(name, column) for column in columns])
