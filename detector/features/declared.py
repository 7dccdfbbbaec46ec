"""What the plant file says of a row: expected there and then, or a supplier outside its windows."""

from collections.abc import Iterable
from typing import Final

import polars as pl

from detector.assets.plant import Plant, Window

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY_MINUTES: Final = 24 * 60
_EPOCH_MINUTE: Final = 3 * _DAY_MINUTES  # 1970-01-01 was a Thursday

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
_SCANS_ONLY: Final = "vulnerability_scanners"
_AMONG_THEMSELVES: Final = "domain_controllers"


class Declared:
    """Marks rows by what is declared.

    Args:
        plant: maintenance windows, vendors, known servers and the time zone of all windows.
    """

    def __init__(self, plant: Plant) -> None:
        self._zone = plant.timezone
        self._maintenance = plant.maintenance_windows
        self._vendors = plant.vendors
        self._servers = {kind: sorted(map(str, hosts)) for kind, hosts in plant.known_servers.items() if kind in DUTIES}

    def __call__(self, units: pl.DataFrame) -> pl.DataFrame:
        """``units`` plus ``expected`` (bool: the plant file says that this happens) and ``vendor`` (which of its
        vendors the row belongs to, from 0; null = none), ``outside`` (bool: outside the windows or ways agreed with
        that vendor)."""
        # A column of its own, as every window asks for it: worked out anew for each, it was the dearest step of all.
        timed = units.with_columns(_minute=self._minute())
        minute = pl.col("_minute")
        known = timed.with_columns(expected=self._maintained(minute) | self._duty(), vendor=self._vendor())
        return known.with_columns(outside=self._outside(minute)).drop("_minute")

    def _minute(self) -> pl.Expr:
        """Minute of the week, local time of the plant."""
        local = pl.from_epoch("ts", time_unit="us").dt.replace_time_zone("UTC").dt.convert_time_zone(self._zone)
        wall = local.dt.replace_time_zone(None).dt.epoch("us") // 60_000_000
        return ((wall + _EPOCH_MINUTE) % (7 * _DAY_MINUTES)).cast(pl.Int32)

    def _maintained(self, minute: pl.Expr) -> pl.Expr:
        """Work on a zone from its station, in its window."""
        return _any(
            (pl.col("resp_zone") == window.zone)
            & (pl.lit(True) if window.station is None else pl.col("orig_h") == window.station)
            & _within(window, minute)
            for window in self._maintenance
            if window.zone is not None
        )

    def _duty(self) -> pl.Expr:
        connection = pl.col("operation").is_null()
        parts = []
        for kind, hosts in self._servers.items():
            work = connection
            for beginning in DUTIES[kind]:
                work = work | pl.col("operation").str.starts_with(beginning)
            if kind == _AMONG_THEMSELVES:
                work = pl.col("resp_h").is_in(hosts) & work
            elif kind == _SCANS_ONLY:
                work = connection
            parts.append(pl.col("orig_h").is_in(hosts) & work)
        return _any(parts).fill_null(False)

    def _vendor(self) -> pl.Expr:
        found = pl.lit(None, pl.Int32)
        for place, vendor in reversed(list(enumerate(self._vendors))):
            mine = pl.col("orig_h").is_in(list(vendor.hosts))
            if vendor.account is not None:
                mine = mine | (pl.col("user").str.to_lowercase() == vendor.account.lower()).fill_null(False)
            found = pl.when(mine).then(pl.lit(place, pl.Int32)).otherwise(found)
        return found

    def _outside(self, minute: pl.Expr) -> pl.Expr:
        """Outside all windows of the vendor, or from its host to another than its jump hosts."""
        outside = pl.lit(False)
        for place, vendor in enumerate(self._vendors):
            late = ~_any(_within(window, minute) for window in vendor.windows) if vendor.windows else pl.lit(False)
            astray = pl.lit(False)
            if vendor.via:
                astray = pl.col("orig_h").is_in(list(vendor.hosts)) & ~pl.col("resp_h").is_in(list(vendor.via))
            outside = outside | ((pl.col("vendor") == place).fill_null(False) & (late | astray))
        return outside


def _within(window: Window, minute: pl.Expr) -> pl.Expr:
    """Whether a minute of the week is in the window; a day that is not given is every day."""
    begin, end = _minutes(window.start or "00:00"), _minutes(window.end or "24:00")
    length = (end - begin) % _DAY_MINUTES or _DAY_MINUTES
    if window.day is None:
        return (minute - begin) % _DAY_MINUTES < length
    return (minute - _DAYS.index(window.day) * _DAY_MINUTES - begin) % (7 * _DAY_MINUTES) < length


def _minutes(clock: str) -> int:
    hours, minutes = clock.split(":")
    return int(hours) * 60 + int(minutes)


def _any(parts: Iterable[pl.Expr]) -> pl.Expr:
    found = pl.lit(False)
    for part in parts:
        found = found | part
    return found
