"""From logs to contacts: who opened a session on whom, and which work on controllers came from where.

Rows that can have nothing to do with a supplier are let go as they come; work on controllers, which panels do all day,
waits on disk until it is known from which hosts suppliers worked.
"""

import tempfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final

import polars as pl

from detector.assets import services
from detector.assets.agreements import Agreement
from detector.assets.industrial import FUNCTIONS
from detector.features.acts import FLOW_KIND
from detector.features.units import flow_units, operation_units
from detector.rows import Rows

WEB: Final = ("http", "https", "https-alt", "http-alt")
"""How gateways are worked with; to any other host it is no access."""
FILES: Final = ("smb", "ftp")  # what a supplier copies by
_AT_ONCE: Final = 500_000  # rows of work in memory
MAX_CONTACTS: Final = 2_000_000  # rows, some 150 bytes each

CONTACT: Final = {
    "start": pl.Int64(), "end": pl.Int64(), "orig_h": pl.String(), "resp_h": pl.String(), "service": pl.String(),
    "operation": pl.String(), "user": pl.String(), "uid": pl.String(),
}  # fmt: skip
"""Times in µs UTC; ``end`` is null where the log does not tell; ``operation`` is null for a connection."""


class Collector:
    """Keeps what may be about suppliers.

    Args:
        agreed: the register.
        folder: scratch, the caller's to remove.
    """

    def __init__(self, agreed: list[Agreement], folder: Path) -> None:
        self._agreed = agreed
        self._logins = {login for each in agreed for login in each.vendor.logins}
        self._folder = Path(tempfile.mkdtemp(dir=folder))
        self._contacts: list[pl.DataFrame] = []
        self._work: list[pl.DataFrame] = []
        self._parts = 0
        self._sources: dict[str, bool] = {}
        self._ways: dict[str, bool] = {}
        self.first: int | None = None
        self.last: int | None = None
        self.left_out = 0
        """Contacts beyond `MAX_CONTACTS`."""

    def add(self, flows: pl.DataFrame, operations: pl.DataFrame) -> None:
        """Take oriented flows and operations."""
        ended = (pl.col("ts") + (pl.col("duration") * 1e6).round().cast(pl.Int64)).alias("end")
        told = flow_units(Rows.of(flows)).frame().filter(pl.col("kind") == FLOW_KIND).select(ended, pl.all())
        acts = operation_units(Rows.of(operations)).frame().with_columns(end=pl.lit(None, pl.Int64))
        for frame in (told, acts):
            self._take(frame.rename({"ts": "start"}).select(*CONTACT, "obs_ts"))

    def _take(self, rows: pl.DataFrame) -> None:
        if not rows.height:
            return
        begin, end = int(rows["start"].to_numpy().min()), int(rows["obs_ts"].to_numpy().max())
        self.first = begin if self.first is None else min(self.first, begin)
        self.last = end if self.last is None else max(self.last, end)
        mine = self._known(rows["orig_h"], self._sources, lambda host: any(each.owns(host) for each in self._agreed))
        way = self._known(rows["resp_h"], self._ways, lambda host: any(host in each.via for each in self._agreed))
        service, login = pl.col("service"), self._plain()
        session = service.is_in(list(services.SESSION_SERVICES))
        account = login.is_in(list(self._logins)) & ~service.is_in(list(FUNCTIONS))
        work = service.is_in(list(services.OT_SERVICES)) | service.is_in(list(FUNCTIONS))
        rows = rows.with_columns(mine=mine, way=way)
        straight = pl.col("mine") & (service.is_in(FILES) | (work & pl.col("operation").is_null()))
        web = service.is_in(WEB) & pl.col("way") & (pl.col("mine") | account)
        kept = session | straight | web | account.fill_null(value=False)
        self._keep(rows.filter(kept).select(*CONTACT))
        self._work.append(rows.filter(work).select(*CONTACT))
        if sum(frame.height for frame in self._work) > _AT_ONCE:
            self._settle()

    @staticmethod
    def _plain() -> pl.Expr:
        return pl.col("user").str.to_lowercase().str.replace(r"^.*\\", "").str.replace(r"[@/].*$", "")

    @staticmethod
    def _known(hosts: pl.Series, answers: dict[str, bool], asks: Callable[[str], bool]) -> pl.Series:
        for host in hosts.unique().to_list():
            if host not in answers:
                answers[host] = asks(host)
        return hosts.replace_strict(answers, return_dtype=pl.Boolean)

    def _keep(self, rows: pl.DataFrame) -> None:
        have = sum(frame.height for frame in self._contacts)
        room = max(MAX_CONTACTS - have, 0)
        self.left_out += max(rows.height - room, 0)
        self._contacts.append(rows.head(room))

    def _settle(self) -> None:
        pl.concat(self._work).write_parquet(self._folder / f"{self._parts:06d}.parquet")
        self._parts, self._work = self._parts + 1, []

    def contacts(self) -> pl.DataFrame:
        """Sessions of anybody, and what suppliers' hosts and accounts did, as `CONTACT`, by start."""
        return _ordered(pl.concat([pl.DataFrame(schema=CONTACT), *self._contacts]))

    def work(self, hosts: Collection[str]) -> pl.DataFrame:
        """Work on controllers from these hosts, as `CONTACT`, by start."""
        here = pl.col("orig_h").is_in(list(hosts))
        parts = [pl.read_parquet(self._folder / f"{part:06d}.parquet").filter(here) for part in range(self._parts)]
        rest = [frame.filter(here) for frame in self._work]
        return _ordered(pl.concat([pl.DataFrame(schema=CONTACT), *parts, *rest]))


def _ordered(rows: pl.DataFrame) -> pl.DataFrame:
    """The same order whatever the order of files was."""
    return rows.sort("start", "orig_h", "resp_h", "service", "operation", "user", "uid", "end", nulls_last=True)
