"""How well eastwest finds intruders, beside comparators, on plants nothing was tuned on and on recorded data.

    python benchmarks/detection.py                    # everything, some 30 minutes on two cores
    python benchmarks/detection.py --quick            # one small plant of each pace
    python benchmarks/detection.py --only darpa
    python benchmarks/detection.py --lanl ~/lanl      # a public set you have; see contest/lanl.py, contest/optc.py

The same seeds give the same numbers. Recorded data is looked for in ``EASTWEST_SHARED_DATA``, or in ``../shared/data``
beside the repository; what needs it is left out, and says so, where it is missing.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import orjson
import typer
from contest import programme
from rich.console import Console

CONSOLE = Console(width=None if Console().is_terminal else 190)


class Part(StrEnum):
    """What can be run alone."""

    PLANTS = "plants"
    DARPA = "darpa"
    CAPTURES = "captures"
    ABLATION = "ablation"


def main(
    out: Annotated[Path | None, typer.Option(help="Where to write all numbers as JSON.")] = None,
    only: Annotated[list[Part] | None, typer.Option(help="Only this part; may be repeated.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A few minutes: fewer and smaller plants.")] = False,
    tuning: Annotated[bool, typer.Option("--tuning", help="Seeds to tune on instead of those reported.")] = False,
    lanl: Annotated[Path | None, typer.Option(help="Folder of LANL's auth, flows and redteam.txt.gz.")] = None,
    optc: Annotated[Path | None, typer.Option(help="Folder of OpTC's events, or LMDEval's optc.csv.gz.")] = None,
    processes: Annotated[int, typer.Option(min=1, help="Tasks done at once.")] = 2,
) -> None:
    """Run the benchmark, print its tables."""
    parts = [part.value for part in only or ([] if lanl or optc else Part)]
    work = programme.public(lanl, optc) + programme.tasks(parts, quick=quick, tuning=tuning)
    report = programme.run(work, processes, CONSOLE)
    for table in report.tables():
        CONSOLE.print(table)
        CONSOLE.print()
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        options = orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS | orjson.OPT_APPEND_NEWLINE
        out.write_bytes(orjson.dumps(report, option=options))


if __name__ == "__main__":
    typer.run(main)
