"""Ways between the hosts of a plant: who has always talked to whom, how, when and as whom.

The table repeats what the parts of ordinary life do; the tests hold it to their logs.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from .draw import Ints, below, chance, pick
from .plant import Plant, Role, Supplier
from .servers import SERVERS
from .stories_clocks import ANY, BACKUP, PATCH, VISITS, WORK, Clock

REMOTE: Final = ("exec", "winrm", "wmi", "task", "rdp")
"""Remote control of a Windows host."""


@dataclass(slots=True)
class Walk:
    """An intruder on the way through a plant.

    Args:
        story: its hops, as in `stories`.
        settled: for each host whether it is there from the first day.
        taken: footholds of other campaigns.
        supplier: the machine builder it is about, if any.
        cell: the production cell it is about.
        person: the account whose sessions it rides on beyond the jump hosts.
        at: the host that each place of the story stands for, the last one met.
        met: all hosts so far.
    """

    plant: Plant
    story: str
    settled: Ints
    taken: set[int]
    rng: np.random.Generator
    supplier: Supplier
    cell: int
    person: int = 0
    at: dict[str, int] = field(default_factory=dict)
    met: set[int] = field(default_factory=set)

    def one_of(self, pool: Ints) -> int:
        """A member of ``pool`` that was there from the first day, a new face if there is one."""
        pool = self._settled(pool)
        fresh = [host for host in pool.tolist() if host not in self.met]
        return int(pick(self.rng, np.array(fresh or pool.tolist(), dtype=np.int64), 1)[0])

    def another(self, *roles: Role) -> int:
        """A host of these roles."""
        return self.one_of(self.plant.of(*roles))

    def foothold(self, pool: Ints) -> int:
        """A member of ``pool`` that no other campaign began at, if one is left."""
        pool = self._settled(pool)
        free = pool[~np.isin(pool, list(self.taken))]
        host = self.one_of(free if len(free) else pool)
        self.taken.add(host)
        return host

    def _settled(self, pool: Ints) -> Ints:
        settled = pool[self.settled[pool] == 1]
        return settled if len(settled) else pool


Place = Callable[[Walk, int], int]
"""The host a name stands for, seen from another one."""


def _the(*roles: Role) -> Place:
    return lambda walk, _: walk.another(*roles)


def _dc2(walk: Walk, orig: int) -> int:
    dcs = walk.plant.of(Role.DC)
    return walk.one_of(dcs[dcs != orig])


def _own(walk: Walk, orig: int) -> int:
    """One of the servers that an administrator looks after."""
    servers = walk.plant.of(*SERVERS)
    third = orig * 5 + np.arange(max(2, len(servers) // 3))
    return walk.one_of(servers[third % len(servers)])


def _controller(walk: Walk, orig: int) -> int:
    """A controller of the cell; from a panel, one that it shows."""
    plant, cell = walk.plant, walk.cell
    controllers = plant.in_cell(cell, Role.PLC)
    if plant.hosts[orig].role is Role.HMI:
        panels = plant.in_cell(cell, Role.HMI)
        controllers = controllers[panels[np.arange(len(controllers)) % len(panels)] == orig]
    return walk.one_of(controllers)


def _strange_controller(walk: Walk, orig: int) -> int:
    """A controller that ``orig`` has nothing to do with."""
    plant = walk.plant
    theirs = [plc for plc in plant.of(Role.PLC).tolist() if int(plant.station[plant.hosts[plc].cell]) != orig]
    return walk.one_of(np.array(theirs, dtype=np.int64))


def _next_station(walk: Walk, _: int) -> int:
    """The station of another engineer's cell."""
    choose_engineer(walk)
    return int(walk.plant.station[walk.cell])


def choose_engineer(walk: Walk) -> int:
    """The desk of a controls engineer; the walk is about this person and the cell they look after most."""
    plant = walk.plant
    desks = plant.of(Role.WORKSTATION)
    desk = walk.foothold(desks[plant.engineer[desks] == 1])
    walk.cell, walk.person = desk * 3 % plant.cells, int(plant.owner[desk])
    return desk


def _desk(walk: Walk, _: int) -> int:
    """A desk of no controls engineer, whose person uses the business systems that the story needs."""
    plant = walk.plant
    desks = plant.of(Role.WORKSTATION)
    fit = plant.engineer[desks] == 0
    for hop, users in (("desk>erp", plant.uses_erp), ("desk>orders", plant.uses_mes)):
        if hop in walk.story:
            fit &= users[desks] == 1
    return walk.foothold(desks[fit] if fit.any() else desks)


def _admin(walk: Walk, _: int) -> int:
    return walk.foothold(walk.plant.of(Role.ADMIN))


def _vpn(walk: Walk, _: int) -> int:
    walk.person, walk.cell = walk.supplier.user, walk.supplier.cell
    return walk.supplier.host


def _vpn_jump(walk: Walk, orig: int) -> int:
    _vpn(walk, orig)
    return walk.supplier.jump


PLACES: Final[dict[str, Place]] = {
    "desk": _desk,
    "engineer": lambda walk, _: choose_engineer(walk),
    "admin": _admin,
    "vpn": _vpn,
    "colleague": _the(Role.WORKSTATION),
    "other": _the(Role.WORKSTATION),
    "keeper": _the(Role.ADMIN),
    "files": lambda walk, orig: int(walk.plant.home_files[orig]),
    "dc": lambda walk, orig: int(walk.plant.home_dc[orig]),
    "dc2": _dc2,
    "mail": _the(Role.MAIL),
    "erp": _the(Role.ERP),
    "orders": _the(Role.MES_FRONT),
    "intranet": _the(Role.INTRANET),
    "deploy": _the(Role.DEPLOY),
    "relay": _the(Role.RELAY),
    "mirror": _the(Role.MIRROR),
    "backup": _the(Role.BACKUP),
    "monitor": _the(Role.MONITOR),
    "own": _own,
    "server": _the(Role.FILES, Role.MAIL, Role.ERP, Role.MES_FRONT, Role.INTRANET, Role.MIRROR, Role.RELAY),
    "jump": lambda walk, _: int(walk.plant.of(Role.JUMP)[0]),
    "vpnjump": _vpn_jump,
    "station": lambda walk, _: int(walk.plant.station[walk.cell]),
    "station2": _next_station,
    "historian": _the(Role.HISTORIAN),
    "mes": _the(Role.MES),
    "panel": lambda walk, _: walk.one_of(walk.plant.in_cell(walk.cell, Role.HMI)),
    "plc": _controller,
    "strange": _strange_controller,
}
"""Every place a story may name."""


@dataclass(frozen=True, slots=True)
class Way:
    """Two places that have always talked.

    Args:
        habit: deeds of every day or, for patching and visits, of every week.
        clock: when; None = in the hours of the supplier's visits.
        foreign: deeds that never happen there, and would work.
    """

    habit: tuple[str, ...]
    clock: Clock | None = WORK
    foreign: tuple[str, ...] = REMOTE


_MEMBER: Final = Way(("directory", "ticket"), ANY, ("replicate", "replicate", *REMOTE))
_ENGINEERED: Final = Way(("look",), WORK, ("program", "write", "stop"))
WAYS: Final = {
    "desk>files": Way(("files",)),
    "desk>dc": Way(("directory", "ticket"), WORK, ("replicate", *REMOTE)),
    "desk>mail": Way(("mail",)),
    "desk>intranet": Way(("web",), WORK, ("ssh", *REMOTE)),
    "desk>erp": Way(("erp",)),
    "desk>orders": Way(("orders",)),
    "desk>deploy": Way(("updates",), WORK, ("exec", "winrm", "wmi", "task")),
    "desk>relay": Way(("agent",), WORK, ("ssh", *REMOTE)),
    "engineer>dc": Way(("directory", "ticket"), WORK, ("replicate", *REMOTE)),
    "engineer>jump": Way(("rdp",), WORK, ("exec", "winrm", "wmi", "task")),
    "admin>own": Way(("rdp", "winrm"), WORK, ()),
    "admin>dc": Way(("directory", "ticket"), WORK, ("replicate",)),
    "vpn>vpnjump": Way(("remote access",), None, ("winrm", "exec", "wmi")),
    "jump>station": Way(("rdp",), WORK, ("exec", "winrm", "wmi", "task")),
    "jump>station2": Way(("rdp",), WORK, ("exec", "winrm", "wmi", "task")),
    "vpnjump>station": Way(("rdp",), None, ("exec", "winrm", "wmi", "task")),
    "station>plc": _ENGINEERED,
    "station2>plc": _ENGINEERED,
    "vpnjump>dc": _MEMBER,
    "files>dc": _MEMBER,
    "own>dc": _MEMBER,
    "server>dc": _MEMBER,
    "mail>dc": _MEMBER,
    "intranet>dc": _MEMBER,
    "erp>dc": _MEMBER,
    "deploy>dc": _MEMBER,
    "dc>dc2": Way(("replicate",), ANY),
    "deploy>server": Way(("push",), PATCH, ("winrm", "wmi", "task", "rdp")),
    "deploy>colleague": Way(("push",), PATCH, ("winrm", "wmi", "task", "rdp")),
    "deploy>other": Way(("push",), PATCH, ("winrm", "wmi", "task", "rdp")),
    "backup>server": Way(("files",), BACKUP),
    "backup>historian": Way(("files",), BACKUP),
    "backup>mes": Way(("files",), BACKUP),
    "monitor>server": Way((), ANY, ("ssh", *REMOTE)),
    "orders>erp": Way(("sql",), ANY, ("ssh", *REMOTE)),
    "erp>orders": Way(("sql",), ANY, ("ssh", *REMOTE)),
    "orders>mirror": Way(("sql",), ANY),
    "orders>mes": Way(("orders",), ANY),
    "relay>deploy": Way(("updates",), ANY),
    "historian>mirror": Way(("sql",), ANY),
    "historian>panel": Way((), ANY),
    "historian>plc": Way((), ANY, ("program", "write")),
    "panel>mes": Way(("orders",), ANY),
    "panel>plc": Way((), ANY, ("program", "stop")),
}
"""The old ways by the places they join; any other pair of places has never talked."""


def visit_clock(walk: Walk) -> Clock:
    """The hours of the supplier's windows."""
    return Clock(walk.supplier.days, VISITS)


# --- accounts ---

_SERVICE_ACCOUNTS: Final = {
    Role.BACKUP: "svc-backup",
    Role.DEPLOY: "svc-deploy",
    Role.MONITOR: "svc-monitor",
    Role.HISTORIAN: "svc-hist",
    Role.MES_FRONT: "svc-mes",
    Role.ERP: "svc-mes",
}
_SHARED: Final = (Role.JUMP, Role.EWS, Role.SUPPLIER)  # whoever has a session there


def usual_account(walk: Walk, orig: int, deed: str) -> int:
    """Whose account this deed has always been done with from this host."""
    role = walk.plant.hosts[orig].role
    if role in _SHARED and deed not in ("directory", "ticket"):
        return walk.person
    tended = role in (Role.BACKUP, Role.DEPLOY, Role.MONITOR) and deed not in ("directory", "ticket")
    if tended or (deed in ("sql", "orders") and role in _SERVICE_ACCOUNTS):
        return walk.plant.account(_SERVICE_ACCOUNTS[role])
    return int(walk.plant.owner[orig])


def first_account(walk: Walk, foothold: int) -> int:
    """Whose account an intruder holds where it begins: its user's, or the one a server works with."""
    plant, role = walk.plant, walk.plant.hosts[foothold].role
    if role in _SERVICE_ACCOUNTS:
        return plant.account(_SERVICE_ACCOUNTS[role])
    if role in _SHARED:
        return walk.person
    owner = int(plant.owner[foothold])
    return owner if owner != int(plant.machine[foothold]) else _an_admin(walk)


def stolen_account(walk: Walk, host: int, but: int) -> int:
    """An account left on a host by somebody who worked there once: never the one ``but``."""
    plant, role = walk.plant, walk.plant.hosts[host].role
    found = [_an_admin(walk), _an_admin(walk), plant.account("administrator")]
    if role is Role.WORKSTATION and chance(walk.rng, 30, 1)[0]:
        found.insert(0, int(plant.owner[walk.another(Role.WORKSTATION)]))
    if role in (Role.DC, Role.ADMIN):
        found.insert(0, plant.account("administrator"))
    if role in _SHARED:
        others = [supplier.user for supplier in plant.suppliers if supplier.user != walk.person]
        found.insert(int(below(walk.rng, 2, 1)[0]), others[int(below(walk.rng, len(others), 1)[0])])
    return next(account for account in found if account != but)


def _an_admin(walk: Walk) -> int:
    return int(walk.plant.owner[int(pick(walk.rng, walk.plant.of(Role.ADMIN), 1)[0])])
