"""From rows to contacts: who went on to whom, when, by which service; within bounds, the same whatever order rows come
in."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from detector.assets.hosts import OUTSIDE, Hosts
from detector.assets.operations import is_industrial
from detector.assets.services import OT_SERVICES, carrier
from detector.features.acts import FLOW_KIND
from detector.features.units import flow_units
from detector.profiles.tables import Sums, keys_of
from detector.reach.carriers import PROTOCOLS, SERVICES
from detector.rows import Rows

MAX_EDGES: Final = 1_000_000  # pairs of hosts and their service
MAX_HOSTS: Final = 200_000
MAX_CONTACTS: Final = 4_000_000  # 16 bytes each, three times that while they are put in order
SLOT_US: Final = 1_000_000
"""Times are cut to slots of a second; of twice that, and so on, when there would be more contacts than are kept."""
AGAIN_US: Final = 900_000_000  # a conversation that lasts is seen again every quarter of an hour
MOST_AGAIN: Final = 96  # times, evenly: a day of quarters of an hour
_COMPACT_ROWS: Final = 500_000
_GROUP: Final = "group"
_EDGE: Final = ("orig_h", "resp_h", "service")


@dataclass(frozen=True, slots=True)
class Collected:
    """All that is known before anything is concluded.

    ``edges``: ``orig_h``, ``resp_h``, ``service``, ``count``, ``first``, ``last`` (µs), in that order; an originator
    outside is `OUTSIDE`. ``contacts``: ``edge`` (its row), ``slot``, in order of slots. ``hosts``: ``host``, ``plant``
    and ``answers`` (conversations of a plant protocol it had a part in, and answered), in order of addresses.
    ``slot_us``: length of a slot. ``kept``: which share of each table's keys is in it.
    """

    edges: pl.DataFrame
    contacts: pl.DataFrame
    hosts: pl.DataFrame
    slot_us: int
    kept: dict[str, float]


class Collector:
    """Takes rows of a history.

    Args:
        hosts: say which addresses are inside.
        everything: whether any answered conversation carries an intruder, or those of `carriers` only.
        since, until: µs; contacts before and from then on do not count.
    """

    def __init__(self, hosts: Hosts, *, everything: bool, since: int | None = None, until: int | None = None) -> None:
        self._hosts, self._everything = hosts, everything
        self._since, self._until = since, until
        self._edges = Sums(_EDGE, {"count": pl.Int64()}, MAX_EDGES)
        self._seen = Sums(("host",), {"plant": pl.Int64(), "answers": pl.Int64()}, MAX_HOSTS)
        self._contacts = Slots()

    def add(self, flows: pl.DataFrame, operations: pl.DataFrame) -> None:
        """Take oriented flows and operations: answered, and not failed."""
        told = flow_units(Rows.of(flows)).frame(["orig_h", "resp_h", "service", "ts", "obs_ts", "kind"])
        told = told.filter(pl.col("kind") == FLOW_KIND).drop("kind")
        plant = told["service"].is_in(list(OT_SERVICES))
        acts = operations.filter(pl.col("outcome").is_null() | (pl.col("outcome") != "failed"))
        carried = {port: carrier(port) for port in acts["resp_p"].unique().to_list()}
        service = acts["resp_p"].replace_strict(carried, return_dtype=pl.String).cast(pl.String)  # of no rows, too
        done = acts.select("orig_h", "resp_h", "ts", "obs_ts", "protocol").with_columns(service=service)
        industrial = [name for name in acts["protocol"].unique().to_list() if is_industrial(name)]
        self._meet(pl.concat([told.with_columns(plant=plant), _like(done, industrial)], how="vertical"))
        if not self._everything:
            told = told.filter(pl.col("service").is_in(list(SERVICES)))
            done = done.filter(pl.col("protocol").is_in(list(PROTOCOLS)))
        self._take(pl.concat([told, done.select(told.columns)]))

    def _meet(self, rows: pl.DataFrame) -> None:
        """Hosts inside that took part in anything, and in plant protocols."""
        number = pl.col("plant").cast(pl.Int64)
        sides = {"orig_h": pl.lit(0, pl.Int64), "resp_h": number}
        for end, answers in sides.items():
            met = rows.select(host=self._ends(rows[end]), plant=number, answers=answers, first="ts", last="obs_ts")
            self._seen.add(met.filter(~pl.col("host").is_in([OUTSIDE, _GROUP])))

    def _take(self, rows: pl.DataFrame) -> None:
        ends = {end: self._ends(rows[end]) for end in ("orig_h", "resp_h")}
        rows = rows.with_columns(**ends).filter(
            (pl.col("orig_h") != _GROUP)
            & ~pl.col("resp_h").is_in([OUTSIDE, _GROUP])
            & (ends["orig_h"] != ends["resp_h"])
        )
        if not rows.height:
            return
        self._edges.add(rows.with_columns(count=pl.lit(1, pl.Int64), first="ts", last="obs_ts"))
        begin, end = rows["ts"].to_numpy(), rows["obs_ts"].to_numpy()
        places, times = moments(begin, np.maximum(end, begin))
        inside = np.ones(times.size, dtype=np.bool_)
        if self._since is not None:
            inside &= times >= self._since
        if self._until is not None:
            inside &= times < self._until
        keys = keys_of(rows, _EDGE)
        self._contacts.add(keys[places[inside]], times[inside])

    def _ends(self, addresses: pl.Series) -> pl.Series:
        """The addresses, with what is no host of ours by a common name; asked once a distinct address."""
        known = {address: self._end(address) for address in addresses.unique().to_list()}
        return addresses.replace_strict(known, return_dtype=pl.String)

    def _end(self, address: str) -> str:
        host = self._hosts[address]
        return _GROUP if host.group else address if host.inside else OUTSIDE

    def collected(self) -> Collected:
        """What came of it."""
        edges = self._edges.frame()
        named = edges.select(pl.Series("key", keys_of(edges, _EDGE)), edge=pl.int_range(edges.height, dtype=pl.Int64))
        contacts = self._contacts.frame().join(named, on="key", how="inner").select("edge", "slot").sort("slot", "edge")
        kept = {"edges": self._edges.kept, "hosts": self._seen.kept}
        hosts = self._seen.frame().drop("first", "last")
        return Collected(edges, contacts, hosts, self._contacts.width, kept)


class Slots:
    """Which edge was seen in which time slot: a set within a bound. Slots double until it fits, so what is left does
    not depend on the order in which contacts came."""

    def __init__(self) -> None:
        self.width = SLOT_US
        self._parts: list[pl.DataFrame] = []
        self._rows = 0

    def add(self, keys: NDArray[np.uint64], times: NDArray[np.int64]) -> None:
        """Take contacts by the key of their edge, at times (µs)."""
        self._parts.append(pl.DataFrame({"key": keys, "slot": times // self.width}).unique())
        self._rows += self._parts[-1].height
        if self._rows > _COMPACT_ROWS:
            self._compact()

    def frame(self) -> pl.DataFrame:
        """``key``, ``slot``."""
        self._compact()
        return self._parts[0]

    def _compact(self) -> None:
        empty = pl.DataFrame(schema={"key": pl.UInt64, "slot": pl.Int64})
        merged = pl.concat([empty, *self._parts]).unique()
        while merged.height > MAX_CONTACTS:
            self.width *= 2
            merged = merged.with_columns(pl.col("slot") // 2).unique()
        self._parts, self._rows = [merged], max(0, merged.height - _COMPACT_ROWS // 2)


def _like(done: pl.DataFrame, industrial: list[str]) -> pl.DataFrame:
    """Acts in the columns of conversations."""
    plant = done["protocol"].is_in(industrial)
    return done.select("orig_h", "resp_h", "service", "ts", "obs_ts", plant=plant)


def moments(begin: NDArray[np.int64], end: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """When a conversation is a contact: at its beginning, at its end, and every `AGAIN_US` between, `MOST_AGAIN` times
    at most. Rows and their times (µs).

    >>> moments(np.array([0, 5]), np.array([0, 5 + 2 * AGAIN_US]))[1].tolist()
    [0, 5, 900000005, 1800000005]
    """
    parts = np.clip(-((begin - end) // AGAIN_US), 0, MOST_AGAIN)
    places = np.repeat(np.arange(begin.size), parts + 1)
    step = np.arange(places.size) - np.repeat(np.cumsum(parts + 1) - parts - 1, parts + 1)
    # Whole steps first: a product of microseconds and steps could leave 64 bits.
    whole, rest = np.divmod((end - begin)[places], np.maximum(parts, 1)[places])
    return places, begin[places] + whole * step + rest * step // np.maximum(parts, 1)[places]
