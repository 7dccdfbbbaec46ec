"""The oldest rule: strange is what was never there before (the "unknown authentication" rule of the papers)."""

import numpy as np
import polars as pl
from numpy.typing import NDArray


def first_of(flows: pl.DataFrame, *columns: str) -> NDArray[np.float64]:
    """1 for the first row ever with these values, 0 for all others."""
    first = flows.select(pl.struct(columns).is_first_distinct()).to_series()
    return first.cast(pl.Float64).to_numpy()
