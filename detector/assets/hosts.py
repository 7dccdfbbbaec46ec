"""From an address to what the models need of it: key, zone, Purdue level, inside or outside."""

import bisect
import ipaddress
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detector.assets.plant import EXTERNAL, Plant, Zone
from detector.assets.roles import role_of

_CACHE_LIMIT: Final = 1 << 20
_LONGEST_WITH_BROADCAST: Final = 30
_EVERYBODY: Final = "255.255.255.255"
OUTSIDE: Final = EXTERNAL
OT_LEVEL: Final = 3.0  # Purdue levels up to site operations are OT (IEC 62443-1-1, ISA-95)
_PRIVATE: Final = tuple(
    ipaddress.ip_network(text)
    for text in (
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",  # RFC 1918
        "100.64.0.0/10",  # carrier-grade NAT, RFC 6598
        "169.254.0.0/16", "fe80::/10",  # link-local, RFC 3927 and 4291
        "fc00::/7",  # unique local, RFC 4193
        "127.0.0.0/8", "::1/128", "0.0.0.0/8", "::/128",
    )
)  # fmt: skip

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _bounds(networks: Iterable[_Network]) -> list[int]:
    """Where networks of one version begin and end, in order."""
    apart = ipaddress.collapse_addresses(networks)  # type: ignore[type-var]  # of one version
    return [bound for net in apart for bound in (int(net.network_address), int(net.broadcast_address) + 1)]


def _within(bounds: list[int], number: int) -> bool:
    """Whether an address is in one of the networks of `_bounds`."""
    return bisect.bisect_right(bounds, number) % 2 == 1


_PRIVATE_BOUNDS: Final = {version: _bounds(net for net in _PRIVATE if net.version == version) for version in (4, 6)}
_MULTICAST: Final = {
    4: _bounds([ipaddress.ip_network("224.0.0.0/4")]),  # RFC 5771
    6: _bounds([ipaddress.ip_network("ff00::/8")]),  # RFC 4291
}

_SUBNETS: Final = 1 << 16  # of IPv6 whose names are kept


class Host(NamedTuple):
    """What is known of an address.

    Attributes:
        key: the identity the models count under: the address, or a prefix for addresses outside.
        zone: declared zone, else the /24 (IPv4) or /64 (IPv6) it lies in, else `OUTSIDE`.
        level: Purdue level, None when not declared.
        inside: private or declared.
        group: broadcast or multicast, never the one who starts.
        named: somebody says what it is: an asset with a name or a role, a known server, a supplier's host.
    """

    key: str
    zone: str
    level: float | None
    inside: bool
    group: bool
    named: bool


class Many(NamedTuple):
    """What is known of many addresses: see `Host`; level is NaN when not declared.

    Attributes:
        zone: place among ``zones``, which may hold a name twice.
        prefix: place among ``prefixes`` of the identity; -1 = it is the address.
    """

    level: NDArray[np.float64]
    inside: NDArray[np.bool_]
    group: NDArray[np.bool_]
    named: NDArray[np.bool_]
    zone: NDArray[np.int64]
    zones: list[str]
    prefix: NDArray[np.int64]
    prefixes: list[str]


class _Stretch(NamedTuple):
    """What all addresses from one number to the next bound have in common."""

    zone: Zone | None  # of its network
    inside: bool
    multicast: bool
    named: bool


class Hosts:
    """Looks addresses up in the plant's zones: by the address itself, then its declared role, then its network, of
    which the most specific wins."""

    def __init__(self, plant: Plant) -> None:
        self._cache: dict[str, Host] = {}
        self._plant = plant
        self._named = {str(address): zone for zone in plant.zones for address in zone.hosts}
        self._roles = {role_of(role): zone for zone in plant.zones for role in zone.roles}
        ranges = [(network, zone) for zone in plant.zones for network in zone.cidrs]
        # A /31 has no broadcast address (RFC 3021).
        self._broadcasts = {
            int(net.broadcast_address)
            for net, _ in ranges
            if net.version == 4 and net.prefixlen <= _LONGEST_WITH_BROADCAST
        }
        named = list(_named(plant))
        self._stretches = {
            version: _stretches(
                version,
                [(net, zone) for net, zone in ranges if net.version == version],
                _bounds(net for net in named if net.version == version),
            )
            for version in (4, 6)
        }

    def __getitem__(self, address: str) -> Host:
        host = self._cache.get(address)
        if host is None:
            if len(self._cache) >= _CACHE_LIMIT:
                self._cache.clear()
            host = self._cache[address] = self._look_up(address)
        return host

    def many(self, addresses: Sequence[str]) -> Many:
        """The same of many addresses at once, for who keeps what is found: a tenth of the time for those of IPv4 whose
        network says all there is to say."""
        own = self._named or self._roles
        single = [":" in text or (own and self._own_zone(text) is not None) for text in addresses]
        plain = [text for text, alone in zip(addresses, single, strict=True) if not alone]
        numbers = np.frombuffer(b"".join(socket.inet_pton(socket.AF_INET, text) for text in plain), dtype=">u4")
        found = self._of_networks(numbers.astype(np.int64))
        if len(plain) == len(addresses):
            return found
        others = [self._look_up(text) for text, alone in zip(addresses, single, strict=True) if alone]
        return _merged(np.array(single, dtype=np.bool_), found, others)

    def _of_networks(self, numbers: NDArray[np.int64]) -> Many:
        """Of IPv4 addresses, by their networks."""
        starts, stretches = self._stretches[4]
        at = np.searchsorted(starts, numbers, side="right") - 1
        declared = [stretch.zone for stretch in stretches]
        inside, multicast, named = (
            np.array([getattr(stretch, name) for stretch in stretches])[at] for name in ("inside", "multicast", "named")
        )
        broadcast = (numbers & 0xFF == 0xFF) | np.isin(numbers, list(self._broadcasts))
        group = multicast | (numbers == int(ipaddress.IPv4Address(_EVERYBODY))) | (inside & broadcast)
        inside |= group
        labels = np.where(inside, len(declared) + (numbers >> 8), -1)
        zoned = np.array([zone is not None for zone in declared])[at]
        zone, zones = _labelled(np.where(zoned, at, labels), lambda label: _zone_name(label, declared))
        prefix, prefixes = _labelled(
            np.where(inside, -1, numbers >> 16), lambda label: f"{label >> 8}.{label & 255}.0.0/16"
        )
        levels = np.array([np.nan if one is None or one.purdue_level is None else one.purdue_level for one in declared])
        return Many(levels[at], inside, group, named, zone, zones, np.where(inside, -1, prefix), prefixes)

    def _look_up(self, text: str) -> Host:
        version, number = _numbered(text)
        starts, stretches = self._stretches[version]
        zone, inside, multicast, named = stretches[bisect.bisect_right(starts, number) - 1]
        zone = self._own_zone(text) or zone
        inside = inside or zone is not None
        group = multicast or text == _EVERYBODY or (inside and version == 4 and self._is_broadcast(number))
        if zone is not None:
            return Host(text, zone.name, zone.purdue_level, True, group, named)
        if group or inside:
            return Host(text, _subnet(version, number, text), None, True, group, named)
        return Host(_prefix(version, number, text), OUTSIDE, None, False, False, named)

    def _own_zone(self, text: str) -> Zone | None:
        """Declared of the address itself, or of its role."""
        zone = self._named.get(text)
        return self._roles.get(self._plant.role(text) or "") if zone is None and self._roles else zone

    def _is_broadcast(self, number: int) -> bool:
        """Of a declared network, or of a /24 as most undeclared ones are."""
        return number & 0xFF == 0xFF or number in self._broadcasts


def _labelled(labels: NDArray[np.int64], name: Callable[[int], str]) -> tuple[NDArray[np.int64], list[str]]:
    """Names of the distinct labels, and each one's place among them."""
    distinct, places = np.unique(labels, return_inverse=True)
    return places.astype(np.int64), [name(label) for label in distinct.tolist()]


def _zone_name(label: int, declared: Sequence[Zone | None]) -> str:
    """Of a declared zone by its place, behind them of the /24 of an address inside; -1 is outside."""
    if label < 0:
        return OUTSIDE
    zone = declared[label] if label < len(declared) else None
    number = label - len(declared)
    return f"{number >> 16}.{number >> 8 & 255}.{number & 255}.0/24" if zone is None else zone.name


def _merged(single: NDArray[np.bool_], plain: Many, others: Sequence[Host]) -> Many:
    """What was found of both, where each belongs."""
    outside = np.array([not host.inside for host in others])
    prefixes = [host.key for host in others]
    parts = {
        "level": np.array([np.nan if host.level is None else host.level for host in others]),
        "inside": ~outside,
        "group": np.array([host.group for host in others]),
        "named": np.array([host.named for host in others]),
        "zone": len(plain.zones) + np.arange(len(others)),
        "prefix": np.where(outside, len(plain.prefixes) + np.arange(len(others)), -1),
    }
    columns: dict[str, NDArray[Any]] = {}
    for name, part in parts.items():
        column = columns[name] = np.empty(single.size, dtype=part.dtype)
        column[single], column[~single] = part, getattr(plain, name)
    zones = [*plain.zones, *(host.zone for host in others)]
    return Many(**columns, zones=zones, prefixes=[*plain.prefixes, *prefixes])


def of_the_link(text: str) -> bool:
    """Whether an address means something on its own link or host only: no zone can hold it, no router passes it on.

    >>> of_the_link("127.0.0.1"), of_the_link("fe80::1"), of_the_link("0.0.0.0"), of_the_link("192.168.1.1")
    (True, True, True, False)
    """
    address = ipaddress.ip_address(text)
    return address.is_loopback or address.is_link_local or address.is_unspecified


def _numbered(text: str) -> tuple[int, int]:
    """Version and number of an address; `ipaddress` takes ten times as long for one of IPv4.

    Raises:
        ValueError: it is none.
    """
    try:
        return 4, int.from_bytes(socket.inet_pton(socket.AF_INET, text), "big")
    except OSError:
        address = ipaddress.ip_address(text)
        return address.version, int(address)


def _subnet(version: int, number: int, text: str) -> str:
    return f"{text[: text.rindex('.')]}.0/24" if version == 4 else _network_v6(number >> 64 << 64, 64)


def _prefix(version: int, number: int, text: str) -> str:
    """Outside, the network counts, not the address: the internet would fill the tables. /16 and /32 are allocation
    sizes of providers (RFC 7020 practice)."""
    if version == 4:
        return f"{text[: text.index('.', text.index('.') + 1)]}.0.0/16"
    return _network_v6(number >> 96 << 96, 32)


@lru_cache(_SUBNETS)
def _network_v6(number: int, length: int) -> str:
    return str(ipaddress.IPv6Network((number, length)))


def _named(plant: Plant) -> Iterator[_Network]:
    """Networks and addresses of which somebody says what they are."""
    for asset in plant.assets:
        if asset.name is not None or asset.role is not None:
            yield from asset.hosts
    places = [*(str(host) for hosts in plant.known_servers.values() for host in hosts)]
    places += [place for vendor in plant.vendors for place in vendor.hosts]
    yield from map(ipaddress.ip_network, places)


def _flatten(
    ranges: list[tuple[_Network, Zone]],
) -> tuple[list[int], list[Zone | None]]:
    """Disjoint sorted intervals: starts, and the zone from each start to the next."""
    starts: list[int] = []
    zones: list[Zone | None] = []
    stack: list[tuple[int, Zone]] = []  # (end, zone) of the networks we are in, outermost first

    def close(until: int | None) -> None:
        while stack and (until is None or stack[-1][0] < until):
            end, _ = stack.pop()
            starts.append(end + 1)
            zones.append(stack[-1][1] if stack else None)

    for network, zone in sorted(ranges, key=lambda item: (int(item[0].network_address), item[0].prefixlen)):
        close(int(network.network_address))
        starts.append(int(network.network_address))
        zones.append(zone)
        stack.append((int(network.broadcast_address), zone))
    close(None)
    return starts, zones


def _stretches(version: int, ranges: list[tuple[_Network, Zone]], named: list[int]) -> tuple[list[int], list[_Stretch]]:
    """Disjoint stretches of all addresses of a version: starts, and what is known from each to the next. So one search
    finds everything about an address.

    Args:
        ranges: networks of zones.  named: bounds of what somebody named.
    """
    starts, zones = _flatten(ranges)
    private, multicast = _PRIVATE_BOUNDS[version], _MULTICAST[version]
    bounds = sorted({0, *starts, *private, *multicast, *named})
    stretches = []
    for bound in bounds:
        place = bisect.bisect_right(starts, bound) - 1
        zone = zones[place] if place >= 0 else None
        inside = zone is not None or _within(private, bound)
        stretches.append(_Stretch(zone, inside, _within(multicast, bound), _within(named, bound)))
    return bounds, stretches
