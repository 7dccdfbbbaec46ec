"""What all sections of the plant file have in common, and how it tells times."""

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Final

import numpy as np
from pydantic import BaseModel, ConfigDict, PlainSerializer, PlainValidator

from detector.assets.local import DAY_US, instant

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SOONEST: Final = 1970  # years
_LATEST: Final = 2199


class Section(BaseModel):
    """Frozen; keys that this version does not know are kept out of the way."""

    model_config = ConfigDict(extra="allow", populate_by_name=True, frozen=True, coerce_numbers_to_str=True)


def read_moment(value: Any) -> date:
    """A date or time as people and YAML write it: also ``20260107T110000Z``, and numbers for ``20260107``.

    Raises:
        ValueError: it is none, or of another century.
    """
    try:
        moment = value if isinstance(value, date) else _read(str(value))
    except ValueError as problem:
        raise ValueError(f"{value!r} is no date or time such as 2026-01-07 or 2026-01-07T11:00") from problem
    if not _SOONEST <= moment.year <= _LATEST:
        raise ValueError(f"the year {moment.year} is not from {_SOONEST} to {_LATEST}")
    return moment


def _read(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return datetime.fromisoformat(text)


Moment = Annotated[date, PlainValidator(read_moment), PlainSerializer(date.isoformat)]
"""A date, or a `datetime`: local time of the plant unless it has an offset. ISO 8601, also basic as in RFC 5545."""


def is_day(moment: date) -> bool:
    """Whether it is a whole day and no point in time."""
    return not isinstance(moment, datetime)


def has_offset(moment: date) -> bool:
    """Whether it says itself how far its clock is from UTC."""
    return isinstance(moment, datetime) and moment.tzinfo is not None


def local_us(moment: date) -> int:
    """What the clock of a moment shows, whichever it is (of a day: its start), µs since 1970-01-01 00:00 of it."""
    at = moment if isinstance(moment, datetime) else datetime(moment.year, moment.month, moment.day)  # noqa: DTZ001
    return (at.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)


def utc_us(moment: date, zone: str) -> int:
    """A moment, or the start of a day, µs UTC."""
    if isinstance(moment, datetime) and moment.tzinfo is not None:
        return (moment - _EPOCH) // timedelta(microseconds=1)
    return int(instant(np.array([local_us(moment)]), zone)[0])


def end_us(moment: date, zone: str) -> int:
    """The same, but the end of a day."""
    if is_day(moment):
        return int(instant(np.array([local_us(moment) + DAY_US]), zone)[0])
    return utc_us(moment, zone)
