"""Typed columns out of parsed rows: a bad value costs its own row, never the neighbours.

A converter asks for columns in turn. A request passes values of the expected type as they are and converts
only the odd ones. Rows with a bad value are marked and fall out in `Fields.decoded`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from math import isfinite, nan
from operator import itemgetter
from typing import Any, Final
from zoneinfo import ZoneInfo

import orjson
import polars as pl

from detector.formats.address import canonical, known
from detector.formats.batch import Batch, Row
from detector.records import FLOW, OPERATION, Decoded, Reject

RAW_LIMIT: Final = 1024  # bytes of a rejected record that are kept as evidence
TEXT_LIMIT: Final = 1024  # characters of one text field that are kept; log strings are the attacker's
_TIME_LIMIT_S: Final = 253_402_300_799  # 9999-12-31T23:59:59Z, the end of four-digit years
_INT64_MAX: Final = 2**63 - 1
SECONDS_BELOW: Final = 1e11  # as numbers, times from here on are milliseconds and finer
_MILLISECONDS_BELOW: Final = 1e14
_MICROSECONDS_BELOW: Final = 1e17
_NO_TIME_FROM: Final = 1e19
_WORD_BITS: Final = 64
_DIGITS: Final = 20  # of a 64-bit integer with its sign
_SENSOR_NAMES: Final = ("_system_name", "@system", "_node_name")
"""Where Zeek records carry the name of the sensor: Corelight's streaming logs, its older exporter, RITA's."""
NO_VALUE: Final = frozenset({"", "-", "(empty)"})

Converter = Callable[[Any], Any]


class BadValue(ValueError):
    """A value that does not fit its field.

    Args:
        reason: one of a fixed set, without the field's name: records are counted by it.
        detail: what the record has instead, for people.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail

    def of(self, field: str) -> "BadValue":
        """The same with the field's name."""
        return BadValue(f"{field}: {self.reason}", self.detail)


class Fields:
    """The rows of one batch on their way into typed columns.

    Args:
        batch: rows of one log type.

    Names given to the methods are alternatives, first present wins (``id.orig_h``, ``id_orig_h``).
    """

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.bad: dict[int, BadValue] = {}

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

    def reject(self, index: int, problem: BadValue) -> None:
        """Mark row ``index`` as unusable; the first problem stays."""
        self.bad.setdefault(index, problem)

    def _mend(
        self, names: Sequence[str], values: list[Any], odd: Iterable[int], convert: Converter, required: bool
    ) -> list[Any]:
        """The values with those at ``odd`` converted one by one: cost follows oddity, not the batch."""
        out = list(values)
        for index in odd:
            value = values[index]
            if value is None:
                if required:
                    self.reject(index, BadValue("missing").of(names[0]))
                continue
            try:
                out[index] = convert(value)
            except BadValue as problem:
                self.reject(index, problem.of(names[0]))
                out[index] = None
        return out

    def text(self, *names: str, required: bool = False) -> list[str | None]:
        """Text, cut at `TEXT_LIMIT` characters; numbers and sets are printed."""
        values = self.raw(*names)
        odd = [i for i, v in enumerate(values) if type(v) is not str or len(v) > TEXT_LIMIT or v in NO_VALUE]
        return self._mend(names, values, odd, _text, required) if odd else values

    def integer(self, *names: str, low: int = 0, high: int = _INT64_MAX, required: bool = False) -> list[int | None]:
        """Integers in [low, high]; decimal text is accepted, booleans and fractions are not."""

        def convert(value: Any) -> int:
            number = _integer(value)
            if not low <= number <= high:
                raise BadValue(f"outside {low}..{high}", str(number))
            return number

        values = self.raw(*names)
        odd = [i for i, v in enumerate(values) if type(v) is not int or v > high or v < low]
        return self._mend(names, values, odd, convert, required) if odd else values

    def number(self, *names: str) -> list[float | None]:
        """Finite floats (seconds, ratios)."""
        values = self.raw(*names)
        odd = [i for i, v in enumerate(values) if type(v) is not float or not isfinite(v)]
        return self._mend(names, values, odd, _number, False) if odd else values

    def address(self, *names: str, required: bool = True) -> list[str | None]:
        """Canonical addresses (`formats.address`)."""
        values = self.raw(*names)
        out = [known(value) if type(value) is str else None for value in values]
        if None not in out:
            return out
        odd = [index for index, value in enumerate(out) if value is None]
        mended = self._mend(names, values, odd, _address, required)
        for index in odd:
            out[index] = mended[index]
        return out

    def time(self, *names: str, zone: str = "UTC", required: bool = True) -> list[int | None]:
        """Microseconds since the epoch from epoch seconds, epoch milliseconds or ISO 8601; see `micros`."""
        values = self.raw(*names)
        here = ZoneInfo(zone)
        # Rounding the same product to even as `micros` does, only without a call for each value.
        out = [round(v * 1e6) if type(v) is float and 0.0 <= v < SECONDS_BELOW else None for v in values]
        if None not in out:
            return out
        odd = [index for index, value in enumerate(out) if value is None]
        mended = self._mend(names, values, odd, lambda value: micros(value, here), required)
        for index in odd:
            out[index] = mended[index]
        return out

    def decoded(self, schema: Mapping[str, pl.DataType], columns: Mapping[str, Any]) -> Decoded:
        """The good rows as a frame of ``schema`` and the bad ones as rejects.

        Columns left out are null; ``log``, ``source`` and ``position`` are filled in here. A scalar stands
        for all rows.
        """
        count = len(self)
        given = {
            "log": self.batch.log,
            "source": self.batch.source,
            "position": self.batch.positions,
            **columns,
        }
        if "exporter" not in given:
            given["exporter"] = self.text(*_SENSOR_NAMES)
        keep = [index for index in range(count) if index not in self.bad] if self.bad else None
        frame = pl.DataFrame([_series(name, dtype, given.get(name), count, keep) for name, dtype in schema.items()])
        rejects = [
            Reject(
                self.batch.source,
                self.batch.positions[index],
                f"{self.batch.log}: {problem.reason}",
                evidence(self.batch.rows[index]),
                problem.detail,
            )
            for index, problem in sorted(self.bad.items(), key=itemgetter(0))
        ]
        if schema is FLOW:
            return Decoded(flows=frame, rejects=rejects)
        if schema is OPERATION:
            return Decoded(operations=frame, rejects=rejects)
        raise ValueError("schema must be records.FLOW or records.OPERATION")


def evidence(row: Row) -> bytes:
    """The first bytes of a rejected row, as JSON."""
    try:
        return orjson.dumps(row, default=str)[:RAW_LIMIT]
    except TypeError:  # nested too deep to be written again, or an integer of more than 64 bits
        flat = {name: shown(value) for name, value in row.items()}
        return orjson.dumps(flat)[:RAW_LIMIT]


def shown(value: Any, limit: int = 40) -> str:
    """A value as the detail of a reason; a container only by its type, since it may be deep or huge."""
    if isinstance(value, int) and value.bit_length() > _WORD_BITS:
        return "a huge integer"
    if value is None or isinstance(value, str | int | float | bytes):
        return repr(value[:limit] if isinstance(value, str | bytes) else value)
    return type(value).__name__


def _series(name: str, dtype: pl.DataType, values: Any, count: int, keep: list[int] | None) -> pl.Series:
    size = count if keep is None else len(keep)
    if not isinstance(values, list):
        return pl.Series(name, [values], dtype=dtype).new_from_index(0, size)
    return pl.Series(name, values if keep is None else [values[index] for index in keep], dtype=dtype)


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        if value in NO_VALUE:
            return None
        return value if len(value) <= TEXT_LIMIT else value[:TEXT_LIMIT]
    if isinstance(value, bool):
        return "T" if value else "F"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list):
        if all(item is None or isinstance(item, str | int | float) for item in value):
            return ",".join(_text(item) or "" for item in value)[:TEXT_LIMIT] or None
        raise BadValue("not text", "a list of containers")
    raise BadValue("not text", type(value).__name__)


def _integer(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and len(value) <= _DIGITS and value.isascii() and value.removeprefix("-").isdigit():
        return int(value)
    raise BadValue("not an integer", shown(value))


def _number(value: Any) -> float:
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            number = nan
        if isfinite(number):
            return number
    raise BadValue("not a finite number", shown(value))


def _address(value: Any) -> str:
    address = canonical(value) if isinstance(value, str) else None
    if address is None:
        raise BadValue("not an address", shown(value, 60))
    return address


def micros(value: Any, zone: ZoneInfo) -> int:
    """One time as microseconds since the epoch, UTC.

    Numbers (or number text): epoch seconds; from 1e11 on milliseconds, from 1e14 on microseconds, from 1e17
    on nanoseconds (1e11 s is the year 5138, so the units cannot be confused for dates after 1973-03). Text:
    ISO 8601 or ``YYYY-MM-DD HH:MM:SS[.frac]``; without offset it is local time of ``zone``. Zeek's ISO writer
    prints a fraction of .9999995 and more as ``.1000000Z``, seven digits that mean one second more.

    Raises:
        BadValue: not a time, or outside 1970..9999.
    """
    if isinstance(value, str):
        try:
            value = int(value) if value.isdigit() else float(value)
        except ValueError:
            return _bounded(_iso_micros(value, zone))
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadValue("not a time", shown(value))
    size = abs(value)
    if not size < _NO_TIME_FROM:  # NaN, infinity, and integers that no float holds
        raise BadValue("not a time", shown(value))
    if size < SECONDS_BELOW:
        return _bounded(round(value * 1e6))
    if size < _MILLISECONDS_BELOW:
        return _bounded(round(value * 1_000))
    return _bounded(int(value) if size < _MICROSECONDS_BELOW else int(value) // 1_000)


def _bounded(time: int) -> int:
    if not 0 <= time <= _TIME_LIMIT_S * 1_000_000:
        raise BadValue("not a time between 1970 and 9999", f"{time} µs")
    return time


def _iso_micros(text: str, zone: ZoneInfo) -> int:
    if text == _UNPRINTABLE:
        raise BadValue("the sensor could not print this time")
    try:
        if len(text) == _ZEEK_ISO_LENGTH and text[19] == "." and text[26] == "Z":
            return (datetime.fromisoformat(text) - _EPOCH) // _MICROSECOND
        head, _, fraction = text.partition(".")
        digits = fraction[: len(fraction) - len(fraction.lstrip("0123456789"))]
        suffix = fraction[len(digits) :]
        parsed = datetime.fromisoformat(head.strip() + suffix.strip())
        if parsed.tzinfo is None:
            parsed = parsed.replace(tzinfo=zone)
        whole = (parsed - _EPOCH) // _MICROSECOND
    except (ValueError, OverflowError):
        raise BadValue("not a time", shown(text)) from None
    if digits == "1000000" and suffix == "Z":
        return whole + 1_000_000
    return whole + (int(digits[:6].ljust(6, "0")) if digits else 0)


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_ZEEK_ISO_LENGTH: Final = 27  # 2018-03-24T17:15:33.511226Z
_UNPRINTABLE: Final = "2000-01-01T00:00:00.000000"  # what Zeek writes, without Z, for a time it cannot format
