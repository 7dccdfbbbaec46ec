"""What a backtest counts on the way, for its summary and its report."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import polars as pl

MINUTE_US: Final = 60_000_000
_TOP_EDGES: Final = 20
_EDGE: Final[dict[str, Any]] = {
    "ts": pl.Int64(),
    "orig_h": pl.String(),
    "resp_h": pl.String(),
    "service": pl.String(),
    "p_value": pl.Float64(),
    "fused": pl.Float64(),
    "orig_zone": pl.String(),
    "resp_zone": pl.String(),
}


@dataclass(slots=True)
class Tally:
    """What is collected on the way for the summary and the report."""

    first: int | None = None  # observation times of the bulk of the rows (`Hours.span`), µs; None = no rows
    last: int | None = None
    rows: Counter[int] = field(default_factory=Counter)  # minute -> units
    findings: Counter[int] = field(default_factory=Counter)
    new_edges: int = 0
    top_edges: pl.DataFrame | None = None

    def add(self, scored: pl.DataFrame) -> None:
        """Count a scored batch."""
        if scored.is_empty():
            return
        minute = (pl.col("obs_ts") // MINUTE_US).alias("minute")
        self.rows.update(dict(scored.group_by(minute).len().iter_rows()))
        strange = scored.filter("finding")
        self.findings.update(dict(strange.group_by(minute).len().iter_rows()))
        edges = scored.filter((pl.col("kind") == 0) & (pl.col("seen") <= 0) & ~pl.col("teach") & ~pl.col("resp_group"))
        self.new_edges += edges.height
        top = edges.select(list(_EDGE))
        joined = top if self.top_edges is None else pl.concat([self.top_edges, top])
        self.top_edges = joined.sort(
            ["p_value", "fused", "ts", "orig_h", "resp_h"], descending=[False, True, False, False, False]
        )[:_TOP_EDGES]

    def state(self) -> dict[str, Any]:
        """For a checkpoint, JSON types only; without the times, which follow from what was read."""
        return {
            "rows": sorted(self.rows.items()),
            "findings": sorted(self.findings.items()),
            "new_edges": self.new_edges,
            "top_edges": None if self.top_edges is None else self.top_edges.to_dict(as_series=False),
        }

    @classmethod
    def of(cls, state: dict[str, Any]) -> "Tally":
        """What `state` told."""
        top = state["top_edges"]
        return cls(
            rows=Counter(dict(state["rows"])),
            findings=Counter(dict(state["findings"])),
            new_edges=state["new_edges"],
            top_edges=None if top is None else pl.DataFrame(top, schema=_EDGE),
        )
