"""`eastwest inventory`: read, sum up, conclude, compare, write. See docs/inventory.md for the files."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from detector.assets.hosts import Hosts
from detector.assets.plant import DeclaredAsset, Plant
from detector.config import Settings
from detector.history import read_summary
from detector.inventory.lifecycle import Event, advance
from detector.inventory.model import Asset, assets
from detector.inventory.written import as_csv, as_cyclonedx, as_lines
from detector.profiles.collect import Collected, collect
from detector.reading import Progress


@dataclass(frozen=True, slots=True)
class Inventory:
    """What there is; the files are written. ``events`` is None when there was no inventory to compare with."""

    assets: list[Asset]
    events: list[Event] | None
    summary: dict[str, Any]
    out: Path


def inventory(
    paths: Sequence[str | Path],
    out: Path,
    settings: Settings,
    *,
    plant: Plant | None = None,
    declared: Sequence[DeclaredAsset] = (),
    known: Sequence[Asset] | None = None,
    log_format: str = "auto",
    progress: Progress = lambda stage, done, total, rows: None,
) -> Inventory:
    """List the hosts of a network out of its logs into ``out``.

    Args:
        paths: files or folders.
        out: folder, made if missing; files of an earlier run are replaced.
        declared: entries beside those of the plant file, which come first where both name a host.
        known: the inventory before, to tell what changed.
        log_format: a name of the format registry for all records, or ``auto``.

    Raises:
        UnreadableInput: a path is missing, or no record could be read.
        ConfigError: unknown format.
    """
    plant = plant or Plant()
    plant = plant.model_copy(update={"assets": (*plant.assets, *declared)})
    out.mkdir(parents=True, exist_ok=True)
    with (out / "rejected.ndjson").open("wb") as dead_letters:
        collected = collect(paths, settings, Hosts(plant), log_format, dead_letters, progress)
    here, events = advance(assets(collected, plant), known or ())
    told = events if known is not None else None
    summary = _summary(collected, here, told)
    (out / "inventory.ndjson").write_bytes(as_lines(here))
    (out / "inventory.csv").write_text(as_csv(here), encoding="utf-8", newline="")
    (out / "inventory.cdx.json").write_bytes(as_cyclonedx(here))
    (out / "events.ndjson").write_bytes(b"".join(orjson.dumps(asdict(event)) + b"\n" for event in told or ()))
    (out / "summary.json").write_bytes(orjson.dumps(summary, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    return Inventory(here, told, summary, out)


def _summary(collected: Collected, here: Sequence[Asset], events: Sequence[Event] | None) -> dict[str, Any]:
    return {
        **read_summary(collected.rows, collected.files),
        "kept": collected.kept,
        "hosts": len(here),
        "roles": _counts(asset.role for asset in here),
        "states": _counts(asset.state for asset in here),
        "approved": sum(asset.approved for asset in here),
        "contradictions": sum(asset.contradiction is not None for asset in here),
        "events": None if events is None else _counts(event.event for event in events),
    }


def _counts(values: Any) -> dict[str, int]:
    counts: dict[str, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return dict(sorted(counts.items()))
