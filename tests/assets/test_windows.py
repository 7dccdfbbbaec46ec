"""Windows in the plant's time are what calendars say, at every change of the clocks, for bounded work."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from dateutil.rrule import rrulestr
from pydantic import ValidationError

from detector.assets import windows
from detector.assets.local import instant, wall
from detector.assets.plant import load_plant
from detector.assets.windows import Window, Windows
from detector.errors import ConfigError

US = 1_000_000
HOUR = 3600 * US
ZONES = ("Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "UTC")


def us(text):
    """Of a time in ISO 8601 with offset."""
    return round(datetime.fromisoformat(text).timestamp()) * US


def opened(fields, zone, *times):
    return Windows([Window.model_validate(fields)], zone).within(np.array([us(time) for time in times])).tolist()


def spans(fields, zone, begin, end):
    told = Windows([Window.model_validate(fields)], zone).spans(us(begin), us(end))
    return [
        tuple(datetime.fromtimestamp(edge / US, UTC).strftime("%dT%H:%M") for edge in span) for span in told.tolist()
    ]


def test_a_recurrence_keeps_its_hour_on_the_wall_when_the_clocks_change():
    meeting = {"dtstart": "2026-03-25T11:00", "duration": "PT3H", "rrule": "FREQ=WEEKLY;BYDAY=WE"}
    assert spans(meeting, "Europe/Berlin", "2026-03-24T00:00+00:00", "2026-04-03T00:00+00:00") == [
        ("25T10:00", "25T13:00"),
        ("01T09:00", "01T12:00"),
    ]


@pytest.mark.parametrize(
    ("window", "zone", "expected"),
    [
        # 2026-03-29 in Berlin has no 02:00 to 03:00: told by the clock before, so 01:30 UTC is 03:30 on the wall.
        ({"dtstart": "2026-03-29T02:30", "duration": "PT1H"}, "Europe/Berlin", [("29T01:30", "29T02:30")]),
        # Days are of the calendar and hours are hours (RFC 5545, 3.3.6).
        ({"dtstart": "2026-03-28T20:00", "duration": "P1D"}, "Europe/Berlin", [("28T19:00", "29T18:00")]),
        ({"dtstart": "2026-03-28T20:00", "duration": "PT24H"}, "Europe/Berlin", [("28T19:00", "29T19:00")]),
        # A whole day has 23 hours then.
        ({"dtstart": "2026-03-29"}, "Europe/Berlin", [("28T23:00", "29T22:00")]),
        # UTC is UTC wherever the plant is.
        ({"dtstart": "2026-03-29T02:30Z", "duration": "PT1H"}, "Europe/Berlin", [("29T02:30", "29T03:30")]),
        ({"dtstart": "20260329T023000Z", "duration": "PT1H"}, "Asia/Kolkata", [("29T02:30", "29T03:30")]),
        # Weekly windows are what the wall shows: an hour less on that night.
        ({"day": "sun", "from": "01:00", "to": "04:00"}, "Europe/Berlin", [("29T00:00", "29T02:00")]),
        ({"day": "sat", "from": "23:00", "to": "00:15"}, "Europe/Berlin", [("28T22:00", "28T23:15")]),
    ],
)
def test_the_night_the_clocks_go_forward(window, zone, expected):
    assert spans(window, zone, "2026-03-28T12:00+00:00", "2026-03-30T00:00+00:00") == expected


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        # 02:30 is there twice: the first counts, and hours are hours.
        ({"dtstart": "2026-10-25T02:30", "duration": "PT1H"}, [("25T00:30", "25T01:30")]),
        # On the wall it is from 02:30 to 02:45 twice.
        ({"day": "sun", "from": "02:30", "to": "02:45"}, [("25T00:30", "25T00:45"), ("25T01:30", "25T01:45")]),
        ({"dtstart": "2026-10-25"}, [("24T22:00", "25T23:00")]),
    ],
)
def test_the_night_the_clocks_go_back(window, expected):
    assert spans(window, "Europe/Berlin", "2026-10-24T12:00+00:00", "2026-10-26T06:00+00:00") == expected


def test_local_times_find_the_way_back():
    for zone in ZONES:
        times = np.arange(us("2026-01-01T00:00+00:00"), us("2027-01-01T00:00+00:00"), 15 * 60 * US)
        back = instant(wall(times, zone), zone)
        assert set(np.unique(times - back).tolist()) <= {0, HOUR, HOUR // 2}  # the second of two is told as the first
        assert (wall(back, zone) == wall(times, zone)).all()
        assert (times - back == 0).mean() > 0.999


RULES = [
    "FREQ=DAILY",
    "FREQ=DAILY;INTERVAL=3",
    "FREQ=DAILY;BYMONTH=3,10;BYHOUR=1,2,3,13;BYMINUTE=0,30",
    "FREQ=WEEKLY;BYDAY=MO,WE,SU",
    "FREQ=WEEKLY;INTERVAL=2;BYDAY=SU,MO;WKST=SU",
    "FREQ=WEEKLY;COUNT=20",
    "FREQ=WEEKLY;UNTIL=20260601T220000Z",
    "FREQ=DAILY;UNTIL=20260402",
    "FREQ=MONTHLY;BYDAY=-1SU",
    "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-2",
    "FREQ=MONTHLY;BYMONTHDAY=31",
    "RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=2TU;",
    "freq=yearly;byweekno=14;byday=su",
]


@pytest.mark.parametrize("rule", RULES)
def test_recurrences_are_what_dateutil_says_from_the_first_on(rule):
    rng, start = np.random.default_rng(len(rule)), datetime.fromisoformat("2025-10-20T01:45")
    left_out = datetime.fromisoformat("2026-03-02T01:45"), datetime.fromisoformat("2026-03-29")
    fields = {"dtstart": start, "duration": "P1DT2H", "rrule": rule, "exdate": [left_out[0], left_out[1].date()]}
    for zone in ZONES:
        text = rule.upper().removeprefix("RRULE:").rstrip(";")
        plain, until = text, None
        if "UNTIL" in text:
            plain = ";".join(part for part in text.split(";") if "UNTIL" not in part)
            until = datetime(2026, 6, 1, 22, tzinfo=UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
            until = until if "T22" in text else datetime.fromisoformat("2026-04-02T23:59")
        found = rrulestr(plain, dtstart=start).replace(until=until)
        expected = []
        for begin in found.between(start, datetime.fromisoformat("2027-03-01"), inc=True):
            if begin != left_out[0] and begin.date() != left_out[1].date():
                utc = begin.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
                day = (begin + timedelta(days=1)).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
                expected.append((utc.timestamp() * US, (day + timedelta(hours=2)).timestamp() * US))
        begins, ends = np.array(expected).T
        times = rng.integers(us("2025-10-01T00:00+00:00"), us("2027-02-25T00:00+00:00"), 3000)
        times = np.concatenate([times, begins, begins - 1, ends, ends - 1]).astype(np.int64)
        times = times[times < us("2027-02-25T00:00+00:00")]
        inside = ((begins <= times[:, None]) & (times[:, None] < ends)).any(axis=1)
        agreed = Windows([Window.model_validate(fields)], zone)
        assert inside.sum() > 0
        assert (agreed.within(times) == inside).all()
        assert (agreed.within(times[::-1]) == inside[::-1]).all()  # whatever was asked before
        told = agreed.spans(us("2025-01-01T00:00+00:00"), us("2027-02-25T00:00+00:00"))
        assert (told[1:, 0] > told[:-1, 1]).all()
        place = np.searchsorted(told[:, 0], times, side="right") - 1
        assert (((place >= 0) & (times < told[place, 1])) == inside).all()


def test_weekly_spans_are_what_is_within():
    fields = [{"day": "fri", "from": "22:00", "to": "03:00"}, {"from": "12:05", "to": "12:20"}, {"day": "sun"}]
    agreed = Windows([Window.model_validate(each) for each in fields], "Europe/Berlin")
    begin, end = us("2026-10-20T00:00+00:00"), us("2026-10-30T00:00+00:00")
    minutes = np.arange(begin, end, 60 * US)
    told = agreed.spans(begin, end)
    inside = ((told[:, 0] <= minutes[:, None]) & (minutes[:, None] < told[:, 1])).any(axis=1)
    assert (inside == agreed.within(minutes)).all()
    assert len(told) == 9 + 2  # past noon on nine days, a Friday night, a Sunday of 25 hours


def test_years_of_rows_and_of_rules_cost_a_bounded_search(monkeypatch):
    worked_out = []
    real = windows._rule
    monkeypatch.setattr(windows, "_rule", lambda *args: worked_out.append(args) or real(*args))
    daily = {"dtstart": "1970-01-01T08:00", "duration": "PT1H", "rrule": "FREQ=DAILY"}
    agreed = Windows([Window.model_validate(daily)], "Europe/Berlin")
    worked_out.clear()
    times = np.arange(us("2026-01-01T00:00+00:00"), us("2026-12-31T00:00+00:00"), HOUR // 4)
    for _ in range(20):
        agreed.within(times)
    assert len(worked_out) <= 2  # stretches of 400 days
    assert all(start > us("2023-01-01T00:00+00:00") for _, start, _ in worked_out)  # not from 1970 on
    far = np.array([-(2**62), 2**62, us("2400-01-01T08:30+01:00"), us("2300-01-07T08:30+01:00")])
    assert not agreed.within(far[[0, 1, 2]]).any()
    assert agreed.within(far[[3]]).all()


WRONG = {
    "rrule: FREQ=SECONDLY": "FREQ cannot be 'SECONDLY'",
    "rrule: FREQ=MINUTELY;INTERVAL=1": "FREQ cannot be 'MINUTELY'",
    "rrule: FREQ=HOURLY": "BYHOUR",
    "rrule: FREQ=DAILY;COUNT=1000000000": "COUNT cannot be",
    "rrule: FREQ=DAILY;COUNT=10001": "COUNT is at most 10000",
    "rrule: FREQ=DAILY;COUNT=0": "COUNT cannot be",
    "rrule: FREQ=DAILY;INTERVAL=0": "INTERVAL cannot be",
    "rrule: FREQ=DAILY;INTERVAL=9999": "INTERVAL is at most",
    "rrule: FREQ=DAILY;COUNT=3;UNTIL=20260101": "not both",
    "rrule: BYDAY=MO": "needs FREQ",
    "rrule: FREQ=DAILY;FREQ=DAILY": "is twice",
    "rrule: FREQ=DAILY;BYEASTER=0": "no part of a rule",
    "rrule: FREQ=DAILY;BYMONTH=13": "BYMONTH cannot be '13'",
    "rrule: FREQ=WEEKLY;BYDAY=5MO": "MONTHLY or YEARLY",
    "rrule: FREQ=YEARLY;BYDAY=60MO": "BYDAY cannot be",
    "rrule: FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30": "never happens",
    "rrule: FREQ=DAILY;UNTIL=20251301": "no date",
    "rrule: FREQ=DAILY;UNTIL=20250101": "never happens",
    f"rrule: FREQ=DAILY;BYMONTH={','.join(['1'] * 600)}": "characters",
    f"rrule: FREQ=DAILY;BYMINUTE={','.join(map(str, range(60)))}": "times a day",
    "rrule: ''": "no part of a rule",
    "duration: 3h": "is no duration",
    "duration: P": "is no duration",
    "duration: PT": "is no duration",
    "duration: PT0S": "longer than nothing",
    "duration: P400D": "at most 366 days",
    "exdate: [tomorrow]": "no date or time",
    "dtstart: 2026-01-07T11:00:00+01:00": "an offset",
    "dtstart: 0001-01-01T00:00": "the year 1",
    "dtstart: [1]": "no date or time",
}  # fmt: skip


@pytest.mark.parametrize("line", WRONG)
def test_what_is_wrong_is_refused_by_its_key(tmp_path, line):
    fields = dict(part.split(": ", 1) for part in ("dtstart: 2026-01-07T11:00", "duration: PT3H", line))
    path = tmp_path / "plant.yaml"
    path.write_text("vendors:\n- windows:\n  - " + "\n    ".join(f"{key}: {value}" for key, value in fields.items()))
    with pytest.raises(ConfigError) as caught:
        load_plant(path)
    assert f"vendors.0.windows.0.{line.split(':')[0]}" in str(caught.value)
    assert WRONG[line] in str(caught.value)


@pytest.mark.parametrize(
    ("window", "reason"),
    [
        ("{rrule: FREQ=DAILY, duration: PT1H}", "needs dtstart"),
        ("{dtstart: 2026-01-07T11:00}", "needs duration"),
        ("{dtstart: 2026-01-07, day: mon}", "not both"),
    ],
)
def test_kinds_of_windows_do_not_mix(tmp_path, window, reason):
    path = tmp_path / "plant.yaml"
    path.write_text(f"maintenance_windows: [{{zone: a}}, {window}]")
    with pytest.raises(ConfigError, match=reason) as caught:
        load_plant(path)
    assert "maintenance_windows.1" in str(caught.value)


def test_a_time_zone_that_is_none_is_refused(tmp_path):
    path = tmp_path / "plant.yaml"
    path.write_text("timezone: Europe/Erewhon")
    with pytest.raises(ConfigError, match="timezone"):
        load_plant(path)


def test_yaml_spells_times_in_many_ways(tmp_path):
    path = tmp_path / "plant.yaml"
    for dtstart in ("2026-01-07T11:00:00", "2026-01-07 11:00:00", '"2026-01-07T11:00"', "20260107T110000"):
        path.write_text(
            f"timezone: Europe/Berlin\nmaintenance_windows: [{{zone: a, dtstart: {dtstart}, duration: pt3h}}]"
        )
        begin, end = us("2026-01-01T00:00+00:00"), us("2026-02-01T00:00+00:00")
        told = Windows(load_plant(path).maintenance_windows, "Europe/Berlin").spans(begin, end)
        assert told.tolist() == [[us("2026-01-07T11:00+01:00"), us("2026-01-07T14:00+01:00")]]


def test_a_window_is_as_it_was_without_a_day_or_an_hour():
    assert opened({}, "UTC", "2026-01-01T00:00+00:00", "2026-06-01T12:34+00:00") == [True, True]
    assert opened({"day": "mon"}, "UTC", "2026-01-05T23:59+00:00", "2026-01-06T00:00+00:00") == [True, False]
    with pytest.raises(ValidationError):
        Window.model_validate({"from": "9"})
