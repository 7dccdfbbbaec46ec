"""`eastwest trust`: read, verify, sum up, write. See docs/trust.md for the files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
import polars as pl
import pyarrow.parquet as pq

from detector.alerts.model import DENIED, UNVERIFIED, VERDICTS, iso
from detector.assets.plant import Plant
from detector.config import Settings
from detector.history import History, Told, read_summary
from detector.profiles.tables import Sums
from detector.reading import Progress
from detector.renderings import pages
from detector.renderings.strings import spreadsheet, visible
from detector.renderings.tables import csv_text
from detector.score.trust import KNOWN_US
from detector.sources.files import Files
from detector.trust.verify import SCHEMA, Verifier

MAX_PAIRS: Final = 250_000  # pairs of hosts with something that is not verified, some 150 bytes each
PAIR: Final = ("verdict", "failed", "orig_h", "resp_h", "resp_zone", "service")
_MOST_ROWS: Final = 200  # of a table of the page; all are in the files


@dataclass(frozen=True, slots=True)
class Zone:
    """A service of a zone, and how many of its connections and acts had which verdict; ``share`` of verified among
    those that were judged, None when none was."""

    zone: str
    service: str
    verified: int
    unverified: int
    denied: int
    learning: int

    @property
    def share(self) -> float | None:
        """Verified among those that were judged."""
        judged = self.verified + self.unverified + self.denied
        return round(self.verified / judged, 4) if judged else None


@dataclass(frozen=True, slots=True)
class Pair:
    """What was not verified between two hosts."""

    verdict: str
    failed: str
    orig_h: str
    resp_h: str
    resp_zone: str
    service: str
    count: int
    first_seen: str
    last_seen: str


@dataclass(frozen=True, slots=True)
class Trusted:
    """What came of it; the files are written."""

    zones: list[Zone]
    pairs: list[Pair]
    summary: dict[str, Any]
    out: Path


def trust(
    paths: Sequence[str | Path],
    out: Path,
    settings: Settings,
    *,
    plant: Plant | None = None,
    known_us: int = KNOWN_US,
    log_format: str = "auto",
    progress: Progress = lambda stage, done, total, rows: None,
) -> Trusted:
    """Verify every connection and act of the logs, into ``out``.

    Args:
        paths: files or folders.
        out: folder, made if missing; files of an earlier run are replaced.
        known_us: how long what counts as known has been there, µs.
        log_format: a name of the format registry for all records, or ``auto``.

    Raises:
        UnreadableInput: a path is missing, or no record could be read.
        ConfigError: unknown format.
    """
    out.mkdir(parents=True, exist_ok=True)
    verifier = Verifier(plant or Plant(), settings.max_entries, known_us)
    sums = Sums(PAIR, {"count": pl.Int64()}, MAX_PAIRS)
    schema = SCHEMA.to_frame().to_arrow().schema
    with (
        (out / "rejected.ndjson").open("wb") as rejected,
        pq.ParquetWriter(out / "connections.parquet", schema) as file,
    ):

        def take(flows: pl.DataFrame, operations: pl.DataFrame) -> None:
            told = verifier.verify(flows, operations)
            if told.height:
                file.write_table(told.to_arrow().cast(schema))
                sums.add(_unverified(told))

        history = History(settings, log_format, rejected, progress)
        files = history.read(paths, take)
    zones, pairs = _zones(verifier), _pairs(sums)
    trusted = Trusted(zones, pairs, _summary(verifier, zones, sums, history.rows, files), out)
    (out / "zones.csv").write_text(_zones_csv(zones), encoding="utf-8", newline="")
    (out / "unverified.csv").write_text(_pairs_csv(pairs), encoding="utf-8", newline="")
    summary = orjson.dumps(trusted.summary, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    (out / "summary.json").write_bytes(summary)
    (out / "report.html").write_text(_page(trusted), encoding="utf-8")
    return trusted


def _unverified(told: pl.DataFrame) -> pl.DataFrame:
    found = told.filter(pl.col("verdict").is_in([UNVERIFIED, DENIED]))
    time = pl.col("ts").cast(pl.Int64)
    return found.select(
        *(pl.col(name).fill_null("") for name in PAIR), count=pl.lit(1, pl.Int64), first=time, last=time
    )


def _zones(verifier: Verifier) -> list[Zone]:
    found = [Zone(zone, service, *(counts[verdict] for verdict in VERDICTS))
             for (zone, service), counts in verifier.verdicts.items()]  # fmt: skip
    return sorted(found, key=lambda one: (-(one.denied + one.unverified), one.zone, one.service))


def _pairs(sums: Sums) -> list[Pair]:
    found = [
        Pair(**row | {"first_seen": iso(row.pop("first")), "last_seen": iso(row.pop("last"))})
        for row in sums.frame().iter_rows(named=True)
    ]
    return sorted(found, key=lambda one: (one.verdict != DENIED, -one.failed.count("+"), -one.count, *_ends(one)))


def _ends(one: Pair) -> tuple[str, str, str, str]:
    return one.orig_h, one.resp_h, one.service, one.failed


def _summary(verifier: Verifier, zones: Sequence[Zone], sums: Sums, rows: Told, files: Files) -> dict[str, Any]:
    by_zone: dict[str, list[int]] = {}
    for one in zones:
        counts = by_zone.setdefault(one.zone, [0, 0])
        counts[0] += one.verified
        counts[1] += one.verified + one.unverified + one.denied
    return {
        **read_summary(rows, files),
        "verdicts": verifier.trust.verdicts(),
        "verified_share": verifier.trust.share(),
        "failed": verifier.trust.failures(),
        "zones": {name: round(of / all_, 4) if all_ else None for name, (of, all_) in sorted(by_zone.items())},
        "kept": {"unverified": sums.kept, "forgotten_keys": verifier.trust.keys.evicted},
    }


def _zones_csv(zones: Sequence[Zone]) -> str:
    rows = [[spreadsheet(one.zone), spreadsheet(one.service), *(getattr(one, verdict) for verdict in VERDICTS),
             "" if one.share is None else one.share] for one in zones]  # fmt: skip
    return csv_text(("zone", "service", *VERDICTS, "share"), rows)


def _pairs_csv(pairs: Sequence[Pair]) -> str:
    names = (*PAIR, "count", "first_seen", "last_seen")
    return csv_text(names, [[_cell(getattr(one, name)) for name in names] for one in pairs])


def _cell(value: object) -> object:
    return spreadsheet(value) if isinstance(value, str) else value


def _page(trusted: Trusted) -> str:
    templates = pages.environment(
        "detector.trust",
        lstrip_blocks=False,
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    template = templates.get_template("report.html.j2")
    return f"{template.render(trusted=trusted, summary=trusted.summary, most=_MOST_ROWS)}\n"
