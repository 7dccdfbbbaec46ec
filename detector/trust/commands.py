"""`eastwest trust`: which connections can be verified. Late imports keep --help quick."""

# ruff: noqa: PLC0415
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn
from rich.table import Table
from rich.text import Text

from detector.assets.plant import load_plant
from detector.config import load_settings
from detector.renderings.strings import visible

if TYPE_CHECKING:
    from detector.trust.run import Trusted

_HOUR_US = 3_600_000_000
out = Console()
err = Console(stderr=True)


def trust_command(
    paths: Annotated[list[Path], typer.Argument(help="Log files or folders; Zeek and NetFlow may be mixed.")],
    out_dir: Annotated[Path, typer.Option("--out", help="Folder for the results; made if missing.")],
    log_format: Annotated[str, typer.Option("--format", help="auto, or one format's name for all records.")] = "auto",
    plant: Annotated[Path | None, typer.Option(help="Plant file: zones, conduits, assets (YAML).")] = None,
    known_hours: Annotated[
        float, typer.Option(min=0.1, max=8760, help="Known is what was there so many hours before.")
    ] = 24.0,
    config: Annotated[Path | None, typer.Option(help="Settings file (YAML); see docs/settings.md.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="Rows shown in the terminal; the files have all.")] = 20,
) -> None:
    """Tell of each connection whether device, user, service and path can be verified."""
    from detector.trust.run import trust

    with Progress(SpinnerColumn(), TextColumn("{task.description}"), console=err, transient=True) as bars:
        task = bars.add_task("")
        result = trust(
            paths,
            out_dir,
            load_settings(config),
            plant=None if plant is None else load_plant(plant),
            known_us=round(known_hours * _HOUR_US),
            log_format=log_format,
            progress=lambda stage, done, total, rows: bars.update(task, description=f"{stage}: {rows:,} records"),
        )
    _show(result, limit)
    written = "connections.parquet, zones.csv, unverified.csv, summary.json, report.html, rejected.ndjson"
    out.print(f"\nWritten to {out_dir}: {written}", soft_wrap=True, markup=False)


def _show(result: "Trusted", limit: int) -> None:
    zones = _table("Zone", "Service", "Verified", "Unverified", "Denied", "Learning", "Share")
    for one in result.zones[:limit]:
        share = "" if one.share is None else f"{one.share:.1%}"
        counts = (f"{count:,}" for count in (one.verified, one.unverified, one.denied, one.learning))
        zones.add_row(*map(Text, (visible(one.zone), visible(one.service), *counts, share)))
    out.print(zones)
    pairs = _table("Verdict", "Failed", "From", "To", "Service", "Times", "First")
    for pair in result.pairs[:limit]:
        ends = (pair.orig_h, pair.resp_h, visible(pair.service))
        pairs.add_row(*map(Text, (pair.verdict, pair.failed, *ends, f"{pair.count:,}", pair.first_seen[:19])))
    out.print(pairs)
    if len(result.pairs) > limit:
        out.print(f"and {len(result.pairs) - limit} more pairs in {result.out / 'unverified.csv'}", markup=False)
    verdicts, share = result.summary["verdicts"], result.summary["verified_share"]
    told = ", ".join(f"{count:,} {verdict}" for verdict, count in verdicts.items())
    out.print(f"\n{told}" + ("" if share is None else f"; {share:.1%} of what was judged is verified"), markup=False)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
