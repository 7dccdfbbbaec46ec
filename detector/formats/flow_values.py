"""Columns of flow records whose values come in many spellings: counts, protocols, flags."""

from collections.abc import Callable
from typing import Any, Final

from detector.formats.fields import BadValue, Fields, shown

Names = tuple[str, ...]
Column = list[Any]

_INT64_MAX: Final = 2**63 - 1
_DIGITS: Final = 20  # of a 64-bit number and its sign
_CACHE_LIMIT: Final = 4096  # distinct spellings of protocols and flags that are remembered


def column(fields: Fields, names: Names, convert: Callable[[Any], Any]) -> Column:
    """One converted column; a value ``convert`` refuses with `BadValue` marks its row, None stays None."""
    if not names:
        return [None] * len(fields)
    out: Column = []
    for index, value in enumerate(fields.raw(*names)):
        try:
            out.append(None if value is None else convert(value))
        except BadValue as problem:
            fields.reject(index, problem.of(names[0]))
            out.append(None)
    return out


def remembered(fields: Fields, names: Names, convert: Callable[[Any], Any]) -> Column:
    """`column` for fields with few distinct values: each spelling is converted once."""
    known: dict[Any, Any] = {None: None}

    def recall(value: Any) -> Any:
        if isinstance(value, list | dict | bool | float):  # no key, or one that equals an integer
            return convert(value)
        try:
            return known[value]
        except KeyError:
            pass
        if len(known) >= _CACHE_LIMIT:
            known.clear()
            known[None] = None
        return known.setdefault(value, convert(value))

    try:
        return [recall(value) for value in fields.raw(*names)] if names else [None] * len(fields)
    except BadValue:
        return column(fields, names, recall)


def counts(fields: Fields, names: Names) -> Column:
    """One column of `whole` numbers."""
    values = fields.raw(*names) if names else [None] * len(fields)
    odd = [
        index
        for index, value in enumerate(values)
        if value is not None and (type(value) is not int or value < 0 or value > _INT64_MAX)
    ]
    return mended(fields, names, values, odd, whole)


def mended(fields: Fields, names: Names, values: Column, odd: list[int], convert: Callable[[Any], Any]) -> Column:
    """``values`` with those at ``odd`` converted in place: the cost follows the oddities, not the batch."""
    for index in odd:
        try:
            values[index] = convert(values[index])
        except BadValue as problem:
            fields.reject(index, problem.of(names[0]))
            values[index] = None
    return values


def whole(value: Any) -> int:
    """A count: an integer of at least 0, or its decimal text.

    Raises:
        BadValue: anything else; also above 2**63 - 1, which no frame can hold.
    """
    if type(value) is int and 0 <= value <= _INT64_MAX:
        return value
    number: Any = value
    if isinstance(value, str) and len(value) <= _DIGITS:
        try:
            number = int(value)
        except ValueError:
            number = None
    elif isinstance(value, float) and value.is_integer():
        number = int(value)
    if isinstance(number, int) and not isinstance(number, bool) and 0 <= number <= _INT64_MAX:
        return number
    raise BadValue("not a count", shown(str(value)))
