"""`eastwest sweep`. Late imports keep --help quick."""

# ruff: noqa: PLC0415
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console

from detector.backtest import options
from detector.errors import ConfigError

out = Console()
err = Console(stderr=True)


def sweep_command(
    grid: Annotated[Path, typer.Argument(help="Settings with the values to try (YAML).", show_default=False)],
    paths: options.Paths,
    out_dir: Annotated[Path, typer.Option("--out", help="Folder for the results; what is finished in it is kept.")],
    log_format: options.LogFormat = "auto",
    plant: options.PlantFile = None,
    decisions: options.Decisions = None,
    labels: options.Labels = None,
    train_until: options.TrainUntil = None,
    history: options.History = None,
    config: Annotated[Path | None, typer.Option(help="Settings that the points change (YAML).")] = None,
    split: Annotated[
        str | None, typer.Option(help="Choose by what came before this time (ISO 8601, UTC), measure behind it.")
    ] = None,
    at_most: Annotated[float | None, typer.Option(help="Alerts a day that the chosen point may make.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what sweep.json has, and nothing else.")] = False,
    limit: Annotated[int, typer.Option(min=0, help="Points shown in the terminal; the files have all.")] = 40,
) -> None:
    """Try many settings over the same logs; with --split, choose on the earlier part and measure on the later one."""
    from detector.alerts.decisions import load_decisions
    from detector.assets.plant import load_plant
    from detector.backtest.labels import load_labels
    from detector.bars import bars
    from detector.config import load_settings
    from detector.sweep.console import shown
    from detector.sweep.grid import load_grid
    from detector.sweep.run import Wish, sweep
    from detector.sweep.written import write_files

    wish = Wish(
        paths=paths,
        plant=None if plant is None else load_plant(plant),
        labels=None if labels is None else load_labels(labels),
        decisions=() if decisions is None else load_decisions(decisions),
        train_until=_time("--train-until", train_until),
        history=history or [],
        log_format=log_format,
        split=_time("--split", split),
        at_most=at_most,
    )
    points, settings = load_grid(grid), load_settings(config)
    with bars(err) as progress:
        swept = sweep(points, settings, wish, out_dir, progress, lambda told: err.print(told, markup=False))
    write_files(swept, out_dir)
    if as_json:
        typer.echo(orjson.dumps(swept, option=orjson.OPT_INDENT_2).decode())
        return
    out.print(shown(swept, limit))
    written = "sweep.html, sweep.json, sweep.csv, sweep.parquet, points"
    out.print(f"\nWritten to {out_dir}: {written}", soft_wrap=True, markup=False)


def _time(option: str, text: str | None) -> int | None:
    from detector.backtest.labels import parse_time

    try:
        return None if text is None else parse_time(text)
    except ValueError as problem:
        raise ConfigError(option, "", str(problem)) from problem
