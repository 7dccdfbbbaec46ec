"""`eastwest reach`: how far an intruder gets. Late imports keep --help quick."""

# ruff: noqa: PLC0415
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn

from detector.assets.plant import load_plant
from detector.config import load_settings
from detector.reach import HOPS

_TIMES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"]
out = Console()
err = Console(stderr=True)


def reach_command(
    paths: Annotated[list[Path], typer.Argument(help="Log files or folders; Zeek and NetFlow may be mixed.")],
    out_dir: Annotated[Path, typer.Option("--out", help="Folder for the results; made if missing.")],
    log_format: Annotated[str, typer.Option("--format", help="auto, or one format's name for all records.")] = "auto",
    plant: Annotated[Path | None, typer.Option(help="Plant file: zones and conduits (YAML).")] = None,
    proposal: Annotated[Path | None, typer.Option(help="Another plant file: what would it change?")] = None,
    hops: Annotated[int, typer.Option(min=1, max=16, help="Hops at most.")] = HOPS,
    all_services: Annotated[
        bool, typer.Option("--all-services", help="Count every answered conversation, not just ways to enter.")
    ] = False,
    since: Annotated[datetime | None, typer.Option(formats=_TIMES, help="Count contacts from then on (UTC).")] = None,
    until: Annotated[datetime | None, typer.Option(formats=_TIMES, help="Count contacts before then (UTC).")] = None,
    host: Annotated[str | None, typer.Option(help="Host to draw and to tell the paths of.")] = None,
    config: Annotated[Path | None, typer.Option(help="Settings file (YAML); see docs/settings.md.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="Hosts shown in the terminal; the files have all.")] = 20,
) -> None:
    """Tell how far an intruder gets from each host, as the network is used and as its conduits allow."""
    from detector.reach import console as shown
    from detector.reach.run import Asked, reach

    asked = Asked(hops, all_services, _micros(since), _micros(until), host)
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), console=err, transient=True) as bars:
        task = bars.add_task("")
        result = reach(
            paths,
            out_dir,
            load_settings(config),
            asked,
            plant=None if plant is None else load_plant(plant),
            proposal=None if proposal is None else load_plant(proposal),
            log_format=log_format,
            progress=lambda stage, done, total, rows: bars.update(task, description=f"{stage}: {rows:,} records"),
        )
    out.print(shown.host_table(result.hosts, limit))
    if len(result.hosts) > limit:
        out.print(f"and {len(result.hosts) - limit} more in {out_dir / 'reach.csv'}", markup=False, soft_wrap=True)
    for table in (shown.zone_table(result.summary["zones"]), shown.choke_table(result.chokes)):
        out.print()
        out.print(table)
    out.print()
    out.print(shown.summary_lines(result.summary))
    written = "reach.csv, reach.ndjson, paths.ndjson, reach.prom, summary.json, report.html, rejected.ndjson"
    out.print(f"\nWritten to {result.out}: {written}", soft_wrap=True, markup=False)


def _micros(time: datetime | None) -> int | None:
    return None if time is None else round(time.replace(tzinfo=UTC).timestamp()) * 1_000_000
