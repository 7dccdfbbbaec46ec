"""Hosts met so far: what is known of each, in a row of arrays, found by the key of its address."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from detector.assets.hosts import OUTSIDE, Hosts
from detector.features.declared import Declared, Duties
from detector.rows import Rows
from detector.state.compiled import kernel
from detector.state.counts import Counts, find
from detector.state.keys import Keys, text_keys

MOST_KNOWN: Final = 1 << 20  # hosts looked up and kept, as many as `assets.hosts` keeps; no result depends on it
_ROOM: Final = 1 << 10
_DTYPES: Final = {
    "level": np.float64, "inside": np.bool_, "group": np.bool_, "id": np.uint64, "zone": np.int64, "zone_id": np.uint64,
    "device": np.uint64, "named": np.bool_,
}  # fmt: skip


@kernel
def _look_up(keys: Any, table: Any, places: Any) -> Any:
    """places <- row of each key, -1 for one that is not known; how many are not."""
    slots, cells, _ = table
    unknown = 0
    for row in range(keys.size):
        slot = find(slots, keys[row])
        places[row] = cells[slot, 0] if slots[slot] != np.uint64(0) else -1
        unknown += places[row] < 0
    return unknown


@kernel
def _enter(keys: Any, first: Any, table: Any, used: Any) -> None:
    """Keys that are not known get rows from ``first`` on."""
    slots, cells, _ = table
    for row in range(keys.size):
        slot = find(slots, keys[row])
        slots[slot] = keys[row]
        cells[slot, 0] = first + row
        used[0] += 1


class KnownHosts:
    """What zones and plant file say of addresses, looked up once each.

    Args:
        hosts: looks up zone, level and the rest.
        declared: looks up duties.

    Attributes:
        duties: shape (hosts, 4), see `Declared.host`.
        zones: names of the zones met; ``zone`` of a host is its place here.
    """

    def __init__(self, hosts: Hosts, declared: Declared) -> None:
        self._hosts, self._declared = hosts, declared
        self._begin()

    def _begin(self) -> None:
        self._table = Counts(MOST_KNOWN, width=1)
        self._columns: dict[str, NDArray[Any]] = {name: np.empty(_ROOM, dtype) for name, dtype in _DTYPES.items()}
        self.duties = np.empty((_ROOM, len(Duties._fields)), dtype=np.int64)
        self.zones: list[str] = []
        self._zone_keys = np.empty(0, dtype=np.uint64)
        self._zone: dict[str, int] = {}  # place of its name
        self._count = 0

    def __getitem__(self, name: str) -> NDArray[Any]:
        """``level`` (NaN: not declared), ``inside``, ``group``, ``id`` (key of the host's identity), ``zone``,
        ``zone_id`` (key of its name), ``named``, or ``device`` (key of its address; of hosts outside that nobody named
        that of the zone outside); the first of them are filled."""
        return self._columns[name]

    def places(self, units: Rows, columns: Sequence[str]) -> NDArray[np.int64]:
        """Rows of the addresses in some columns, one column after the other; those met for the first time get one.
        A full table begins anew, so rows are good until the next call; what was gathered by them stays so."""
        keys = np.concatenate([units.keys(name) for name in columns])
        places = np.empty(keys.size, dtype=np.int64)
        if _look_up(keys, self._table.table, places):
            self._meet(units, columns, keys, places)
        return places

    def _meet(self, units: Rows, columns: Sequence[str], keys: Keys, places: NDArray[np.int64]) -> None:
        missing = np.flatnonzero(places < 0)
        _, first = np.unique(keys[missing], return_index=True)
        new = missing[np.sort(first)]
        if self._count + new.size > MOST_KNOWN:
            self._begin()
            new = np.sort(np.unique(keys, return_index=True)[1])
        begin, height = self._count, units.height
        of_each = (new[new // height == column] % height for column in range(len(columns)))
        self._add([text for name, rows in zip(columns, of_each, strict=True) for text in units.values(name, rows)])
        self._table.reserve(new.size)
        _enter(keys[new], begin, self._table.table, self._table.used)
        _look_up(keys, self._table.table, places)

    def _add(self, addresses: Sequence[str]) -> None:
        hosts = [self._hosts[address] for address in addresses]
        begin, end = self._count, self._count + len(hosts)
        while end > len(self.duties):
            self._columns = {name: np.concatenate([column, column]) for name, column in self._columns.items()}
            self.duties = np.concatenate([self.duties, self.duties])
        zones = [self._zone.setdefault(host.zone, len(self._zone)) for host in hosts]
        if len(self._zone) > len(self.zones):
            self.zones += list(self._zone)[len(self.zones) :]
            more = text_keys(pl.Series(self.zones[self._zone_keys.size :], dtype=pl.String))
            self._zone_keys = np.concatenate([self._zone_keys, more])
        self._columns["level"][begin:end] = [np.nan if host.level is None else host.level for host in hosts]
        self._columns["inside"][begin:end] = [host.inside for host in hosts]
        self._columns["group"][begin:end] = [host.group for host in hosts]
        self._columns["id"][begin:end] = text_keys(pl.Series([host.key for host in hosts], dtype=pl.String))
        self._columns["named"][begin:end] = [host.named for host in hosts]
        devices = [
            address if host.inside or host.named else OUTSIDE for address, host in zip(addresses, hosts, strict=True)
        ]
        self._columns["device"][begin:end] = text_keys(pl.Series(devices, dtype=pl.String))
        self._columns["zone"][begin:end] = zones
        self._columns["zone_id"][begin:end] = self._zone_keys[zones]
        told = zip(addresses, hosts, strict=True)
        self.duties[begin:end] = [self._declared.host(address, host.zone) for address, host in told]
        self._count = end
