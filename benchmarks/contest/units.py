"""From a score for every row to the units that are ranked: (source, target, day)."""

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .truth import DAY_US

KEYS: Final = ("src", "dst", "day")
_TIE_SEED: Final = 5


def units_of(rows: pl.DataFrame, judged_from: int) -> pl.DataFrame:
    """Units of the judged rows: `KEYS`, the highest ``score`` and the time ``at`` (µs) it was first reached.

    Args:
        rows: ``ts`` (µs), ``src``, ``dst``, ``score``; only rows whose target is a host of the plant.
    """
    day = (pl.col("ts") // DAY_US).alias("day")
    judged = rows.filter(pl.col("ts") >= judged_from)
    return merged(judged.select("src", "dst", day, "score", at="ts"))


def merged(units: pl.DataFrame) -> pl.DataFrame:
    """Units that came in parts as one each."""
    ordered = units.sort(["score", "at"], descending=[True, False])
    return ordered.unique(list(KEYS), keep="first", maintain_order=True)


def ranked_by_day(units: pl.DataFrame) -> pl.DataFrame:
    """Adds ``rank`` within the day, from 1. Equal scores are put in a random order, the same in every run: a rule that
    only says yes or no gets what chance gives it."""
    luck = np.random.default_rng(_TIE_SEED).permutation(units.height)
    ordered = units.sort(*KEYS).with_columns(luck=pl.Series(luck))
    ordered = ordered.sort(["day", "score", "luck"], descending=[False, True, False])
    return ordered.with_columns(rank=pl.int_range(1, pl.len() + 1).over("day")).drop("luck")


def is_attack(units: pl.DataFrame, attacks: pl.DataFrame) -> NDArray[np.bool_]:
    """Which units hold a hop."""
    marked = attacks.select(KEYS).unique().with_columns(attack=True)
    joined = units.select(KEYS).join(marked, on=list(KEYS), how="left", maintain_order="left")
    return joined["attack"].fill_null(False).to_numpy()
