"""The inventory: one `Asset` a host, with what it is thought to be, why, and what people said it is."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from ipaddress import ip_address
from typing import Any, Final

from detector.alerts.model import iso
from detector.assets.hosts import OUTSIDE, Hosts
from detector.assets.makers import maker
from detector.assets.plant import Plant
from detector.assets.roles import ROLES, RULES, UNKNOWN, weigh
from detector.inventory.declared import is_declared
from detector.profiles.collect import Collected
from detector.profiles.facts import Profile, Use, facts, names, profiles

CRITICALITIES: Final = ("low", "normal", "high", "critical")
"""Importance 1 to 4 as the plant file writes it."""
_SERVICES: Final = 64  # a host offers or uses that are listed, those with most peers first
_PEERS: Final = 8  # listed for each service, those met most often first
_MANY_CLIENTS: Final = 50  # as of the importance of hosts in entities.ndjson
_SURE: Final = 0.7  # confidence from which on a learned role may contradict a declared one
_SHARE_DIGITS: Final = 2
_CONTROLLERS: Final = 1.0  # Purdue level


@dataclass(frozen=True, slots=True)
class Service:
    """A service that a host offers or uses. ``peers`` are the `_PEERS` met most often, ``hosts`` counts all."""

    service: str
    hosts: int
    count: int
    first_seen: str
    last_seen: str
    peers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Asset:
    """A host.

    ``learned_role`` and what belongs to it is what logs say, ``declared_role`` what people said; ``role`` is the
    declared one where there is one. ``state`` is the life cycle (`lifecycle`). Texts out of logs are claims.
    """

    address: str
    state: str
    approved: bool
    role: str
    learned_role: str
    confidence: float
    alternatives: dict[str, float]
    evidence: tuple[str, ...]
    declared_role: str | None
    contradiction: str | None
    name: str | None
    names: tuple[str, ...]
    owner: str | None
    macs: tuple[str, ...]
    maker: str | None
    zone: str
    level: float | None
    level_reason: str
    criticality: str
    criticality_reason: str
    ot_roles: tuple[str, ...]
    offers: tuple[Service, ...]
    uses: tuple[Service, ...]
    software: tuple[str, ...]
    user_agents: tuple[str, ...]
    devices: tuple[str, ...]
    certificates: tuple[str, ...]
    more: tuple[str, ...]
    first_seen: str | None
    last_seen: str | None


def assets(collected: Collected, plant: Plant) -> list[Asset]:
    """All hosts inside, in order of their addresses; then hosts that were declared one by one and never seen."""
    hosts, everybody = Hosts(plant), profiles(collected)
    inside = {address: profile for address, profile in everybody.items() if hosts[address].inside}
    seen = [_asset(profile, facts(profile, everybody), plant, hosts) for profile in inside.values()]
    declared = {
        str(network.network_address)
        for entry in plant.assets
        for network in entry.hosts
        if network.prefixlen == network.max_prefixlen
    }
    unseen = [
        replace(_asset(Profile(address), {}, plant, hosts), state="unseen") for address in declared - inside.keys()
    ]
    return sorted(seen, key=_place) + sorted(unseen, key=_place)


def _place(asset: Asset) -> tuple[bool, int, str]:
    """Addresses as numbers: IPv4 before IPv6."""
    address = ip_address(asset.address)
    return address.version == 6, int(address), asset.address


def _asset(profile: Profile, found: Mapping[str, str], plant: Plant, hosts: Hosts) -> Asset:
    shares = weigh(found)
    ranked = sorted(shares, key=lambda role: (-shares[role], role))
    learned, declared = ranked[0], plant.role(profile.address)
    role, place = declared or learned, hosts[profile.address]
    entry, called, macs = plant.asset(profile.address), names(profile), profile.values("mac")
    level, level_reason = _level(place.level, role)
    criticality, reason = _criticality(entry.importance, role, level, profile)
    return Asset(
        address=profile.address,
        state="new",
        approved=is_declared(plant, profile.address),
        role=role,
        learned_role=learned,
        confidence=round(shares[learned], _SHARE_DIGITS),
        alternatives={name: round(shares[name], _SHARE_DIGITS) for name in ranked[1:4] if shares[name] >= 0.01},
        evidence=tuple(_words(fact, about) for fact, about in _strongest(found, learned)),
        declared_role=declared,
        contradiction=_contradiction(declared, learned, shares[learned]),
        name=entry.name or next(iter(called), None),
        names=tuple(called),
        owner=entry.owner,
        macs=tuple(macs),
        maker=next((made for mac in macs if (made := maker(mac))), None),
        zone=place.zone,
        level=level,
        level_reason=level_reason,
        criticality=criticality,
        criticality_reason=reason,
        ot_roles=tuple(sorted(profile.ot)),
        offers=_services(profile.offered),
        uses=_services(profile.used),
        software=tuple(profile.values("software")),
        user_agents=tuple(profile.values("user_agent")),
        devices=tuple(profile.values("device")),
        certificates=tuple(profile.values("certificate")),
        more=tuple(sorted(profile.more)),
        first_seen=None if profile.first is None else iso(profile.first),
        last_seen=None if profile.last is None else iso(profile.last),
    )


def _strongest(found: Mapping[str, str], role: str) -> list[tuple[str, str]]:
    """Facts that have a say in the role, the strongest first."""
    weighed = ((RULES[fact].weights.get(role, 0.0), fact, about) for fact, about in found.items())
    ranked = sorted(weighed, key=lambda item: (-abs(item[0]), item[1]))
    return [(fact, about) for weight, fact, about in ranked if weight]


def _words(fact: str, about: str) -> str:
    against = "" if "{}" in RULES[fact].words else about and f" ({about})"
    return RULES[fact].words.replace("{}", about) + against


def _contradiction(declared: str | None, learned: str, confidence: float) -> str | None:
    if declared is None or declared not in ROLES or learned in (declared, UNKNOWN) or confidence < _SURE:
        return None
    return f"declared as {ROLES[declared].words}, behaves like a {ROLES[learned].words} ({confidence:.0%})"


def _level(declared: float | None, role: str) -> tuple[float | None, str]:
    if declared is not None:
        return declared, "its zone's in the plant file"
    known = ROLES.get(role)
    if known is None or known.level is None:
        return None, "nothing tells"
    return known.level, f"where a {known.words} usually stands"


def _criticality(declared: str | None, role: str, level: float | None, profile: Profile) -> tuple[str, str]:
    """The highest of what the role, the level and the number of clients say; a declared one wins."""
    if declared is not None:
        return declared, "declared"
    grounds = [(ROLES[role].importance, f"it is a {ROLES[role].words}")] if role in ROLES else []
    if level is not None and level <= _CONTROLLERS:
        grounds.append((4, f"Purdue level {level:g}"))
    clients = len(profile.peers(profile.offered, offered=True) - {OUTSIDE})
    if clients >= _MANY_CLIENTS:
        grounds.append((3, f"{clients} hosts use it"))
    grounds.sort(key=lambda ground: -ground[0])
    return (CRITICALITIES[grounds[0][0] - 1], grounds[0][1]) if grounds else ("low", "nothing sets it apart")


def _services(uses: Mapping[str, Use]) -> tuple[Service, ...]:
    ranked = sorted(uses.items(), key=lambda item: (-len(item[1].peers), -item[1].count, item[0]))
    return tuple(_service(name, use) for name, use in ranked[:_SERVICES])


def _service(name: str, use: Use) -> Service:
    peers = sorted(use.peers, key=lambda peer: (-use.peers[peer], peer))
    return Service(name, len(peers), use.count, iso(use.first), iso(use.last), tuple(peers[:_PEERS]))


def as_dict(asset: Asset) -> dict[str, Any]:
    """The asset as JSON types, in order of its fields."""
    return asdict(asset)
