"""What conduits allow: which zones are reached from which in k hops, whether or not anybody goes there."""

from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from detector.assets import services
from detector.assets.plant import EXTERNAL, PORTS, Conduit, Plant, words
from detector.reach.carriers import SERVICES

_MOST_WAYS: Final = 1 << 16  # looked up and kept; no result depends on it


class Policy:
    """Asks a plant file. What it says nothing of is *not covered*: a host in no declared zone, and everything in a file
    without conduits. Windows and operations of conduits do not count: an intruder can wait, and chooses his act.

    Args:
        plant: zones and conduits.
        everything: whether any service carries an intruder, or those of `carriers` only.
    """

    def __init__(self, plant: Plant, *, everything: bool) -> None:
        self._plant, self._everything = plant, everything
        self.declared = frozenset(zone.name for zone in plant.zones)
        self._of_outside = any(EXTERNAL in (one.from_zone, one.to_zone) for one in plant.conduits)
        self._asked = lru_cache(_MOST_WAYS)(self._ask)

    def covers(self, zone: str) -> bool:
        """Whether it says anything of a zone's hosts."""
        return bool(self._plant.conduits) and (zone in self.declared or (zone == EXTERNAL and self._of_outside))

    def permits(self, from_zone: str, to_zone: str, service: str) -> bool | None:
        """Whether a service may go this way; None where the file says nothing."""
        return self._asked(from_zone, to_zone, service)

    def _ask(self, from_zone: str, to_zone: str, service: str) -> bool | None:
        if not (self.covers(from_zone) and self.covers(to_zone)):
            return None
        leading = (one for one in self._plant.conduits if one.leads(from_zone, to_zone))
        return from_zone == to_zone or any(carries(one, service) for one in leading)

    def leads(self, from_zone: str, to_zone: str) -> bool:
        """Whether an intruder may take a hop this way: by any service that carries one."""
        if from_zone == to_zone:
            return True
        leading = (one for one in self._plant.conduits if one.leads(from_zone, to_zone))
        return any(self._everything or any(carries(one, service) for service in SERVICES) for one in leading)

    def reached(self, zone: str, zones: Iterable[str], hops: int) -> dict[str, int]:
        """Zones by the fewest hops in which their hosts are reached from a host of a zone; its own by one."""
        covered = [name for name in zones if self.covers(name) and name != EXTERNAL]
        found: dict[str, int] = {}
        front = {zone}
        for hop in range(1, hops + 1):
            front = {there for there in covered if any(self.leads(here, there) for here in front)} - set(found)
            found |= dict.fromkeys(sorted(front), hop)
        return found

    def counts(self, zone: str, hosts: Counter[str], hops: int) -> tuple[int, ...] | None:
        """How many hosts a host of a zone may reach in one hop, two, ...; None = not covered.

        Args:
            hosts: of each zone.
        """
        if not self.covers(zone):
            return None
        found = self.reached(zone, hosts, hops)
        own = int(zone in found)  # not the host itself
        return tuple(
            sum(hosts[name] for name, within in found.items() if within <= hop) - own for hop in range(1, hops + 1)
        )


@lru_cache(_MOST_WAYS)
def carries(conduit: Conduit, service: str) -> bool:
    """Whether a conduit carries a service by its name, or by one of its ports."""
    return any(_names(spec, service) for spec in words(conduit.services))


@lru_cache(_MOST_WAYS)
def _names(spec: str, service: str) -> bool:
    ports = PORTS.fullmatch(spec)
    if spec in ("any", service) or ports is None:
        return spec in ("any", service)
    proto, first, last = ports[1], int(ports[2]), int(ports[3] or ports[2])
    return any(services.token(proto, port) == service for port in range(first, last + 1))
