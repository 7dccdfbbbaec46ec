"""Options that say what a backtest reads, for all commands that run one."""

from pathlib import Path
from typing import Annotated

import typer

Paths = Annotated[list[str], typer.Argument(help="Log files, folders or s3:// URLs; Zeek and NetFlow may be mixed.")]
LogFormat = Annotated[str, typer.Option("--format", help="auto, or one format's name for all records.")]
PlantFile = Annotated[Path | None, typer.Option(help="Plant file: zones, conduits, vendors (YAML).")]
Decisions = Annotated[Path | None, typer.Option(help="What was decided about acts (YAML); see feedback.")]
Labels = Annotated[Path | None, typer.Option(help="Known attacks (CSV) to measure against.")]
TrainUntil = Annotated[str | None, typer.Option(help="Rows before this time (ISO 8601, UTC) only teach.")]
History = Annotated[
    list[str] | None, typer.Option(help="Clean logs that teach first, whatever their time; may be repeated.")
]
