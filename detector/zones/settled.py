"""What hosts do from day to day: what somebody did on one day only does not say what a host is for.

An intruder who writes to controllers from a historian would make an operator panel of it, and so a zone of its own.
"""

from dataclasses import replace
from typing import Final

import polars as pl

from detector.profiles.collect import Collected

_DAY_US: Final = 86_400_000_000
_SHORT_US: Final = 2 * _DAY_US  # of a shorter history everything counts


def settled(collected: Collected) -> Collected:
    """Without what a host used, did or was asked for within one day only."""
    times = collected.edges.select(pl.col("first").min(), pl.col("last").max()).row(0)
    if times[0] is None or times[1] - times[0] < _SHORT_US:
        return collected
    edges, acts = _steady(collected.edges, ("service",)), _steady(collected.acts, ("protocol", "operation"))
    return replace(collected, edges=edges, acts=acts)


def _steady(table: pl.DataFrame, what: tuple[str, ...]) -> pl.DataFrame:
    spans = [(pl.col("last").max() - pl.col("first").min()).over(end, *what) >= _DAY_US for end in ("orig_h", "resp_h")]
    return table.filter(spans[0] & spans[1])
