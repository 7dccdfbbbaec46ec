"""When: the night use of an edge of office hours is strange, and what never sleeps is never late."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest

from detector.score.timing import Timing, parts
from tests.score.frames import HOUR_US, MONDAY, STRATA, Trained, desk, enriched, row, same_state, scored, server

DESKS, NEVER_SLEEPS, DAYS = 12, 50, 14
OFFICE = range(8, 18)


def model(zone="UTC"):
    return Timing(STRATA, 1_000_000, 30.0, zone)


def use(hour, host=3, target=0):
    return row(hour, desk(host), server(target))


def weeks(first_hour=0.0):
    """Two weeks: desks at work, Monday to Friday; one host day and night."""
    rows = []
    for day in range(DAYS):
        for hour in range(24):
            at = first_hour + 24 * day + hour
            rows.append(use(at + 0.1, NEVER_SLEEPS))
            if day % 7 < 5 and hour in OFFICE:
                rows += [use(at + 0.2 + host / 100, host, host % 3) for host in range(DESKS)]
    return rows


@pytest.fixture(scope="module")
def trained():
    return Trained(model, weeks())


NEXT = 24 * DAYS  # midnight of a Monday


def test_a_night_use_of_an_edge_of_office_hours_is_strange(trained):
    day, night = trained.says(use(NEXT + 10.5)), trained.says(use(NEXT + 3.5))
    assert day["p_timing"] > 0.1
    assert night["p_timing"] < day["p_timing"] / 10
    assert night["timing"] > day["timing"] + 2 * np.log(10)
    assert night["hour_seen"] == 0.0
    assert day["hour_seen"] > 10


def test_another_edge_of_the_same_host_tells_at_night_too(trained):
    """A server the host never used: its own hours speak for the new edge, softly."""
    night, day = (trained.says(use(NEXT + hour, 3, 9))["timing"] for hour in (3.5, 10.5))
    assert night > day


def test_what_runs_day_and_night_is_never_strange(trained):
    for day in (0, 5):
        for hour in range(24):
            assert trained.says(use(NEXT + 24 * day + hour + 0.5, NEVER_SLEEPS))["p_timing"] > 0.02, (day, hour)


def test_a_saturday_is_no_working_day(trained):
    friday, saturday = (trained.says(use(NEXT + 24 * day + 10.5)) for day in (4, 5))
    assert saturday["timing"] > friday["timing"] + 2 * np.log(10)


def test_five_past_the_hour_is_not_far_from_five_to(trained):
    """Two sets of parts an hour apart: half past seven shares one of them with the working day, half past four none."""
    before, early, in_time = (trained.says(use(NEXT + hour))["timing"] for hour in (4.5, 7.5, 8.5))
    assert before > early > in_time


# --- whose clock ---


@pytest.mark.parametrize(
    ("zone", "change"),
    [
        ("Europe/Berlin", (2026, 3, 29)),
        ("Europe/Berlin", (2026, 10, 25)),
        ("America/New_York", (2026, 3, 8)),
        ("Australia/Adelaide", (2026, 4, 5)),
        ("Asia/Kolkata", (2026, 6, 7)),
    ],
)
def test_local_hours_keep_their_part_across_a_change_of_clocks(zone, change):
    """The Monday before and the Monday after: half past each hour."""
    sunday = datetime(*change, 0, 30, tzinfo=ZoneInfo(zone))

    def monday(days):
        # Adding to a time with a zone moves the hands of the clock.
        hours = [sunday + timedelta(days=days, hours=hour) for hour in range(24)]
        return parts(np.array([round(hour.timestamp() * 1e6) for hour in hours]), zone).tolist()

    assert monday(-6) == monday(1)
    assert len(set(map(tuple, monday(1)))) == 24


def test_parts_are_those_of_the_zone():
    times = np.array([MONDAY + hour * HOUR_US for hour in range(24 * 7)])
    in_utc, in_berlin = parts(times, "UTC"), parts(times, "Europe/Berlin")
    assert (in_berlin[:-1] == in_utc[1:]).all()
    for one in (in_utc, in_berlin):
        assert one.min() > 0
        assert len(set(one[:, 0].tolist())) == len(set(one[:, 1].tolist())) == 24  # twelve of each kind of day


def test_the_same_working_hours_after_the_clocks_change():
    """Two weeks before the change, the first Monday after: in the zone of the plant nothing has happened."""
    change = datetime(2026, 3, 30, tzinfo=ZoneInfo("Europe/Berlin")).timestamp() * 1e6  # a Monday's local midnight
    before = (change - MONDAY) / HOUR_US + 1 - 24 * DAYS  # local midnight two weeks earlier, an hour later in UTC
    rows = weeks(before)
    after = (change - MONDAY) / HOUR_US
    berlin, utc = (Trained(lambda zone=zone: model(zone), rows) for zone in ("Europe/Berlin", "UTC"))
    first_hour = use(after + OFFICE[0] + 0.3)
    friday = rows.index(use(before + 24 * (DAYS - 3) + OFFICE[0] + 0.2 + 3 / 100))
    usual = scored(model("Europe/Berlin"), rows)["timing"][friday]
    assert berlin.says(first_hour)["timing"] == pytest.approx(usual, abs=0.2)
    assert utc.says(first_hour)["timing"] > usual + 1.0


def test_only_what_is_news_to_structure_is_asked():
    """Of the rest nothing is said, and nothing is learned."""
    frame = enriched(weeks()[:299]).with_row_index("place")
    frame = frame.with_columns(p_structure=pl.when(pl.col("place") % 2 == 0).then(0.5).otherwise(1.0)).drop("place")
    quiet, loud = model(), model()
    plain, mixed = scored(quiet, frame[::2]), scored(loud, frame)
    assert set(mixed["p_timing"][1::2]) == {1.0}
    assert mixed[::2].equals(plain)
    assert same_state(quiet, loud)
