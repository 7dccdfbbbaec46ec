"""Four questions about each connection and each act (after the tenets of NIST SP 800-207, section 2.1): is the device
known, is the user known on it, is the service expected, is the path permitted?

*Known* is what was there before: seen for the first time at least `known_us` earlier, or declared. So nothing becomes
known by being repeated within a day, and nothing depends on what came later. What nobody answered teaches nothing.
Rows come in order of observation, and a row is asked about with what came before it, so neither batches nor the order
of files have a say.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from detector.assets.hosts import OUTSIDE, Hosts
from detector.assets.plant import Plant
from detector.features.acts import ATTEMPT_KIND
from detector.features.conduits import Conduits
from detector.features.units import KINDS, flow_units, operation_units
from detector.rows import Coded, Rows

DAY_US: Final = 86_400_000_000
PEERS: Final = 3
"""Other hosts of the originator's zone that use a service: then it is expected of the next one, too."""
MOST_KEYS: Final = 2_000_000  # of each kind that are remembered, some 200 bytes each; further ones stay unknown
MOST_SERVICES: Final = 50_000  # of zones whose verdicts are counted apart; a scan makes up as many as it likes
OTHER: Final = "other"
CHECKS: Final = ("device", "user", "service", "path")
VERIFIED, UNVERIFIED, DENIED, LEARNING = "verified", "unverified", "denied", "learning"
VERDICTS: Final = (VERIFIED, UNVERIFIED, DENIED, LEARNING)
"""``denied``: no conduit permits it. ``learning``: the history is younger than what is known has to be."""
SCHEMA: Final = pl.Schema(
    {
        "ts": pl.Datetime("us", "UTC"),
        **dict.fromkeys(
            ("orig_h", "orig_zone", "resp_h", "resp_zone", "service", "kind", "operation", "user"), pl.String()
        ),
        **dict.fromkeys(("device_known", "user_known", "service_expected", "path_permitted"), pl.Boolean()),
        **dict.fromkeys(("verdict", "failed", "uid", "source"), pl.String()),
        "position": pl.Int64(),
    }
)
"""Columns of the answers, as docs/trust.md tells them."""
_PAIR: Final = ("orig", "resp", "service")
_USER: Final = ("user", "orig")
_OFFER: Final = ("resp", "service", "orig_zone")


class Firsts:
    """When each key was seen for the first time, µs.

    Args:
        limit: keys at most.
    """

    def __init__(self, limit: int = MOST_KEYS) -> None:
        self._limit = limit
        self._seen: dict[tuple[str, ...], int] = {}
        self.dropped = 0

    def learn(self, keys: Iterable[tuple[tuple[str, ...], int]]) -> list[tuple[tuple[str, ...], int]]:
        """Take keys with a time, in order of time; returns those that are new."""
        new = []
        for key, time in keys:
            if key in self._seen:
                continue
            if len(self._seen) >= self._limit:
                self.dropped += 1
                continue
            self._seen[key] = time
            new.append((key, time))
        return new

    def get(self, key: tuple[str, ...]) -> int | None:
        """The first time of a key."""
        return self._seen.get(key)


class Verifier:
    """Answers the questions, row by row.

    Args:
        plant: zones, conduits, assets, known servers, suppliers.
        known_us: how long what is known has been there, µs.

    Attributes:
        verdicts: (zone of the responder, service) -> rows by verdict.
        checks: rows by check that failed.
    """

    def __init__(self, plant: Plant, known_us: int = DAY_US, limit: int = MOST_KEYS) -> None:
        self._hosts, self._conduits, self._plant = Hosts(plant), Conduits(plant), plant
        self._zones = {zone.name for zone in plant.zones}
        self._known_us = known_us
        self._began: int | None = None
        self._devices, self._users, self._pairs = Firsts(limit), Firsts(limit), Firsts(limit)
        self._offers: dict[tuple[str, ...], list[int]] = {}
        self._about: dict[str, tuple[str, str, bool, bool]] = {}
        self.verdicts: dict[tuple[str, str], Counter[str]] = {}
        self.checks: Counter[str] = Counter()

    @property
    def dropped(self) -> int:
        """Keys that found no room: what they stand for stays unknown."""
        return self._devices.dropped + self._users.dropped + self._pairs.dropped

    def verify(self, flows: pl.DataFrame, operations: pl.DataFrame) -> pl.DataFrame:
        """Oriented flows and operations as `SCHEMA`, in order of observation; see `history.Take`. Broadcast and
        multicast are left out: nobody answers for a group."""
        parts = [self._asked(units) for units in (flow_units(Rows.of(flows)), operation_units(Rows.of(operations)))]
        rows = pl.concat(parts).sort("obs_ts", "ts", "orig_h", "resp_h", "service", "uid", "source", "position")
        if rows.height and self._began is None:
            self._began = int(rows["obs_ts"][0])
        self._learn(rows.filter(pl.col("kind") != KINDS[ATTEMPT_KIND]))
        told = self._judged(rows)
        self._count(told)
        return told.select(SCHEMA.names()).cast(SCHEMA)

    def _asked(self, units: Rows) -> pl.DataFrame:
        """Units with what is known of their ends, and whether conduits permit them; groups are left out."""
        here, there = (self._ends(units.coded(end)) for end in ("orig_h", "resp_h"))
        frame = units.frame(("ts", "obs_ts", "orig_h", "resp_h", "service", "operation", "user", "uid", "source",
                             "position"))  # fmt: skip
        kinds = pl.Series(KINDS, dtype=pl.String).gather(units.array("kind").astype(np.int64))
        return frame.with_columns(
            kind=kinds,
            orig=here["key"], orig_zone=here["zone"], declared=here["declared"],
            resp=there["key"], resp_zone=there["zone"],
            user=pl.col("user").str.to_lowercase(),
            path_permitted=self._permitted(units, here["zone"], there["zone"]),
        ).filter(~there["group"])  # fmt: skip

    def _ends(self, addresses: Coded) -> pl.DataFrame:
        told = [self._of(name) for name in addresses.names]
        names = pl.DataFrame(told, schema=["key", "zone", "declared", "group"], orient="row")
        return names[addresses.codes]

    def _of(self, address: str | None) -> tuple[str, str, bool, bool]:
        """What stands for it, its zone, whether somebody named it, whether it is a group."""
        if address is None:
            return OUTSIDE, OUTSIDE, False, False
        if address not in self._about:
            host = self._hosts[address]
            declared = self._plant.role(address) is not None or self._plant.asset(address).name is not None
            key = address if host.inside or declared else OUTSIDE
            if len(self._about) >= MOST_KEYS:
                self._about.clear()
            self._about[address] = key, host.zone, declared, host.group
        return self._about[address]

    def _permitted(self, units: Rows, here: pl.Series, there: pl.Series) -> pl.Series:
        """Null where zones and conduits say nothing: none is declared, or neither end is in a zone."""
        zones = list(self._zones)
        told = (here.is_in(zones) | there.is_in(zones)) & bool(self._plant.conduits)
        asked = np.flatnonzero(told.to_numpy())
        found: list[bool | None] = [None] * units.height
        if asked.size:
            permitted = self._conduits.unit_permitted(units.at(asked), _coded(here, asked), _coded(there, asked))
            for row, permits in zip(asked.tolist(), permitted.tolist(), strict=True):
                found[row] = permits
        return pl.Series(found, dtype=pl.Boolean)

    def _learn(self, rows: pl.DataFrame) -> None:
        ends = pl.concat([rows.select("obs_ts", host=end) for end in ("orig", "resp")]).sort(
            "obs_ts", maintain_order=True
        )
        self._devices.learn(_firsts(ends, ("host",)))
        self._users.learn(_firsts(rows.filter(pl.col("user").is_not_null()), _USER))
        zones = dict(rows.select("orig", "orig_zone").unique(maintain_order=True).iter_rows())
        for (orig, resp, service), time in self._pairs.learn(_firsts(rows, _PAIR)):
            if orig != OUTSIDE:
                times = self._offers.setdefault((resp, service, zones[orig]), [])
                times.extend([time] if len(times) < PEERS else [])

    def _judged(self, rows: pl.DataFrame) -> pl.DataFrame:
        since = pl.col("obs_ts") - self._known_us
        told = rows.with_columns(
            device=_times(rows, ("orig",), self._devices.get),
            account=_times(rows, _USER, self._users.get),
            pair=_times(rows, _PAIR, self._pairs.get),
            offer=_times(rows, _OFFER, self._offered),
        )
        known = {name: (pl.col(name) <= since).fill_null(False) for name in ("device", "account", "pair", "offer")}
        told = told.with_columns(
            device_known=pl.col("declared") | (known["device"] & (pl.col("orig") != OUTSIDE)),
            user_known=pl.when(pl.col("user").is_not_null()).then(known["account"]),
            service_expected=known["pair"] | known["offer"],
        )
        asked = dict(zip(CHECKS, ("device_known", "user_known", "service_expected", "path_permitted"), strict=True))
        failed = [pl.when(~pl.col(column)).then(pl.lit(check)) for check, column in asked.items()]
        told = told.with_columns(failed=pl.concat_str(failed, separator="+", ignore_nulls=True))
        young = pl.col("obs_ts") < (self._began or 0) + self._known_us
        return told.with_columns(
            verdict=pl.when(~pl.col("path_permitted").fill_null(True)).then(pl.lit(DENIED))
            .when(young).then(pl.lit(LEARNING))
            .when(pl.col("failed") == "").then(pl.lit(VERIFIED))
            .otherwise(pl.lit(UNVERIFIED))
        )  # fmt: skip

    def _offered(self, key: tuple[str, ...]) -> int | None:
        """When so many hosts of a zone had used a service of a host."""
        times = self._offers.get(key, ())
        return times[PEERS - 1] if len(times) == PEERS else None

    def _count(self, told: pl.DataFrame) -> None:
        counts = told.group_by("resp_zone", "service", "verdict", maintain_order=True).len()
        for zone, service, verdict, count in counts.iter_rows():
            key = zone, service or ""
            if key not in self.verdicts and len(self.verdicts) >= MOST_SERVICES:
                key = OTHER, OTHER
            self.verdicts.setdefault(key, Counter())[verdict] += count
        judged = told.filter(pl.col("verdict") != LEARNING)
        for failed, count in judged.group_by("failed", maintain_order=True).len().iter_rows():
            for check in filter(None, failed.split("+")):
                self.checks[check] += count


def _coded(names: pl.Series, rows: NDArray[np.int64]) -> Coded:
    asked = names.gather(rows)
    distinct = asked.unique(maintain_order=True).to_list()
    places = {name: place for place, name in enumerate(distinct)}
    return Coded(np.array([places[name] for name in asked.to_list()], dtype=np.int64), distinct)


def _firsts(rows: pl.DataFrame, key: tuple[str, ...]) -> Iterable[tuple[tuple[str, ...], int]]:
    """Each key of the rows with its first time, in order of appearance."""
    found = rows.group_by(key, maintain_order=True).agg(pl.col("obs_ts").min())
    return ((row[:-1], row[-1]) for row in found.iter_rows())


def _times(rows: pl.DataFrame, key: tuple[str, ...], when: Any) -> pl.Series:
    """What ``when`` says of each row's key; asked once a key."""
    distinct = rows.select(key).unique(maintain_order=True)
    named = distinct.with_columns(_time=pl.Series([when(one) for one in distinct.iter_rows()], dtype=pl.Int64))
    return rows.select(key).join(named, on=key, how="left", nulls_equal=True, maintain_order="left")["_time"]
