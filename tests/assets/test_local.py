"""Local time is what zoneinfo says, whatever the order of times."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from detector.assets.local import wall, weekday

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
US = timedelta(microseconds=1)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "Australia/Lord_Howe"])
@pytest.mark.parametrize("day", [datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 10, 25, tzinfo=UTC)])
def test_local_times_are_those_of_the_zone(zone, day):
    rng = np.random.default_rng(3)
    times = (day - EPOCH) // US + rng.integers(-9 * 86_400_000_000, 9 * 86_400_000_000, 500)
    for order in (times, np.sort(times)):
        local = [(EPOCH + int(time) * US).astimezone(ZoneInfo(zone)).replace(tzinfo=UTC) for time in order]
        assert wall(order, zone).tolist() == [(one - EPOCH) // US for one in local]
        assert weekday(wall(order, zone)).tolist() == [one.weekday() for one in local]


def test_no_times_have_no_local_times():
    assert wall(np.array([], dtype=np.int64), "Europe/Berlin").size == 0
