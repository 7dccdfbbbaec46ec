"""From rows to sums: which ways were gone between zones, what no conduit permits, who is in no zone.

Rows come in order of observation, so who comes first at a bound does not depend on the order of files.
"""

from collections import Counter
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from detector.assets.hosts import OUTSIDE, Hosts, of_the_link
from detector.assets.plant import Plant
from detector.features.acts import ATTEMPT_KIND
from detector.features.conduits import Conduits, Use, Way
from detector.features.units import flow_units, operation_units
from detector.profiles.tables import Sums
from detector.rows import Coded, Rows

MAX_PAIRS: Final = 250_000  # ways of two hosts that no conduit permits, some 150 bytes each
MAX_HOSTS: Final = 250_000
MAX_WAYS: Final = 10_000  # between zones, whose first record is remembered
PAIR: Final = ("attempt", "from_zone", "to_zone", "service", "operation", "why", "orig_h", "resp_h")
WAY: Final = PAIR[:6]
NO, YES = "", "yes"  # of ``attempt``: keys are text


class Tally:
    """Sums up what zones and conduits say of rows.

    Args:
        plant: zones and conduits.

    Attributes:
        rows: units by where they went: ``inside`` a zone, ``permitted``, ``violations``, ``attempts`` that no conduit
            permits and nobody answered, ``unzoned`` (neither end is in a zone), ``group`` (broadcast and multicast),
            ``link`` (neither end is in a zone, and one is an address of a link or host only).
        used: conduit and service -> answered conversations and acts that went over it.
        seen: zones (from, to) -> permitted and not permitted, answered.
        evidence: way that no conduit permits -> pointer to its first record.
    """

    def __init__(self, plant: Plant) -> None:
        self._hosts, self.conduits = Hosts(plant), Conduits(plant)
        self._names = {zone.name for zone in plant.zones} | {OUTSIDE}
        self._pairs = Sums(PAIR, {"count": pl.Int64()}, MAX_PAIRS)
        self._seen_hosts = Sums(("host", "zone"), {"count": pl.Int64()}, MAX_HOSTS)
        self.rows: Counter[str] = Counter()
        self.used: Counter[Use] = Counter()
        self.seen: dict[tuple[str, str], list[int]] = {}
        self.evidence: dict[tuple[str, ...], str] = {}

    def add(self, flows: pl.DataFrame, operations: pl.DataFrame) -> None:
        """Take oriented flows and operations, see `history.Take`."""
        for units in (flow_units(Rows.of(flows)), operation_units(Rows.of(operations))):
            if units.height:
                self._take(units)

    def pairs(self) -> pl.DataFrame:
        """What no conduit permits: `PAIR`, ``count``, ``first``, ``last`` (µs)."""
        return self._pairs.frame()

    def hosts(self) -> pl.DataFrame:
        """Hosts inside that began or answered something: ``host``, ``zone`` (empty: none), ``count`` of rows."""
        return self._seen_hosts.frame()

    @property
    def kept(self) -> dict[str, float]:
        """The share of each table's keys that is in it."""
        return {"violations": self._pairs.kept, "hosts": self._seen_hosts.kept}

    def _take(self, units: Rows) -> None:
        here, there = (self._zones(units.coded(end)) for end in ("orig_h", "resp_h"))
        group = self._groups(units)
        attempt = units.array("kind") == ATTEMPT_KIND
        self._count_hosts(units, here, there, group, attempt)
        zoned = np.array([name in self._names for name in here.names])[here.codes]
        zoned_there = np.array([name in self._names for name in there.names])[there.codes]
        outside = np.array([name == OUTSIDE for name in here.names])[here.codes]
        outside_there = np.array([name == OUTSIDE for name in there.names])[there.codes]
        told = (zoned & ~outside) | (zoned_there & ~outside_there)
        self.rows["group"] += int(group.sum())
        link = self._link(units, "orig_h") | self._link(units, "resp_h")
        self.rows["link"] += int((~told & ~group & link).sum())
        self.rows["unzoned"] += int((~told & ~group & ~link).sum())
        asked = np.flatnonzero(told & ~group)
        if asked.size:
            here, there = Coded(here.codes[asked], here.names), Coded(there.codes[asked], there.names)
            self._judge(units.at(asked), here, there, attempt[asked])

    def _zones(self, addresses: Coded) -> Coded:
        zones = [self._hosts[name].zone if name else "" for name in addresses.names]
        names = list(dict.fromkeys(zones))
        places = {name: place for place, name in enumerate(names)}
        return Coded(np.array([places[zone] for zone in zones], dtype=np.int64)[addresses.codes], names)

    def _groups(self, units: Rows) -> NDArray[np.bool_]:
        codes, names = units.coded("resp_h")
        told: NDArray[np.bool_] = np.array([bool(name) and self._hosts[name or ""].group for name in names])[codes]
        return told

    def _link(self, units: Rows, end: str) -> NDArray[np.bool_]:
        codes, names = units.coded(end)
        told: NDArray[np.bool_] = np.array([bool(name) and of_the_link(name or "") for name in names])[codes]
        return told

    def _count_hosts(
        self,
        units: Rows,
        here: Coded,
        there: Coded,
        group: NDArray[np.bool_],
        attempt: NDArray[np.bool_],
    ) -> None:
        """Who only was tried in vain is no host."""
        frame = units.frame(("orig_h", "resp_h", "ts", "obs_ts"))
        ends = (("orig_h", here, np.ones_like(group)), ("resp_h", there, ~(group | attempt)))
        for end, zones, counts in ends:
            known = pl.Series([name if name in self._names else "" for name in zones.names])
            part = frame.select(
                host=end, zone=known.gather(zones.codes), count=pl.lit(1, pl.Int64), first="ts", last="obs_ts"
            ).filter(pl.Series(counts) & (~pl.Series(self._link(units, end)) | (pl.col("zone") != "")))
            self._seen_hosts.add(part.filter(pl.col("zone") != OUTSIDE))

    def _judge(self, units: Rows, here: Coded, there: Coded, attempt: NDArray[np.bool_]) -> None:
        codes, ways = self.conduits.ways(units, here, there)
        permitted = self.conduits.permitted(units, codes, ways)
        within = np.array([way.from_zone == way.to_zone for way in ways])[codes]
        self.rows["inside"] += int(within.sum())
        self.rows["permitted"] += int((permitted & ~within).sum())
        self.rows["violations"] += int((~permitted & ~attempt).sum())
        self.rows["attempts"] += int((~permitted & attempt).sum())
        self._count_uses(units, codes, ways, permitted & ~attempt & ~within)
        for place, way in enumerate(ways):
            if way.from_zone != way.to_zone and (
                (way.from_zone, way.to_zone) in self.seen or len(self.seen) < MAX_WAYS
            ):
                mine = (codes == place) & ~attempt
                cell = self.seen.setdefault((way.from_zone, way.to_zone), [0, 0])
                cell[0] += int((mine & permitted).sum())
                cell[1] += int((mine & ~permitted).sum())
        self._add_pairs(units, codes, ways, attempt, np.flatnonzero(~permitted))

    def _count_uses(self, units: Rows, codes: NDArray[np.int64], ways: list[Way], counted: NDArray[np.bool_]) -> None:
        for place, way in enumerate(ways):
            rows = np.flatnonzero((codes == place) & counted)
            for use in self.conduits.uses(way) if rows.size else ():
                number = int(self.conduits.open_at(use[0], units.array("ts")[rows]).sum())
                if number:
                    self.used[use] += number

    def _add_pairs(
        self,
        units: Rows,
        codes: NDArray[np.int64],
        ways: list[Way],
        attempt: NDArray[np.bool_],
        rows: NDArray[np.int64],
    ) -> None:
        if not rows.size:
            return
        words = pl.DataFrame(
            [(way.from_zone, way.to_zone, way.service, *self.conduits.breach(way)) for way in ways],
            schema=["from_zone", "to_zone", "service", "why", "operation"],
            orient="row",
        )
        told = units.at(rows).frame(("orig_h", "resp_h", "ts", "obs_ts", "uid", "source", "position"))
        told = pl.concat(
            [
                words[codes[rows]],
                told.with_columns(attempt=pl.Series(np.where(attempt[rows], YES, NO)), count=pl.lit(1, pl.Int64)),
            ],
            how="horizontal",
        ).rename({"ts": "first", "obs_ts": "last"})
        self._pairs.add(told)
        where = pl.col("source") + ":" + pl.col("position").cast(pl.String)
        pointed = told.group_by(WAY, maintain_order=True).agg(pl.col("uid").fill_null(where).first())
        for *way, pointer in pointed.iter_rows():
            if len(self.evidence) < MAX_WAYS:
                self.evidence.setdefault(tuple(way), pointer)
