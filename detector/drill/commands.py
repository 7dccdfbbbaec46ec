"""`eastwest drill`: attacks on a copy of the network's own history. Late imports keep --help quick."""

# ruff: noqa: PLC0415
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from detector.errors import ConfigError

out = Console()
err = Console(stderr=True)


def drill_command(
    paths: Annotated[list[Path], typer.Argument(help="Log files or folders; Zeek and NetFlow may be mixed.")],
    out_dir: Annotated[Path, typer.Option("--out", help="Folder for the copy and the results; made if missing.")],
    plant: Annotated[Path | None, typer.Option(help="Plant file: zones, assets, vendors (YAML).")] = None,
    config: Annotated[Path | None, typer.Option(help="Settings file (YAML) of the service, or of a backtest.")] = None,
    decisions: Annotated[Path | None, typer.Option(help="What was decided about acts (YAML); see feedback.")] = None,
    campaigns: Annotated[int, typer.Option(help="How many campaigns.")] = 20,
    pace: Annotated[
        list[str] | None, typer.Option(help="Pause between hops: minutes (default), hours or days; may be repeated.")
    ] = None,
    techniques: Annotated[
        str | None, typer.Option(help="ATT&CK ids with commas between; all that the logs can show.")
    ] = None,
    clock: Annotated[str, typer.Option(help="When hops begin: work, night or any.")] = "work",
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same bytes.")] = 1,
    train_until: Annotated[
        str | None, typer.Option(help="Before this time (ISO 8601, UTC) nobody attacks; the first two thirds.")
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="Campaigns shown in the terminal; the files have all.")] = 40,
) -> None:
    """Play labelled attacks into a copy of the history, and say which of them would have been found."""
    from detector.alerts.decisions import load_decisions
    from detector.assets.plant import load_plant
    from detector.bars import bars
    from detector.drill import console as shown
    from detector.drill.live import load_live
    from detector.drill.run import Wish, drill

    live = load_live(config)
    plant, decisions = plant or live.plant, decisions or live.decisions
    wish = Wish(
        campaigns=campaigns,
        paces=tuple(pace or ["minutes"]),
        techniques=tuple(name.strip() for name in (techniques or "").split(",") if name.strip()),
        clock=clock,
        seed=seed,
        train_until=live.train_until if train_until is None else _time(train_until),
    )
    with bars(err) as progress:
        result = drill(
            paths,
            out_dir,
            live.settings,
            wish,
            plant=None if plant is None else load_plant(plant),
            decisions=() if decisions is None else load_decisions(decisions),
            progress=progress,
        )
    out.print(shown.coverage_table(result.summary))
    out.print(shown.campaign_table(result.summary, limit))
    out.print(shown.told(result.summary), markup=False, soft_wrap=True)
    written = "report.html, drill.json, drill.csv, labels.csv, logs, control, result"
    out.print(f"\nWritten to {out_dir}: {written}", soft_wrap=True, markup=False)


def _time(text: str | None) -> int | None:
    from detector.backtest.labels import parse_time

    try:
        return None if text is None else parse_time(text)
    except ValueError as problem:
        raise ConfigError("--train-until", "", str(problem)) from problem
