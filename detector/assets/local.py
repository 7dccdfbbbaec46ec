"""Local time: what the clock on the wall of the plant shows."""

from functools import lru_cache
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

HOUR_US: Final = 3_600_000_000
DAY_US: Final = 24 * HOUR_US
_STEP_US: Final = HOUR_US // 4  # clocks change at quarters of an hour UTC, in every zone since 1972
_FEW: Final = 32  # times of day looked up one by one, and remembered
_EPOCH_DAY: Final = 3  # 1970-01-01 was a Thursday; Monday is 0


def wall(times: NDArray[np.int64], zone: str) -> NDArray[np.int64]:
    """µs since 1970-01-01 00:00 of local time, from µs UTC. Zones are looked up once for each run of times within a
    quarter of an hour: streams are nearly in order."""
    steps = times // _STEP_US
    begins = np.flatnonzero(np.diff(steps, prepend=steps[:1] - 1))
    met, runs = np.unique(steps[begins], return_inverse=True)
    few = met.size <= _FEW
    offsets = np.array([_offset(step, zone) for step in met.tolist()], dtype=np.int64) if few else _offsets(met, zone)
    shifted: NDArray[np.int64] = times + np.repeat(offsets[runs], np.diff(begins, append=times.size))
    return shifted


def instant(local: NDArray[np.int64], zone: str) -> NDArray[np.int64]:
    """µs UTC, from local times: the way back from `wall`. A time that the clock shows twice is the first one; one that
    it skips is told by the clock before the change (RFC 5545, 3.3.5)."""
    before, after = (local - (wall(near, zone) - near) for near in (local - DAY_US, local + DAY_US))
    told: NDArray[np.int64] = np.where((wall(before, zone) != local) & (wall(after, zone) == local), after, before)
    return told


@lru_cache(1 << 12)
def _offset(step: int, zone: str) -> int:
    """Of one quarter of an hour, as most batches have it; Polars takes a millisecond to answer."""
    return int(_offsets(np.array([step]), zone)[0])


def _offsets(steps: NDArray[np.int64], zone: str) -> NDArray[np.int64]:
    """What the clock on the wall is ahead of UTC in these quarters of an hour, µs."""
    utc = pl.DataFrame({"us": steps * _STEP_US})
    local = pl.col("us").cast(pl.Datetime("us", "UTC")).dt.convert_time_zone(zone).dt.replace_time_zone(None)
    return utc.select(local.to_physical() - pl.col("us")).to_series().to_numpy()


def weekday(local: NDArray[np.int64]) -> NDArray[np.int64]:
    """0 = Monday, of local times as `wall` gives them."""
    day: NDArray[np.int64] = (local // DAY_US + _EPOCH_DAY) % 7
    return day
