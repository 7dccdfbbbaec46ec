"""The attacks: who moves where, when, with whose account. How it looks is for `wire` to say.

Up to two campaigns are the pair of a demonstration (`stories_pair`), more are the groups of `stories`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from .acts import DRAWN, SURE, Acts
from .draw import Box, Ints, Purpose, below, box, stream
from .plant import Plant
from .rhythm import DAY, HOUR, MINUTE, SECOND, Day
from .services import Kind
from .stories import Campaign, Move, cast_campaigns
from .stories_deeds import DEEDS, PACES, Step, conversations
from .stories_pair import PairMove, phish, seconds, supplier_visit

_PAIR: Final = 2  # campaigns of a demonstration
_MANY: Final = 10  # campaigns from which on they need most of the days
_QUIET_SHARE: Final = {False: (2, 3), True: (1, 3)}  # this part of the days stays clean; with many campaigns less
_PAUSES: Final[dict[str, Box]] = {  # minutes between hops
    "minutes": (6, 20, 45, 95, 260),
    "hours": (180, 420, 900, 1800, 3600),
}
_AFTERWARDS: Final = 12  # of the time of attacks this part is left for everybody's life after them
_TRIES: Final = 8  # a campaign that does not fit begins earlier and hurries
_SUPPLIERS: Final = 2  # suppliers begin in this part of their time: their visits are rare, one has to come after


@dataclass(frozen=True, slots=True)
class Hop:
    """One move of an attacker between two hosts, with its ATT&CK technique."""

    campaign: str
    at: int
    orig: int
    resp: int
    technique: str
    steps: tuple[Step, ...]


def first_attack_day(days: list[Day], count: int = _PAIR) -> int:
    """The day on which ``count`` campaigns begin: on a working day, if one is left, after the days that stay clean."""
    part, whole = _QUIET_SHARE[count >= _MANY]
    earliest = len(days) * part // whole
    return next((day.number for day in days[earliest:] if day.working), days[earliest].number)


def clean_until(days: list[Day], first: int, until: int, count: int = _PAIR) -> int:
    """The instant (µs) before which nobody attacks: a midnight, or a part of a single day."""
    number = first_attack_day(days, count)
    part, whole = _QUIET_SHARE[count >= _MANY]
    return days[number].midnight if number else first + (until - first) * part // whole


def plan_campaigns(
    plant: Plant,
    days: list[Day],
    span: tuple[int, int],
    hired: Ints,
    seed: int,
    *,
    count: int = _PAIR,
    pace: str = "minutes",
) -> list[Hop]:
    """All hops of ``count`` campaigns, in order of time, within ``span`` (µs).

    Args:
        hired: for each host the first day on which it is switched on.
        pace: of `PACES`; the campaigns are the same whatever it is, but for their times and connections.

    Raises:
        ValueError: an unknown pace.
    """
    if pace not in PACES:
        raise ValueError(f"pace must be one of {', '.join(PACES)}, not {pace!r}")
    hops: list[Hop] = []
    if count > _PAIR:
        clean, late = clean_until(days, *span, count), min(span[1], days[-1].midnight + DAY)
        last = late - max((late - clean) // _AFTERWARDS, SECOND)
        campaigns = cast_campaigns(plant, hired, seed, count)
        places = stream(seed, Purpose.CAMPAIGNS, count + 1).permutation(count).tolist()
        for number, (campaign, place) in enumerate(zip(campaigns, places, strict=True), start=1):
            rng = stream(seed, Purpose.CAMPAIGNS, number * 10_007 + PACES.index(pace))
            hops += _told(campaign, days, (clean, last), (place, count), pace, rng)
    else:
        hops = _pair(plant, days, span, hired, seed, pace)
        hops = [hop for hop in hops if hop.campaign in ("phish", "supplier")[:count]]
    return sorted(hops, key=lambda hop: hop.at)


def attack_acts(hops: Iterable[tuple[int, Hop]], acts: Acts) -> None:
    """Adds the connections of the hops; the first of each works out, or there was no hop. A probe may be in vain."""
    for position, hop in hops:
        for step in hop.steps:
            fate = SURE if step is hop.steps[0] and step.kind is not Kind.PROBE else DRAWN
            when = hop.at + step.after
            acts.add(step.kind, when, hop.orig, hop.resp, step.user, step.detail, fate=fate, hop=position)


# --- campaigns of `stories` ---


def _told(
    campaign: Campaign,
    days: list[Day],
    room: tuple[int, int],
    place: tuple[int, int],
    pace: str,
    rng: np.random.Generator,
) -> list[Hop]:
    """The campaign's hops; it begins in the ``place``-th of as many parts of ``room`` as there are campaigns."""
    times = _times(campaign, days, room, place, pace, rng)
    hops = []
    for move, at in zip(campaign.moves, times, strict=True):
        steps = conversations(DEEDS[move.deed], move.user, move.resp, pace, much=move.much, rng=rng)
        hops.append(Hop(campaign.name, at, move.orig, move.resp, move.technique, tuple(steps)))
    return hops


def _times(
    campaign: Campaign,
    days: list[Day],
    room: tuple[int, int],
    place: tuple[int, int],
    pace: str,
    rng: np.random.Generator,
) -> list[int]:
    (first, last), hops = room, len(campaign.moves)
    pauses = box(rng, _PAUSES[pace], hops) * MINUTE + below(rng, MINUTE, hops)
    pauses[0] = 0
    luck = below(rng, DAY, hops).tolist()
    share = _SUPPLIERS if "-supplier" in campaign.name else 1
    spare = max(last - first - int(pauses.sum()), HOUR)
    start = (spare // place[1] * place[0] + spare // place[1] * int(below(rng, 1024, 1)[0]) // 1024) // share
    for left in range(_TRIES, 0, -1):
        hurried = (pauses * left // _TRIES).tolist()
        times = _met(campaign.moves, days, first + start * left // _TRIES, hurried, luck)
        if times[-1] <= last:
            return times
    return _even(first, last, hops, int(luck[0]))


def _met(moves: Sequence[Move], days: list[Day], start: int, pauses: list[int], luck: list[int]) -> list[int]:
    """Each move after its pause, as soon as its clock allows."""
    times: list[int] = []
    now = start
    for move, pause, chance in zip(moves, pauses, luck, strict=True):
        now = move.clock.meet(now + pause, days, chance)
        times.append(now)
    return times


def _even(first: int, last: int, hops: int, luck: int) -> list[int]:
    """Times for a campaign that must do without its hours: evenly over what there is."""
    width = max((last - first) // hops, 1)
    return [first + i * width + luck % width for i in range(hops)]


# --- the pair of a demonstration ---


def _pair(plant: Plant, days: list[Day], span: tuple[int, int], hired: Ints, seed: int, pace: str) -> list[Hop]:
    """The pair; the last hop an hour before the end."""
    number = first_attack_day(days)
    rng = stream(seed, Purpose.CAMPAIGNS)
    clean, late = clean_until(days, *span), min(span[1], days[-1].midnight + DAY)
    start = min(days[number].clock(9) + seconds(rng, (0, 900, 2400, 4200, 7200)), late - 6 * HOUR)
    hops = _paced("phish", phish(plant, hired, rng), (max(start, clean), late - HOUR), pace, rng)
    second = days[min(number + 1, len(days) - 1)]
    night = second.clock(1) if second.number > number else second.clock(18, 30)
    night = min(night + seconds(rng, (0, 600, 1500, 3000, 5400)), late - 4 * HOUR)
    hops += _paced("supplier", supplier_visit(plant, rng), (max(night, clean), late - HOUR), pace, rng)
    return hops


def _paced(
    campaign: str, moves: list[PairMove], room: tuple[int, int], pace: str, rng: np.random.Generator
) -> list[Hop]:
    """Gives the moves their times; pauses shrink evenly when the days left are too few."""
    start = room[0] + int(below(rng, SECOND, 1)[0])
    pauses = box(rng, _PAUSES[pace], len(moves) - 1) * MINUTE + below(rng, MINUTE, len(moves) - 1)
    span = max(room[1] - start, (len(moves) - 1) * SECOND)
    if int(pauses.sum()) > span:
        pauses = pauses * (span // SECOND) // (int(pauses.sum()) // SECOND + 1)
    times = start + np.concatenate([[0], np.cumsum(pauses)])
    if pace == "hours":  # the last connection carries the hop
        moves = [(*move[:3], (replace(move[3][-1], after=0),)) for move in moves]
    return [Hop(campaign, int(at), *move) for at, move in zip(times.tolist(), moves, strict=True)]
