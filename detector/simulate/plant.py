"""The car plant: its zones, hosts, accounts and who usually works with what.

Zones follow the Purdue levels of ISA-95 / IEC 62443: office and servers on 4, an industrial DMZ on 3.5, site
operations on 3, and cells with their operator panels (2) and controllers (1).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from .draw import Ints, Purpose, chance, pick, stream, weighted

DOMAIN: Final = "plant.example"  # RFC 2606: never a real name
SMALLEST: Final = 40  # below this there is no office left beside the servers and cells
LARGEST: Final = 10_000  # 254 cells and their third octet
_STAFFED: Final = 60  # from so many hosts on there are application servers and somebody who automates
DESKS: Final = 60  # workstations in an office subnet; the rest of the /24 is for printers and leases
SITES: Final = 400  # web sites the plant talks to


class Role(StrEnum):
    """What a host is for."""

    WORKSTATION = "ws"
    ADMIN = "adm"
    PRINTER = "prn"
    DC = "dc"
    FILES = "fs"
    MAIL = "mail"
    PROXY = "proxy"
    ERP = "erp"
    MES_FRONT = "mesweb"
    INTRANET = "intranet"
    DEPLOY = "deploy"
    MONITOR = "mon"
    BACKUP = "bkp"
    SCANNER = "scan"
    RETIRED = "old"
    JUMP = "jump"
    MIRROR = "histmir"
    RELAY = "relay"
    HISTORIAN = "hist"
    MES = "mes"
    EWS = "ews"
    HMI = "hmi"
    PLC = "plc"
    SUPPLIER = "vpn"
    APP = "app"
    CONFIG = "cfg"
    SYNC = "sync"
    SITE = "site"


@dataclass(frozen=True, slots=True)
class Zone:
    """A part of the network; ``level`` is its Purdue level."""

    name: str
    level: float
    cidr: str


@dataclass(frozen=True, slots=True)
class Host:
    """One address holder. ``cell`` counts from 0, -1 = in no cell."""

    name: str
    role: Role
    address: str
    cell: int = -1


@dataclass(frozen=True, slots=True)
class Supplier:
    """A machine builder with remote access to one cell; ``days`` are the weekdays of its window."""

    user: int
    host: int
    jump: int
    days: tuple[int, int]
    cell: int


@dataclass(frozen=True, slots=True)
class Plant:
    """Everything that does not change from day to day. Hosts and accounts are named by their position.

    Args:
        owner: the account that usually works at each host; machine accounts where nobody does.
        home_dc, home_files, home_printer: what each host usually uses.
        department: a number for each host's subnet.
        uses_erp, uses_mes, engineer: 0 or 1 for each host.
        station: the engineering workstation of each cell.
        s7: 1 for cells whose controllers speak S7comm, 0 for Modbus.
        domain: of its directory; what comes before the first dot is its NetBIOS name.
        sites: how many of the hosts, at their end, are web sites outside.
    """

    hosts: tuple[Host, ...]
    zones: tuple[Zone, ...]
    accounts: tuple[str, ...]
    suppliers: tuple[Supplier, ...]
    roles: dict[Role, Ints]
    owner: Ints
    machine: Ints
    home_dc: Ints
    home_files: Ints
    home_printer: Ints
    department: Ints
    uses_erp: Ints
    uses_mes: Ints
    engineer: Ints
    station: Ints
    s7: Ints
    domain: str = DOMAIN
    sites: int = SITES

    def of(self, *roles: Role) -> Ints:
        """The hosts of these roles, in order."""
        return np.concatenate([self.roles[role] for role in roles])

    def in_cell(self, cell: int, role: Role) -> Ints:
        """The hosts of a role in one cell."""
        return np.array([i for i in self.roles[role].tolist() if self.hosts[i].cell == cell], dtype=np.int64)

    def account(self, name: str) -> int:
        """The position of an account."""
        return self.accounts.index(name)

    @property
    def cells(self) -> int:
        """How many production cells there are."""
        return len(self.station)

    @property
    def inside(self) -> Ints:
        """All hosts but the web sites."""
        return np.arange(len(self.hosts) - self.sites, dtype=np.int64)


class _Census:
    """Hosts as they are listed; gives each the next name of its role."""

    def __init__(self) -> None:
        self.hosts: list[Host] = []
        self._seen: dict[Role, int] = {}

    def add(self, role: Role, address: str, cell: int = -1) -> int:
        count = self._seen[role] = self._seen.get(role, 0) + 1
        self.hosts.append(Host(f"{role.upper()}{count:02d}", role, address, cell))
        return len(self.hosts) - 1

    def row(self, role: Role, prefix: str, first: int, count: int, cell: int = -1) -> None:
        for i in range(count):
            self.add(role, f"{prefix}.{first + i}", cell)


def build_plant(hosts: int, seed: int) -> Plant:
    """A plant of about ``hosts`` addresses (within 5 %), the same for the same seed."""
    if not SMALLEST <= hosts <= LARGEST:
        raise ValueError(f"hosts must be between {SMALLEST} and {LARGEST}, not {hosts}")
    census = _Census()
    cells = max(2, hosts // 40)
    _servers(census, hosts)
    _operations(census, cells, max(4, hosts // 5 // cells))
    suppliers = 2 + hosts // 400
    census.row(Role.SUPPLIER, "10.30.250", 15, suppliers)
    offices = _offices(census, hosts)
    for i in range(SITES):  # documentation ranges of RFC 5737: nobody's addresses
        census.add(Role.SITE, f"{('198.51.100', '203.0.113')[i % 2]}.{1 + i // 2}")
    return _settle(census.hosts, _zones(offices, cells), cells, suppliers, seed)


def _servers(census: _Census, hosts: int) -> None:
    census.row(Role.DC, "10.20.0", 13, 2 + hosts // 2000)
    census.row(Role.FILES, "10.20.1", 30, max(2, hosts // 70))
    for last, role in (
        (10, Role.MAIL),
        (11, Role.PROXY),
        (12, Role.ERP),
        (13, Role.MES_FRONT),
        (14, Role.INTRANET),
    ):
        census.row(role, "10.20.1", last, 1)
    census.row(Role.DEPLOY, "10.20.1", 18, 1)
    census.row(Role.MONITOR, "10.20.1", 19, 1)
    if hosts >= _STAFFED:
        census.row(Role.CONFIG, "10.20.1", 20, 1)
        census.row(Role.SYNC, "10.20.1", 21, 1)
        census.row(Role.APP, "10.20.5", 10, max(2, hosts // 80))
    census.row(Role.RETIRED, "10.20.1", 250, 1)
    census.row(Role.BACKUP, "10.20.2", 11, 1)
    census.row(Role.SCANNER, "10.20.3", 10, 1)
    census.row(Role.ADMIN, "10.12.0", 21, max(2, hosts // 60))
    census.row(Role.JUMP, "10.50.0", 14, 2 + hosts // 1000)
    census.row(Role.MIRROR, "10.50.0", 40, 1)
    census.row(Role.RELAY, "10.50.0", 50, 1)


def _operations(census: _Census, cells: int, size: int) -> None:
    census.row(Role.HISTORIAN, "10.60.1", 10, 1)
    census.row(Role.MES, "10.60.1", 11, 1)
    census.row(Role.EWS, "10.60.1", 23, max(2, (cells + 1) // 2))
    for cell in range(cells):
        panels = max(1, size // 9)  # an operator panel for every eight controllers
        census.row(Role.HMI, f"10.62.{cell + 1}", 10, panels, cell)
        census.row(Role.PLC, f"10.61.{cell + 1}", 21, size - panels, cell)


def _offices(census: _Census, hosts: int) -> int:
    """Fills the rest of the plant with desks and printers; how many office subnets that took."""
    desks = hosts - len(census.hosts) - max(2, hosts // 30)
    subnets = -(-desks // DESKS)
    for subnet in range(subnets):
        here = desks // subnets + (subnet < desks % subnets)
        census.row(Role.WORKSTATION, f"10.10.{subnet + 1}", 10, here)
    for i in range(max(2, hosts // 30)):
        census.add(Role.PRINTER, f"10.10.{i % subnets + 1}.{230 + i // subnets}")
    return subnets


def _zones(offices: int, cells: int) -> tuple[Zone, ...]:
    zones = [Zone(f"office{i + 1}", 4, f"10.10.{i + 1}.0/24") for i in range(offices)]
    zones += [
        Zone("it_admin", 4, "10.12.0.0/24"),
        Zone("servers", 4, "10.20.0.0/16"),
        Zone("supplier_vpn", 4, "10.30.250.0/24"),
        Zone("industrial_dmz", 3.5, "10.50.0.0/24"),
        Zone("site_operations", 3, "10.60.1.0/24"),
    ]
    for cell in range(1, cells + 1):
        zones.append(Zone(f"cell{cell}_supervision", 2, f"10.62.{cell}.0/24"))
        zones.append(Zone(f"cell{cell}_control", 1, f"10.61.{cell}.0/24"))
    return tuple(zones)


_INITIALS: Final = "abcdefghijklmnoprstu"
_NAMES: Final = [
    "ash",
    "brook",
    "cole",
    "dale",
    "elm",
    "ford",
    "gray",
    "hill",
    "ives",
    "kerr",
    "lane",
    "moss",
    "nash",
    "oak",
    "park",
    "reed",
    "shaw",
    "todd",
    "vale",
    "wood",
]


def _people(count: int) -> list[str]:
    """Account names such as ``f.moss``, numbered from the second bearer on."""
    seen: dict[str, int] = {}
    names = []
    for i in range(count):
        name = f"{_INITIALS[i % 20]}.{_NAMES[(i // 20 + 7 * i) % 20]}"
        seen[name] = seen.get(name, 0) + 1
        names.append(name if seen[name] == 1 else f"{name}{seen[name]}")
    return names


def _accounts(hosts: Sequence[Host], suppliers: int) -> tuple[tuple[str, ...], Ints, Ints]:
    """All account names, the usual account of each host and its machine account."""
    desks = [i for i, host in enumerate(hosts) if host.role in (Role.WORKSTATION, Role.ADMIN)]
    names = _people(len(desks))
    for desk, person in zip(desks, range(len(desks)), strict=True):
        if hosts[desk].role is Role.ADMIN:
            names[person] = f"adm-{names[person]}"
    names += ["svc-backup", "svc-deploy", "svc-scan", "svc-monitor", "svc-hist", "svc-mes", "svc-config", "svc-sync"]
    names += ["svc-app", "administrator"]
    names += [f"ext-{letter}{letter}c" for letter in "abdefghijklmnopqrstuvwxyz"[:suppliers]]
    machine = np.arange(len(hosts), dtype=np.int64) + len(names)
    owner = machine.copy()
    owner[desks] = np.arange(len(desks))
    return (*names, *(f"{host.name}$" for host in hosts)), owner, machine


def _suppliers(accounts: Sequence[str], roles: dict[Role, Ints], count: int, cells: int) -> tuple[Supplier, ...]:
    first = next(i for i, name in enumerate(accounts) if name.startswith("ext-"))
    # Odd numbered cells speak Modbus; the second jump host is the suppliers'.
    return tuple(
        Supplier(
            first + i,
            int(roles[Role.SUPPLIER][i]),
            int(roles[Role.JUMP][1]),
            (i % 2, i % 2 + 2),
            (1 + i) % cells,
        )
        for i in range(count)
    )


def _settle(hosts: list[Host], zones: tuple[Zone, ...], cells: int, suppliers: int, seed: int) -> Plant:
    rng = stream(seed, Purpose.PLANT)
    roles = {role: np.array([i for i, h in enumerate(hosts) if h.role is role], dtype=np.int64) for role in Role}
    accounts, owner, machine = _accounts(hosts, suppliers)
    n, ews = len(hosts), roles[Role.EWS]
    return Plant(
        hosts=tuple(hosts),
        zones=zones,
        accounts=accounts,
        suppliers=_suppliers(accounts, roles, suppliers, cells),
        roles=roles,
        owner=owner,
        machine=machine,
        home_dc=roles[Role.DC][weighted(rng, (2,) + (1,) * (len(roles[Role.DC]) - 1), n)],
        home_files=pick(rng, roles[Role.FILES], n),
        home_printer=pick(rng, roles[Role.PRINTER], n),
        department=_departments(hosts),
        uses_erp=chance(rng, 40, n).astype(np.int64),
        uses_mes=chance(rng, 30, n).astype(np.int64),
        engineer=_engineers(roles[Role.WORKSTATION], n),
        station=ews[np.arange(cells) // 2 % len(ews)],
        s7=(np.arange(cells) + 1) % 2,
    )


def _departments(hosts: Sequence[Host]) -> Ints:
    subnets: dict[str, int] = {}
    numbers = (subnets.setdefault(host.address.rpartition(".")[0], len(subnets)) for host in hosts)
    return np.fromiter(numbers, dtype=np.int64, count=len(hosts))


def _engineers(desks: Ints, n: int) -> Ints:
    """Every tenth desk is a controls engineer's; the first desk is one, so that each plant has somebody."""
    chosen = np.zeros(n, dtype=np.int64)
    chosen[desks[::10]] = 1
    return chosen
