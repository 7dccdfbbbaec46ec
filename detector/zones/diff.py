"""`eastwest zones diff`: what changes from one plant file to another."""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from detector.assets.hosts import OUTSIDE, Hosts
from detector.assets.plant import Conduit, Plant, Zone, words


class Change(NamedTuple):
    """``what`` is added, removed, changed or moved; ``of`` a zone, conduit or host."""

    what: str
    of: str
    name: str
    detail: str


def diff(old: Plant, new: Plant) -> list[Change]:
    """Zones by name, conduits by content, and hosts that either file names and that are in another zone."""
    return [*_zones(old, new), *_conduits(old, new), *_moves(old, new)]


def _zones(old: Plant, new: Plant) -> Iterator[Change]:
    before, after = ({zone.name: zone for zone in plant.zones} for plant in (old, new))
    for name in sorted(before.keys() | after.keys()):
        if name not in after:
            yield Change("removed", "zone", name, "")
        elif name not in before:
            yield Change("added", "zone", name, "")
        elif before[name] != after[name]:
            yield Change("changed", "zone", name, "; ".join(_fields(before[name], after[name])))


def _fields(before: Zone, after: Zone) -> Iterator[str]:
    for field in Zone.model_fields:
        one, other = getattr(before, field), getattr(after, field)
        if isinstance(one, tuple):
            gone, come = (
                [str(item) for item in one if item not in other],
                [str(item) for item in other if item not in one],
            )
            if gone or come:
                yield " ".join([field, *(f"-{item}" for item in gone), *(f"+{item}" for item in come)])
        elif one != other:
            yield f"{field} {one} > {other}"


def _conduits(old: Plant, new: Plant) -> Iterator[Change]:
    before, after = (Counter(_said(conduit) for conduit in plant.conduits) for plant in (old, new))
    for what, found in (("removed", before - after), ("added", after - before)):
        for way, said in sorted(found.elements()):
            yield Change(what, "conduit", way, said)


def _said(conduit: Conduit) -> tuple[str, str]:
    """The way, and all that it says of it; neither name nor note permits anything."""
    arrow = "<>" if conduit.direction == "both" else ">"
    windows = [window.model_dump_json(exclude_defaults=True, by_alias=True) for window in conduit.windows]
    parts = [f"services {', '.join(sorted(words(conduit.services)))}"]
    parts.append(f"operations {', '.join(sorted(words(conduit.operations)))}")
    parts += [f"windows {', '.join(sorted(windows))}"] if windows else []
    return f"{conduit.from_zone or 'any'} {arrow} {conduit.to_zone or 'any'}", "; ".join(parts)


def _moves(old: Plant, new: Plant) -> Iterator[Change]:
    before, after = Hosts(old), Hosts(new)
    for host in sorted(_named(old) | _named(new)):
        begin, end = (_zone(plant, hosts, host) for plant, hosts in ((old, before), (new, after)))
        if begin != end:
            yield Change("moved", "host", host, f"{begin} > {end}")


def _zone(plant: Plant, hosts: Hosts, host: str) -> str:
    name = hosts[host].zone
    return name if name == OUTSIDE or name in {zone.name for zone in plant.zones} else "no zone"


def _named(plant: Plant) -> set[str]:
    """Hosts that the file names one by one."""
    named = {str(host) for zone in plant.zones for host in zone.hosts}
    named |= {str(host) for hosts in plant.known_servers.values() for host in hosts}
    named |= {
        str(network.network_address)
        for asset in plant.assets
        for network in asset.hosts
        if network.prefixlen == network.max_prefixlen
    }
    return named
