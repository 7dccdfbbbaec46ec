"""Hosts met so far: what is known of each, in a row of arrays, found by the key of its address."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from detector.assets.hosts import OUTSIDE, Hosts
from detector.features.declared import Declared, Duties
from detector.rows import Rows
from detector.state.keys import Keys, text_keys
from detector.state.places import Places

MOST_KNOWN: Final = 1 << 20  # hosts looked up and kept, as many as `assets.hosts` keeps; no result depends on it
_ROOM: Final = 1 << 10
_DTYPES: Final = {
    "level": np.float64, "inside": np.bool_, "group": np.bool_, "id": np.uint64, "zone": np.int64, "zone_id": np.uint64,
    "device": np.uint64, "named": np.bool_,
}  # fmt: skip


class KnownHosts:
    """What zones and plant file say of addresses, looked up once each.

    Args:
        hosts: looks up zone, level and the rest.
        declared: looks up duties.

    Attributes:
        duties: shape (hosts, 4), see `Declared.hosts`.
        zones: names of the zones met; ``zone`` of a host is its place here.
    """

    def __init__(self, hosts: Hosts, declared: Declared) -> None:
        self._hosts, self._declared = hosts, declared
        self._places = Places(MOST_KNOWN)
        self._outside_key = _keys_of([OUTSIDE])[0]
        self._begin()

    def _begin(self) -> None:
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
        places, new, anew = self._places.of(keys)
        if anew:
            self._begin()
        if new.size:
            of_each = (new[new // units.height == column] % units.height for column in range(len(columns)))
            told = zip(columns, of_each, strict=True)
            self._add([text for name, rows in told for text in units.values(name, rows)], keys[new])
        return places

    def _add(self, addresses: Sequence[str], keys: Keys) -> None:
        found = self._hosts.many(addresses)
        begin, end = self._count, self._count + len(addresses)
        while end > len(self.duties):
            self._columns = {name: np.concatenate([column, column]) for name, column in self._columns.items()}
            self.duties = np.concatenate([self.duties, self.duties])
        zones = np.array([self._zone.setdefault(zone, len(self._zone)) for zone in found.zones])[found.zone]
        if len(self._zone) > len(self.zones):
            self.zones += list(self._zone)[len(self.zones) :]
            self._zone_keys = np.concatenate([self._zone_keys, _keys_of(self.zones[self._zone_keys.size :])[:-1]])
        for name, column in {
            "level": found.level,
            "inside": found.inside,
            "group": found.group,
            "id": np.where(found.prefix < 0, keys, _keys_of(found.prefixes)[found.prefix]),
            "named": found.named,
            "device": np.where(found.inside | found.named, keys, self._outside_key),
            "zone": zones,
            "zone_id": self._zone_keys[zones],
        }.items():
            self._columns[name][begin:end] = column
        self.duties[begin:end] = self._declared.hosts(addresses, [self.zones[zone] for zone in zones.tolist()])
        self._count = end


def _keys_of(names: Sequence[str]) -> Keys:
    """Keys of names, and of none behind them."""
    return text_keys(pl.Series([*names, None], dtype=pl.String))
