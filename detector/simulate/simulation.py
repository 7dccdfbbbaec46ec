"""The simulation day by day: intents, connections, files."""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np

from . import administrators, automation, cells, drift, office, servers, suppliers
from .acts import Acts, ActTable
from .bursts import bursts_day
from .campaigns import Hop, attack_acts, clean_until, plan_campaigns
from .density import WHOLE, parts, poll_period, thin
from .draw import Purpose, stream
from .lookups import with_lookups
from .netflow_writer import NetflowWriter
from .people import Crew, Staff
from .plant import Plant, build_plant
from .plant_file import plant_yaml
from .rhythm import DAY, Day, date, day_of, iso, micros
from .violations import breaches_day, is_breach, plan_breaches
from .wire import Conns, connect, join
from .zeek_writer import ZeekWriter

START: Final = datetime(2026, 3, 2, tzinfo=UTC)
"""Default start, a Monday. Never the wall clock: a simulation is the same tomorrow."""

_USUAL_CAMPAIGNS: Final = 2  # of each story one
_FOREVER: Final = 1 << 62
_BLOCK: Final = 50_000  # connections in memory as text at once: some 200 MB with all their records


@dataclass(frozen=True, slots=True)
class SimulatedPlant:
    """What `simulate` wrote.

    Args:
        root: the folder all of it is in.
        zeek_dir: ``<date>/<log>.log``, Zeek JSON.
        netflow_dir: ``<date>.json``, goflow2 JSON, the same connections; None if not wanted.
        labels: CSV, one row an attack hop; only its header without campaigns.
        plant: the plant file.
        start, end: ISO 8601 times of the simulated span.
        train_until: ISO 8601 time before which there is no attack.
        violations: CSV, what suppliers did that was not agreed: kind, vendor, start, end, src, dst; None if not wanted.
        counts: lines by log (``conn``, ``dns``, ..., ``netflow``), and ``hosts``, ``campaigns``, ``hops``.
    """

    root: Path
    zeek_dir: Path
    netflow_dir: Path | None
    labels: Path
    plant: Path
    start: str
    end: str
    train_until: str
    counts: dict[str, int]
    violations: Path | None = None


def simulate(  # noqa: PLR0913 - what the command takes, the function takes
    out: Path,
    *,
    days: float = 7,
    hosts: int = 200,
    seed: int = 1,
    start: datetime | None = None,
    density: float = 1.0,
    netflow: bool = True,
    campaigns: bool | int = True,
    pace: str = "minutes",
    violations: bool = False,
    progress: Callable[[str, float], None] | None = None,
) -> SimulatedPlant:
    """Simulates a plant and writes its logs.

    Args:
        out: folder to write to; made if missing. Must hold no simulation yet.
        days: length; attacks begin after about two thirds of it, ten or more after one third.
        hosts: addresses in the plant, 40 to 10,000.
        seed: same seed, same bytes. Not negative.
        start: first instant; an aware datetime. Default `START`.
        density: share of routine repetitions that the sensors saw, above 0, at most 1 = all; see `density.thin`.
        netflow: False for Zeek logs only.
        campaigns: how many attacks; True for two. With False the same ordinary life, nobody attacks.
        pace: "minutes" between an intruder's hops and several connections each, or "hours" and one connection.
        violations: whether suppliers also do what was not agreed, see `violations`.
        progress: called after each day with its date and the share done.

    Raises:
        ValueError: a value out of range.
        FileExistsError: ``out`` holds logs already.
    """
    first = micros(start or START)
    until = first + round(days * 86_400) * 1_000_000
    if days <= 0 or seed < 0:
        raise ValueError(f"days must be above 0 and seed not negative, not {days} and {seed}")
    if not 0 < parts(density) <= WHOLE:
        raise ValueError(f"density must be above 0 and at most 1, not {density}")
    if campaigns < 0:
        raise ValueError(f"campaigns must not be negative, not {campaigns}")
    count = _USUAL_CAMPAIGNS if campaigns is True else int(campaigns)
    wish = _Wish(out, seed, (first, until), parts(density), netflow, count, pace, violations)
    run = _Run(build_plant(hosts, seed), wish)
    for done, day in enumerate(run.days, start=1):
        run.simulate_day(day)
        if progress:
            progress(date(day.midnight), done / len(run.days))
    return run.finish()


@dataclass(frozen=True, slots=True)
class _Wish:
    """What was asked for; ``span`` in µs, ``density`` in parts of `density.WHOLE`."""

    out: Path
    seed: int
    span: tuple[int, int]
    density: int
    netflow: bool
    campaigns: int
    pace: str
    violations: bool


class _Run:
    """One simulation under way."""

    def __init__(self, plant: Plant, wish: _Wish) -> None:
        self._plant, self._wish = plant, wish
        zeek, netflow = wish.out / "zeek", wish.out / "netflow"
        if zeek.exists() or netflow.exists():
            raise FileExistsError(f"{wish.out} holds logs already; choose a new folder")
        for folder in (zeek, netflow) if wish.netflow else (zeek,):
            folder.mkdir(parents=True)
        first, until = wish.span
        begin = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=first)
        self.days = [day_of(begin, i) for i in range((until - 1) // DAY - first // DAY + 1)]
        self._hired = drift.first_days(plant, len(self.days), wish.seed)
        self._hops = plan_campaigns(
            plant, self.days, wish.span, self._hired, wish.seed, count=wish.campaigns, pace=wish.pace
        )
        self._breaches = plan_breaches(plant, self.days, stream(wish.seed, Purpose.BREACHES)) if wish.violations else []
        self._seen: dict[int, list[tuple[int, int, str, str]]] = {}
        self._book = drift.AddressBook(plant, self.days, wish.seed)
        self._staff = Staff(plant, self._hired, wish.seed)
        self._zeek = ZeekWriter(zeek, plant)
        self._netflow = NetflowWriter(netflow, plant) if wish.netflow else None

    def simulate_day(self, day: Day) -> None:
        """One UTC day from intents to files."""
        self._book.turn(day)
        conns = join([self._ordinary(day), self._hostile(day)])
        first, until = self._wish.span
        conns = conns.take((conns.ts >= first) & (conns.ts < until))
        self._note_hops(conns)
        zeek, netflow = self._stream(day, Purpose.ZEEK), self._stream(day, Purpose.NETFLOW)
        for block in range(0, len(conns), _BLOCK):
            self._write(conns.take(np.arange(block, min(block + _BLOCK, len(conns)))), day, zeek, netflow)
        self._write_until(day.midnight + DAY)

    def _write(self, conns: Conns, day: Day, zeek: np.random.Generator, netflow: np.random.Generator) -> None:
        """Hands a block to the writers; what was due before it can go to the disk."""
        self._write_until(min(int(conns.ts[0]), day.midnight + DAY))
        self._zeek.add(conns, self._book.addresses, zeek)
        if self._netflow:
            self._netflow.add(conns, self._book.addresses, netflow)

    def _write_until(self, moment: int) -> None:
        self._zeek.write_until(moment)
        if self._netflow:
            self._netflow.write_until(moment)

    def finish(self) -> SimulatedPlant:
        """Writes what is left, the labels and the plant file."""
        self._write_until(_FOREVER)
        out, (first, until) = self._wish.out, self._wish.span
        labels, plant_path = out / "labels.csv", out / "plant.yaml"
        self._write_labels(labels)
        temporary = date(self.days[0].midnight) if self._wish.violations else None
        plant_path.write_text(plant_yaml(self._plant, temporary), encoding="utf-8", newline="\n")
        violations = out / "violations.csv" if self._wish.violations else None
        if violations is not None:
            self._write_violations(violations)
        counts = self._zeek.written | {
            "netflow": self._netflow.written if self._netflow else 0,
            "hosts": len(self._plant.inside),
            "hops": len(self._hops),
            "campaigns": len({hop.campaign for hop in self._hops}),
        }
        return SimulatedPlant(
            out,
            out / "zeek",
            out / "netflow" if self._netflow else None,
            labels,
            plant_path,
            iso(first),
            iso(until),
            iso(clean_until(self.days, first, until, self._wish.campaigns)),
            counts,
            violations,
        )

    def _ordinary(self, day: Day) -> Conns:
        """What everybody but an intruder does today."""
        crew = self._staff.crew(day, self._stream(day, Purpose.PRESENCE))
        acts = Acts.of(thin(self._intents(day, crew), self._wish.density, self._stream(day, Purpose.DENSITY)))
        bursts_day(self._plant, day, crew, self._stream(day, Purpose.BURSTS), acts)
        table = acts.table()
        table = table.take((self._hired[table.orig] <= day.number) & (self._hired[table.resp] <= day.number))
        table = with_lookups(table, self._plant, self._stream(day, Purpose.LOOKUPS))
        return self._connect(table, self._stream(day, Purpose.WIRE))

    def _hostile(self, day: Day) -> Conns:
        """What the intruders do today."""
        acts, rng = Acts(), self._stream(day, Purpose.ATTACK)
        attack_acts(((i, hop) for i, hop in enumerate(self._hops) if 0 <= hop.at - day.midnight < DAY), acts)
        hostile = self._connect(with_lookups(acts.table(), self._plant, rng), rng)
        return join([hostile, self._careless(day)]) if self._breaches else hostile

    def _careless(self, day: Day) -> Conns:
        """What suppliers do today that was not agreed."""
        acts, rng = Acts(), self._stream(day, Purpose.BREACHES)
        breaches_day(self._plant, day, self._breaches, rng, acts)
        return self._connect(with_lookups(acts.table(), self._plant, rng), rng)

    def _connect(self, table: ActTable, rng: np.random.Generator) -> Conns:
        return connect(table, self._wish.span[1], rng, poll_period(self._wish.density))

    def _stream(self, day: Day, purpose: Purpose) -> np.random.Generator:
        return stream(self._wish.seed, purpose, day.number)

    def _intents(self, day: Day, crew: Crew) -> ActTable:
        """What everybody but an intruder means to do today."""
        plant, hired, acts = self._plant, self._hired, Acts()
        office.office_day(plant, day, crew, hired, self._stream(day, Purpose.OFFICE), acts)
        servers.servers_day(plant, day, crew, self._stream(day, Purpose.SERVERS), acts)
        administrators.administrators_day(plant, day, crew, self._stream(day, Purpose.ADMINISTRATORS), acts)
        automation.automation_day(plant, day, crew, self._stream(day, Purpose.AUTOMATION), acts)
        cells.cells_day(plant, day, crew, self._stream(day, Purpose.CELLS), acts)
        suppliers.suppliers_day(plant, day, self._stream(day, Purpose.SUPPLIERS), acts)
        drift.drift_day(plant, day, crew, hired, self._stream(day, Purpose.DRIFT), acts)
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

    def _write_violations(self, path: Path) -> None:
        with path.open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(("kind", "vendor", "start", "end", "src", "dst"))
            for hop, seen in sorted(self._seen.items()):
                place = is_breach(hop)
                if place is not None:
                    begin, end = min(row[0] for row in seen), max(row[1] for row in seen)
                    breach = self._breaches[place]
                    for kind in breach.kinds:
                        rows.writerow((kind, breach.who, iso(begin), iso(end), *seen[0][2:]))


def _label(hop: Hop, seen: list[tuple[int, int, str, str]]) -> tuple[str, ...]:
    """The hop from the start of its first connection to the end of its last."""
    begin, end = min(row[0] for row in seen), max(row[1] for row in seen)
    return hop.campaign, iso(begin), iso(end), seen[0][2], seen[0][3], hop.technique
