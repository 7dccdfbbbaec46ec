"""`eastwest zones check`: what logs show beside what zones and conduits permit. See docs/zones.md for the files."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import orjson
import polars as pl

from detector.alerts.model import iso, to_json
from detector.assets.plant import Plant, words
from detector.config import Settings
from detector.history import History, Told, read_summary
from detector.reading import Progress
from detector.sources.files import Files
from detector.zones.model import Checked, ConduitUse, Violation
from detector.zones.report import render
from detector.zones.tally import WAY, Tally
from detector.zones.written import as_csv

_LISTED: Final = 8  # hosts of a violation that are named, those with most rows first
_BUCKETS: Final = ("inside", "permitted", "violations", "attempts", "unzoned", "link", "group")
_UNZONED: Final = 100  # hosts without a zone that are listed


def check(
    paths: Sequence[str | Path],
    out: Path,
    settings: Settings,
    plant: Plant,
    *,
    log_format: str = "auto",
    progress: Progress = lambda stage, done, total, rows: None,
) -> Checked:
    """Compare what logs show with the conduits of the plant file, into ``out``.

    Args:
        paths: files or folders.
        out: folder, made if missing; files of an earlier run are replaced.
        log_format: a name of the format registry for all records, or ``auto``.

    Raises:
        UnreadableInput: a path is missing, or no record could be read.
        ConfigError: unknown format.
    """
    out.mkdir(parents=True, exist_ok=True)
    tally = Tally(plant)
    with (out / "rejected.ndjson").open("wb") as dead_letters:
        history = History(settings, log_format, dead_letters, progress)
        files = history.read(paths, tally.add)
    found, used = violations(tally), uses(plant, tally)
    checked = Checked(found, used, tally.seen, _summary(plant, tally, found, used, history.rows, files), out)
    (out / "violations.ndjson").write_bytes(b"".join(to_json(violation) + b"\n" for violation in found))
    (out / "violations.csv").write_text(as_csv(Violation, found), encoding="utf-8", newline="")
    (out / "conduits.csv").write_text(as_csv(ConduitUse, used), encoding="utf-8", newline="")
    (out / "unzoned.csv").write_text(
        "host,rows\r\n" + "".join(f"{host},{count}\r\n" for host, count in _unzoned(tally)),
        encoding="utf-8",
        newline="",
    )
    summary = orjson.dumps(checked.summary, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    (out / "summary.json").write_bytes(summary)
    (out / "report.html").write_text(render(checked, plant), encoding="utf-8")
    return checked


def violations(tally: Tally) -> list[Violation]:
    """By way; answered ones first, then by rows."""
    ways: dict[tuple[str, ...], list[tuple[Any, ...]]] = {}
    for row in tally.pairs().iter_rows():
        ways.setdefault(row[: len(WAY)], []).append(row[len(WAY) :])
    found = [_violation(way, pairs, tally.evidence.get(way, "")) for way, pairs in ways.items()]
    return sorted(
        found, key=lambda one: (one.attempt, -one.count, one.from_zone, one.to_zone, one.service, one.operation)
    )


def _violation(way: tuple[str, ...], pairs: list[tuple[Any, ...]], evidence: str) -> Violation:
    attempt, from_zone, to_zone, service, operation, why = way
    ranked = sorted(pairs, key=lambda pair: (-pair[2], pair[0], pair[1]))
    return Violation(
        from_zone=from_zone,
        to_zone=to_zone,
        service=service,
        operation=operation,
        why=why,
        attempt=bool(attempt),
        count=sum(pair[2] for pair in pairs),
        pairs=len(pairs),
        sources=tuple(dict.fromkeys(pair[0] for pair in ranked))[:_LISTED],
        targets=tuple(dict.fromkeys(pair[1] for pair in ranked))[:_LISTED],
        first_seen=iso(min(pair[3] for pair in pairs)),
        last_seen=iso(max(pair[4] for pair in pairs)),
        evidence=evidence,
    )


def uses(plant: Plant, tally: Tally) -> list[ConduitUse]:
    """Every conduit in the order of the file."""
    return [
        ConduitUse(
            place=place,
            name=conduit.name,
            from_zone=conduit.from_zone,
            to_zone=conduit.to_zone,
            services=words(conduit.services),
            operations=words(conduit.operations),
            count=sum(tally.used[place, nth] for nth in range(len(words(conduit.services)))),
            unused=tuple(service for nth, service in enumerate(words(conduit.services)) if not tally.used[place, nth]),
        )
        for place, conduit in enumerate(plant.conduits)
    ]


def _unzoned(tally: Tally) -> Iterator[tuple[str, int]]:
    """Hosts that are in no zone, those with most rows first."""
    hosts = tally.hosts().filter(pl.col("zone") == "").sort(["count", "host"], descending=[True, False])
    return hosts.select("host", "count").iter_rows()


def _summary(
    plant: Plant, tally: Tally, found: list[Violation], used: list[ConduitUse], rows: Told, files: Files
) -> dict[str, Any]:
    hosts = tally.hosts()
    unzoned = hosts.filter(pl.col("zone") == "")
    by_zone = dict(hosts.filter(pl.col("zone") != "").group_by("zone").len().sort("zone").iter_rows())
    judged = tally.rows.total() - tally.rows["group"] - tally.rows["link"]
    read = read_summary(rows, files)
    return {
        **read,
        "rows": read["rows"] | {"judged": {name: tally.rows[name] for name in _BUCKETS}},
        "kept": tally.kept,
        "violations": {
            "answered": sum(not one.attempt for one in found),
            "attempts": sum(one.attempt for one in found),
            "pairs": sum(one.pairs for one in found if not one.attempt),
        },
        "conduits": {
            "declared": len(used),
            "unused": [one.place for one in used if not one.count],
            "partly_used": [one.place for one in used if one.count and one.unused],
        },
        "coverage": {
            "hosts": hosts.height,
            "hosts_without_zone": unzoned.height,
            "rows_without_zone": tally.rows["unzoned"],
            "share_of_hosts_without_zone": round(unzoned.height / max(hosts.height, 1), 4),
            "share_of_rows_without_zone": round(tally.rows["unzoned"] / max(judged, 1), 4),
            "zones": {zone.name: by_zone.get(zone.name, 0) for zone in plant.zones},
            "empty_zones": [zone.name for zone in plant.zones if zone.name not in by_zone],
        },
    }
