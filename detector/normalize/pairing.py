"""The two halves of a conversation that an exporter reports apart, put together.

NetFlow v5, v9 and most IPFIX export one record a direction. Both halves end together (FIN, or the same idle timeout),
so a half's partner is the record of the reversed 5-tuple whose end lies within the window.
"""

from typing import Any

import numba
import numpy as np
import polars as pl
from numpy.typing import NDArray

from detector.state.keys import Keys, integer_keys, mix_all, text_keys

_LOOK_BACK = (
    64  # earlier records of one 5-tuple that are tried; a flood on one tuple must not cost quadratic time
)


def endpoint_keys(flows: pl.DataFrame) -> tuple[Keys, Keys]:
    """Keys of (originator, port, protocol) and (responder, port, protocol)."""
    proto = text_keys(flows["proto"])
    first, second = (
        mix_all(mix_all(text_keys(flows[f"{side}_h"]), integer_keys(flows[f"{side}_p"])), proto)
        for side in ("orig", "resp")
    )
    return first, second


@numba.njit(cache=True)
def _match(order: Any, keys: Any, forward: Any, end: Any, window: Any, partner: Any) -> None:
    """partner[i] = row of the other half or -1; rows are walked in time order within each key."""
    for place in range(order.size):
        row = order[place]
        for back in range(place - 1, max(place - 1 - _LOOK_BACK, -1), -1):
            other = order[back]
            if keys[other] != keys[row] or end[row] - end[other] > window:
                break
            if partner[other] < 0 and forward[other] != forward[row]:
                partner[other] = row
                partner[row] = other
                break


def partners(flows: pl.DataFrame, window_us: int) -> NDArray[np.int64]:
    """For each row of ``flows`` (in time order of ``obs_ts``) the row of its other half, or -1.

    Only rows with ``oriented`` False take part. Whether two rows match depends on earlier rows alone, so cutting the
    stream elsewhere changes nothing as long as both halves are in the frame.
    """
    first, second = endpoint_keys(flows)
    keys = mix_all(np.minimum(first, second), np.maximum(first, second))
    partner = np.full(flows.height, -1, dtype=np.int64)
    single = np.flatnonzero(~flows["oriented"].to_numpy())
    order = single[np.argsort(keys[single], kind="stable")]
    _match(order, keys, first <= second, flows["obs_ts"].to_numpy(), window_us, partner)
    return partner


def join_halves(flows: pl.DataFrame, first: NDArray[np.int64], second: NDArray[np.int64]) -> pl.DataFrame:
    """Rows ``first`` with what their other halves ``second`` saw of the responder; ``resp_ts`` is its start."""
    mine, other = flows[first], flows[second]
    return mine.with_columns(
        ts=pl.min_horizontal(mine["ts"], other["ts"]),
        obs_ts=pl.max_horizontal(mine["obs_ts"], other["obs_ts"]),
        duration=pl.max_horizontal(mine["duration"], other["duration"]),
        resp_bytes=other["orig_bytes"],
        resp_pkts=other["orig_pkts"],
        resp_flags=other["orig_flags"],
        orig_ts=mine["ts"],
        resp_ts=other["ts"],
        paired=pl.lit(True),
    )
