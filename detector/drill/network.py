"""What a drill must know of a network, learned from its history: hosts, services, accounts, habits, sensors."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

import numpy as np
import polars as pl

from detector.assets.hosts import OUTSIDE, Hosts
from detector.assets.plant import Plant
from detector.assets.services import token
from detector.config import Settings
from detector.errors import UnreadableInput
from detector.formats.sightings import SIGHTS
from detector.history import History
from detector.inventory.model import Asset, assets
from detector.profiles.collect import GROUP, Collected, Collector
from detector.reading import Progress
from detector.simulate.draw import Ints
from detector.simulate.rhythm import DAY, HOUR

_Value = TypeVar("_Value", str, int)
_FEWEST_HOSTS: Final = 3  # one to begin at, one to move to, one that is not part of it
_SIZES: Final = ("duration", "orig_bytes", "resp_bytes", "orig_pkts", "resp_pkts")  # of `Sample`, in its order
_SAMPLES: Final = 400  # connections kept of each service
_LONGEST: Final = 3600.0  # s; what lasts longer is a poll or a tunnel, and no visit
_MOST_ACCOUNTS: Final = 100_000
_MIX: Final = 0x9E3779B1  # 2^32 over the golden ratio (Knuth, TAOCP 3, 6.4): scatters times
_TCP_HEADERS: Final = 40  # bytes of IP and TCP a packet, that NetFlow counts and Zeek's payload does not
FLOWS: Final = "flows"
"""What `Network.logs` calls flow exports, whatever their format; else the name of a Zeek log."""
CARRIERS: Final = {
    "smb": "smb", "rdp": "rdp", "ssh": "ssh", "kerberos": "kerberos", "ntlm": "smb", "dce_rpc": "epmap",
    "modbus": "modbus", "s7comm": "s7comm", "dnp3": "dnp3", "ldap": "ldap", "rfb": "vnc",
}  # fmt: skip
"""Protocol of an operation: the service it shows, where only its log is there."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Connections of one service as they were: int64 of equal length. Duration in µs, bytes of payload."""

    duration: Ints
    orig_bytes: Ints
    resp_bytes: Ints
    orig_pkts: Ints
    resp_pkts: Ints


@dataclass(frozen=True, slots=True)
class Network:
    """A network as its history shows it.

    Args:
        assets: hosts inside, by address.
        pairs: originator, responder, service: answered at least once; with the time it was last seen (µs).
        acts: originator, responder, protocol.
        logs: names of Zeek logs with records in them, and `FLOWS`.
        samples: connections of each service.
        accounts: names seen from each host, those used most often first.
        hours: conversations begun by hour of day, UTC.
        first, last: span of the bulk of the history, µs.
        exporter: whom most flows come from; empty when no flow names one.
        sampling: of flows, 1 of so many packets.
        both_ways: whether flows of both directions are exported.
    """

    assets: dict[str, Asset]
    pairs: dict[tuple[str, str, str], int]
    acts: frozenset[tuple[str, str, str]]
    logs: frozenset[str]
    samples: dict[str, Sample]
    accounts: dict[str, tuple[str, ...]]
    hours: tuple[int, ...]
    first: int
    last: int
    exporter: str
    sampling: int
    both_ways: bool

    def servers(self, service: str) -> list[str]:
        """Hosts inside that answered on a service, in order."""
        return sorted({resp for _, resp, name in self.pairs if name == service and resp in self.assets})

    def knows(self, orig: str, resp: str, service: str) -> bool:
        """Whether these two have talked over this service."""
        return (orig, resp, service) in self.pairs


class _Noted:
    """What the inventory does not keep."""

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts
        self.logs: set[str] = set()
        self.hours, self.days = Counter[int](), Counter[int]()
        self.exporters, self.samplings = Counter[str](), Counter[int]()
        self.flows = self.paired = 0
        self._users: Counter[tuple[str, str]] = Counter()
        self._kept: dict[str, pl.DataFrame] = {}
        self.first: dict[int, int] = {}
        self.last: dict[int, int] = {}

    def add(self, flows: pl.DataFrame, operations: pl.DataFrame) -> None:
        """Take oriented flows and operations."""
        for frame in (flows, operations):
            if frame.height:
                self._times(frame)
        if flows.height:
            self._sensors(flows)
            self._sample(flows)
        named = operations.filter(pl.col("user").is_not_null() & (pl.col("outcome").fill_null("ok") == "ok"))
        for orig, user, count in named.group_by("orig_h", "user").len().iter_rows():
            if len(self._users) < _MOST_ACCOUNTS or (orig, user) in self._users:
                self._users[orig, user] += count

    def _times(self, frame: pl.DataFrame) -> None:
        self.logs |= {_log(name) for name in frame["log"].unique().to_list()}
        day = pl.col("obs_ts") // DAY
        for number, first, last, count in frame.group_by(day.alias("day")).agg(
            pl.col("obs_ts").min().alias("first"), pl.col("obs_ts").max().alias("last"), pl.len()
        ).iter_rows():  # fmt: skip
            self.days[number] += count
            self.first[number] = min(first, self.first.get(number, first))
            self.last[number] = max(last, self.last.get(number, last))

    def _sensors(self, flows: pl.DataFrame) -> None:
        self.hours.update(dict(flows.group_by((pl.col("ts") // HOUR % 24).alias("hour")).len().iter_rows()))
        exported = flows.filter(~pl.col("log").str.starts_with("zeek."))
        self.exporters.update(dict(exported.drop_nulls("exporter").group_by("exporter").len().iter_rows()))
        self.samplings.update(dict(exported.drop_nulls("sampling").group_by("sampling").len().iter_rows()))
        self.flows += exported.height
        self.paired += exported.filter(pl.col("paired") | (pl.col("resp_pkts").fill_null(0) > 0)).height

    def _sample(self, flows: pl.DataFrame) -> None:
        """Of each service those whose times, scattered, come first: the same whatever the order of files."""
        zeek = pl.col("log").str.starts_with("zeek.")
        payload = {
            side: pl.when(zeek).then(f"{side}_bytes").otherwise(
                (pl.col(f"{side}_bytes") - _TCP_HEADERS * pl.col(f"{side}_pkts")).clip(0)
            )
            for side in ("orig", "resp")
        }  # fmt: skip
        whole = flows.filter(
            (pl.col("duration") <= _LONGEST)
            & (pl.col("orig_pkts") > 2)
            & (pl.col("resp_pkts") > 1)
            & pl.col("conn_state").fill_null("SF").is_in(["SF", "RSTO", "RSTR", "S1"])
        ).select(
            "proto", "resp_p", "orig_pkts", "resp_pkts",
            orig_bytes=payload["orig"], resp_bytes=payload["resp"],
            duration=(pl.col("duration") * 1e6).round().cast(pl.Int64),
            turn=(pl.col("ts") % (1 << 31) * _MIX + pl.col("orig_p").fill_null(0) * 40_503) % (1 << 32),
        ).drop_nulls()  # fmt: skip
        ports = whole.select("proto", "resp_p").unique(maintain_order=True)
        tokens = [token(proto, port) for proto, port in ports.iter_rows()]
        whole = whole.join(ports.with_columns(service=pl.Series(tokens, dtype=pl.String)), on=["proto", "resp_p"])
        for (service,), rows in whole.group_by("service", maintain_order=True):
            known = self._kept.get(str(service))
            joined = rows if known is None else pl.concat([known, rows])
            self._kept[str(service)] = joined.sort("turn", *_SIZES)[:_SAMPLES]

    def samples(self) -> dict[str, Sample]:
        """What was kept of each service."""
        return {
            service: Sample(*(rows[name].to_numpy().astype(np.int64) for name in _SIZES))
            for service, rows in sorted(self._kept.items())
        }

    def accounts(self) -> dict[str, tuple[str, ...]]:
        """People's accounts by host; machines' end with a dollar sign."""
        found: dict[str, list[str]] = defaultdict(list)
        for (host, user), _ in sorted(self._users.items(), key=lambda item: (-item[1], item[0])):
            name = user.partition("/")[0].partition("@")[0]
            if name and not name.endswith("$") and name not in found[host]:
                found[host].append(name)
        return {host: tuple(names) for host, names in sorted(found.items())}

    def span(self) -> tuple[int, int]:
        """Without days that hold less than a thousandth of all: misdated records (as `Spool.span` leaves them out)."""
        most = sum(self.days.values())
        days = [day for day, count in self.days.items() if count * 1000 >= most] or list(self.days)
        return min(self.first[day] for day in days), max(self.last[day] for day in days)


def learn(
    paths: Sequence[str | Path],
    settings: Settings,
    plant: Plant,
    log_format: str,
    dead_letters: BinaryIO,
    progress: Progress,
) -> Network:
    """Read a history and say what is there.

    Raises:
        UnreadableInput: nothing could be read, or too few hosts inside took part.
    """
    hosts = Hosts(plant)
    collector, noted = Collector(hosts), _Noted(hosts)

    def take(flows: pl.DataFrame, operations: pl.DataFrame) -> None:
        collector.add(flows, operations)
        noted.add(flows, operations)

    history = History(settings, log_format, dead_letters, progress, collector.observe, SIGHTS)
    files = history.read(paths, take)
    collected = collector.collected(history.rows, files)
    inside = {asset.address: asset for asset in assets(collected, plant) if asset.first_seen}
    pairs, acts = _pairs(collected)
    there = {end for orig, resp, _ in pairs for end in (orig, resp) if end in inside}
    if len(there) < _FEWEST_HOSTS:
        raise UnreadableInput(
            f"only {len(there)} hosts inside talked to each other, a drill needs {_FEWEST_HOSTS}; "
            "if your own addresses are public, declare their zones in a plant file (--plant)"
        )
    first, last = noted.span()
    return Network(
        assets={address: inside[address] for address in inside if address in there},
        pairs=pairs,
        acts=acts,
        logs=frozenset(noted.logs),
        samples=noted.samples(),
        accounts=noted.accounts(),
        hours=tuple(noted.hours.get(hour, 0) for hour in range(24)),
        first=first,
        last=last,
        exporter=_usual(noted.exporters, ""),
        sampling=max(_usual(noted.samplings, 1), 1),
        both_ways=noted.paired * 2 >= noted.flows,
    )


def _usual(counts: Counter[_Value], none: _Value) -> _Value:
    """What was seen most often; of several the smallest, for the order they came in means nothing."""
    return min(counts, key=lambda value: (-counts[value], value), default=none)


def _log(name: str) -> str:
    return name.removeprefix("zeek.") if name.startswith("zeek.") else FLOWS


def _pairs(collected: Collected) -> tuple[dict[tuple[str, str, str], int], frozenset[tuple[str, str, str]]]:
    """Who talked to whom over what, from conversations; and from acts, which show it too."""
    pairs = {
        (orig, resp, service): last
        for orig, resp, service, last in collected.edges.select("orig_h", "resp_h", "service", "last").iter_rows()
        if orig not in (OUTSIDE, GROUP) and resp not in (OUTSIDE, GROUP)
    }
    acts = set()
    for orig, resp, protocol, last in collected.acts.select("orig_h", "resp_h", "protocol", "last").iter_rows():
        if orig in (OUTSIDE, GROUP) or resp in (OUTSIDE, GROUP):
            continue
        acts.add((orig, resp, protocol))
        if protocol in CARRIERS:
            key = (orig, resp, CARRIERS[protocol])
            pairs[key] = max(last, pairs.get(key, last))
    return dict(sorted(pairs.items())), frozenset(acts)
