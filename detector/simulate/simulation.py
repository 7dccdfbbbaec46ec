"""The simulation day by day: intents, connections, files."""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np

from . import cells, drift, office, servers, suppliers
from .acts import Acts, ActTable
from .campaigns import Hop, attack_acts, clean_until, plan_campaigns
from .draw import Ints, Purpose, stream
from .lookups import with_lookups
from .netflow_writer import NetflowWriter
from .plant import Plant, build_plant
from .plant_file import plant_yaml
from .rhythm import DAY, Day, date, day_of, iso, micros
from .wire import Conns, connect, join
from .zeek_writer import ZeekWriter

START: Final = datetime(2026, 3, 2, tzinfo=UTC)
"""Default start, a Monday. Never the wall clock: a simulation is the same tomorrow."""

_FOREVER: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class SimulatedPlant:
    """What `simulate` wrote.

    Args:
        root: the folder all of it is in.
        zeek_dir: ``<date>/<log>.log``, Zeek JSON.
        netflow_dir: ``<date>.json``, goflow2 JSON, the same connections.
        labels: CSV, one row an attack hop; only its header without campaigns.
        plant: the plant file.
        start, end: ISO 8601 times of the simulated span.
        train_until: ISO 8601 time before which there is no attack.
        counts: lines by log (``conn``, ``dns``, ..., ``netflow``), and ``hosts``, ``campaigns``, ``hops``.
    """

    root: Path
    zeek_dir: Path
    netflow_dir: Path
    labels: Path
    plant: Path
    start: str
    end: str
    train_until: str
    counts: dict[str, int]


def simulate(
    out: Path,
    *,
    days: float = 7,
    hosts: int = 200,
    seed: int = 1,
    start: datetime | None = None,
    campaigns: bool = True,
    progress: Callable[[str, float], None] | None = None,
) -> SimulatedPlant:
    """Simulates a plant and writes its logs.

    Args:
        out: folder to write to; made if missing. Must hold no simulation yet.
        days: length; attacks begin after about two thirds of it.
        hosts: addresses in the plant, 40 to 10,000.
        seed: same seed, same bytes. Not negative.
        start: first instant; an aware datetime. Default `START`.
        campaigns: False for quiet weeks: the same ordinary life, nobody attacks.
        progress: called after each day with its date and the share done.

    Raises:
        ValueError: a value out of range.
        FileExistsError: ``out`` holds logs already.
    """
    first = micros(start or START)
    until = first + round(days * 86_400) * 1_000_000
    if days <= 0 or seed < 0:
        raise ValueError(f"days must be above 0 and seed not negative, not {days} and {seed}")
    run = _Run(out, build_plant(hosts, seed), seed, first, until, campaigns)
    for done, day in enumerate(run.days, start=1):
        run.simulate_day(day)
        if progress:
            progress(date(day.midnight), done / len(run.days))
    return run.finish()


class _Run:
    """One simulation under way."""

    def __init__(self, out: Path, plant: Plant, seed: int, first: int, until: int, campaigns: bool) -> None:
        self._out, self._plant, self._seed, self._first, self._until = out, plant, seed, first, until
        zeek, netflow = out / "zeek", out / "netflow"
        if zeek.exists() or netflow.exists():
            raise FileExistsError(f"{out} holds logs already; choose a new folder")
        for folder in (zeek, netflow):
            folder.mkdir(parents=True)
        begin = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=first)
        self.days = [day_of(begin, i) for i in range((until - 1) // DAY - first // DAY + 1)]
        self._hired = drift.first_days(plant, len(self.days), seed)
        self._hops = plan_campaigns(plant, self.days, (first, until), self._hired, seed) if campaigns else []
        self._seen: dict[int, list[tuple[int, int, str, str]]] = {}
        self._book = drift.AddressBook(plant, seed)
        self._zeek, self._netflow = ZeekWriter(zeek, plant), NetflowWriter(netflow, plant)

    def simulate_day(self, day: Day) -> None:
        """One UTC day from intents to files."""
        self._book.turn(day)
        ordinary = with_lookups(self._ordinary(day), self._plant, self._stream(day, Purpose.LOOKUPS))
        parts = [connect(ordinary, self._until, self._stream(day, Purpose.WIRE))]
        hostile = Acts()
        today = [(i, hop) for i, hop in enumerate(self._hops) if day.midnight <= hop.at < day.midnight + DAY]
        attack_acts(today, hostile)
        rng = self._stream(day, Purpose.ATTACK)
        parts.append(connect(with_lookups(hostile.table(), self._plant, rng), self._until, rng))
        conns = join(parts)
        conns = conns.take((conns.ts >= self._first) & (conns.ts < self._until))
        self._note_hops(conns)
        self._zeek.add(conns, self._book.addresses, self._stream(day, Purpose.ZEEK))
        self._netflow.add(conns, self._book.addresses, self._stream(day, Purpose.NETFLOW))
        for writer in (self._zeek, self._netflow):
            writer.write_until(day.midnight + DAY)

    def finish(self) -> SimulatedPlant:
        """Writes what is left, the labels and the plant file."""
        self._zeek.write_until(_FOREVER)
        self._netflow.write_until(_FOREVER)
        labels, plant_path = self._out / "labels.csv", self._out / "plant.yaml"
        self._write_labels(labels)
        plant_path.write_text(plant_yaml(self._plant), encoding="utf-8", newline="\n")
        clean = clean_until(self.days, self._first, self._until)
        counts = self._zeek.written | {
            "netflow": self._netflow.written,
            "hosts": len(self._plant.inside),
            "hops": len(self._hops),
            "campaigns": len({hop.campaign for hop in self._hops}),
        }
        return SimulatedPlant(
            self._out,
            self._out / "zeek",
            self._out / "netflow",
            labels,
            plant_path,
            iso(self._first),
            iso(self._until),
            iso(clean),
            counts,
        )

    def _stream(self, day: Day, purpose: Purpose) -> np.random.Generator:
        return stream(self._seed, purpose, day.number)

    def _ordinary(self, day: Day) -> ActTable:
        """What everybody but an intruder means to do today."""
        plant, acts = self._plant, Acts()
        present: Ints = office.people_of(plant, day, self._hired, self._stream(day, Purpose.PRESENCE))
        office.office_day(plant, day, present, self._stream(day, Purpose.OFFICE), acts)
        servers.servers_day(plant, day, present, self._stream(day, Purpose.SERVERS), acts)
        cells.cells_day(plant, day, present, self._stream(day, Purpose.CELLS), acts)
        suppliers.suppliers_day(plant, day, self._stream(day, Purpose.SUPPLIERS), acts)
        drift.drift_day(plant, day, present, self._stream(day, Purpose.DRIFT), acts)
        return acts.table()

    def _note_hops(self, conns: Conns) -> None:
        """Remembers when and between which addresses the hops of today took place."""
        addresses = self._book.addresses
        for row in np.flatnonzero(conns.hop >= 0).tolist():
            seen = self._seen.setdefault(int(conns.hop[row]), [])
            ends = addresses[conns.orig[row]], addresses[conns.resp[row]]
            seen.append((int(conns.ts[row]), int(conns.end[row]), *ends))

    def _write_labels(self, path: Path) -> None:
        with path.open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(("campaign", "start", "end", "src", "dst", "technique"))
            for position, hop in enumerate(self._hops):
                seen = self._seen.get(position)
                if seen:
                    rows.writerow(_label(hop, seen))


def _label(hop: Hop, seen: list[tuple[int, int, str, str]]) -> tuple[str, ...]:
    """The hop from the start of its first connection to the end of its last."""
    begin, end = min(row[0] for row in seen), max(row[1] for row in seen)
    return hop.campaign, iso(begin), iso(end), seen[0][2], seen[0][3], hop.technique
