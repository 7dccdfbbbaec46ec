"""How fast rows of a real Kafka become alerts, and how soon, beside a kafka-python consumer that only looks at them.

    python benchmarks/stream.py                          # some ten minutes
    python benchmarks/stream.py --rows 100000            # shorter passes
    python benchmarks/stream.py --out out/stream.json

Before it measures, a service is taught what the last minutes of this pace brought.

Needs Java, and Maven once, for a Kafka of its own; or ``KAFKA_BOOTSTRAP_SERVERS``. All take turns in the same run and
have one core: quote ratios, not rates. Every row is accounted for, or the run ends with an error; unmet targets are no
failure.
"""

import os
from pathlib import Path
from typing import Annotated

import orjson
import typer
from live import programme, report
from live.programme import Plan
from race.shape import Shape
from rich.console import Console

CONSOLE = Console(width=None if Console().is_terminal else 150)
DEFAULTS = Shape(rows=300_000, per_second=2_000)


def main(
    out: Annotated[Path | None, typer.Option(help="Where to write all numbers as JSON.")] = None,
    rows: Annotated[int, typer.Option(min=1_000, help="Rows of a pass.")] = DEFAULTS.rows,
    hosts: Annotated[int, typer.Option(min=100, help="Addresses.")] = DEFAULTS.hosts,
    edges: Annotated[int, typer.Option(min=100, help="Pairs of them that are known.")] = DEFAULTS.edges,
    per_second: Annotated[int, typer.Option(min=1, help="Rows a second of their own time.")] = DEFAULTS.per_second,
    rounds: Annotated[int, typer.Option(min=1, help="Turns that everybody takes.")] = 3,
    seconds: Annotated[float, typer.Option(min=6, help="How long rows are sent at each pace.")] = 40.0,
) -> None:
    """Measure, and print the tables."""
    shape = Shape(rows=rows, lines=rows, hosts=hosts, edges=edges, per_second=per_second)
    servers = [server for server in os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "").split(",") if server]
    found = programme.run(Plan(shape, rounds, seconds), servers, CONSOLE)
    for table in report.tables(found):
        CONSOLE.print(table)
        CONSOLE.print()
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
        out.write_bytes(orjson.dumps(report.document(found), option=options))


if __name__ == "__main__":
    typer.run(main)
