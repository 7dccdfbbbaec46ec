"""DARPA 1998 as a stream of edges, the set the MIDAS papers report: 4.55 million rows of (source, target, minute).

It rewards bursts: 78 % of its positives are one flood. So it is reported by class of attack. The classes are those of
K. Kendall, A database of computer attacks for the evaluation of intrusion detection systems (MIT, 1999), as KDD Cup
1999 lists them. Three remote-to-local attacks are guesses by the thousand on a few edges (SNMP communities,
passwords); they stand apart, or they would be the whole class. ``ignore`` is no attack, and in no class.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from detector.assets.plant import Plant
from detector.config import Settings
from detector.records import FLOW, Decoded

from . import eastwest
from .clock import Clock
from .comparators import midas, never_seen

FILE: Final = Path("midas-darpa", "darpa_labelled.parquet")
WIDTH: Final = 1024  # cells of a MIDAS sketch row, as in the papers' runs on this set
BATCH: Final = 200_000
NORMAL: Final = "-"

DENIAL: Final = (
    "apache2", "back", "land", "mailbomb", "neptune", "neptunettl", "pod", "processtable", "smurf", "smurfttl",
    "syslog", "teardrop", "udpstorm",
)  # fmt: skip
PROBE: Final = ("ipsweep", "mscan", "nmap", "portsweep", "saint", "satan")
GUESSING: Final = ("dict", "dict_simple", "snmpgetattack", "snmpguess")
NO_CLASS: Final = ("ignore", NORMAL)
CLASSES: Final = ("all", "denial of service", "probe", "guessing", "u2r and r2l")


@dataclass(frozen=True, slots=True)
class Scores:
    """Of one scorer: ROC-AUC by class against normal rows, average precision over all rows."""

    name: str
    auc: dict[str, float]
    precision: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Darpa:
    """The whole table; ``rows`` positives by class."""

    rows: dict[str, int]
    scores: list[Scores]


def contest(data: Path) -> Darpa:
    """Every scorer over all rows, as they come, nothing taught before."""
    edges = load(data / FILE)
    kinds = class_of(edges["atk"])
    clock = Clock()
    own = clock.timed("eastwest", lambda: engine_scores(edges))
    scored = {
        "eastwest": own,
        "eastwest, act of the hour": clock.timed("eastwest, act of the hour", lambda: of_the_hour(edges, own)),
        "never-seen pair": clock.timed("never-seen pair", lambda: never_seen.first_of(edges, "src", "dst")),
        "MIDAS-R": clock.timed("MIDAS-R", lambda: midas.scores(edges, filtering=False, width=WIDTH)),
        "MIDAS-F": clock.timed("MIDAS-F", lambda: midas.scores(edges, filtering=True, width=WIDTH)),
    }
    positive = edges["label"].to_numpy() == 1
    return Darpa(
        {name: int(_members(kinds, positive, name).sum()) for name in CLASSES},
        [
            Scores(
                name,
                {kind: _auc(kinds, positive, score, kind) for kind in CLASSES},
                float(average_precision_score(positive, score)),
                clock.seconds[name],
            )
            for name, score in scored.items()
        ],
    )


def load(path: Path) -> pl.DataFrame:
    """Edges in order of time: ``ts`` (µs), ``src``, ``dst``, ``service`` (none is known), ``atk``, ``label``."""
    edges = pl.read_parquet(path).with_columns(pl.col("ts").dt.epoch("us"), service=pl.lit("-"))
    plain = [pl.col(name).str.replace_all(r"\b0+(\d)", "$1") for name in ("src", "dst")]  # 172.016.112.020
    return edges.with_columns(plain).sort("ts", maintain_order=True)


def class_of(attacks: pl.Series) -> NDArray[np.str_]:
    """The class of each attack name; normal rows and such without a class get ``-``."""
    table = dict.fromkeys(DENIAL, "denial of service") | dict.fromkeys(PROBE, "probe")
    table |= dict.fromkeys(GUESSING, "guessing") | dict.fromkeys(NO_CLASS, NORMAL)
    return attacks.replace_strict(table, default="u2r and r2l").to_numpy()


def engine_scores(edges: pl.DataFrame) -> NDArray[np.float64]:
    """What the models make of each row, `eastwest.strangeness`; a repeat within the hour has p 1, and 0."""
    scored = np.zeros(edges.height)
    batches = (Decoded(as_flows(edges, start)) for start in range(0, edges.height, BATCH))
    for frame in eastwest.scores(eastwest.unjudged(Settings(), Plant()), batches):
        own = frame.select("position", score=eastwest.strangeness())
        scored[own["position"].to_numpy()] = own["score"].to_numpy()
    return scored


def as_flows(edges: pl.DataFrame, start: int) -> pl.DataFrame:
    """`BATCH` edges from ``start`` as conversations of which nothing is known but who, with whom and when."""
    batch = edges[start : start + BATCH]
    known = batch.select(
        "ts",
        obs_ts="ts",
        orig_h="src",
        resp_h="dst",
        oriented=pl.lit(True),
        sampling=pl.lit(1),
        log=pl.lit("darpa"),
        source=pl.lit("darpa"),
        position=pl.int_range(start, start + batch.height),
    )
    empty = [pl.lit(None).alias(name) for name in FLOW if name not in known.columns]
    return known.with_columns(empty).select(pl.col(name).cast(kind) for name, kind in FLOW.items())


def of_the_hour(edges: pl.DataFrame, scored: NDArray[np.float64]) -> NDArray[np.float64]:
    """A repeat is the same act as the row it repeats: each row gets the highest score its edge had in an hour."""
    rows = edges.select("src", "dst", ts=pl.from_epoch("ts", time_unit="us"), score=pl.Series(scored))
    highest = pl.col("score").rolling_max_by("ts", window_size="1h").over("src", "dst")
    return rows.select(highest).to_series().to_numpy()


def _members(kinds: NDArray[np.str_], positive: NDArray[np.bool_], name: str) -> NDArray[np.bool_]:
    return positive if name == "all" else kinds == name


def _auc(kinds: NDArray[np.str_], positive: NDArray[np.bool_], score: NDArray[np.float64], name: str) -> float:
    members = _members(kinds, positive, name)
    chosen = members | ~positive
    return float(roc_auc_score(members[chosen], score[chosen]))
