"""The plants the contest is held on: simulated, read by the product's own decoders, kept as frames."""

import shutil
import tempfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final, Literal

import polars as pl

from detector.assets.hosts import Hosts
from detector.assets.plant import Plant, load_plant
from detector.assets.services import token
from detector.backtest.labels import Label, load_labels, parse_time
from detector.formats.batch import Context
from detector.formats.decode import Decoder
from detector.records import FLOW, OPERATION, Decoded
from detector.simulate import simulate
from detector.sources.files import Files

Pace = Literal["minutes", "hours"]
SETTING: Final[dict[Pace, str]] = {"minutes": "A", "hours": "B"}
"""A: several flows a hop, minutes between hops. B: one flow a hop, hours to days."""

# Nothing was ever tuned on a report seed; whoever changes a constant of the engine looks at the tuning seeds only (and
# 101, and 411 for the captures, which the constants of the fusion were chosen on).
TUNING_SEEDS: Final = (1, 2, 3, 4)
SMALL_SEEDS: Final = (111, 112, 113)
LARGE_SEEDS: Final = (201,)
ABLATION_SEED: Final = 301
CAPTURE_SEED: Final = 401

SIX_HOURS_US: Final = 6 * 3_600_000_000


@dataclass(frozen=True, slots=True)
class Size:
    """How large a plant is; ``density`` as in `detector.simulate.simulate`."""

    name: str
    hosts: int
    density: float
    days: int = 21
    campaigns: int = 30


SMALL: Final = Size("small", 1_000, 0.03)
"""About 0.3 million connections."""
MIDDLE: Final = Size("middle", 600, 0.03)
"""About 0.2 million connections, for the ablation, which judges a plant a dozen times."""
LARGE: Final = Size("large", 5_500, 0.03)
"""About 2 million connections."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One plant to be judged."""

    size: Size
    pace: Pace
    seed: int

    @property
    def group(self) -> str:
        """What is reported together: ``small A``."""
        return f"{self.size.name} {SETTING[self.pace]}"

    @property
    def name(self) -> str:
        """``small A, seed 101``."""
        return f"{self.group}, seed {self.seed}"


@dataclass(frozen=True, slots=True)
class Recording:
    """What a plant's sensors saw, and what is known of it.

    Attributes:
        flows, operations: frames of `detector.records`, in order of observation time.
        labels: every hop of every campaign.
        start, attacks_from, end: µs; no attack begins before ``attacks_from``.
    """

    flows: pl.DataFrame
    operations: pl.DataFrame
    labels: list[Label]
    plant: Plant
    start: int
    attacks_from: int
    end: int

    def pieces(self, first: int | None = None, last: int | None = None) -> list[Decoded]:
        """All rows observed in [first, last), six hours at a time."""
        begin, end = first or self.start, last or self.end + SIX_HOURS_US
        edges = [*range(begin, end, SIX_HOURS_US), end]
        return [
            Decoded(_between(self.flows, low, high), _between(self.operations, low, high))
            for low, high in pairwise(edges)
        ]


def _between(frame: pl.DataFrame, low: int, high: int) -> pl.DataFrame:
    first, last = frame["obs_ts"].search_sorted(pl.Series([low, high]))
    return frame[int(first) : int(last)]


def grow(trial: Trial) -> Recording:
    """Simulate a plant and read what it wrote; nothing stays on disk."""
    folder = Path(tempfile.mkdtemp(prefix="eastwest-contest-"))
    try:
        grown = simulate(
            folder / "plant",
            days=trial.size.days,
            hosts=trial.size.hosts,
            seed=trial.seed,
            campaigns=trial.size.campaigns or False,
            pace=trial.pace,
            density=trial.size.density,
            netflow=False,
        )
        flows, operations = read_logs([grown.zeek_dir])
        return Recording(
            flows,
            operations,
            load_labels(grown.labels),
            load_plant(grown.plant),
            parse_time(grown.start),
            parse_time(grown.train_until),
            parse_time(grown.end),
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def read_logs(paths: list[Path]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The flows and operations of logs, in order of observation time."""
    decoder: Decoder | None = None
    parts: list[Decoded] = []
    for block in Files(paths):
        if decoder is None or decoder.source != block.source:
            decoder = Decoder(block.source, Context())
        parts.append(decoder.decode(block))
    flows = pl.concat([pl.DataFrame(schema=FLOW), *(part.flows for part in parts)])
    operations = pl.concat([pl.DataFrame(schema=OPERATION), *(part.operations for part in parts)])
    return flows.sort("obs_ts", maintain_order=True), operations.sort("obs_ts", maintain_order=True)


def flows_of(recording: Recording) -> pl.DataFrame:
    """The flows as comparators get them: in order of their start, with ``src``, ``dst``, the engine's service token,
    and ``inside`` (the target is a host of the plant)."""
    hosts = Hosts(recording.plant)
    flows = recording.flows.drop("service").rename({"orig_h": "src", "resp_h": "dst"})
    ports = flows.select("proto", "resp_p").unique(maintain_order=True)
    ports = ports.with_columns(service=pl.Series([token(*row) for row in ports.iter_rows()], dtype=pl.String))
    targets = flows.select("dst").unique(maintain_order=True)
    known = [hosts[address] for address in targets["dst"]]
    targets = targets.with_columns(inside=pl.Series([host.inside and not host.group for host in known]))
    flows = flows.join(ports, on=["proto", "resp_p"], how="left", nulls_equal=True, maintain_order="left")
    return flows.join(targets, on="dst", how="left", maintain_order="left").sort("ts", maintain_order=True)
