"""Learning phases by zone: which hosts of a zone are known well enough, and how far the others are.

`Phases` knows how long each host is known, by key; `Zones` remembers the zone each host lies in. Hosts are those inside
that began a conversation or answered one: an address that only a scan named is no host.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray

from detector.score.columns import Columns
from detector.score.phases import PHASES, Phases
from detector.state.compiled import kernel
from detector.state.counts import AHEAD, Counts, find, soon

ACTIVE_US: Final = 7 * 86_400_000_000  # hosts silent for a week of work are not waited for
ENOUGH: Final = 0.8
"""A zone is in a phase when this part of its hosts has reached it: guests, spares and churned addresses never do."""
MAX_ZONES: Final = 4096  # names kept; a flood of made-up subnets stays nameless
NAMELESS: Final = "other zones"
_ATTEMPT: Final = 1  # `kind` of rows in which the responder said nothing
_LOW: Final = np.uint64(0xFFFFFFFF)  # 32 bits of a key are exact in a float
_NEW_ENTRIES: Final = 2


@dataclass(frozen=True, slots=True)
class ZonePhases:
    """One zone. Hosts are those active within `ACTIVE_US`; those silent since are ``idle``.

    Attributes:
        phase: the furthest that `ENOUGH` of its hosts have reached; ``idle`` when none was active.
        progress: median over its hosts of how far they are on the way to protecting, 0 to 1.
        protected: share of its hosts that are protecting, 0 to 1.
    """

    zone: str
    phase: str
    progress: float
    protected: float
    hosts: int
    learning: int
    shadow: int
    protecting: int
    idle: int


@kernel
def walk(columns: Any, table: Any, used: Any, max_entries: Any, start: Any, stop: Any, moved: Any) -> Any:
    """Write the zone of both ends of each row; ``moved`` <- where it is another than before. Returns the row at which
    the table is full, or ``stop``."""
    origs, resps, orig_zones, resp_zones, began, answered, times = columns
    keys, cells, last = table
    for row in range(start, stop):
        if used[0] >= max_entries:
            return row
        near = min(row + AHEAD, stop - 1)
        soon(keys, origs[near])
        soon(keys, resps[near])
        for end in range(2):
            if not (began[row] if end == 0 else answered[row]):
                continue
            host = origs[row] if end == 0 else resps[row]
            zone = np.float64((orig_zones[row] if end == 0 else resp_zones[row]) & _LOW)
            slot = find(keys, host)
            if keys[slot] == np.uint64(0):
                keys[slot] = host
                used[0] += 1
            moved[row, end] = cells[slot, 0] != zone
            cells[slot, 0] = zone
            last[slot] = times[row]
    return stop


class Zones:
    """The zone of each host.

    Args:
        max_entries: bound of the table (36 bytes a host); the hosts seen longest ago go first.
    """

    def __init__(self, max_entries: int) -> None:
        self.hosts = Counts(max_entries)
        self.names: dict[int, str] = {}  # the low half of a zone's key -> its name

    def learn(self, units: Columns) -> None:
        """Take enriched units in scoring order."""
        began = units["orig_inside"] & ~units["orig_group"]
        answered = units["resp_inside"] & ~units["resp_group"] & (units["kind"] != _ATTEMPT)
        read = tuple(units[name] for name in ("orig_id", "resp_id", "orig_zone_id", "resp_zone_id"))
        columns = *read, began, answered, units["obs_ts"]
        own, moved = self.hosts, np.zeros((units.height, 2), dtype=np.bool_)
        own.walk(
            units.height,
            _NEW_ENTRIES,
            lambda start, stop, table: walk(columns, table, own.used, own.max_entries, start, stop, moved),
        )
        self._name(units, moved)

    def _name(self, units: Columns, moved: NDArray[np.bool_]) -> None:
        """Keep the names of zones not met before, in the order of rows: which ones the bound cuts off does not depend
        on the batch. A zone's first host is one that was in no zone, or in another."""
        for place in np.flatnonzero(moved).tolist():
            row, end = divmod(place, 2)
            column = ("orig_zone", "resp_zone")[end]
            zone = int(units[f"{column}_id"][row] & _LOW)
            if zone not in self.names and len(self.names) < MAX_ZONES:
                self.names[zone] = units.units[column][row]

    def phases(self, known: Phases, now: int) -> list[ZonePhases]:
        """All zones as they stand at ``now`` (µs), by name."""
        table = self.hosts.arrays()
        stand = known.stand(table["keys"], now)
        zones = [self.names.get(int(zone), NAMELESS) for zone in table["cells"][:, 0]]
        hosts = stand.with_columns(zone=pl.Series(zones, dtype=pl.String)).filter(pl.col("phase") >= 0)
        return [_zone(name, part) for (name,), part in sorted(hosts.partition_by("zone", as_dict=True).items())]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything learned, for a snapshot."""
        names = orjson.dumps(list(self.names.items()))
        return {**self.hosts.arrays(), "names": np.frombuffer(names, dtype=np.uint8)}

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Replace what was learned by what `arrays` returned."""
        self.hosts.load({name: array for name, array in arrays.items() if name != "names"})
        self.names = dict(orjson.loads(arrays["names"].tobytes()))


def least_known(zones: Iterable[ZonePhases]) -> list[ZonePhases]:
    """In the order in which they need attention: those that are furthest from protecting come first."""
    return sorted(zones, key=lambda zone: (zone.progress, zone.protected, zone.zone))


def _zone(name: str, hosts: pl.DataFrame) -> ZonePhases:
    active = hosts.filter(pl.col("silent") <= ACTIVE_US)
    counts = [active.filter(pl.col("phase") == phase).height for phase in range(len(PHASES))]
    total = active.height
    reached = [phase for phase in range(len(PHASES)) if total and sum(counts[phase:]) >= ENOUGH * total]
    return ZonePhases(
        zone=name,
        phase=PHASES[max(reached)] if reached else "idle",
        progress=round(float(np.median(active["progress"].to_numpy())), 3) if total else 0.0,
        protected=round(counts[-1] / total, 3) if total else 0.0,
        hosts=total,
        learning=counts[0],
        shadow=counts[1],
        protecting=counts[2],
        idle=hosts.height - total,
    )
