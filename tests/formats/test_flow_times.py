"""The time policy of flow records, value by value."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.formats.batch import Batch
from detector.formats.fields import BadValue, Fields, micros
from detector.formats.flow_times import CLOCK_SLACK, LATE_LIMIT, UNSET_BEFORE, clock, settled

START = 1_760_000_000_000_000  # µs, 2025-10-09
SECOND = 1_000_000


def fields(*values: Any) -> Fields:
    rows = [{"t": value} for value in values]
    return Fields(Batch("log", "test", list(range(len(rows))), rows))


moments = st.datetimes(datetime(1980, 1, 1), datetime(2100, 1, 1))  # noqa: DTZ001 - local times
SPELLINGS = (
    "{:%Y-%m-%d %H:%M:%S}",
    "{:%Y-%m-%dT%H:%M:%S.%f}",
    "{:%Y-%m-%d %H:%M:%S}.5",
    "{:%Y-%m-%dT%H:%M:%S}Z",
    "{:%Y-%m-%dT%H:%M:%S.%f}+02:00",
    "{:%Y-%m-%d}",
    "{:%Y-%m-%d %H:%M:%S}.1234567",
    "{:%Y-%m-%d %H:%M:%S}x",
    "{:%s}.250000",
)
texts_of_times = st.builds(lambda moment, text: text.format(moment), moments, st.sampled_from(SPELLINGS))


@given(st.lists(texts_of_times, max_size=6))
def test_neighbours_in_one_second_change_nothing(texts: list[str]) -> None:
    zone = "Europe/Berlin"
    column = fields(*texts, *texts)
    found = clock(column, ("t",), zone)
    for index, text in enumerate(texts + texts):
        try:
            expected = micros(text, ZoneInfo(zone))
        except BadValue:
            expected = None
        assert found[index] == expected
        assert (index in column.bad) == (expected is None)


@pytest.mark.parametrize(
    "unset",
    [
        0,
        "",
        "0",
        "0.000000",
        "0000-00-00 00:00:00.000000",
        "1970-01-01 01:00:00.000",
        "1969-12-31 19:00:00",
        5.0,
    ],
)
def test_what_exporters_print_for_no_time(unset: Any) -> None:
    column = fields(unset)
    assert clock(column, ("t",), "America/New_York") == [None]
    assert column.bad == {}


def test_relative_times_of_replayed_captures_are_kept() -> None:
    assert clock(fields("1970-01-01 01:00:08.5"), ("t",), "UTC", relative=True) == [3_608_500_000]
    assert UNSET_BEFORE > 3_608_500_000


def one(start: int | None, end: int | None, arrival: int | None, told: float | None = None) -> tuple[Any, ...]:
    column = fields(1)
    columns, notes = settled(column, [start], [end], [arrival], [told])
    found = tuple(values[0] for values in columns.values())
    return (*found, *(note for _, note in notes), *(problem.reason for problem in column.bad.values()))


END = START + 10 * SECOND
OLD, FUTURE = "end too old: receive time used", "end after receipt: receive time used"
LATE, EARLY = LATE_LIMIT + 1, -CLOCK_SLACK - 1  # µs from the end to the receipt


@pytest.mark.parametrize(
    ("given_times", "expected"),
    [
        ((START, END, None), (START, END, 10.0)),
        ((START, END, END), (START, END, 10.0)),
        ((START, END, END - CLOCK_SLACK), (START, END, 10.0)),
        ((START, END, END + LATE_LIMIT), (START, END, 10.0)),
        ((START, END, END + LATE_LIMIT + 1), (START + LATE_LIMIT + 1, END + LATE_LIMIT + 1, 10.0, OLD)),
        ((START, END, END - CLOCK_SLACK - 1), (START - CLOCK_SLACK - 1, END - CLOCK_SLACK - 1, 10.0, FUTURE)),
        ((END, START, None), (START, START, None, "start after end: start set to end")),
        ((None, END, None), (END, END, None, "start missing: end used")),
        ((None, END, None, 4.0), (END - 4 * SECOND, END, 4.0, "start missing: end used")),
        ((START, None, None), (START, START, None, "end missing: start used")),
        ((START, None, None, 4.0), (START, START + 4 * SECOND, 4.0, "end missing: start and duration used")),
        ((START, None, END), (START, END, None, "end missing: receive time used")),
        ((START, None, START - 1), (START - 1, START - 1, None, "end missing: receive time used")),
        ((None, None, END), (END, END, None, "end missing: receive time used")),
        ((None, None, None), (None, None, None, "no usable time")),
    ],
)
def test_policy(given_times: tuple[Any, ...], expected: tuple[Any, ...]) -> None:
    assert one(*given_times) == expected


times = st.none() | st.integers(0, 2**52)


@given(times, times, times, st.none() | st.floats(0, 1e9))
def test_start_is_never_after_end_and_end_never_far_from_receipt(
    start: int | None, end: int | None, arrival: int | None, told: float | None
) -> None:
    first, last, *_ = one(start, end, arrival, told)
    if start is end is arrival is None:
        assert first is last is None
        return
    assert first <= last
    if arrival is not None:
        assert -CLOCK_SLACK <= arrival - last <= LATE_LIMIT


def test_utc_is_the_default_reading_of_epoch_numbers() -> None:
    moment = datetime(2025, 10, 9, 8, 53, 20, tzinfo=UTC)
    seconds = int(moment.timestamp())
    assert clock(fields(seconds, seconds * 1000, seconds * 10**9), ("t",), "Asia/Tokyo") == [START] * 3
