"""Hosts, ranked by what they did and how important they are.

Each finding is evidence about both of its hosts: what it says above the findings' cut, ``ln(L / r)`` nats (r, L as in
`chains`), all of it for the host it came from and `TARGET_SHARE` of it for the one it went to. Of one pair and day only
the strongest finding counts, and what it says fades with `HALF_LIFE_US` of event time. The pieces of a host,
strongest first, add up to ::

    evidence = sum e_i / i^1.5,    score = evidence x importance

so that much of little never outweighs a little of much: the sum is below 2.62 times the strongest piece (Riemann's
zeta(1.5); Elastic's risk engine adds up a host's alerts in this way, kibana, entity_analytics/risk_score/constants.ts).
The product is risk as likelihood times impact (NIST SP 800-30 r1, 2.3.1); network detection products rank hosts by
the same product (Vectra: attack rating x entity importance).
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from detector.alerts.model import SCORE_DIGITS, Alert, Incident, iso
from detector.assets.hosts import OT_LEVEL, Host, Hosts
from detector.assets.plant import Plant

DAY_US: Final = 86_400_000_000
HALF_LIFE_US: Final = 5 * DAY_US  # a working week; what an intruder did last week still shows
TARGET_SHARE: Final = 0.5  # of evidence, for the host it was done to: it may be taken, or only asked
TAIL: Final = 1.5  # the i-th strongest piece counts i^-TAIL
MAX_HOSTS: Final = 5_000  # beyond it the quarter with the weakest evidence goes
MAX_PIECES: Final = 16  # of one host that are kept; the next would count 1/70
MAX_TECHNIQUES: Final = 32
MAX_LISTED: Final = 16  # incidents of one host that are named
TOP_REASONS: Final = 3
_FORGET_SHARE: Final = 4
_LEAST: Final = 1e-9  # nats; a finding that was certain, not strange

CRITICAL_SERVERS: Final = frozenset(
    {"backup", "certificate_authorities", "deployment", "domain_controllers", "hypervisors", "jump_hosts"}
)
"""Purposes in `known_servers` of hosts that open all others: the control plane of Microsoft's enterprise access model,
and the way into OT."""
CONTROLLER_LEVEL: Final = 1.0  # Purdue: basic control and below
OFFICE_LEVEL: Final = 4.0
_NAMES: Final = {1: "normal", 2: "normal", 3: "high", 4: "critical"}
_NUMBERS: Final = {"low": 1, "normal": 1, "high": 3, "critical": 4}
IMPORTANT: Final = 3  # and more: servers many depend on, the plant, the control plane
MANY_CLIENTS, SOME_CLIENTS = 50.0, 10.0  # pairs of client and service; a desk has a few


@dataclass(slots=True)
class Piece:
    """The strongest finding of a pair and day, seen from one of its hosts; ``nats`` with the host's share in it."""

    other: str
    began: bool  # whether the host is the one it came from
    day: int
    ts: int
    nats: float
    reason: str

    @property
    def strength(self) -> float:
        """Orders pieces by what they say once faded, at whatever time: both sides fade alike."""
        return math.log2(max(self.nats, _LEAST)) + self.ts / HALF_LIFE_US

    def faded(self, now: int) -> float:
        """Nats at ``now`` (µs)."""
        return self.nats * math.exp2(-max(now - self.ts, 0) / HALF_LIFE_US)


@dataclass(slots=True)
class Entity:
    """What was found about one host."""

    findings: int
    clients: float  # most pairs of client and service it was seen to have
    first_ts: int
    last_ts: int
    techniques: list[str] = field(default_factory=list)
    pieces: list[Piece] = field(default_factory=list)

    @property
    def strength(self) -> float:
        """Of its strongest piece."""
        return max(piece.strength for piece in self.pieces)


def _plain(entity: Entity) -> dict[str, Any]:
    """As `asdict` makes it, without its copies of texts: there are thousands of pieces."""
    return {name: getattr(entity, name) for name in Entity.__slots__} | {
        "techniques": [*entity.techniques],
        "pieces": [{name: getattr(piece, name) for name in Piece.__slots__} for piece in entity.pieces],
    }


@dataclass(frozen=True, slots=True)
class RankedHost:
    """A host as people read it. Field order is the order written."""

    host: str
    zone: str
    score: float  # evidence x importance
    evidence: float  # nats, faded
    importance: int  # 1 to 4
    why: str  # it is that important
    findings: int
    alerts: int
    incident_ids: tuple[str, ...]
    techniques: tuple[str, ...]
    first_ts: str
    last_ts: str
    reasons: tuple[str, ...]  # of its strongest pieces


class Entities:
    """What was found about each host, bounded."""

    def __init__(self) -> None:
        self.forgotten = 0
        self._hosts: dict[str, Entity] = {}

    def add(self, found: Alert, row: dict[str, Any], expected: float, cut: float) -> None:
        """Take one finding.

        Args:
            found: as it is told.
            row: its scored unit: ``ts``, ``kind`` and ``resp_pairs`` (pairs of client and service its target has).
            expected: findings a day as strange when nothing is wrong.
            cut: findings a day in all when nothing is wrong.
        """
        nats = math.log(max(cut / expected, 1.0))
        clients = row["resp_pairs"] if row["kind"] == 0 else 0.0
        self._take(found.src, found, Piece(found.dst, True, row["ts"] // DAY_US, row["ts"], nats, found.reasons[0]), 0)
        if found.dst != found.src:
            share = nats * TARGET_SHARE
            piece = Piece(found.src, False, row["ts"] // DAY_US, row["ts"], share, found.reasons[0])
            self._take(found.dst, found, piece, clients)

    def ranked(
        self, now: int, alerts: Iterable[Alert], incidents: Sequence[Incident], plant: Plant
    ) -> list[RankedHost]:
        """All hosts as they stand at ``now`` (µs), highest score first."""
        told = Counter(host for alert in alerts for host in {alert.src, alert.dst})
        chained: dict[str, list[str]] = defaultdict(list)
        for incident in incidents:
            for host in incident.hosts:
                chained[host].append(incident.incident_id)
        known, purposes = Hosts(plant), servers(plant)
        ranked = [
            _ranked(host, entity, now, told[host], chained[host], known[host],
                    _importance(plant.asset(host).importance, purposes[host], known[host].level, entity.clients))
            for host, entity in self._hosts.items()
        ]  # fmt: skip
        return sorted(ranked, key=lambda one: (-one.score, one.host))

    def state(self) -> dict[str, Any]:
        """For a snapshot, JSON types only."""
        hosts = [[host, _plain(entity)] for host, entity in self._hosts.items()]
        return {"hosts": hosts, "forgotten": self.forgotten}

    def load_state(self, state: dict[str, Any]) -> None:
        """Replace everything by what `state` returned."""
        self.forgotten = state["forgotten"]
        self._hosts = {
            host: Entity(**(plain | {"pieces": [Piece(**piece) for piece in plain["pieces"]]}))
            for host, plain in state["hosts"]
        }

    def _take(self, host: str, found: Alert, piece: Piece, clients: float) -> None:
        entity = self._hosts.get(host)
        if entity is None:
            self._make_room()
            entity = self._hosts[host] = Entity(0, 0.0, piece.ts, piece.ts)
        entity.findings += 1
        entity.clients = max(entity.clients, clients)
        entity.first_ts, entity.last_ts = min(entity.first_ts, piece.ts), max(entity.last_ts, piece.ts)
        fresh = [technique for technique in found.techniques if technique not in entity.techniques]
        entity.techniques = [*entity.techniques, *fresh][:MAX_TECHNIQUES]
        _keep(entity.pieces, piece)

    def _make_room(self) -> None:
        """A flood of new addresses with weak findings drives out its own kind, not the host with the strong ones."""
        if len(self._hosts) < MAX_HOSTS:
            return
        weakest = sorted(self._hosts, key=lambda host: (self._hosts[host].strength, host))
        for host in weakest[: MAX_HOSTS // _FORGET_SHARE]:
            del self._hosts[host]
            self.forgotten += 1


def _ranked(
    host: str,
    entity: Entity,
    now: int,
    alerts: int,
    incident_ids: Sequence[str],
    place: Host,
    important: tuple[int, str],
) -> RankedHost:
    importance, why = important
    evidence = evidence_of(entity.pieces, now)
    return RankedHost(
        host=host,
        zone=place.zone,
        score=round(evidence * importance, SCORE_DIGITS),
        evidence=round(evidence, SCORE_DIGITS),
        importance=importance,
        why=why,
        findings=entity.findings,
        alerts=alerts,
        incident_ids=tuple(incident_ids[:MAX_LISTED]),
        techniques=tuple(entity.techniques),
        first_ts=iso(entity.first_ts),
        last_ts=iso(entity.last_ts),
        reasons=_reasons(entity.pieces),
    )


def evidence_of(pieces: Iterable[Piece], now: int) -> float:
    """Nats of all pieces at ``now`` (µs): the i-th strongest counts ``i^-TAIL``."""
    faded = sorted((piece.faded(now) for piece in pieces), reverse=True)
    return math.fsum(nats * place**-TAIL for place, nats in enumerate(faded, 1))


def _keep(pieces: list[Piece], piece: Piece) -> None:
    """Add a piece, unless its pair and day has a stronger one already; the strongest `MAX_PIECES` stay."""
    key = piece.other, piece.began, piece.day
    place = next((i for i, known in enumerate(pieces) if (known.other, known.began, known.day) == key), None)
    if place is None:
        pieces.append(piece)
    elif piece.nats > pieces[place].nats:
        pieces[place] = piece
    if len(pieces) > MAX_PIECES:
        pieces.remove(min(pieces, key=_order))


def _order(piece: Piece) -> tuple[float, int, str, bool]:
    return piece.strength, piece.ts, piece.other, piece.began


def _reasons(pieces: Iterable[Piece]) -> tuple[str, ...]:
    strongest = sorted(pieces, key=_order, reverse=True)
    return tuple(dict.fromkeys(piece.reason for piece in strongest))[:TOP_REASONS]


def servers(plant: Plant) -> dict[str, list[str]]:
    """Address -> purposes it is declared for."""
    found: dict[str, list[str]] = defaultdict(list)
    for purpose, addresses in plant.known_servers.items():
        for address in addresses:
            found[str(address)].append(purpose)
    return found


def declared_importance(purposes: Sequence[str], level: float | None) -> str:
    """Of a host whose importance nobody declared: by what it is declared for and its Purdue level."""
    return _NAMES[importance_of(purposes, level, 0.0)[0]]


def _importance(declared: str | None, purposes: Sequence[str], level: float | None, clients: float) -> tuple[int, str]:
    """What is declared of the host itself goes before all else."""
    if declared is not None:
        return _NUMBERS[declared], f"declared as {declared}"
    return importance_of(purposes, level, clients)


def importance_of(purposes: Sequence[str], level: float | None, clients: float) -> tuple[int, str]:
    """1 to 4, and why in words."""
    grounds = [(4 if purpose in CRITICAL_SERVERS else 3, f"declared in {purpose}") for purpose in purposes]
    if level is not None and level < OFFICE_LEVEL:
        grounds.append(_by_level(level))
    if clients >= SOME_CLIENTS:
        many = 3 if clients >= MANY_CLIENTS else 2
        grounds.append((many, f"serves about {round(clients):,} pairs of client and service"))
    grounds.sort(key=lambda ground: -ground[0])
    return grounds[0][0] if grounds else 1, "; ".join(words for _, words in grounds) or "nothing sets it apart"


def _by_level(level: float) -> tuple[int, str]:
    if level <= CONTROLLER_LEVEL:
        return 4, f"Purdue level {level:g}: controllers"
    if level <= OT_LEVEL:
        return 3, f"Purdue level {level:g}: stations of the plant"
    return 2, f"Purdue level {level:g}: between office and plant"
