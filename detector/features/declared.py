"""What the plant file says of a row: expected there and then, or a supplier outside what was agreed with it."""

from collections.abc import Callable, Sequence
from functools import reduce
from operator import or_
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detector.assets.agreements import Agreement, agreements
from detector.assets.hosts import Hosts
from detector.assets.plant import Plant
from detector.assets.vendors import ANY
from detector.assets.windows import Windows
from detector.rows import Rows

Bools = NDArray[np.bool_]
Numbers = NDArray[np.int64]

DUTIES: Final[dict[str, tuple[str, ...]]] = {
    "domain_controllers": ("drsuapi::",),
    "vulnerability_scanners": (),
    "deployment": ("svcctl::", "ITaskSchedulerService::", "IWbemServices::", "wsman", "write:", "map:", "open:"),
    "backup": ("open:", "read:", "map:", "write:other:"),
    "monitoring": ("IWbemServices::", "wsman", "get", "get_next", "get_bulk"),
}
"""By kind of known server, how the operations begin that are its work; connections always are, so that a server is not
judged for reaching out. A domain controller replicates with its like, a scanner scans: nobody expects it to log on and
run things."""
_BITS: Final = {kind: 1 << place for place, kind in enumerate(DUTIES)}
_AMONG_THEMSELVES: Final = _BITS["domain_controllers"]
NONE: Final = -1  # where places in lists are told: none of them
_SERVERS, _VENDOR, _ZONE, _STATION = range(4)


class Duties(NamedTuple):
    """What the plant file says of a host: the kinds of known server it is (bits, in the order of `DUTIES`), and of the
    file's lists the first vendor it belongs to, the first work on its zone and the first work from it, or `NONE`."""

    servers: int
    vendor: int
    zone: int
    station: int


_NOTHING: Final = Duties(0, NONE, NONE, NONE)


class Declared:
    """Marks rows by what is declared. What does not change from row to row is asked once a host, an account and an
    operation.

    Args:
        plant: maintenance windows, vendors, known servers and the time zone of all windows.
    """

    def __init__(self, plant: Plant) -> None:
        self._works = [window for window in plant.maintenance_windows if window.zone is not None]
        self._open = [Windows([window], plant.timezone) for window in self._works]
        self._zones = [window.zone for window in self._works]
        self._stations = [window.station for window in self._works]
        self._vendors = agreements(plant, Hosts(plant))
        self._servers = {kind: set(map(str, hosts)) for kind, hosts in plant.known_servers.items() if kind in DUTIES}

    def hosts(self, addresses: Sequence[str], zones: Sequence[str]) -> NDArray[np.int64]:
        """What is declared of addresses, each in a zone: shape (n, 4), columns as `Duties` has them."""
        if not (self._servers or self._vendors or self._works):
            return np.tile(_NOTHING, (len(addresses), 1))
        return np.array([self._host(*each) for each in zip(addresses, zones, strict=True)])

    def _host(self, address: str, zone: str) -> Duties:
        servers = reduce(or_, (_BITS[kind] for kind, hosts in self._servers.items() if address in hosts), 0)
        vendor = next((place for place, vendor in enumerate(self._vendors) if vendor.owns(address)), NONE)
        return Duties(servers, vendor, _first(self._zones, zone), _first(self._stations, address))

    def account(self, name: str | None) -> int:
        """The vendor whose account this is (lower case), or `NONE`."""
        return next((place for place, each in enumerate(self._vendors) if name in each.vendor.logins), NONE)

    @staticmethod
    def work(operation: str | None) -> int:
        """The kinds of known server (bits) whose work an operation is; None = a connection."""
        return reduce(or_, (_BITS[kind] for kind, begin in DUTIES.items() if _begins(operation, begin)), 0)

    def __call__(
        self,
        units: Rows,
        duties: Numbers,
        ends: tuple[Numbers, Numbers],
        work: Numbers,
        account: Numbers,
        touches: Bools,
    ) -> dict[str, NDArray[Any]]:
        """``expected`` (bool: the plant file says that this happens), ``vendor`` (which of its vendors the row belongs
        to, from 0; -1 = none), ``outside`` (bool: outside what was agreed with that vendor).

        Args:
            units: with ``ts``, ``orig_h``, ``resp_h``, ``service``, ``operation``.
            duties: `hosts` of all that are known, shape (hosts, 4).
            ends: places of originators and responders among them, shape (n,) each.
            work, account: as the methods tell, shape (n,).
            touches: whether somebody works on the responder by it, or it is a controller's protocol, shape (n,).
        """
        vendor = self._vendor(duties, ends[0], account)
        return {
            "expected": self._expected(units, duties, ends, work),
            "vendor": vendor.astype(np.int32),
            "outside": self._outside(units, vendor, touches),
        }

    def _expected(self, units: Rows, duties: Numbers, ends: tuple[Numbers, Numbers], work: Numbers) -> Bools:
        expected = np.zeros(units.height, dtype=np.bool_)
        orig, resp = ends
        if self._servers:
            both = np.where(duties[resp, _SERVERS] & _AMONG_THEMSELVES, -1, ~_AMONG_THEMSELVES)
            expected = duties[orig, _SERVERS] & work & both != 0
        for window, open_ in zip(self._works, self._open, strict=True):
            here = duties[resp, _ZONE] == _first(self._zones, window.zone)
            if window.station is not None:
                here &= duties[orig, _STATION] == _first(self._stations, window.station)
            rows = np.flatnonzero(here)
            if rows.size:
                expected[rows] |= open_.within(units.array("ts")[rows])
        return expected

    def _vendor(self, duties: Numbers, orig: Numbers, account: Numbers) -> Numbers:
        """The first vendor that the originator or the account belongs to."""
        last = len(self._vendors)
        if not last:
            return np.full(orig.size, NONE)
        hosts = duties[orig, _VENDOR]
        first = np.minimum(np.where(hosts < 0, last, hosts), np.where(account < 0, last, account))
        vendor: Numbers = np.where(first == last, NONE, first)
        return vendor

    def _outside(self, units: Rows, vendors: Numbers, touches: Bools) -> Bools:
        outside = np.zeros(units.height, dtype=np.bool_)
        for place, vendor in enumerate(self._vendors):
            rows = np.flatnonzero(vendors == place)
            if rows.size:
                outside[rows] = _beyond(vendor, units.at(rows), touches[rows])
        return outside


def _beyond(agreed: Agreement, units: Rows, touches: Bools) -> Bools:
    """Outside all windows of a vendor or when its access is not valid, from its host to another than its jump hosts, or
    work on an asset or an operation that was not agreed."""
    beyond = ~agreed.in_time(units.array("ts"))
    if agreed.via:
        straight = _each(units, "orig_h", agreed.owns) & ~_each(units, "resp_h", agreed.via.__contains__)
        beyond |= straight
    if agreed.vendor.assets:
        beyond |= touches & ~_each(units, "resp_h", agreed.asset)
    if agreed.vendor.operations != ANY:
        told = zip(units["service"], units["operation"], strict=True)
        beyond |= np.array([what is not None and not agreed.operation(service or "", what) for service, what in told])
    return beyond


def _each(units: Rows, column: str, asks: Callable[[str], bool]) -> Bools:
    """An answer for each row, asked once a distinct text."""
    answers: dict[str, bool] = {}
    for text in units[column].to_list():
        if text not in answers:
            answers[text] = asks(text)
    return np.array([answers[text] for text in units[column].to_list()], dtype=np.bool_)


def _first(known: Sequence[str | None], name: str | None) -> int:
    return known.index(name) if name in known else NONE


def _begins(operation: str | None, beginnings: tuple[str, ...]) -> bool:
    return operation is None or operation.startswith(beginnings)
