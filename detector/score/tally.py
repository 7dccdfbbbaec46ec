"""What an originator did in a period of time: counts of its rows, counted on as they come.

Kernels over a table of counts (`state.counts`). An entry of what is counted distinctly keeps the period in which it
was met last, so nothing must be cleared when a period ends, and evicting an entry of an earlier one changes nothing.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.score import calibration
from detector.score.columns import Columns
from detector.state.compiled import inlined, kernel
from detector.state.counts import find

Read = tuple[NDArray[Any], ...]
FLOW_KIND, ATTEMPT_KIND, OPERATION_KIND = 0, 1, 2  # as `features.acts`, a layer that models do not look at, has them


def columns_of(units: Columns) -> Read:
    """What tallies read of scored units, one array each: keys of originator, responder, service and account (0 = none),
    whether a connection, an attempt, an act with a meaning, a pair never seen, judged, how many bytes were sent, when.
    """
    judged, kind = units.judged(), units["kind"]
    return (
        units["orig_id"],
        units["resp_id"],
        units["service_id"],
        units["user_id"],
        kind == FLOW_KIND,
        kind == ATTEMPT_KIND,
        (kind == OPERATION_KIND) & (units["bonus"] > 0),
        judged & (units["seen"] <= 0),
        judged,
        np.maximum(units["orig_bytes"], 0).astype(np.float64),
        units["obs_ts"],
    )


@inlined
def slot_of(table: Any, used: Any, key: Any, now: Any) -> Any:
    """Slot of ``key``, made with empty cells when it is new; it was seen ``now``."""
    keys, _, last = table
    slot = find(keys, key)
    if keys[slot] == np.uint64(0):
        keys[slot] = key
        used[0] += 1
        last[slot] = now
    last[slot] = max(last[slot], now)
    return slot


@inlined
def first_in(table: Any, used: Any, key: Any, period: Any, now: Any) -> Any:
    """1.0 when ``key`` is met for the first time in this ``period`` (from 1), else 0.0."""
    slot = slot_of(table, used, key, now)
    cells = table[1]
    if cells[slot, 0] == period:
        return 0.0
    cells[slot, 0] = period
    return 1.0


@kernel
def judge(calibrated: Any, stratum: Any, score: Any) -> Any:
    """p-value of ``score`` in its stratum, then learn it; whether older scores fade is for the caller."""
    histograms, trees, totals, tails, since, _ = calibrated
    p = calibration.p_value(trees, totals, tails, stratum, score)
    calibration.learn(histograms, trees, totals, tails, since, stratum, score)
    return p


@kernel
def fade(calibrated: Any, now: Any) -> None:
    """`calibration.fade` of what `judge` learned."""
    histograms, trees, totals, tails, _, clock = calibrated
    calibration.fade(histograms, trees, totals, tails, clock, now)
