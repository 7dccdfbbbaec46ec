"""Time-respecting chains of unlikely moves, and the incidents they make.

A *hop* is one pair of hosts within `HOP_WINDOW_US`, as strange as its strangest finding. Hop j can precede hop i when it
ends where i begins, began before i, and not longer ago than `REACH_US`. Over hops, a dynamic program keeps per chain
length k the best decayed evidence and the number of candidate paths (PathScan: Neil et al., Technometrics 2013)::

    S_k(i) = g_i + max_j S_{k-1}(j) 2^(-(t_i - t_j)/H),   g = ln(p0/p)
    M_k(i) = sum_j M_{k-1}(j)

Under the null g is standard exponential for findings cut at p0, so S_k is at most Erlang(k), and the p-value of the best
chain that ends at i pays for the paths that were looked at and for the choice of the length:
``min_k 2^k M_k(i) P(Erlang(k) >= S_k(i))``. Skipping that correction breaks calibration (arXiv:2206.12786).
"""

import bisect
import math
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import Final

from detector.alerts.model import Alert, content_id

HOUR_US: Final = 3_600_000_000
DAY_US: Final = 24 * HOUR_US
HOP_WINDOW_US: Final = HOUR_US
REACH_US: Final = 7 * DAY_US
HALF_LIFE_US: Final = 2 * DAY_US  # detection practice: IT dwell times; evidence fades, it does not vanish
MAX_LENGTH: Final = 6
MAX_PREDECESSORS: Final = 256  # strongest are not searched past this many arrivals; all are counted in M
MAX_HOPS: Final = 20_000  # that can still be extended; the oldest go first
MAX_INCIDENTS: Final = 10_000
MAX_FINDINGS: Final = 16  # of one hop that are kept; the strangest stay
KEEP_US: Final = 14 * DAY_US


@dataclass(slots=True)
class Hop:
    """One move between two hosts.

    ``gain`` is ln(p0/p) of its strangest finding, ``best[k]`` = (S_k, M_k, predecessor) for chain length k + 1.
    """

    number: int
    ts: int
    src: str
    dst: str
    gain: float
    findings: list[Alert] = field(default_factory=list)
    best: list[tuple[float, float, int]] = field(default_factory=list)
    incident: int = -1

    @property
    def p_value(self) -> float:
        """Of the best chain of two hops or more that ends here; 1 when there is none."""
        return min((_path_p(k + 1, s, m) for k, (s, m, _) in enumerate(self.best) if k), default=1.0)

    @property
    def length(self) -> int:
        """Hops of that chain."""
        return min(range(1, len(self.best)), key=lambda k: _path_p(k + 1, *self.best[k][:2]), default=0) + 1


def _path_p(length: int, evidence: float, paths: float) -> float:
    return min(1.0, 2.0**length * paths * erlang_tail(evidence, length))


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


class Chains:
    """Hops, their chains, and the incidents of significant chains.

    Args:
        significance: p-value below which a chain is an incident.
    """

    def __init__(self, significance: float) -> None:
        self.significance = significance
        self.hops: dict[int, Hop] = {}
        self.incidents: dict[int, set[int]] = {}  # name of the incident -> its hops
        self.ids: dict[int, str] = {}
        self.forgotten = 0
        self._next = 0
        self._open: deque[int] = deque()
        self._arrivals: dict[str, list[tuple[int, int]]] = defaultdict(list)  # dst -> sorted (ts, hop)
        self._departures: dict[str, list[tuple[int, int]]] = defaultdict(list)
        self._pairs: dict[tuple[str, str], int] = {}

    def add(self, finding: Alert, ts: int, gain: float) -> Hop:
        """Take one finding (start µs, ln(p0/p) >= 0) and update chains and incidents."""
        hop = self._hop(ts, finding.src, finding.dst, gain)
        hop.findings.append(finding)
        if len(hop.findings) > MAX_FINDINGS:
            hop.findings.remove(max(hop.findings, key=lambda known: (known.p_value, known.ts, known.alert_id)))
        self._propagate(hop)
        self._forget(ts)
        return hop

    def _hop(self, ts: int, src: str, dst: str, gain: float) -> Hop:
        known = self.hops.get(self._pairs.get((src, dst), -1))
        if known is not None and abs(ts - known.ts) <= HOP_WINDOW_US:
            known.gain = max(known.gain, gain)
            if ts < known.ts:
                self._unindex(known)
                known.ts = ts
                self._index(known)
            return known
        hop = Hop(self._next, ts, src, dst, gain)
        self._next += 1
        self.hops[hop.number] = hop
        self._open.append(hop.number)
        self._index(hop)
        return hop

    def _index(self, hop: Hop) -> None:
        self._pairs[hop.src, hop.dst] = hop.number
        bisect.insort(self._arrivals[hop.dst], (hop.ts, hop.number))
        bisect.insort(self._departures[hop.src], (hop.ts, hop.number))

    def _unindex(self, hop: Hop) -> None:
        for index, host in ((self._arrivals, hop.dst), (self._departures, hop.src)):
            index[host].remove((hop.ts, hop.number))
            if not index[host]:
                del index[host]
        if self._pairs.get((hop.src, hop.dst)) == hop.number:
            del self._pairs[hop.src, hop.dst]

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

    def _propagate(self, changed: Hop) -> None:
        """Recompute the changed hop and, in time order, what follows from it (records of long sessions come late)."""
        waiting = {(changed.ts, changed.number)}
        while waiting:
            place = min(waiting)
            waiting.remove(place)
            hop = self.hops[place[1]]
            before = hop.best
            hop.best = self._chains_to(hop)
            if hop.p_value <= self.significance:
                self._report(hop)
            if hop.best != before:
                waiting.update((other.ts, other.number) for other in self._successors(hop))

    def _chains_to(self, hop: Hop) -> list[tuple[float, float, int]]:
        best: list[tuple[float, float, int]] = [(hop.gain, 1.0, -1)]
        predecessors = self._predecessors(hop)
        for k in range(1, MAX_LENGTH):
            score, paths, link = -1.0, 0.0, -1
            for other in predecessors:
                if len(other.best) < k:
                    continue
                evidence, count, _ = other.best[k - 1]
                faded = evidence * 2.0 ** (-(hop.ts - other.ts) / HALF_LIFE_US)
                paths += count
                if faded > score:
                    score, link = faded, other.number
            if link < 0:
                break
            best.append((score + hop.gain, paths, link))
        return best

    def path(self, hop: Hop) -> list[Hop]:
        """The best chain that ends at ``hop``, first hop first."""
        trail, current, k = [hop], hop, hop.length - 1
        while k > 0:
            link = current.best[k][2] if k < len(current.best) else -1
            if link not in self.hops:
                break
            current = self.hops[link]
            trail.append(current)
            k -= 1
        return trail[::-1]

    def _report(self, hop: Hop) -> None:
        """Make the chain one incident with whatever incidents it touches; the oldest keeps its name."""
        trail = self.path(hop)
        touched = sorted({member.incident for member in trail if member.incident >= 0})
        name = touched[0] if touched else self._open_incident(trail[0])
        members = self.incidents[name]
        for other in touched[1:]:
            members |= self.incidents.pop(other)
            del self.ids[other]
        members.update(member.number for member in trail)
        for number in members:
            self.hops[number].incident = name

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
            for number in self.incidents.pop(name):
                if number not in self._open:
                    del self.hops[number]
