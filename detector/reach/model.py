"""What hosts reach and zones expose: as the network is used, as conduits allow, as a proposal would leave it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from detector.alerts.model import iso
from detector.assets.hosts import OT_LEVEL, OUTSIDE, Hosts
from detector.assets.plant import Plant
from detector.reach.contacts import Collected
from detector.reach.policy import Policy
from detector.reach.temporal import Contacts, Numbers, Spread, reached, spread

KINDS: Final = ("it", "ot", "controller")
CONTROL_LEVEL: Final = 1.0
"""Purdue levels up to basic control hold controllers (ISA-95)."""
MAX_ZONES: Final = 64
"""Zones that are told apart in what a host reaches; those with the fewest hosts are `OTHER`."""
OTHER: Final = "other zones"
CANDIDATES: Final = 24
"""Hosts that are tried as choke points: those with the largest product of who reaches them and what they reach."""
MOST_CHOKES: Final = 10


class Place(NamedTuple):
    """A host: its zone, the zone's Purdue level, and one of `KINDS`."""

    host: str
    zone: str
    level: float | None
    kind: str


class Reach(NamedTuple):
    """Hosts reached within one hop, two, ...; of them OT hosts and controllers, and by zone, within all."""

    hops: tuple[int, ...]
    ot: int
    controllers: int
    zones: dict[str, int]


@dataclass(frozen=True, slots=True)
class HostReach:
    """One host. ``allowed`` is None where the plant file says nothing; ``after`` and ``allowed_after`` are those of a
    proposal, None without one."""

    place: Place
    used: Reach
    allowed: tuple[int, ...] | None
    after: Reach | None
    allowed_after: tuple[int, ...] | None


class Choke(NamedTuple):
    """A host from which nobody should be able to go on: so many pairs of source and target would be gone."""

    place: Place
    pairs: int
    share: float


class Step(NamedTuple):
    """One hop of a path."""

    ts: str
    orig_h: str
    resp_h: str
    service: str


@dataclass(frozen=True, slots=True)
class Totals:
    """Hosts inside, and how many of them are OT hosts and controllers (which are OT hosts, too)."""

    hosts: int
    ot: int
    controllers: int


class Network:
    """Contacts between numbered hosts.

    Args:
        collected: of the logs.
        plant: zones.
    """

    def __init__(self, collected: Collected, plant: Plant) -> None:
        self.collected = collected
        self.places = places(collected, Hosts(plant))
        self.number = {place.host: number for number, place in enumerate(self.places)}
        ends = [collected.edges[end].replace_strict(self.number, default=-1, return_dtype=pl.Int64).to_numpy()
                for end in ("orig_h", "resp_h")]  # fmt: skip
        edge = collected.contacts["edge"].to_numpy()
        known = (ends[0] >= 0) & (ends[1] >= 0)
        self.edge = edge[known[edge]]
        slots = collected.contacts["slot"].to_numpy()[known[edge]]
        self.contacts = Contacts(ends[0][self.edge], ends[1][self.edge], slots)
        self.inside = [place for place in self.places if place.zone != OUTSIDE]
        self.zones = Counter(place.zone for place in self.inside)
        self._shown = [zone for zone, _ in sorted(self.zones.items(), key=lambda one: (-one[1], one[0]))[:MAX_ZONES]]
        names = [*self._shown, OTHER]
        rank = {zone: number for number, zone in enumerate(self._shown)}
        self._names = names
        zones = [rank.get(place.zone, len(self._shown)) * len(KINDS) for place in self.places]
        kinds = [KINDS.index(place.kind) for place in self.places]
        self._group = np.array([a + b for a, b in zip(zones, kinds, strict=True)], dtype=np.int64)
        self.totals = Totals(
            len(self.inside),
            sum(place.kind != "it" for place in self.inside),
            sum(place.kind == "controller" for place in self.inside),
        )

    def reach(self, contacts: Contacts, hops: int) -> tuple[list[Reach], Numbers]:
        """What every host reaches, and how many reach it."""
        counts, sources = reached(contacts, self._group, len(self._names) * len(KINDS), hops)
        by_hop = counts.sum(axis=2)
        last = counts[:, -1].reshape(len(self.places), len(self._names), len(KINDS))
        kinds, zones = last.sum(axis=1), last.sum(axis=2)
        told = [
            Reach(
                tuple(by_hop[host].tolist()),
                int(kinds[host, 1:].sum()),
                int(kinds[host, 2]),
                {self._names[zone]: int(zones[host, zone]) for zone in np.flatnonzero(zones[host]).tolist()},
            )
            for host in range(len(self.places))
        ]
        return told, sources

    def permitted(self, plant: Plant, policy: Policy) -> tuple[NDArray[np.bool_], dict[str, int]]:
        """Which contacts a plant file leaves, and how many edges it denies, permits, and says nothing of."""
        hosts = Hosts(plant)
        zone = {place.host: OUTSIDE if place.zone == OUTSIDE else hosts[place.host].zone for place in self.places}
        edges = self.collected.edges
        rows = zip(*(edges[name].to_list() for name in ("orig_h", "resp_h", "service")), strict=True)
        said = [policy.permits(zone.get(a, OUTSIDE), zone.get(b, OUTSIDE), service) for a, b, service in rows]
        left = np.array([one is not False for one in said], dtype=np.bool_)
        counts = {"denied": said.count(False), "permitted": said.count(True), "not_covered": said.count(None)}
        return left[self.edge], counts

    def chokes(self, used: Sequence[Reach], sources: Numbers, hops: int) -> list[Choke]:
        """The hosts from which going on matters most. Each candidate is tried: all pairs of other hosts are counted
        again without the contacts that begin on it."""
        total = sum(reach.hops[-1] for reach in used)
        product = sources * np.array([reach.hops[-1] for reach in used], dtype=np.int64)
        order = np.lexsort((np.arange(product.size), -product))[:CANDIDATES].tolist()
        found = []
        for host in (host for host in order if product[host]):
            left = self.contacts.only(self.contacts.orig != host)
            counts, _ = reached(left, np.zeros(len(self.places), dtype=np.int64), 1, hops)
            pairs = total - used[host].hops[-1] - int(counts[:, -1].sum())
            found.append(Choke(self.places[host], pairs, round(pairs / total, 4)))
        return sorted(found, key=lambda choke: (-choke.pairs, choke.place.host))[:MOST_CHOKES]

    def spread(self, host: str, contacts: Contacts, hops: int) -> Spread:
        """What one host reaches, and how."""
        return spread(contacts, self.number[host], len(self.places), hops)

    def path(self, found: Spread, host: int, which: NDArray[np.int64]) -> list[Step]:
        """How one host is reached.

        Args:
            which: place of each contact of ``found`` among all.
        """
        edges, width = self.collected.edges, self.collected.slot_us
        steps = []
        for place in found.path(host):
            row = edges.row(int(self.edge[which[place]]), named=True)
            ts = iso(int(found.contacts.slot[place]) * width)
            steps.append(Step(ts, row["orig_h"], row["resp_h"], row["service"]))
        return steps


def places(collected: Collected, hosts: Hosts) -> list[Place]:
    """Hosts inside in order of their addresses as text, then `OUTSIDE` if anybody came from there."""
    found = []
    for host, plant, answers in collected.hosts.select("host", "plant", "answers").iter_rows():
        known = hosts[host]
        found.append(Place(host, known.zone, known.level, _kind(known.level, plant, answers)))
    if (collected.edges["orig_h"] == OUTSIDE).any():
        found.append(Place(OUTSIDE, OUTSIDE, None, "it"))
    return found


def _kind(level: float | None, plant: int, answers: int) -> str:
    """By the declared level; where there is none, who answers plant protocols is a controller, who speaks them OT."""
    if level is not None:
        return "controller" if level <= CONTROL_LEVEL else "ot" if level <= OT_LEVEL else "it"
    return "controller" if answers else "ot" if plant else "it"


def zone_metrics(hosts: Sequence[HostReach], totals: Totals) -> list[dict[str, Any]]:
    """Of each zone: how many hosts, and median and maximum over them of the share of hosts, OT hosts and controllers
    that one reaches."""
    zones = sorted({one.place.zone for one in hosts})
    levels = {one.place.zone: one.place.level for one in hosts}
    of_zone = {zone: [one for one in hosts if one.place.zone == zone] for zone in zones}
    return [
        {
            "zone": zone,
            "purdue_level": levels[zone],
            "hosts": len(here),
            "used": _shares([one.used for one in here], here, totals),
            "allowed": _share_of([one.allowed[-1] for one in here if one.allowed is not None], totals.hosts - 1),
            "after": _shares([one.after for one in here if one.after is not None], here, totals),
            "allowed_after": _share_of(
                [one.allowed_after[-1] for one in here if one.allowed_after is not None], totals.hosts - 1
            ),
        }
        for zone, here in of_zone.items()
    ]


def _shares(reach: Sequence[Reach], here: Sequence[HostReach], totals: Totals) -> dict[str, Any] | None:
    if not reach:
        return None
    others = [totals.hosts - (one.place.zone != OUTSIDE) for one in here]
    ot = [totals.ot - (one.place.kind != "it") for one in here]
    controllers = [totals.controllers - (one.place.kind == "controller") for one in here]
    counts = {"hosts": [one.hops[-1] for one in reach], "ot": [one.ot for one in reach]}
    counts["controllers"] = [one.controllers for one in reach]
    told = {}
    for (name, count), of in zip(counts.items(), (others, ot, controllers), strict=True):
        shares = [part / max(whole, 1) for part, whole in zip(count, of, strict=True)]
        told[name] = {"median": round(float(np.median(shares)), 4), "max": round(max(shares), 4)}
    return told


def _share_of(counts: Sequence[int], whole: int) -> dict[str, float] | None:
    if not counts:
        return None
    shares = np.array(counts) / max(whole, 1)
    return {"median": round(float(np.median(shares)), 4), "max": round(float(shares.max()), 4)}
