"""The stories of campaigns: three groups, by what gives an intruder away, each a list of ways through a plant.

*new*: between hosts that never talked. *operation*: old pairs, but something never done between them. *quiet*: old
pairs and old deeds, where only the account, the time, the volume or the missing inbound session is wrong.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from .draw import Ints, Purpose, below, chance, pick, stream, weighted
from .plant import Plant, Role
from .stories_clocks import ANY, BACKUP, FRINGE, NIGHT, WEEKEND, WORK, Clock
from .stories_deeds import DEEDS, VISIBLE
from .stories_ways import (
    PLACES,
    REMOTE,
    WAYS,
    Walk,
    Way,
    choose_engineer,
    first_account,
    stolen_account,
    usual_account,
    visit_clock,
)

# A story is a line of hops "from>to", places as in `PLACES`; "from?to" looks for open ports. Three to seven hops,
# each from where the intruder is or has been. Of each group about a quarter reaches the plant floor.
NEW: Final = (
    "desk>colleague colleague>other other>keeper desk>other other>colleague",
    "desk>mes mes>panel mes>strange mes>strange",
    "desk?colleague desk?other desk?keeper desk>keeper keeper>colleague",
    "files>erp erp>intranet intranet>mail mail>colleague colleague>keeper",
    "vpn>vpnjump vpnjump>mirror mirror>erp erp>files files>other",
    "desk>keeper keeper>colleague colleague>other desk>other",
    "desk>jump jump>mes mes>strange mes>panel mes>strange",
    "mail>files files>colleague colleague>other other>keeper mail>intranet",
    "desk>files files>erp erp>intranet intranet>colleague colleague>other",
    "vpn>vpnjump vpnjump>historian historian>station historian>mes vpnjump>mes",
    "desk>other other>colleague colleague>other desk>colleague colleague>keeper keeper>other",
    "orders>files files>mail mail>colleague files>other other>keeper",
)
OPERATION: Final = (
    "desk>files files>dc dc>dc2",
    "desk>erp erp>dc desk>intranet intranet>dc",
    "engineer>jump jump>station station>plc station>plc",
    "desk>deploy deploy>server server>dc deploy>colleague",
    "backup>server server>dc backup>server backup>server",
    "vpn>vpnjump vpnjump>station station>plc station>plc station>plc",
    "desk>orders orders>erp erp>dc orders>mirror",
    "monitor>server server>dc monitor>server monitor>server",
    "desk>mail mail>dc desk>relay relay>deploy deploy>server",
    "historian>panel panel>plc panel>plc panel>mes",
    "vpn>vpnjump vpnjump>dc dc>dc2",
    "backup>historian historian>plc historian>plc historian>panel",
)
_CREDENTIAL: Final = (
    "desk>files files>dc desk>dc",
    "engineer>jump jump>station engineer>dc",
    "admin>own own>dc admin>own admin>own",
    "deploy>server server>dc deploy>colleague deploy>server",
    "vpn>vpnjump vpnjump>dc vpnjump>station",
    "backup>server server>dc backup>server backup>server",
    "desk>dc desk>files files>dc",
)
_TIME: Final = (
    "desk>files desk>intranet desk>mail desk>erp",
    "admin>own admin>own admin>own admin>own",
    "engineer>jump jump>station station>plc station>plc",
    "backup>server backup>server backup>server",
    "deploy>colleague deploy>server deploy>other deploy>server",
    "vpn>vpnjump vpnjump>station station>plc station>plc",
    "desk>orders desk>erp desk>files desk>deploy",
)
_VOLUME: Final = (
    "desk>orders orders>erp orders>mirror erp>orders",
    "backup>server backup>server backup>server backup>server",
    "desk>files files>dc desk>files desk>files",
    "orders>erp erp>orders orders>mirror",
    "backup>server backup>historian backup>server backup>mes",
)
_PROVENANCE: Final = (
    "jump>station station>plc station>plc jump>station2",
    "vpnjump>station station>plc station>plc",
    "station>plc station>plc station>plc",
    "jump>station2 jump>station2 jump>station2 station2>plc",
)
QUIET: Final = {"credential": _CREDENTIAL, "time": _TIME, "volume": _VOLUME, "provenance": _PROVENANCE}
"""What gives away a quiet campaign, and its stories."""

_WORKING_HOURS: Final = (70, 15, 15)  # of 100 loud campaigns: working hours, night, whenever it suits
_SWITCHES: Final = 60  # of 100 hops of loud campaigns are made with an account found on the way
_UNGUIDED: Final = ("look", "look", "write")  # what is done to a controller without a session to do it in
_FLOOR: Final = (Role.HISTORIAN, Role.MES, Role.EWS, Role.HMI, Role.PLC)  # Purdue level 3 and below


@dataclass(frozen=True, slots=True)
class Move:
    """One hop as the story has it, before it has a time.

    Args:
        deed: key of `stories_deeds.DEEDS`.
        clock: the hours it is made in.
        much: whether its volume is far above what is usual between these hosts.
    """

    orig: int
    resp: int
    deed: str
    technique: str
    user: int
    clock: Clock
    much: bool


@dataclass(frozen=True, slots=True)
class Campaign:
    """A story cast with the hosts of a plant."""

    name: str
    moves: tuple[Move, ...]


def cast_campaigns(plant: Plant, hired: Ints, seed: int, count: int) -> list[Campaign]:
    """``count`` campaigns, a third of each group; the same whatever the pace."""
    order = stream(seed, Purpose.CAMPAIGNS)
    lists = {"new": NEW, "operation": OPERATION, **QUIET}
    turns = {name: _in_turn(order, len(stories)) for name, stories in lists.items()}
    footholds: set[int] = set()
    campaigns = []
    for number in range(count):
        group, place = ("new", "operation", "quiet")[number % 3], number // 3
        betrayal = list(QUIET)[place % len(QUIET)] if group == "quiet" else ""
        of, turn = betrayal or group, place // len(QUIET) if betrayal else place
        story = lists[of][turns[of][turn % len(lists[of])]]
        rng = stream(seed, Purpose.CAMPAIGNS, 1 + number)
        campaigns.append(_Cast(plant, story, hired, footholds, rng).play(f"{group}-{place + 1:02d}", betrayal, group))
    return campaigns


def _in_turn(rng: np.random.Generator, stories: int) -> list[int]:
    """Every story once, beginning anywhere: neighbours differ in what they reach."""
    first = int(below(rng, stories, 1)[0])
    return [(first + i) % stories for i in range(stories)]


class _Cast:
    """Finds the hosts, deeds and accounts of one story."""

    def __init__(self, plant: Plant, story: str, hired: Ints, taken: set[int], rng: np.random.Generator) -> None:
        supplier = plant.suppliers[int(below(rng, len(plant.suppliers), 1)[0])]
        self._walk = Walk(plant, story, (hired == 0).astype(np.int64), taken, rng, supplier, cell=0)
        self._rng, self._plant = rng, plant
        self._loud = (WORK, NIGHT, ANY)[int(weighted(rng, _WORKING_HOURS, 1)[0])]
        self._odd = (NIGHT, WEEKEND)[int(below(rng, 2, 1)[0])]
        self._account = 0

    def play(self, name: str, betrayal: str, group: str) -> Campaign:
        hops = self._walk.story.split()
        first = hops[0].replace("?", ">").split(">")[0]
        self._begin(first)
        moves = tuple(self._move(hop, betrayal, group) for hop in hops)
        floor = any(self._on_floor(move.resp) for move in moves)
        parts = [name, betrayal, "supplier" if first == "vpn" else "", "ot" if floor else ""]
        return Campaign("-".join(part for part in parts if part), moves)

    def _begin(self, place: str) -> None:
        """Finds the foothold, and a cell whose controllers understand what the story says."""
        walk = self._walk
        choose_engineer(walk)
        for hop, s7 in (("historian>plc", 0), ("panel>plc", 1)):
            if hop in walk.story:
                walk.cell = int(pick(self._rng, np.flatnonzero(self._plant.s7 == s7), 1)[0])
        self._reach(place, PLACES[place](walk, -1))
        self._account = first_account(walk, walk.at[place])

    def _reach(self, place: str, host: int) -> None:
        self._walk.at[place] = host
        self._walk.met.add(host)

    def _move(self, hop: str, betrayal: str, group: str) -> Move:
        walk, sweep = self._walk, "?" in hop
        frm, to = hop.replace("?", ">").split(">")
        orig = walk.at[frm]
        resp = PLACES[to](walk, orig)
        self._reach(to, resp)
        way = WAYS.get(f"{frm}>{to}")
        deed = "probe" if sweep else self._deed(way, group, betrayal, resp)
        facts = DEEDS[deed]
        return Move(
            orig,
            resp,
            deed,
            facts.ot_technique if facts.ot_technique and self._on_floor(resp) else facts.technique,
            self._user(orig, deed, group, betrayal),
            self._clock(way, betrayal),
            betrayal == "volume" and deed in ("files", "sql"),
        )

    def _deed(self, way: Way | None, group: str, betrayal: str, resp: int) -> str:
        if way is None:
            choice: tuple[str, ...] = ("write", "program") if self._is_controller(resp) else (*REMOTE, "copy")
        elif group == "quiet" or (group == "new" and way.clock is None):
            choice = way.habit  # suppliers come in as they always do
        else:
            choice = way.foreign or way.habit
        if betrayal == "provenance" and self._is_controller(resp):
            choice = _UNGUIDED
        if betrayal == "credential":
            choice = tuple(deed for deed in choice if deed in VISIBLE) or choice
        deed = choice[int(below(self._rng, len(choice), 1)[0])]
        if self._is_controller(resp):
            return f"{deed} {'s7' if self._plant.s7[self._plant.hosts[resp].cell] else 'modbus'}"
        return deed

    def _user(self, orig: int, deed: str, group: str, betrayal: str) -> int:
        usual = usual_account(self._walk, orig, deed)
        if betrayal != "credential" and (group == "quiet" or deed == "remote access"):
            return usual
        if betrayal == "credential" or chance(self._rng, _SWITCHES, 1)[0]:
            self._account = stolen_account(self._walk, orig, usual)
        return self._account

    def _clock(self, way: Way | None, betrayal: str) -> Clock:
        if not betrayal or way is None:
            return self._loud
        usual = way.clock or visit_clock(self._walk)
        if betrayal == "time":
            return WORK if usual is BACKUP else self._odd
        if betrayal == "provenance":
            return FRINGE if way.clock is WORK else Clock(usual.weekdays, usual.hours[-1:])
        return usual

    def _is_controller(self, host: int) -> bool:
        return self._plant.hosts[host].role is Role.PLC

    def _on_floor(self, host: int) -> bool:
        return self._plant.hosts[host].role in _FLOOR
