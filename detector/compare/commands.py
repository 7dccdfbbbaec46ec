"""`eastwest compare`. Late imports keep --help quick."""

# ruff: noqa: PLC0415
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console

from detector.errors import ConfigError

out = Console()


def compare_command(
    before: Annotated[Path, typer.Argument(help="Folder that a backtest wrote.", show_default=False)],
    after: Annotated[Path, typer.Argument(help="Another one, best over the same logs.", show_default=False)],
    labels: Annotated[Path | None, typer.Option(help="Known attacks (CSV) to measure both against.")] = None,
    since: Annotated[
        str | None, typer.Option("--from", help="Only what was judged from this time (ISO 8601, UTC) on counts.")
    ] = None,
    out_dir: Annotated[Path | None, typer.Option("--out", help="Folder for compare.json and compare.html.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, for programs.")] = False,
    limit: Annotated[int, typer.Option(min=0, help="Alerts of each fate in the terminal; the files have more.")] = 10,
) -> None:
    """Compare two results: alerts gained, lost and moved, numbers and how sure they are."""
    from detector.backtest.labels import load_labels, parse_time
    from detector.compare.console import shown
    from detector.compare.run import compare
    from detector.compare.written import write_files

    try:
        begin = None if since is None else parse_time(since)
    except ValueError as problem:
        raise ConfigError("--from", "", str(problem)) from problem
    compared = compare(before, after, None if labels is None else load_labels(labels), begin)
    if out_dir is not None:
        write_files(compared, out_dir)
    if as_json:
        typer.echo(orjson.dumps(compared, option=orjson.OPT_INDENT_2).decode())
        return
    out.print(shown(compared, limit))
    if out_dir is not None:
        out.print(f"\nWritten to {out_dir}: compare.html, compare.json", soft_wrap=True, markup=False)
