"""`eastwest vendors`: read, follow, judge, write. See docs/vendors.md for the files."""

import hashlib
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import orjson

import detector
from detector.assets.agreements import agreements
from detector.assets.hosts import Hosts
from detector.assets.plant import Plant
from detector.config import Settings
from detector.history import History, Told
from detector.reading import Progress
from detector.renderings.strings import spreadsheet
from detector.renderings.tables import csv_text
from detector.vendors.collect import Collector
from detector.vendors.judge import judge, lookalikes
from detector.vendors.report import Found, page, register, sessions, utc, violations
from detector.vendors.visits import Following, Visit, named, stays, work

UNUSED_DAYS: Final = 90.0
"""Access that nobody needs for a quarter of a year is reviewed; NIST SP 800-53r5 AC-2(3) leaves the number to you."""
_HOUR_US: Final = 3_600_000_000
SESSION_COLUMNS: Final = (
    "session", "vendor", "start", "end", "end_known", "local_start", "local_end", "minutes", "account", "src", "dst",
    "service", "reached", "onward", "operations", "violations", "evidence",
)  # fmt: skip
VIOLATION_COLUMNS: Final = (
    "kind", "severity", "words", "vendor", "session", "start", "end", "local_start", "minutes_outside", "src", "dst",
    "account", "what",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asked:
    """What a report is to be about: one supplier by name or account, times (µs UTC), and when access is unused."""

    vendor: str | None = None
    since: int | None = None
    until: int | None = None
    unused_days: float = UNUSED_DAYS


def look(
    paths: Sequence[str | Path],
    settings: Settings,
    plant: Plant,
    dead_letters: Any,
    *,
    asked: Asked,
    log_format: str = "auto",
    progress: Progress = lambda stage, done, total, rows: None,
) -> tuple[Found, Told, list[Path]]:
    """Find all visits of suppliers and what was not agreed; the files that were read.

    Raises:
        UnreadableInput: a path is missing, or no record could be read.
        ConfigError: unknown format.
    """
    hosts = Hosts(plant)
    agreed = agreements(plant, hosts)
    scratch = Path(tempfile.mkdtemp(prefix="eastwest-"))
    try:
        collector = Collector(agreed, scratch)
        history = History(settings, log_format, dead_letters, progress)
        files = history.read(paths, collector.add)
        span = (collector.first or 0, collector.last or 0)
        servers = {str(host) for host in plant.known_servers.get("domain_controllers", ())}
        following = Following(agreed, servers)
        following.follow(named(stays(collector.contacts())))
        hours = (span[1] - span[0]) // _HOUR_US
        work(following, collector.work(following.hosts()), hours)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    own = {str(host) for known in plant.known_servers.values() for host in known}
    visits = sorted([*following.visits, *lookalikes(following.others, agreed, hosts, own)], key=_order)
    for number, visit in enumerate(visits, start=1):
        visit.number = number
    found = Found(agreed, visits, judge(visits, agreed, span, asked.unused_days), span, plant.timezone)
    return _about(found, asked), history.rows, files.paths


def _order(visit: Visit) -> tuple[Any, ...]:
    entry = visit.entry
    return entry.start, entry.orig, entry.resp, entry.service, entry.accounts, entry.uids


def _about(found: Found, asked: Asked) -> Found:
    """Only what was asked for; sessions keep the numbers they have in a report about everything."""
    begin = found.span[0] if asked.since is None else asked.since
    end = found.span[1] if asked.until is None else asked.until

    def wanted(place: int | None, start: int, stop: int) -> bool:
        return stop >= begin and start <= end and (asked.vendor is None or _is(place, found, asked.vendor))

    visits = [visit for visit in found.visits if wanted(visit.place, visit.entry.start, visit.end)]
    told = [each for each in found.violations if wanted(each.place, each.start, each.end)]
    return replace(found, visits=visits, violations=told, span=(begin, end))


def _is(place: int | None, found: Found, name: str) -> bool:
    return place is not None and name.lower() in {
        found.agreed[place].vendor.label.lower(),
        *found.agreed[place].vendor.logins,
    }


def write(found: Found, rows: Told, files: Sequence[Path], out: Path, plant_file: Path) -> dict[str, Any]:
    """Writes report.html, report.json, sessions.csv, violations.csv and manifest.json; returns the manifest."""
    inputs = sorted((_hashed(file, file.name) for file in (*files, plant_file)), key=lambda each: [*each.values()])
    counts = _counts(rows)
    told, wrong = sessions(found), violations(found)
    content = {
        "version": detector.__version__,
        "span": {"from": utc(found.span[0]), "to": utc(found.span[1]), "timezone": found.zone},
        "rows": counts,
        "register": register(found),
        "sessions": told,
        "violations": wrong,
    }
    made = {
        "report.json": orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE),
        "report.html": page(found, inputs, counts).encode(),
        "sessions.csv": as_csv(SESSION_COLUMNS, told).encode(),
        "violations.csv": as_csv(VIOLATION_COLUMNS, wrong).encode(),
    }
    for name, data in made.items():
        (out / name).write_bytes(data)
    manifest = {
        "version": detector.__version__,
        "evidence_for": "Directive (EU) 2022/2555 (NIS2), Art. 21(2)(d)",
        "inputs": inputs,
        "outputs": [_hashed(out / name, name) for name in sorted([*made, "rejected.ndjson"])],
    }
    (out / "manifest.json").write_bytes(orjson.dumps(manifest, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    return manifest


def _hashed(file: Path, name: str) -> dict[str, Any]:
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    return {"name": name, "bytes": file.stat().st_size, "sha256": digest}


def _counts(rows: Told) -> dict[str, int]:
    return {
        "in": rows.total,
        "conversations": rows.conversations,
        "acts": rows.acts,
        "duplicate": rows.duplicate,
        "rejected": rows.rejected.total(),
        "filtered": rows.filtered.total(),
    }


def as_csv(columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> str:
    """A table (RFC 4180); what is a list has semicolons between, and no cell is a formula."""
    return csv_text(columns, ([_cell(row[column]) for column in columns] for row in rows))


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return _cell("; ".join(_brief(item) for item in value))
    return spreadsheet("" if value is None else str(value))


def _brief(item: Any) -> str:
    if not isinstance(item, dict):
        return str(item)
    what = item.get("operation") or item["service"]
    return f"{item['src']} to {item['dst']} {what}" + (f" ({item['count']} times)" if "count" in item else "")
