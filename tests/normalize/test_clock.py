"""Rows dated after they came get the broker's time."""

import numpy as np
from polars.testing import assert_frame_equal

from detector.normalize.clock import AHEAD_US, in_time
from detector.records import Arrived, Decoded
from tests.normalize.flows import SECOND, conn, frame

CAME = 1_000 * SECOND


def dated(*seconds: float) -> Decoded:
    """Connections that ended so many seconds after the broker's time, and came one a second."""
    rows = [
        conn("10.0.0.1:50000", "10.0.0.2:445", ts=1_000 + n + at - 0.1, position=10 * n) for n, at in enumerate(seconds)
    ]
    places = np.arange(len(rows))
    return Decoded(frame(rows), arrived=Arrived(10 * places, CAME + SECOND * places, places))


def test_a_time_in_the_future_becomes_the_brokers():
    mended = in_time(dated(0, 70 * 365 * 86_400, 86_400))
    assert mended.flows.select("ts", "obs_ts").rows() == [
        (CAME - SECOND // 10, CAME),
        (CAME + SECOND, CAME + SECOND),
        (CAME + 2 * SECOND, CAME + 2 * SECOND),
    ]
    assert mended.notes == {("zeek.conn", "dated in the future; the broker's time was taken"): 2}


def test_clocks_may_differ_a_little_and_the_past_is_not_touched():
    decoded = dated(AHEAD_US / SECOND, -86_400, 3)
    mended = in_time(decoded)
    assert_frame_equal(mended.flows, decoded.flows)
    assert not mended.notes


def test_without_a_broker_nothing_is_known():
    decoded = dated(86_400)
    assert in_time(Decoded(decoded.flows)).flows.equals(decoded.flows)
