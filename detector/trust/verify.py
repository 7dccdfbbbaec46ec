"""The verdict of every connection and act, as the engine gives it (`score.trust`), without scoring them."""

from collections import Counter
from typing import Final

import polars as pl

from detector.assets.plant import Plant
from detector.engine import in_turn
from detector.features.units import KINDS, Enrich, flow_units, operation_units, outside_key
from detector.rows import Rows
from detector.score.columns import Columns
from detector.score.trust import KEYS_SHARE, KNOWN_US, Trust, answered

MOST_SERVICES: Final = 50_000  # of zones whose verdicts are counted apart; a scan makes up as many as it likes
OTHER: Final = "other"
SCHEMA: Final = pl.Schema(
    {
        "ts": pl.Datetime("us", "UTC"),
        **dict.fromkeys(
            ("orig_h", "orig_zone", "resp_h", "resp_zone", "service", "kind", "operation", "user"), pl.String()
        ),
        **dict.fromkeys(("device_known", "user_known", "service_expected", "path_permitted"), pl.Boolean()),
        **dict.fromkeys(("verdict", "failed", "uid", "source"), pl.String()),
        "position": pl.Int64(),
    }
)
"""Columns of the answers, as docs/trust.md tells them."""
_READ: Final = ("ts", "orig_h", "orig_zone", "resp_h", "resp_zone", "service", "operation", "user", "uid", "source",
                "position")  # fmt: skip


class Verifier:
    """Answers the questions, row by row.

    Args:
        plant: zones, conduits, assets, known servers, suppliers.
        max_entries: see `Settings.max_entries`.
        known_us: how long what is known has been there, µs.

    Attributes:
        trust: what is known, and the rows by their answers.
        verdicts: (zone of the responder, service) -> rows by verdict.
    """

    def __init__(self, plant: Plant, max_entries: int, known_us: int = KNOWN_US) -> None:
        self._enrich = Enrich(plant)
        self.trust = Trust(max_entries // KEYS_SHARE, outside_key(), known_us)
        self.verdicts: dict[tuple[str, str], Counter[str]] = {}

    def verify(self, flows: pl.DataFrame, operations: pl.DataFrame) -> pl.DataFrame:
        """Oriented flows and operations as `SCHEMA`, in the order of scoring; see `history.Take`. Broadcast and
        multicast are left out: nobody answers for a group."""
        units = self._enrich(in_turn([flow_units(Rows.of(flows)), operation_units(Rows.of(operations))]))
        codes = self.trust.score(Columns(units))[Trust.name]
        kinds = pl.Series(KINDS, dtype=pl.String).gather(units.array("kind"))
        told = units.frame(_READ).with_columns(kind=kinds, user=pl.col("user").str.to_lowercase())
        told = pl.concat([told, answered(codes)], how="horizontal").filter(pl.col("verdict").is_not_null())
        self._count(told)
        return told.select(SCHEMA.names()).cast(SCHEMA)

    def _count(self, told: pl.DataFrame) -> None:
        counts = told.group_by("resp_zone", "service", "verdict", maintain_order=True).len()
        for zone, service, verdict, count in counts.iter_rows():
            key = zone, service or ""
            if key not in self.verdicts and len(self.verdicts) >= MOST_SERVICES:
                key = OTHER, OTHER
            self.verdicts.setdefault(key, Counter())[verdict] += count
