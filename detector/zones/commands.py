"""`eastwest zones`: check zones and conduits against logs, propose them, compare two plant files.

Exit code 1 says that there is something: violations where that was asked for, differences.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn

from detector.assets.plant import load_plant
from detector.config import load_settings
from detector.renderings.strings import visible
from detector.zones import console as shown
from detector.zones.check import check
from detector.zones.diff import diff
from detector.zones.propose import LEARN_SHARE, Basis, propose

FOUND: Final = 1
zones_app = typer.Typer(help="Zones and conduits: check, propose, compare.", no_args_is_help=True)
out = Console()
err = Console(stderr=True)

Paths = Annotated[list[Path], typer.Argument(help="Log files or folders; Zeek and NetFlow may be mixed.")]
Out = Annotated[Path, typer.Option("--out", help="Folder for the results; made if missing.")]
Format = Annotated[str, typer.Option("--format", help="auto, or one format's name for all records.")]
Config = Annotated[Path | None, typer.Option(help="Settings file (YAML); see docs/settings.md.")]
Limit = Annotated[int, typer.Option(min=0, help="Rows shown in the terminal; the files have all.")]


@zones_app.command("check")
def check_command(
    paths: Paths,
    plant: Annotated[Path, typer.Option(help="Plant file with zones and conduits (YAML).")],
    out_dir: Out,
    log_format: Format = "auto",
    config: Config = None,
    limit: Limit = 40,
    fail_on_violations: Annotated[
        bool, typer.Option("--fail-on-violations", help="Exit code 1 when a conduit was missing and somebody answered.")
    ] = False,
) -> None:
    """List what no conduit permits, conduits that nobody uses, and hosts without a zone."""
    declared = load_plant(plant)
    result = _with_progress(
        lambda progress: check(
            paths, out_dir, load_settings(config), declared, log_format=log_format, progress=progress
        )
    )
    if result.violations:
        out.print(shown.violation_table(result.violations, limit))
    if len(result.violations) > limit:
        out.print(f"and {len(result.violations) - limit} more in {out_dir / 'violations.csv'}", markup=False)
    found = result.summary["violations"]
    out.print(f"\n{found['answered']} ways that no conduit permits, {found['attempts']} more were only tried.\n")
    out.print(shown.unused_table(result.conduits))
    out.print(shown.coverage_line(result.summary))
    written = "violations.ndjson, violations.csv, conduits.csv, unzoned.csv, summary.json, report.html"
    out.print(f"\nWritten to {out_dir}: {written}", soft_wrap=True, markup=False)
    if fail_on_violations and found["answered"]:
        raise typer.Exit(FOUND)


@zones_app.command("propose")
def propose_command(
    paths: Paths,
    out_dir: Out,
    learn_share: Annotated[
        float, typer.Option(min=0.1, max=1.0, help="Part of the time that conduits are learned from.")
    ] = LEARN_SHARE,
    result_dir: Annotated[
        Path | None,
        typer.Option("--result", help="Result folder of a backtest of the same logs: what it found is not learned."),
    ] = None,
    plant: Annotated[
        Path | None, typer.Option(help="Plant file in force: it stays as it is, and what is missing is proposed.")
    ] = None,
    log_format: Format = "auto",
    config: Config = None,
    limit: Limit = 40,
) -> None:
    """Propose zones and conduits out of history: as plant file, for nftables, and as a table of rules."""
    result = _with_progress(
        lambda progress: propose(
            paths,
            out_dir,
            load_settings(config),
            Basis(learn_share, result_dir, plant),
            log_format=log_format,
            progress=progress,
        )
    )
    out.print(shown.group_table(result.groups, limit))
    out.print(shown.proposal_line(result.summary))
    rules = "rules.nft, rules.csv, " if plant is None else ""
    written = f"plant.yaml, {rules}not_proposed.csv, blocked.csv, summary.json"
    out.print(f"\nWritten to {out_dir}: {written}", soft_wrap=True, markup=False)


@zones_app.command("diff")
def diff_command(
    old: Annotated[Path, typer.Argument(help="Plant file before.")],
    new: Annotated[Path, typer.Argument(help="Plant file after.")],
) -> None:
    """List zones and conduits that differ, and hosts that move. Exit code 1 when anything does."""
    changes = diff(load_plant(old), load_plant(new))
    for change in changes:
        said = f"{change.what:<8} {change.of:<8} {change.name}" + (f": {change.detail}" if change.detail else "")
        out.print(visible(said), soft_wrap=True, markup=False, highlight=False)
    if changes:
        raise typer.Exit(FOUND)
    out.print("No difference.")


def _with_progress(work: Callable[[Any], Any]) -> Any:
    """Do the work and show how far it is."""
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), console=err, transient=True) as bars:
        task = bars.add_task("")
        return work(lambda stage, done, total, rows: bars.update(task, description=f"{stage}: {rows:,} records"))
