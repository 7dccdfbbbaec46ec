"""Real captures under the hosts of a simulated plant: a quiet week teaches, the capture is mixed into the day after.

Addresses are mapped, times shifted, uids kept; whatever else the laboratory did besides is left out, but for what goes
to the internet. Where a capture lands is drawn by seed: from an office desk to a server, or from desk to desk; captures
of plant protocols between hosts of a cell.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from detector.alerts.model import Alert
from detector.assets.hosts import Hosts
from detector.assets.plant import Plant
from detector.backtest.labels import parse_time
from detector.config import Settings
from detector.engine import Engine
from detector.records import Decoded

from . import eastwest
from .plants import CAPTURE_SEED, Recording, Size, Trial, grow, read_logs
from .truth import DAY_US
from .units import merged, ranked_by_day, units_of

SIZE: Final = Size("quiet", 1_000, 0.03, days=8, campaigns=0)
SEEDS: Final = (CAPTURE_SEED, CAPTURE_SEED + 1)
PLACEMENTS: Final = 4
"""Pairs of hosts a capture is tried on, in each plant."""
TOP: Final = 10
_HOURS: Final = (9, 11, 13, 15)  # UTC, of the last day, which is a Monday
_HOUR_US: Final = 3_600_000_000

OFFICE: Final = ("office", "servers")
DESKS: Final = ("office", "office")
STATION: Final = ("site_operations", "control")
CELL: Final = ("control", "control")


@dataclass(frozen=True, slots=True)
class Capture:
    """One recorded attack.

    Attributes:
        folder: under the recorded data.
        src, dst: who moved where, in the capture's addresses.
        dc: the laboratory's domain controller, which becomes the plant's.
        techniques: any of these is the right one; a prefix is enough (``T1021`` for every remote service).
        places: zones to draw source and target from, taken in turn.
    """

    name: str
    folder: str
    src: str
    dst: str
    techniques: tuple[str, ...]
    dc: str = ""
    places: tuple[tuple[str, str], ...] = (OFFICE, DESKS)


def _otrf(name: str, *techniques: str) -> Capture:
    return Capture(
        name, f"zeek-from-pcap/otrf-atomic-lm/{name}", "172.18.39.5", "172.18.39.6", techniques, "172.18.38.5"
    )


def _lemay(name: str, dst: str, *techniques: str) -> Capture:
    folder = f"zeek-from-pcap/lemay-modbus/{name}_modbus_6RTU_with_operate"
    return Capture(f"lemay {name}", folder, "192.168.1.101", dst, techniques, places=(CELL, STATION))


CAPTURES: Final = (
    _otrf("covenant_copy_smb_CreateRequest", "T1021.002", "T1570"),
    _otrf("covenant_psremoting_command", "T1021.006"),
    _otrf("covenant_sharpsc_create_dcerpc_smb_svcctl", "T1569.002", "T1543.003"),
    _otrf("covenant_sharpsc_query_dcerpc_smb_svcctl", "T1007"),
    # The calls are not in the log: only the look-up of the endpoint, and unanswered connections.
    _otrf("covenant_sharpsc_start_dcerpc_smb_svcctl", "T1569.002", "T1021"),
    _otrf("covenant_sharpsc_stop_dcerpc_smb_svcctl", "T1489", "T1543.003", "T1569.002"),
    _otrf("covenant_sharpwmi_create_dcerpc_wmi", "T1047"),
    _otrf("schtask_create", "T1053.005"),
    Capture("apt29 day 1", "apt29-day1/combined_zeek.json.zst", "10.0.1.4", "10.0.1.6", ("T1021",), "10.0.0.4"),
    _lemay("characterization", "192.168.1.104", "T0846", "T0888", "T0861", "T0886"),
    _lemay("exploit_ms08_netapi", "192.168.1.105", "T1210", "T0866", "T1021.002"),
    _lemay("send_a_fake_command", "192.168.1.102", "T0855", "T0836"),
)


@dataclass(frozen=True, slots=True)
class Placement:
    """How one capture fared under one pair of hosts.

    Attributes:
        rank: of its first alert among the alerts of the day, strongest first; None = no alert.
        alerts: of that day.
        unit_rank: of its pair among the pairs of the day, whether or not an alert was sent.
        right: an alert names a right technique.
    """

    src: str
    dst: str
    rank: int | None
    alerts: int
    unit_rank: int | None
    techniques: tuple[str, ...]
    right: bool


@dataclass(frozen=True, slots=True)
class Tried:
    """A capture and its placements."""

    capture: str
    placements: list[Placement] = field(default_factory=list)


def contest(data: Path, seed: int, captures: Sequence[Capture] = CAPTURES, placements: int = PLACEMENTS) -> list[Tried]:
    """Mix every capture into one quiet plant, several times."""
    stage = Stage(grow(Trial(SIZE, "minutes", seed)))
    return [
        Tried(capture.name, [stage.perform(capture, data, number, seed) for number in range(placements)])
        for capture in captures
    ]


class Stage:
    """A plant whose engine has learned its quiet week; every performance starts from there."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self._hosts = Hosts(recording.plant)
        self.midnight = (recording.end - 1) // DAY_US * DAY_US
        engine = self._engine()
        for piece in recording.pieces(last=self.midnight):
            engine.push(piece)
        self._learned = engine.snapshot()

    def _engine(self) -> Engine:
        learned = self.recording.start + (eastwest.LEARNING_DAYS - 1) * DAY_US
        return Engine(Settings(), self.recording.plant, learned)

    def perform(self, capture: Capture, data: Path, number: int, seed: int) -> Placement:
        """The last day once more, with a capture in it."""
        src, dst = self.hosts(capture.places[number % len(capture.places)], [seed, number])
        staged = mapped(
            read_logs([data / capture.folder]),
            {capture.src: src, capture.dst: dst, capture.dc: self._controller()},
            self.midnight + _HOURS[number % len(_HOURS)] * _HOUR_US,
        )
        engine = self._engine()
        engine.restore(self._learned)
        day = [*self.recording.pieces(first=self.midnight), staged]
        together = Decoded(
            pl.concat([part.flows for part in day]).sort("obs_ts", maintain_order=True),
            pl.concat([part.operations for part in day]).sort("obs_ts", maintain_order=True),
        )
        units = [units_of(eastwest.as_rows(scored), self.midnight) for scored in eastwest.scores(engine, [together])]
        return self._placement(capture, (src, dst), merged(pl.concat(units)), engine.judge.final_alerts())

    def _placement(
        self, capture: Capture, pair: tuple[str, str], units: pl.DataFrame, alerts: list[Alert]
    ) -> Placement:
        today = [alert for alert in alerts if parse_time(alert.ts) >= self.midnight]
        today.sort(key=lambda alert: (-alert.score, alert.ts, alert.alert_id))
        ranks = [number for number, alert in enumerate(today, 1) if (alert.src, alert.dst) == pair]
        named = sorted({name for number in ranks for name in today[number - 1].techniques})
        ordered = ranked_by_day(units).filter((pl.col("src") == pair[0]) & (pl.col("dst") == pair[1]))
        return Placement(
            *pair,
            rank=ranks[0] if ranks else None,
            alerts=len(today),
            unit_rank=int(ordered["rank"][0]) if ordered.height else None,
            techniques=tuple(named),
            right=any(name.startswith(capture.techniques) for name in named),
        )

    def hosts(self, places: tuple[str, str], seed: Sequence[int]) -> tuple[str, str]:
        """A source and a target that live a normal life there; in a cell, of the same cell."""
        generator = np.random.default_rng(seed)
        sources = self._active(places[0])
        src = str(generator.choice(sources))
        zone = self._zone(src) if places == CELL else places[1]
        targets = [address for address in self._active(zone) if address != src]
        return src, str(generator.choice(targets))

    def _active(self, zone: str) -> list[str]:
        """Hosts of a zone (part of its name) that are seen in the week and on the last day."""
        last = self.recording.flows["ts"] >= self.midnight
        seen = [
            {*flows["orig_h"].unique(), *flows["resp_h"].unique()}
            for flows in (self.recording.flows.filter(last), self.recording.flows.filter(~last))
        ]
        return sorted(address for address in seen[0] & seen[1] if self._lives_in(address, zone))

    def _zone(self, address: str) -> str:
        return self._hosts[address].zone

    def _lives_in(self, address: str, zone: str) -> bool:
        host = self._hosts[address]
        return zone in host.zone and host.inside and not host.group

    def _controller(self) -> str:
        return str(self.recording.plant.known_servers["domain_controllers"][0])


def mapped(logs: tuple[pl.DataFrame, pl.DataFrame], hosts: dict[str, str], begin: int) -> Decoded:
    """A capture under other addresses and at another time: rows between mapped hosts, or with the internet."""
    first = min(int(frame["ts"].min()) for frame in logs if frame.height)  # type: ignore[arg-type]
    shift = [pl.col(name) - first + begin for name in ("ts", "obs_ts")]
    flows, operations = (_moved(frame, hosts).with_columns(shift) for frame in logs)
    return Decoded(flows, operations)


def _moved(frame: pl.DataFrame, hosts: dict[str, str]) -> pl.DataFrame:
    known = Hosts(Plant())
    addresses = {*frame["orig_h"], *frame["resp_h"]}
    kept = [*hosts, *(address for address in addresses if not known[address].inside)]
    ends = pl.col("orig_h", "resp_h")
    return frame.filter(pl.all_horizontal(ends.is_in(kept))).with_columns(ends.replace(hosts))
