"""How fast eastwest is, beside parsers, group-bys, MIDAS-R and River, on made flows of a stated shape.

    python benchmarks/speed.py                        # everything, some 20 minutes on two busy cores
    python benchmarks/speed.py --rows 1000000         # smaller files for the fast ones
    python benchmarks/speed.py --out out/speed.json

All take turns in the same run and have one core each: quote ratios, not rates. The rows are the same in every run;
how many of them eastwest reads in a pass follows from a trial and stands in the table. The exit status is 1 when a
gate does not hold, so that the times mean nothing; unmet targets are no failure.
"""

import sys
from pathlib import Path
from typing import Annotated

import orjson
import typer
from race import programme, tables
from race.programme import Plan
from race.shape import Shape
from rich.console import Console

CONSOLE = Console(width=None if Console().is_terminal else 150)
DEFAULTS = Shape()


def main(
    out: Annotated[Path | None, typer.Option(help="Where to write all numbers as JSON.")] = None,
    rows: Annotated[int, typer.Option(min=1_000, help="Flows in the Parquet file.")] = DEFAULTS.rows,
    lines: Annotated[int, typer.Option(min=1_000, help="Flows that are written as lines too.")] = DEFAULTS.lines,
    hosts: Annotated[int, typer.Option(min=100, help="Addresses.")] = DEFAULTS.hosts,
    edges: Annotated[int, typer.Option(min=100, help="Pairs of them that are known.")] = DEFAULTS.edges,
    seed: Annotated[int, typer.Option(help="Of all that is made.")] = DEFAULTS.seed,
    rounds: Annotated[int, typer.Option(min=1, help="Turns that everybody takes.")] = 3,
) -> None:
    """Run the race, print its tables."""
    shape = Shape(rows=rows, lines=min(lines, rows), hosts=hosts, edges=edges, seed=seed)
    report = programme.run(Plan(shape, rounds), CONSOLE)
    for table in tables.tables(report):
        CONSOLE.print(table)
        CONSOLE.print()
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
        out.write_bytes(orjson.dumps(programme.document(report), option=options))
    if not all(report.gates.values()):
        sys.exit("a gate does not hold: the times mean nothing")


if __name__ == "__main__":
    typer.run(main)
