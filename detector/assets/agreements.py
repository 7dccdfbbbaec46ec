"""What was agreed with a supplier, as questions about times, hosts and operations."""

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detector.assets.hosts import Hosts
from detector.assets.plant import Plant, consequence
from detector.assets.section import end_us, utc_us
from detector.assets.vendors import ANY, Networks, Vendor, is_place
from detector.assets.windows import Windows

Bools = NDArray[np.bool_]
Numbers = NDArray[np.int64]

_ALWAYS: Final = (-(1 << 62), 1 << 62)  # µs
_KEPT: Final = 1 << 16  # answers about hosts and operations that are kept; no result depends on it


class Agreement:
    """One entry of the register.

    Args:
        vendor: the entry.
        plant: zones, roles and the time zone that it speaks of.
        hosts: looks up zones.

    Attributes:
        hosts, pools, via: its declared hosts, its pools, and the jump hosts.
        valid: from when to when access is valid (µs UTC, exclusive).
        windows: None when it may come at any time.
    """

    def __init__(self, vendor: Vendor, plant: Plant, hosts: Hosts) -> None:
        self.vendor = vendor
        self._plant, self._zones = plant, hosts
        self.hosts, self.pools, self.via = Networks(vendor.hosts), Networks(vendor.vpn_pools), Networks(vendor.via)
        self.windows = Windows(vendor.windows, plant.timezone) if vendor.windows else None
        begin, end = vendor.valid_from, vendor.expires
        self.valid = (
            _ALWAYS[0] if begin is None else utc_us(begin, plant.timezone),
            _ALWAYS[1] if end is None else end_us(end, plant.timezone),
        )
        self._places = Networks([asset for asset in vendor.assets if is_place(asset)])
        self._names = {asset for asset in vendor.assets if not is_place(asset)}
        self.asset = lru_cache(_KEPT)(self._asset)
        """Whether it may work on a host, by its address."""
        self.operation = lru_cache(_KEPT)(self._operation)
        """Whether it may do an operation of a plant protocol; others are not spoken of."""

    def owns(self, address: str) -> bool:
        """Whether its people come from there."""
        return address in self.hosts or address in self.pools

    def in_time(self, times: Numbers) -> Bools:
        """Whether times (µs UTC) are in a window, and access is valid then, shape (n,)."""
        valid: Bools = (times >= self.valid[0]) & (times < self.valid[1])
        return valid if self.windows is None else valid & self.windows.within(times)

    def service(self, name: str) -> bool:
        """Whether it may use a service."""
        return ANY in self.vendor.services or name in self.vendor.services

    def _asset(self, address: str) -> bool:
        if not self.vendor.assets or address in self.via or address in self._places:
            return True
        return bool(self._names) and not self._names.isdisjoint(self._said_of(address))

    def _said_of(self, address: str) -> set[str]:
        """Zone, role and kinds of known server of a host."""
        plant = self._plant
        kinds = {kind for kind, hosts in plant.known_servers.items() if address in map(str, hosts)}
        return kinds | {self._zones[address].zone, plant.asset(address).role or "", plant.role(address) or ""}

    def _operation(self, protocol: str, operation: str) -> bool:
        permitted, kind = self.vendor.operations, consequence(protocol, operation)
        return ANY in permitted or kind is None or kind in permitted or operation.startswith(tuple(permitted))


def agreements(plant: Plant, hosts: Hosts) -> list[Agreement]:
    """All entries of the register, in order."""
    return [Agreement(vendor, plant, hosts) for vendor in plant.vendors]
