"""Typed columns out of parsed rows: a bad value costs its own row, never the neighbours.

A converter asks for columns in turn; each request checks a whole column at once when its values have the expected
types (the usual case) and value by value otherwise. Rows with a bad required value are marked and fall out in `frame`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import orjson
import polars as pl

from detector.formats.address import canonical
from detector.formats.batch import Batch, Row
from detector.records import FLOW, OPERATION, Decoded, Reject

RAW_LIMIT: Final = 1024  # bytes of a rejected record that are kept as evidence
TEXT_LIMIT: Final = 1024  # characters of one text field that are kept; log strings are the attacker's
_TIME_LIMIT_S: Final = 253_402_300_799  # 9999-12-31T23:59:59Z, the end of four-digit years
_INT64_MAX: Final = 2**63 - 1
_NO_VALUE: Final = frozenset({"", "-", "(empty)"})

Converter = Callable[[Any], Any]


class BadValue(ValueError):
    """A value that does not fit its field; the text is the reason without the field's name."""


class Fields:
    """The rows of one batch on their way into typed columns.

    Args:
        batch: rows of one log type.

    Names given to the methods are alternatives, first present wins (``id.orig_h``, ``id_orig_h``).
    """

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.bad: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self.batch.rows)

    def raw(self, *names: str) -> list[Any]:
        """The values as they came, None where no name is present."""
        rows = self.batch.rows
        first, *others = names
        values = [row.get(first) for row in rows]
        for name in others:
            if None not in values:
                break
            values = [row.get(name) if value is None else value for row, value in zip(rows, values, strict=True)]
        return values

    def reject(self, index: int, reason: str) -> None:
        """Mark row ``index`` as unusable; the first reason stays."""
        self.bad.setdefault(index, reason)

    def _each(self, names: Sequence[str], values: list[Any], convert: Converter, required: bool) -> list[Any]:
        out: list[Any] = []
        for index, value in enumerate(values):
            if value is None:
                if required:
                    self.reject(index, f"{names[0]}: missing")
                out.append(None)
                continue
            try:
                out.append(convert(value))
            except BadValue as problem:
                self.reject(index, f"{names[0]}: {problem}")
                out.append(None)
        return out

    def text(self, *names: str, required: bool = False) -> list[str | None]:
        """Text, cut at `TEXT_LIMIT` characters; numbers and sets are printed."""
        return self._each(names, self.raw(*names), _text, required)

    def integer(self, *names: str, low: int = 0, high: int = _INT64_MAX, required: bool = False) -> list[int | None]:
        """Integers in [low, high]; decimal text is accepted, booleans and fractions are not."""

        def convert(value: Any) -> int:
            number = _integer(value)
            if not low <= number <= high:
                raise BadValue(f"{number} is outside {low}..{high}")
            return number

        return self._each(names, self.raw(*names), convert, required)

    def number(self, *names: str) -> list[float | None]:
        """Finite floats (seconds, ratios)."""
        return self._each(names, self.raw(*names), _number, False)

    def address(self, *names: str, required: bool = True) -> list[str | None]:
        """Canonical addresses (`formats.address`)."""
        return self._each(names, self.raw(*names), _address, required)

    def time(self, *names: str, zone: str = "UTC", required: bool = True) -> list[int | None]:
        """Microseconds since the epoch from epoch seconds, epoch milliseconds or ISO 8601; see `micros`."""
        here = ZoneInfo(zone)
        return self._each(names, self.raw(*names), lambda value: micros(value, here), required)

    def decoded(self, schema: Mapping[str, pl.DataType], columns: Mapping[str, Any]) -> Decoded:
        """The good rows as a frame of ``schema`` and the bad ones as rejects.

        Columns left out are null; ``log``, ``source`` and ``position`` are filled in here. A scalar stands for all rows.
        """
        count = len(self)
        given = {"log": self.batch.log, "source": self.batch.source, "position": self.batch.positions, **columns}
        keep = [index for index in range(count) if index not in self.bad] if self.bad else None
        frame = pl.DataFrame(
            [_series(name, dtype, given.get(name), count, keep) for name, dtype in schema.items()]
        )
        rejects = [
            Reject(self.batch.source, self.batch.positions[index], f"{self.batch.log}: {reason}", evidence(self.batch.rows[index]))
            for index, reason in sorted(self.bad.items())
        ]
        if schema is FLOW:
            return Decoded(flows=frame, rejects=rejects)
        if schema is OPERATION:
            return Decoded(operations=frame, rejects=rejects)
        raise ValueError("schema must be records.FLOW or records.OPERATION")


def evidence(row: Row) -> bytes:
    """The first bytes of a rejected row, as JSON."""
    return orjson.dumps(row, default=str)[:RAW_LIMIT]


def _series(name: str, dtype: pl.DataType, values: Any, count: int, keep: list[int] | None) -> pl.Series:
    size = count if keep is None else len(keep)
    if not isinstance(values, list):
        return pl.Series(name, [values], dtype=dtype).new_from_index(0, size)
    return pl.Series(name, values if keep is None else [values[index] for index in keep], dtype=dtype)


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        if value in _NO_VALUE:
            return None
        return value if len(value) <= TEXT_LIMIT else value[:TEXT_LIMIT]
    if isinstance(value, bool):
        return "T" if value else "F"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list):
        return ",".join(str(item) for item in value)[:TEXT_LIMIT] or None
    raise BadValue(f"expected text, got {type(value).__name__}")


def _integer(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and len(value) <= 20:
        try:
            return int(value)
        except ValueError:
            pass
    raise BadValue(f"{str(value)[:40]!r} is not an integer")


def _number(value: Any) -> float:
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            number = math.nan
        if math.isfinite(number):
            return number
    raise BadValue(f"{str(value)[:40]!r} is not a finite number")


def _address(value: Any) -> str:
    address = canonical(value) if isinstance(value, str) else None
    if address is None:
        raise BadValue(f"{str(value)[:60]!r} is not an address")
    return address


def micros(value: Any, zone: ZoneInfo) -> int:
    """One time as microseconds since the epoch, UTC.

    Numbers (or number text): epoch seconds; from 1e11 on milliseconds, from 1e14 on microseconds, from 1e17 on
    nanoseconds (1e11 s is the year 5138, so the units cannot be confused for dates after 1973-03). Text: ISO 8601 or
    ``YYYY-MM-DD HH:MM:SS[.frac]``; without offset it is local time of ``zone``. Zeek's ISO writer prints a fraction
    of .9999995 and more as ``.1000000Z``, seven digits that mean one second more.

    Raises:
        BadValue: not a time, or outside 1970..9999.
    """
    if isinstance(value, str):
        try:
            value = int(value) if value.isdigit() else float(value)
        except ValueError:
            return _bounded(_iso_micros(value, zone))
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadValue(f"{str(value)[:40]!r} is not a time")
    size = abs(value)
    if size < 1e11:
        return _bounded(round(value * 1_000_000))
    if size < 1e14:
        return _bounded(round(value * 1_000))
    return _bounded(int(value) if size < 1e17 else int(value) // 1_000)


def _bounded(time: int) -> int:
    if not 0 <= time <= _TIME_LIMIT_S * 1_000_000:
        raise BadValue(f"{time} µs is not a time between 1970 and 9999")
    return time


def _iso_micros(text: str, zone: ZoneInfo) -> int:
    head, dot, fraction = text.partition(".")
    digits = fraction[: len(fraction) - len(fraction.lstrip("0123456789"))]
    suffix = fraction[len(digits) :]
    carry = 1_000_000 if digits == "1000000" and suffix == "Z" else 0
    try:
        parsed = datetime.fromisoformat(head.strip() + suffix if dot else text.strip())
    except ValueError:
        raise BadValue(f"{text[:40]!r} is not a time") from None
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=zone)
    whole = round((parsed - _EPOCH).total_seconds()) * 1_000_000 if dot else round((parsed - _EPOCH).total_seconds() * 1e6)
    if carry:
        return whole + carry
    return whole + (int(digits[:6].ljust(6, "0")) if digits else 0)


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
