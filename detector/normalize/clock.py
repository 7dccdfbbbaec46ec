"""Rows dated after they came: a sensor's clock runs ahead, or somebody wants time to run ahead.

The broker's clock bounds them. Without that one row of the year 2099 would move the watermark, make every later row
late and let all baselines fade.
"""

from collections import Counter
from dataclasses import replace
from typing import Final

import polars as pl

from detector.records import Arrived, Decoded

AHEAD_US: Final = 5 * 60_000_000
"""How far a sensor's clock may be ahead of the broker's; hosts with NTP are within seconds, those without drift by
minutes a month."""

AHEAD: Final = "dated in the future; the broker's time was taken"
"""What `Decoded.notes` calls them."""


def in_time(decoded: Decoded) -> Decoded:
    """Rows dated more than `AHEAD_US` after they reached the broker get the broker's time; ``notes`` counts them by
    log. Without ``arrived`` nothing is known about that, and nothing changes."""
    arrived = decoded.arrived
    if arrived is None:
        return decoded
    notes = decoded.notes.copy()
    flows, operations = (_mended(frame, arrived, notes) for frame in (decoded.flows, decoded.operations))
    return replace(decoded, flows=flows, operations=operations, notes=notes)


def _mended(frame: pl.DataFrame, arrived: Arrived, notes: Counter[tuple[str, str]]) -> pl.DataFrame:
    came = arrived.of(arrived.times, frame["position"].to_numpy())
    ahead = pl.Series(frame["obs_ts"].to_numpy() > came + AHEAD_US, dtype=pl.Boolean)
    if not ahead.any():
        return frame
    for log, count in frame.filter(ahead)["log"].value_counts().iter_rows():
        notes[log, AHEAD] += count
    mended = frame.with_columns(obs_ts=pl.when(ahead).then(pl.Series(came)).otherwise("obs_ts"))
    return mended.with_columns(ts=pl.min_horizontal("ts", "obs_ts"))
