"""Campaigns on the hosts of a network: who begins where, moves where by what, and when.

The technique that was played least is the next campaign's aim; the moves on the way to it are those that were played
least, too. So every technique that can be played is, as often as the campaigns allow.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from detector.drill.network import Network
from detector.drill.techniques import PLAYABLE, Technique, plant_hosts, stations
from detector.simulate.draw import Box, below, box
from detector.simulate.rhythm import DAY, HOUR, MINUTE

PACES: Final[dict[str, Box]] = {  # minutes between two hops: box plots as the simulation's, days in addition
    "minutes": (6, 20, 45, 95, 260),
    "hours": (180, 420, 900, 1800, 3600),
    "days": (1440, 2000, 2900, 4300, 10_080),
}
CLOCKS: Final = ("work", "night", "any")
_WORK: Final = 0.5  # of the busiest hour's conversations, from which on it is a working hour
_LAST: Final = HOUR  # before the end of the history in which no hop begins: what it causes must still be seen
_DESK_ROLES: Final = frozenset({"workstation", "engineering_workstation", "unknown"})
_WAY: Final = (1, 2, 2, 3)  # moves before the aim
_TRIES: Final = 12


@dataclass(frozen=True, slots=True)
class Hop:
    """One labelled step of a campaign. ``account`` is a name as the network's logs have it; ``known`` whether the pair
    talked over this service before; ``at`` µs."""

    campaign: str
    technique: str
    orig: str
    resp: str
    account: str
    service: str
    known: bool
    at: int = 0


@dataclass(frozen=True, slots=True)
class Campaign:
    """A path. ``hurried``: its pauses were shortened, for the history that is judged is short."""

    name: str
    aim: str
    pace: str
    hops: tuple[Hop, ...]
    hurried: bool = False


@dataclass(slots=True)
class _Way:
    """An intruder on the way."""

    at: str
    account: str
    met: set[str] = field(default_factory=set)
    hops: list[Hop] = field(default_factory=list)


class Casting:
    """Casts campaigns.

    Args:
        network: whose hosts.
        wanted: techniques to play, all of which can be.
        since: hosts silent before this time (µs) are gone, and take no part.
        seed: the same gives the same campaigns.
    """

    def __init__(self, network: Network, wanted: Sequence[Technique], since: int, seed: int) -> None:
        self._network, self._wanted, self._seed = network, wanted, seed
        self._rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, 1])))
        self._played = Counter[str]()
        self._hops = Counter[tuple[str, str, str]]()
        self._here = {end for (orig, resp, _), last in network.pairs.items() if last >= since for end in (orig, resp)}
        self._here &= network.assets.keys()
        self._entries = self._desks()
        self._taken = Counter[str]()

    def _desks(self) -> list[str]:
        """Where intruders get in: hosts at which people work, else any that begins conversations."""
        begins = {orig for orig, _, _ in self._network.pairs if orig in self._here}
        desks = [h for h in sorted(begins) if self._network.assets[h].role in _DESK_ROLES and not self._is_plant(h)]
        return desks or sorted(begins)

    def _is_plant(self, host: str) -> bool:
        level = self._network.assets[host].level
        return level is not None and level < 3

    def cast(self, count: int, paces: Sequence[str], prefix: str = "drill") -> list[Campaign]:
        """So many campaigns, in turn at each of the paces, without times."""
        found = []
        for number in range(1, count + 1):
            aim = min(self._wanted, key=lambda technique: self._played[technique.id])
            hops = self._play(aim)
            if hops:
                name = f"{prefix}-{number:02d}-{aim.id}"
                told = tuple(replace(hop, campaign=name) for hop in hops)
                found.append(Campaign(name, aim.id, paces[(number - 1) % len(paces)], told))
            else:
                self._played[aim.id] += count  # it cannot be reached from anywhere: others are next
        return found

    def _play(self, aim: Technique) -> list[Hop]:
        entry = self._entry()
        way = self._begin(entry)
        for _ in range(self._one(_WAY)):
            self._move(way)
        if aim.from_station:
            return self._at_controller(way, aim)
        if not self._do(way, aim):  # all such hosts were met on the way: straight there
            self._played.subtract(hop.technique for hop in way.hops)
            way = self._begin(entry)
            if not self._do(way, aim):
                return []
        if not aim.moves and self._one((0, 1)):
            self._move(way)
        return way.hops

    def _begin(self, host: str) -> _Way:
        return _Way(host, self._account(host), {host})

    def _at_controller(self, way: _Way, aim: Technique) -> list[Hop]:
        """Onto a station that talks to a controller, then the deed."""
        targets = [host for host in aim.targets(self._network) if self._stations(host)]
        if not targets:
            return []
        target = self._pick(targets)
        station = self._pick(self._stations(target))
        if station != way.at:
            moved = self._reach(way, station)
            if not moved:  # none of the techniques gets there: he begins at the station
                way = self._begin(station)
        self._note(way, aim, target)
        return way.hops

    def _reach(self, way: _Way, station: str) -> bool:
        for technique in self._moves():
            if station in technique.targets(self._network) and station not in way.met:
                self._note(way, technique, station)
                return True
        return False

    def _stations(self, controller: str) -> list[str]:
        return [host for host in stations(self._network, controller) if host in self._here]

    def _moves(self) -> list[Technique]:
        ways = [technique for technique in self._wanted if technique.moves]
        return sorted(ways, key=lambda technique: self._played[technique.id])

    def _move(self, way: _Way) -> None:
        for technique in self._moves():
            if not technique.id.startswith("T0") and self._do(way, technique):
                return

    def _do(self, way: _Way, technique: Technique) -> bool:
        """The technique on a host that was not met, unless there is none."""
        alive = [host for host in technique.targets(self._network) if host in self._here and host != way.at]
        fresh = [host for host in alive if host not in way.met]
        deep = set() if technique.id.startswith("T0") else set(plant_hosts(self._network))
        chosen = [host for host in fresh if host not in deep] or fresh or ([] if technique.moves else alive)
        if not chosen:
            return False
        least = min(self._hops[way.at, host, technique.id] for host in chosen)
        self._note(way, technique, self._pick([h for h in chosen if self._hops[way.at, h, technique.id] == least]))
        return True

    def _note(self, way: _Way, technique: Technique, target: str) -> None:
        _, service = technique.deed(self._network, target)
        account = self._stolen(way) if technique.id == "T1078" else way.account
        known = bool(service) and self._network.knows(way.at, target, service)
        way.hops.append(Hop("", technique.id, way.at, target, account, service, known))
        self._played[technique.id] += 1
        self._hops[way.at, target, technique.id] += 1
        way.met.add(target)
        if technique.moves:
            way.at = target

    # --- choices ---

    def _entry(self) -> str:
        least = min(self._taken[host] for host in self._entries)
        entry = self._pick([host for host in self._entries if self._taken[host] == least])
        self._taken[entry] += 1
        return entry

    def _account(self, host: str) -> str:
        """Who works there; else whoever is known at all."""
        here = self._network.accounts.get(host)
        return here[0] if here else self._pick(self._everybody()) if self._everybody() else "user"

    def _stolen(self, way: _Way) -> str:
        """An account that was never seen from here."""
        here = set(self._network.accounts.get(way.at, ()))
        others = [name for name in self._everybody() if name not in here]
        return self._pick(others) if others else way.account

    def _everybody(self) -> list[str]:
        return sorted({name for names in self._network.accounts.values() for name in names})

    def _pick(self, pool: Sequence[str]) -> str:
        return pool[int(below(self._rng, len(pool), 1)[0])]

    def _one(self, numbers: Sequence[int]) -> int:
        return numbers[int(below(self._rng, len(numbers), 1)[0])]


def playable(network: Network, wanted: Sequence[str]) -> tuple[list[Technique], dict[str, str]]:
    """Of the wanted techniques those that can be played on a network, and why the others cannot."""
    reasons = {name: PLAYABLE[name].why_not(network) for name in PLAYABLE if not wanted or name in wanted}
    can = [PLAYABLE[name] for name, reason in reasons.items() if reason is None]
    return can, {name: reason for name, reason in reasons.items() if reason is not None}


def timed(
    campaigns: Sequence[Campaign], network: Network, room: tuple[int, int], clock: str, seed: int
) -> list[Campaign]:
    """The campaigns with times: each begins in its part of the room (µs), its hops in the hours of the clock."""
    first, last = room
    last = max(last - min(_LAST, (last - first) // 4), first + 1)
    hours = allowed_hours(network.hours, clock)
    found = []
    for number, campaign in enumerate(campaigns):
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, 2, number])))
        times, hurried = _times(campaign, (number, len(campaigns)), (first, last), hours, rng)
        hops = tuple(replace(hop, at=at) for hop, at in zip(campaign.hops, times, strict=True))
        found.append(replace(campaign, hops=hops, hurried=hurried))
    return found


def allowed_hours(counts: Sequence[int], clock: str) -> tuple[bool, ...]:
    """Hours of the day (UTC) in which hops begin. Working hours are those in which the network is at least half as busy
    as in its busiest; the night is the rest, or any hour where all are alike."""
    work = [count >= _WORK * max(counts) for count in counts]
    wanted = {"work": work, "night": [not hour for hour in work], "any": [True] * len(work)}[clock]
    return tuple(wanted) if any(wanted) else (True,) * len(work)


def _times(
    campaign: Campaign, place: tuple[int, int], room: tuple[int, int], hours: Sequence[bool], rng: np.random.Generator
) -> tuple[list[int], bool]:
    (first, last), count = room, len(campaign.hops)
    pauses = box(rng, PACES[campaign.pace], count) * MINUTE + below(rng, MINUTE, count)
    pauses[0] = 0
    spare = max(last - first - int(pauses.sum()), 0)
    slot = spare // place[1]
    start = first + slot * place[0] + (slot * int(below(rng, 1024, 1)[0])) // 1024
    for tenths in range(_TRIES, 0, -1):
        begin = first + (start - first) * tenths // _TRIES
        times = _met((pauses * tenths // _TRIES).tolist(), begin, hours)
        if times[-1] <= last:
            return times, tenths < _TRIES and int(pauses.sum()) > 0
    width = max((last - first) // count, 1)  # not within those hours: over what there is
    offset = int(below(rng, 1 << 20, 1)[0]) % width
    return [first + number * width + offset for number in range(count)], True


def _met(pauses: Sequence[int], start: int, hours: Sequence[bool]) -> list[int]:
    """Each hop after its pause, as soon as its hour allows."""
    times, now = [], start
    for pause in pauses:
        now += pause
        for _ in range(len(hours)):
            if hours[now % DAY // HOUR]:
                break
            now += HOUR
        times.append(now)
    return times
