"""What really happened: campaigns, their hops, and the (source, target, day) units these hops fall in."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import polars as pl

from detector.assets.operations import facts
from detector.backtest.labels import Label

DAY_US: Final = 86_400_000_000
_QUIET: Final = re.compile(r"(credential|time|volume|provenance)")
OT_ACTS: Final = frozenset({"T0836", "T0843", "T0855", "T0858", "T0816", "T0889"})
"""Writes, commands, mode changes, restarts and program downloads (ATT&CK for ICS)."""


@dataclass(frozen=True, slots=True)
class Campaign:
    """One intruder's way.

    Attributes:
        kind: ``new`` (new pairs), ``operation`` (old pairs, new operation), ``quiet`` (old pairs, old services).
        detail: for quiet ones what betrays them: credential, time, volume, provenance; else empty.
        hops: in order of time.
        firsts: positions of the hops by which a host first writes to, commands, stops or programs a controller.
    """

    name: str
    kind: str
    detail: str
    supplier: bool
    ot: bool
    hops: tuple[Label, ...]
    firsts: frozenset[int] = frozenset()

    @property
    def start(self) -> int:
        """When the first hop began, µs."""
        return self.hops[0].start or 0


def campaigns_of(labels: Sequence[Label], operations: pl.DataFrame | None = None) -> list[Campaign]:
    """The campaigns of a labels file, told apart by their names (see `detector.simulate`).

    Args:
        operations: all that were recorded, for `Campaign.firsts`.
    """
    campaigns = [
        _campaign(name, [label for label in labels if label.campaign == name])
        for name in dict.fromkeys(label.campaign for label in labels)
    ]
    acts = _acts(operations) if operations is not None else {}
    return [replace(campaign, firsts=_firsts(campaign, acts)) for campaign in campaigns]


Acts = dict[str, list[tuple[int, str, int]]]
"""By source: when (µs), on which target, and of which consequence class, writes and worse, in order of time."""


def _acts(operations: pl.DataFrame) -> Acts:
    kinds = operations.select("protocol", "operation").unique().filter(pl.col("operation").is_not_null())
    classes = kinds.with_columns(
        consequence=pl.Series([facts(*kind).consequence or 0 for kind in kinds.iter_rows()], dtype=pl.Int64)
    )
    found = operations.join(classes.filter(pl.col("consequence") > 0), on=["protocol", "operation"]).sort("ts")
    acts: Acts = defaultdict(list)
    for ts, src, dst, consequence in found.select("ts", "orig_h", "resp_h", "consequence").iter_rows():
        acts[src].append((ts, dst, consequence))
    return acts


def _firsts(campaign: Campaign, acts: Acts) -> frozenset[int]:
    """Hops with an act of a class that their source never did before, on any controller."""
    return frozenset(
        place
        for place, hop in enumerate(campaign.hops)
        if hop.technique in OT_ACTS
        for mine in [acts.get(hop.src or "", [])]
        for before in [{consequence for ts, _, consequence in mine if ts < (hop.start or 0)}]
        if any(hop.covers(ts, hop.src or "", dst) and consequence not in before for ts, dst, consequence in mine)
    )


def _campaign(name: str, hops: list[Label]) -> Campaign:
    parts = name.split("-")
    quiet = _QUIET.search(name) if parts[0] == "quiet" else None
    return Campaign(
        name,
        parts[0],
        quiet[0] if quiet else "",
        "supplier" in parts,
        "ot" in parts or any(hop.technique in OT_ACTS for hop in hops),
        tuple(sorted(hops, key=lambda hop: hop.start or 0)),
    )


def attack_units(campaigns: Sequence[Campaign]) -> pl.DataFrame:
    """One row a campaign and unit it touches: ``campaign`` (its position), ``src``, ``dst``, ``day``."""
    rows = {
        (number, hop.src, hop.dst, day)
        for number, campaign in enumerate(campaigns)
        for hop in campaign.hops
        for day in range((hop.start or 0) // DAY_US, (hop.end or hop.start or 0) // DAY_US + 1)
    }
    schema = {"campaign": pl.Int64, "src": pl.String, "dst": pl.String, "day": pl.Int64}
    return pl.DataFrame(sorted(rows, key=str), schema=schema, orient="row")
