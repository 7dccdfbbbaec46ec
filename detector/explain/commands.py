"""`eastwest explain`. Late imports keep --help quick."""

# ruff: noqa: PLC0415
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console

out = Console()
err = Console(stderr=True)


def explain_command(
    alert_id: Annotated[str, typer.Argument(help="Id of an alert or incident, or its beginning.")],
    result: Annotated[Path, typer.Option("--result", help="Folder that a backtest wrote.")],
    logs: Annotated[
        list[str] | None, typer.Option(help="Where the logs lie now, if they were moved; may be repeated.")
    ] = None,
    model: Annotated[Path | None, typer.Option(help="Model that the backtest began with.")] = None,
    model_key: Annotated[Path | None, typer.Option(help="Public key (PEM) that it must be signed for.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Every number, for programs.")] = False,
) -> None:
    """Replay a backtest up to an alert, and show every number that led to it."""
    from detector.bars import bars
    from detector.explain.console import shown
    from detector.explain.run import explain
    from detector.state.bundle import read_bundle

    with bars(err) as progress:
        bundle = None if model is None else read_bundle(model, model_key)
        explained = explain(result, alert_id, logs or (), bundle, progress)
    if as_json:
        typer.echo(orjson.dumps(explained, option=orjson.OPT_INDENT_2).decode())
        return
    out.print(shown(explained))
