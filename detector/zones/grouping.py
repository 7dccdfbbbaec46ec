"""Which hosts belong together: by what they are, where their addresses lie, and which controllers they work with.

A subnet that is in use is a zone when its hosts are alike. Where hosts of different kinds share a subnet, kinds are
zones; sparse subnets next to each other count as one. Panels and controllers are told apart by cell where addresses do
not tell them: a controller belongs to the panel that talks to it most.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from itertools import chain, count
from typing import Final

from detector.assets.roles import UNKNOWN, weigh
from detector.assets.services import OT_SERVICES
from detector.profiles.facts import Profile, facts

DESK, SERVER, ACCESS, OPERATIONS, SUPERVISION, CONTROL = (
    "office", "servers", "access", "operations", "supervision", "control",
)  # fmt: skip
LEVELS: Final = {DESK: 4.0, SERVER: 4.0, ACCESS: 3.5, OPERATIONS: 3.0, SUPERVISION: 2.0, CONTROL: 1.0}
"""Purdue levels, as `assets.roles` gives those of the roles."""
_KINDS: Final = {
    **dict.fromkeys(("workstation", "printer", "iot"), DESK),
    **dict.fromkeys(("jump_host", "vendor_gateway"), ACCESS),
    **dict.fromkeys(("historian", "scada_server", "engineering_workstation"), OPERATIONS),
    "hmi": SUPERVISION,
    "plc": CONTROL,
    **dict.fromkeys(("network_device", UNKNOWN), ""),  # as what is around them
}
"""By role; all others are servers."""
_CLIENTS: Final = 3  # of a host that begins nothing and is known for nothing else: a server
_MIXED_FEW: Final = 8  # hosts of a small zone of servers, jump hosts and historians: a DMZ
_SPARSE: Final = 4  # hosts of a subnet below which it says little by itself
_STRAYS: Final = 0.1  # share of a subnet's hosts up to which others among them are no zone of their own
_ALIKE: Final = 0.5  # of the controllers of two panels that are the same: one cell
_MACHINE: Final = (ACCESS, OPERATIONS, SERVER)


@dataclass(frozen=True, slots=True)
class Group:
    """A zone that is proposed. ``networks`` hold nobody else that was seen; ``hosts`` are named one by one."""

    name: str
    kind: str
    level: float
    members: tuple[str, ...]
    networks: tuple[str, ...]
    hosts: tuple[str, ...]
    roles: dict[str, int]


@dataclass(frozen=True, slots=True)
class _Part:
    """Hosts of one kind in one place; ``told`` says that the addresses alone make it a zone."""

    kind: str
    place: str
    members: tuple[str, ...]
    told: bool


def learned_roles(everybody: Mapping[str, Profile]) -> dict[str, str]:
    """The most likely role of each host that took part in a conversation."""
    found = {}
    for address, profile in everybody.items():
        if profile.offered or profile.used:
            shares = weigh(facts(profile, dict(everybody)))
            found[address] = min(shares, key=lambda role, told=shares: (-told[role], role))  # type: ignore[misc]
    return found


def groups(
    everybody: Mapping[str, Profile],
    roles: Mapping[str, str],
    zoned: Collection[str] = (),
    taken: Collection[str] = (),
) -> list[Group]:
    """Zones in order of their first addresses; every host is in one.

    Args:
        everybody: what hosts do.
        roles: what they are.
        zoned: hosts that have a zone already.
        taken: names of zones that there are, and patterns of conduits, such as ``office*``.
    """
    kinds = {address: _kind(everybody[address], role) for address, role in roles.items()}
    kinds |= dict.fromkeys(_panels(everybody, kinds), SUPERVISION)
    free = {address: kind for address, kind in kinds.items() if address not in zoned}
    parts = [part for place, members, told in _places(free) for part in _split(place, members, free, told=told)]
    cells = _cells(everybody, kinds)
    parts = _merge_servers([one for part in parts for one in _by_cell(part, cells)])
    parts.sort(key=lambda part: _number(part.members[0]))
    owners, names = _owners(parts, zoned), _names(parts, taken)
    found = []
    for place, part in enumerate(parts):
        networks = sorted({_subnet(host) for host in part.members if owners[_subnet(host)] == {place}}, key=_net_number)
        found.append(
            Group(
                name=names[place],
                kind=part.kind,
                level=LEVELS[part.kind],
                members=part.members,
                networks=tuple(networks),
                hosts=tuple(host for host in part.members if _subnet(host) not in networks),
                roles=dict(sorted(Counter(roles[host] for host in part.members).items())),
            )
        )
    return found


def _kind(profile: Profile, role: str) -> str:
    serves = not profile.used and len(profile.peers(profile.offered, offered=True)) >= _CLIENTS
    return SERVER if role == UNKNOWN and serves else _KINDS.get(role, SERVER)


def _panels(everybody: Mapping[str, Profile], kinds: Mapping[str, str]) -> list[str]:
    """Stations that work with the controllers of one subnet, where there are several, and beside which none works with
    more: they belong to that cell, whether they poll all the time or now and then."""
    asked = {host: _controllers(everybody[host], kinds) for host, kind in kinds.items() if kind == OPERATIONS}
    places = {host: {_subnet(controller) for controller in found} for host, found in asked.items()}
    site = {_subnet(host) for host, near in places.items() if len(near) != 1}
    cells = {_subnet(host) for host, kind in kinds.items() if kind == CONTROL}
    return [host for host, near in places.items() if len(near) == 1 < len(cells) and _subnet(host) not in site]


def _controllers(profile: Profile, kinds: Mapping[str, str]) -> Counter[str]:
    """Controllers that a host asks -> how often."""
    found: Counter[str] = Counter()
    for service in sorted(OT_SERVICES & profile.used.keys()):
        found.update({peer: n for peer, n in profile.used[service].peers.items() if kinds.get(peer) == CONTROL})
    return found


def _places(kinds: Mapping[str, str]) -> list[tuple[str, list[str], bool]]:
    """Subnets in use, and what is left around them; whether the place itself says something of its hosts."""
    subnets: dict[str, list[str]] = defaultdict(list)
    for address in sorted(kinds, key=_number):
        subnets[_subnet(address)].append(address)
    around: dict[str, list[str]] = defaultdict(list)
    for members in subnets.values():
        if len(members) < _SPARSE:
            around[_around(members[0])] += members
    flat = {place for place, members in around.items() if len({kinds[host] for host in members} - {""}) > 2}
    mixtures = Counter(_around(members[0]) for members in subnets.values() if _is_mixture(members, kinds))
    flat |= {place for place, count in mixtures.items() if count > 1}
    found = []
    for subnet, members in subnets.items():
        mixed = len({kinds[host] for host in members} - {""}) > 1
        if len(members) >= _SPARSE and mixed and _around(members[0]) in flat:
            around[_around(members[0])] += members
        elif len(members) >= _SPARSE:
            found.append((subnet, members, True))
    return found + [(place, sorted(members, key=_number), False) for place, members in sorted(around.items())]


def _is_mixture(members: Sequence[str], kinds: Mapping[str, str]) -> bool:
    """Whether a subnet holds more kinds than neighbours are."""
    return len(members) > _MIXED_FEW and len({kinds[host] for host in members} - {""}) > 2


def _split(place: str, members: Sequence[str], kinds: Mapping[str, str], *, told: bool) -> list[_Part]:
    counts = Counter(kinds[host] for host in members if kinds[host])
    most = min(counts, key=lambda kind: (-counts[kind], kind)) if counts else DESK
    if len(members) <= _MIXED_FEW and counts and set(counts) <= set(_MACHINE):
        # A DMZ or a site's servers: few hosts of different duty that stand between others.
        kind = ACCESS if ACCESS in counts else most
        return [_Part(kind, place, tuple(members), told)]
    joined: dict[str, list[str]] = defaultdict(list)
    for host in members:
        kind = kinds[host]
        stray = told and kind in (DESK, SERVER) and counts[kind] <= _STRAYS * len(members)
        joined[most if not kind or stray or (told and kind in _MACHINE and counts[kind] == 1) else kind].append(host)
    return [_Part(kind, place, tuple(hosts), told and len(joined) == 1) for kind, hosts in sorted(joined.items())]


def _cells(everybody: Mapping[str, Profile], kinds: Mapping[str, str]) -> dict[str, str]:
    """Panel or controller -> the first panel of its cell."""
    asked = {host: _controllers(everybody[host], kinds) for host, kind in kinds.items() if kind == SUPERVISION}
    talks = {host: found for host, found in asked.items() if found}
    panels = sorted(talks, key=_number)
    first: dict[str, str] = {}
    for panel in panels:
        first[panel] = next((first[one] for one in panels if one in first and _alike(talks[one], talks[panel])), panel)
    found = dict(first)
    for controller in (host for host, kind in kinds.items() if kind == CONTROL):
        ranked = [
            (-talks[panel][controller], place, panel) for place, panel in enumerate(panels) if talks[panel][controller]
        ]
        if ranked:
            found[controller] = first[min(ranked)[2]]
    return found


def _alike(one: Mapping[str, int], other: Mapping[str, int]) -> bool:
    return len(one.keys() & other.keys()) >= _ALIKE * max(len(one.keys() | other.keys()), 1)


def _by_cell(part: _Part, cells: Mapping[str, str]) -> list[_Part]:
    """Panels and controllers that share a place with those of other cells, or with other kinds, cell by cell."""
    if part.kind not in (SUPERVISION, CONTROL):
        return [part]
    panels = {cells.get(host, "") for host in part.members}
    together = part.told and len({_subnet(panel) for panel in panels if panel}) <= 1
    if together and not (part.kind == CONTROL and panels <= set(part.members)):
        return [part]
    by_cell: dict[str, list[str]] = defaultdict(list)
    for host in part.members:
        by_cell[cells.get(host, "")].append(host)
    return [
        _Part(part.kind, f"{part.place} {cell}", tuple(hosts), part.told) for cell, hosts in sorted(by_cell.items())
    ]


def _merge_servers(parts: Iterable[_Part]) -> list[_Part]:
    """Servers of subnets next to each other are one zone: a machine room has many."""
    merged: dict[str, list[str]] = defaultdict(list)
    others = []
    for part in parts:
        if part.kind == SERVER:
            merged[_around(part.members[0])] += part.members
        else:
            others.append(part)
    return others + [_Part(SERVER, place, tuple(sorted(hosts, key=_number)), True) for place, hosts in merged.items()]


def _names(parts: Sequence[_Part], taken: Collection[str]) -> list[str]:
    """The kind, with a number where there are several. Where that is a name already, or one that conduits mean by a
    pattern, another: nobody decided that they hold for it."""
    heads = tuple(name[:-1] for name in taken if name.endswith("*"))
    found: list[str] = []
    for part in parts:
        alone = sum(other.kind == part.kind for other in parts) == 1
        stem = f"new_{part.kind}" if part.kind in taken or part.kind.startswith(heads) else part.kind
        choices = chain([stem] if alone else [], (f"{stem}{number}" for number in count(1)))
        found.append(next(name for name in choices if name not in found and name not in taken))
    return found


def _owners(parts: Sequence[_Part], zoned: Iterable[str]) -> dict[str, set[int]]:
    """Subnet -> which parts have a host in it, -1 = a zone that is declared."""
    owners: dict[str, set[int]] = defaultdict(set)
    for host in zoned:
        owners[_subnet(host)].add(-1)
    for place, part in enumerate(parts):
        for host in part.members:
            owners[_subnet(host)].add(place)
    return owners


def _subnet(address: str) -> str:
    """The /24 (IPv4) or /64 (IPv6) of an address: what a subnet usually is."""
    return str(ip_network((address, 24 if "." in address else 64), strict=False))


def _around(address: str) -> str:
    """The /16 or /48: what one site or building usually has."""
    return str(ip_network((address, 16 if "." in address else 48), strict=False))


def _number(address: str) -> tuple[int, int]:
    place = ip_address(address)
    return place.version, int(place)


def _net_number(network: str) -> tuple[int, int]:
    place = ip_network(network)
    return place.version, int(place.network_address)
