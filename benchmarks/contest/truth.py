"""What really happened: campaigns, their hops, and the (source, target, day) units these hops fall in."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

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
    """

    name: str
    kind: str
    detail: str
    supplier: bool
    ot: bool
    hops: tuple[Label, ...]

    @property
    def start(self) -> int:
        """When the first hop began, µs."""
        return self.hops[0].start or 0


def campaigns_of(labels: Sequence[Label]) -> list[Campaign]:
    """The campaigns of a labels file, told apart by their names (see `detector.simulate`)."""
    return [
        _campaign(name, [label for label in labels if label.campaign == name])
        for name in dict.fromkeys(label.campaign for label in labels)
    ]


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
