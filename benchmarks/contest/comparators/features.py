"""What a flow shows by itself: the raw features that isolation forests and half-space trees are usually given."""

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

_HOUR_US: Final = 3_600_000_000
_DAY_US: Final = 24 * _HOUR_US
_AMOUNTS: Final = ("duration", "orig_bytes", "resp_bytes", "orig_pkts", "resp_pkts")
_PROTOCOLS: Final = ("tcp", "udp")
_STATES: Final = ("SF", "S0", "REJ", "RSTO", "RSTR", "OTH")
TRAINING_US: Final = 7 * _DAY_US
"""The first week is what both are fitted or scaled on."""


def raw(flows: pl.DataFrame) -> NDArray[np.float32]:
    """(n, 15): amounts as log1p, the port, the hour of day, protocol and connection state one-hot."""
    columns = [pl.col(name).cast(pl.Float64).fill_null(0).clip(0).log1p() for name in _AMOUNTS]
    columns += [
        pl.col("resp_p").cast(pl.Float64).fill_null(0).log1p(),
        ((pl.col("ts") % _DAY_US) / _HOUR_US).alias("hour"),
        *((pl.col("proto") == name).cast(pl.Float64).fill_null(0).alias(name) for name in _PROTOCOLS),
        *((pl.col("conn_state") == name).cast(pl.Float64).fill_null(0).alias(name) for name in _STATES),
    ]
    return flows.select(columns).cast(pl.Float32).to_numpy()


def training(flows: pl.DataFrame) -> NDArray[np.bool_]:
    """Which rows belong to the first week."""
    times = flows["ts"].to_numpy()
    return times < times[0] + TRAINING_US if times.size else np.zeros(0, np.bool_)
