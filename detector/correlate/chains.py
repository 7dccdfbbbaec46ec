"""Time-respecting chains of unlikely moves, and the incidents they make.

A *hop* is one pair of hosts within `HOP_WINDOW_US`, as strange as its strangest finding. Hop j can precede hop i when
it ends where i begins and began before i, at most `REACH_US` = W earlier. A finding's strangeness is a rate: r = how
many findings a day at least as strange are expected when nothing is wrong (p-value x rows a day), cut at L.

When nothing is wrong, findings are scattered over hosts and time. Then ln(L/r) of a hop and ln(W/gap) of a link are
standard exponential, and a chain of k hops that chance made has evidence Erlang(2k - 1). So the number of chains a day
that chance makes with at least evidence S is ::

    E_k = L * prod(a_u W) * P(Erlang(2k - 1) >= S),   S = sum ln(L/r) + sum ln(W/gap)

with a_u the findings a day that arrive at the host u of each link. This is the multiplicity correction: it pays for
every path that could have been looked at, busy hosts pay more, and without it a scan over paths is miscalibrated
(arXiv:2206.12786; path scans: Neil et al., Technometrics 2013). A chain is an incident when E is small enough.
"""

import bisect
import math
from collections import defaultdict, deque
from collections.abc import Iterator, Set
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from detector.alerts.model import Alert, alert_of, as_dict, content_id

HOUR_US: Final = 3_600_000_000
DAY_US: Final = 24 * HOUR_US
HOP_WINDOW_US: Final = HOUR_US
REACH_US: Final = 7 * DAY_US
GRAIN_US: Final = 5 * 60_000_000  # gaps below this say no more than this
BEFORE_SHARE: Final = 0.2
"""What came before a sure hop, or left the same host beside it, must be stranger: nothing says yet that it was the
intruder."""
MAX_LENGTH: Final = 6
MAX_PREDECESSORS: Final = 256  # latest arrivals that are looked at; all count for how busy a host is
MAX_HOPS: Final = 20_000  # that can still be extended; the oldest go first
MAX_INCIDENTS: Final = 10_000
MAX_FINDINGS: Final = 16  # of one hop that are kept; the strangest stay
KEEP_US: Final = 14 * DAY_US


@dataclass(frozen=True, slots=True)
class Background:
    """What chance does at the time of a finding: findings a day in all, and over how many hosts inside."""

    findings_per_day: float
    hosts: float


@dataclass(frozen=True, slots=True)
class Link:
    """The best chain of some length to a hop: evidence S, log of prod(a_u W), and the hop before."""

    evidence: float
    log_paths: float
    before: int


@dataclass(slots=True)
class Hop:
    """One move between two hosts; ``best[k]`` is its best chain of k + 1 hops."""

    number: int
    ts: int
    src: str
    dst: str
    per_day: float  # findings a day as strange as its strangest
    background: Background
    findings: list[Alert] = field(default_factory=list)
    best: list[Link] = field(default_factory=list)
    incident: int = -1
    sure: bool = False  # in a chain that made an incident, not only around one
    holder: int = -1  # the hop that it is around, if it is not sure

    def by_chance(self, length: int) -> float:
        """E of the best chain of this length: chains a day that chance makes."""
        link = self.best[length - 1]
        tail = erlang_tail(link.evidence, 2 * length - 1)
        return self.background.findings_per_day * math.exp(min(link.log_paths, 700.0)) * tail

    @property
    def length(self) -> int:
        """Hops of the least likely chain of two or more that ends here; 1 when there is none."""
        return min(range(2, len(self.best) + 1), key=self.by_chance, default=1)

    @property
    def chance(self) -> float:
        """E of that chain; infinite when there is none."""
        return self.by_chance(self.length) if self.length > 1 else math.inf


def erlang_tail(x: float, shape: int) -> float:
    """P(sum of ``shape`` standard exponentials >= x).

    >>> round(erlang_tail(3.0, 1), 6) == round(math.exp(-3.0), 6)
    True
    """
    term = total = 1.0
    for k in range(1, shape):
        term *= x / k
        total += term
    return math.exp(-x) * total


def _hop_of(plain: dict[str, Any]) -> Hop:
    return Hop(
        **(
            plain
            | {
                "background": Background(**plain["background"]),
                "findings": [alert_of(found) for found in plain["findings"]],
                "best": [Link(**link) for link in plain["best"]],
            }
        )
    )


def _plain(hop: Hop) -> dict[str, Any]:
    """What `_hop_of` takes."""
    return {name: getattr(hop, name) for name in Hop.__slots__} | {
        "background": asdict(hop.background),
        "findings": [as_dict(found) for found in hop.findings],
        "best": [asdict(link) for link in hop.best],
    }


def _remove(index: dict[Any, list[tuple[int, int]]], key: object, hop: Hop) -> None:
    index[key].remove((hop.ts, hop.number))
    if not index[key]:
        del index[key]


class Places:
    """Where pairs of hosts are part of incidents: (src, dst) -> times (µs) and ids, in order of the incidents."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, str], list[tuple[int, str]]] = defaultdict(list)

    def incident(self, src: str, dst: str, ts: int) -> str | None:
        """Id of the incident that what happened between two hosts at a time (µs) belongs to."""
        near = (name for time, name in self.known.get((src, dst), ()) if abs(time - ts) <= HOP_WINDOW_US)
        return next(near, None)


class Chains:
    """Hops, their chains, and the incidents of significant chains.

    Args:
        false_per_day: chains a day that chance may make into incidents.
    """

    def __init__(self, false_per_day: float) -> None:
        self.false_per_day = false_per_day
        self.began: int | None = None
        self.hops: dict[int, Hop] = {}
        self.incidents: dict[int, set[int]] = {}  # name of the incident -> its hops
        self.ids: dict[int, str] = {}
        self.forgotten = 0
        self._next = 0
        self._open: deque[int] = deque()
        self._arrivals: dict[str, list[tuple[int, int]]] = defaultdict(list)  # dst -> sorted (ts, hop)
        self._departures: dict[str, list[tuple[int, int]]] = defaultdict(list)
        self._pairs: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
        self._touched: dict[int, tuple[str, str]] = {}
        self._stirred: set[int] = set()

    def add(self, finding: Alert, ts: int, per_day: float, background: Background) -> Hop:
        """Take one finding (start in µs, findings a day as strange) and update chains and incidents."""
        self.began = ts if self.began is None else min(self.began, ts)
        hop = self._hop(finding, ts, per_day, background)
        hop.findings.append(finding)
        if len(hop.findings) > MAX_FINDINGS:
            hop.findings.remove(max(hop.findings, key=lambda known: (known.p_value, known.ts, known.alert_id)))
        self._propagate(hop)
        self._forget(ts)
        return hop

    def news(self, hop: Hop) -> float:
        """Chains a day that chance makes as unlikely as the one that ends with this hop; infinite unless the hop makes
        its chain less likely."""
        if hop.length == 1:
            return math.inf
        trail = self.path(hop)
        if len(trail) == 1:  # what came before was forgotten meanwhile
            return math.inf
        return hop.chance if hop.chance < trail[-2].chance else math.inf

    def state(self) -> dict[str, Any]:
        """For a snapshot, JSON types only."""
        return {
            "hops": [_plain(hop) for hop in self.hops.values()],
            "incidents": [[name, self.ids[name], sorted(members)] for name, members in self.incidents.items()],
            "open": list(self._open),
            "next": self._next,
            "forgotten": self.forgotten,
            "began": self.began,
            "touched": [[number, *pair] for number, pair in self._touched.items()],
            "stirred": sorted(self._stirred),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Replace everything by what `state` returned."""
        self._arrivals, self._departures, self._pairs = defaultdict(list), defaultdict(list), defaultdict(list)
        self.hops = {plain["number"]: _hop_of(plain) for plain in state["hops"]}
        self.incidents = {name: set(members) for name, _, members in state["incidents"]}
        self.ids = {name: incident_id for name, incident_id, _ in state["incidents"]}
        self._open = deque(state["open"])
        self._next, self.forgotten, self.began = state["next"], state["forgotten"], state["began"]
        self._touched = {number: (src, dst) for number, src, dst in state["touched"]}
        self._stirred = set(state["stirred"])
        for number in self._open:
            self._index(self.hops[number])

    def _hop(self, finding: Alert, ts: int, per_day: float, background: Background) -> Hop:
        known = self.hop_of(finding, ts)
        if known is not None:
            known.per_day = min(known.per_day, per_day)
            if ts < known.ts:
                self._unindex(known)
                known.ts, known.best = ts, []  # what follows from it has to be looked at again
                self._index(known)
            return known
        hop = Hop(self._next, ts, finding.src, finding.dst, per_day, background)
        self._next += 1
        self.hops[hop.number] = hop
        self._open.append(hop.number)
        self._index(hop)
        return hop

    def hop_of(self, finding: Alert, ts: int) -> Hop | None:
        """The hop a finding belongs to: of its pair, within the window; one that began before it if there is one."""
        places = self._pairs.get((finding.src, finding.dst), ())
        near = [(start > ts, abs(ts - start), number) for start, number in places if abs(ts - start) <= HOP_WINDOW_US]
        return self.hops[min(near)[2]] if near else None

    def _index(self, hop: Hop) -> None:
        bisect.insort(self._arrivals[hop.dst], (hop.ts, hop.number))
        bisect.insort(self._departures[hop.src], (hop.ts, hop.number))
        bisect.insort(self._pairs[hop.src, hop.dst], (hop.ts, hop.number))

    def _unindex(self, hop: Hop) -> None:
        _remove(self._arrivals, hop.dst, hop)
        _remove(self._departures, hop.src, hop)
        _remove(self._pairs, (hop.src, hop.dst), hop)

    def _predecessors(self, hop: Hop) -> list[Hop]:
        arrivals = self._arrivals.get(hop.src, [])
        low = bisect.bisect_left(arrivals, (hop.ts - REACH_US, -1))
        high = bisect.bisect_left(arrivals, (hop.ts, -1))
        hops = (self.hops[number] for _, number in arrivals[max(low, high - MAX_PREDECESSORS) : high])
        return [other for other in hops if other.src != hop.dst]

    def _successors(self, hop: Hop) -> list[Hop]:
        departures = self._departures.get(hop.dst, [])
        low = bisect.bisect_right(departures, (hop.ts, 1 << 62))
        high = bisect.bisect_right(departures, (hop.ts + REACH_US, 1 << 62))
        return [self.hops[number] for _, number in departures[low : min(high, low + MAX_PREDECESSORS)]]

    def _siblings(self, hop: Hop) -> list[Hop]:
        """What else left the same host around then."""
        departures = self._departures.get(hop.src, [])
        low = bisect.bisect_left(departures, (hop.ts - REACH_US, -1))
        high = bisect.bisect_right(departures, (hop.ts + REACH_US, 1 << 62))
        hops = (self.hops[number] for _, number in departures[low:high][-MAX_PREDECESSORS:])
        return [other for other in hops if other.dst != hop.dst]

    def _propagate(self, changed: Hop) -> None:
        """Recompute the changed hop and, in time order, what follows from it (records of long sessions come late)."""
        waiting = {(changed.ts, changed.number)}
        while waiting:
            place = min(waiting)
            waiting.remove(place)
            hop = self.hops[place[1]]
            before = hop.best
            hop.best = self._chains_to(hop)
            self._touched[hop.number] = hop.src, hop.dst
            if hop.chance <= self.false_per_day:
                self._report(hop)
            self._join(hop)
            if hop.best != before:
                waiting.update((other.ts, other.number) for other in self._successors(hop))

    def _chains_to(self, hop: Hop) -> list[Link]:
        cut = hop.background.findings_per_day
        own = max(math.log(cut / hop.per_day), 0.0)
        best = [Link(own, 0.0, -1)]
        before = self._predecessors(hop)
        for length in range(1, MAX_LENGTH):
            links = [self._link(hop, other, length, own) for other in before if len(other.best) >= length]
            if not links:
                break
            best.append(max(links, key=lambda link: (link.evidence - link.log_paths, -link.before)))
        return best

    def _link(self, hop: Hop, other: Hop, length: int, own: float) -> Link:
        """The best chain of ``length`` hops to ``other``, and then this hop."""
        chain = other.best[length - 1]
        gap = max(hop.ts - other.ts, GRAIN_US)
        evidence = chain.evidence + own + math.log(REACH_US / gap)
        return Link(evidence, chain.log_paths + math.log(self._arrivals_in_reach(hop)), other.number)

    def _arrivals_in_reach(self, hop: Hop) -> float:
        """a_u W: findings expected to arrive at the host a hop leaves from, within the reach.

        As many as were seen there, or as an average host gets if that is more. One of those seen is the predecessor
        itself and does not speak for its host being busy. A mean of the two would be too small on nearly all hosts of
        a large network, where most see nothing for weeks, and 1/a is what counts.
        """
        spread = hop.background.findings_per_day / max(hop.background.hosts, 1.0)
        days = min(max(hop.ts - (self.began or 0), DAY_US), KEEP_US) / DAY_US
        others = max(len(self._arrivals.get(hop.src, ())) - 1, 0)
        return max(others / days, spread) * (REACH_US / DAY_US)

    def path(self, hop: Hop) -> list[Hop]:
        """The best chain that ends at ``hop``, first hop first."""
        trail, current, k = [hop], hop, hop.length - 1
        while k > 0:
            before = current.best[k].before if k < len(current.best) else -1
            if before not in self.hops:
                break
            current = self.hops[before]
            trail.append(current)
            k -= 1
        return trail[::-1]

    def _report(self, hop: Hop) -> None:
        """Make the chain one incident with those it shares a sure hop with; the oldest keeps its name. A hop that was
        only around another incident leaves it for its own chain, and takes along what hung on it.

        A hop that only hangs on to a chain, without making it less likely, is no part of it.
        """
        trail = self.path(hop)
        if trail[-2].chance <= hop.chance:
            return
        for member in trail:
            if member.incident >= 0 and not member.sure:
                self._shed(member)
        touched = sorted({member.incident for member in trail if member.incident >= 0})
        name = touched[0] if touched else self._open_incident(trail[0])
        for member in trail:
            self._enter(member, name, -1)
            member.sure = True
        for other in touched[1:]:
            for number in self.incidents.pop(other):
                self._enter(self.hops[number], name, self.hops[number].holder)
            del self.ids[other]
        self._grow(trail)

    def _enter(self, hop: Hop, name: int, holder: int) -> None:
        hop.incident, hop.holder = name, holder
        self.incidents[name].add(hop.number)
        self._touched[hop.number] = hop.src, hop.dst

    def _shed(self, hop: Hop) -> None:
        """Let a hop leave the incident that it is only around, with all that hangs on it."""
        members = self.incidents[hop.incident]
        self._stirred.add(hop.incident)
        held = defaultdict(list)
        for number in sorted(members):
            held[self.hops[number].holder].append(number)
        leaving = [hop.number]
        for number in leaving:
            leaving += held[number]
        for number in leaving:
            members.remove(number)
            self._touched[number] = self.hops[number].src, self.hops[number].dst
            self.hops[number].incident = self.hops[number].holder = -1

    def places(self, pairs: Set[tuple[str, str]]) -> "Places":
        """Where these pairs of hosts (src, dst) are part of incidents."""
        found = Places()
        for name, members in self.incidents.items():
            for hop in map(self.hops.__getitem__, members):
                if (hop.src, hop.dst) in pairs:
                    found.known[hop.src, hop.dst].append((hop.ts, self.ids[name]))
        return found

    def take_touched(self) -> tuple[dict[int, tuple[str, str]], set[int]]:
        """Hops that changed, came to an incident or left one since the last call, with their pairs of hosts; and
        incidents that lost one."""
        touched, stirred = self._touched, self._stirred
        self._touched, self._stirred = {}, set()
        return touched, stirred

    def _join(self, hop: Hop) -> None:
        """Let the incident nearby that chance would least have put the hop at take it in, and look around it again."""
        if hop.incident < 0:
            takers = [*self._takers(hop)]
            if not takers:
                return
            _, number = min(takers)
            self._enter(hop, self.hops[number].incident, number)
        self._grow([hop])

    def _takers(self, hop: Hop) -> Iterator[tuple[float, int]]:
        """Hops of incidents that the hop is around, with how likely chance put it there."""
        after = [(other, self._departures, hop.src, 1.0) for other in self._predecessors(hop)]
        before = [(other, self._arrivals, hop.dst, BEFORE_SHARE) for other in self._successors(hop)]
        beside = [(other, self._departures, hop.src, BEFORE_SHARE) for other in self._siblings(hop) if other.sure]
        for other, index, host, share in after + before + beside:
            if other.incident >= 0:
                expected = self._expected(hop, index, host, other) / share
                if expected <= self.false_per_day:
                    yield expected, other.number

    def _grow(self, frontier: list[Hop]) -> None:
        """Take the hops around those of an incident in that chance would hardly have put there."""
        while frontier:
            hop = frontier.pop()
            after = [(other, self._departures, hop.dst, 1.0) for other in self._successors(hop)]
            before = [(other, self._arrivals, hop.src, BEFORE_SHARE) for other in self._predecessors(hop)]
            siblings = self._siblings(hop) if hop.sure else []
            beside = [(other, self._departures, hop.src, BEFORE_SHARE) for other in siblings]
            for other, index, host, share in after + before + beside:
                if other.incident < 0 and self._expected(other, index, host, hop) <= share * self.false_per_day:
                    self._enter(other, hop.incident, hop.number)
                    frontier.append(other)

    def _expected(self, other: Hop, index: dict[str, list[tuple[int, int]]], host: str, hop: Hop) -> float:
        """Findings as strange as ``other`` that chance puts at ``host`` (leaving or arriving) in the time
        between the two.

        The intruder is on the host since, or until, ``hop``. Chance sends r a day, of which the host has its share.
        """
        share = (len(index.get(host, ())) + 1) / (len(self._open) + max(hop.background.hosts, 1.0))
        return other.per_day * share * max(abs(hop.ts - other.ts), GRAIN_US) / DAY_US

    def _open_incident(self, root: Hop) -> int:
        self.incidents[root.number] = set()
        self.ids[root.number] = content_id("incident", root.findings[0].alert_id)
        return root.number

    def _forget(self, now: int) -> None:
        """Close hops that are too old to be extended; what belongs to no incident is dropped."""
        while self._open and (len(self._open) > MAX_HOPS or self.hops[self._open[0]].ts < now - KEEP_US):
            hop = self.hops[self._open.popleft()]
            self._unindex(hop)
            if hop.incident < 0:
                del self.hops[hop.number]
                self.forgotten += 1
        while len(self.incidents) > MAX_INCIDENTS:
            name = next(iter(self.incidents))
            del self.ids[name]
            members = self.incidents.pop(name)
            self._touched.update({number: (self.hops[number].src, self.hops[number].dst) for number in members})
            for number in members.intersection(self._open):
                hop = self.hops[number]
                hop.incident, hop.holder, hop.sure = -1, -1, False
            for number in members.difference(self._open):
                del self.hops[number]
