"""`eastwest incidents`: what became of them."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from detector.incidents.book import Book, book_of
from detector.incidents.life import time_of
from detector.incidents.trend import STEPS
from detector.incidents.written import write_report
from detector.renderings.strings import visible

incidents_app = typer.Typer(help="Who does what about incidents, and how long it takes.", no_args_is_help=True)
out = Console()

Folder = Annotated[
    Path, typer.Argument(help="Result of a backtest, or outbox folder of a service.", show_default=False)
]
IncidentId = Annotated[str, typer.Argument(help="Id of an incident.", show_default=False)]
By = Annotated[str, typer.Option(help="Who does it.", show_default=False)]
Why = Annotated[str, typer.Option(help="What was done, or why.")]
At = Annotated[str | None, typer.Option("--at", help="When it happened (ISO 8601); now.")]


@incidents_app.command("list")
def list_command(
    folder: Folder,
    state: Annotated[str | None, typer.Option(help="Only those in this state.")] = None,
) -> None:
    """Show incidents and the state they are in."""
    table = Table(box=None, pad_edge=False)
    for name in ("Id", "State", "Severity", "Opened (UTC)", "What"):
        table.add_column(name, no_wrap=name != "What")
    for case in _book(folder).cases().values():
        if state in (None, case.state):
            opened = case.times["opened"][:19].replace("T", " ")
            table.add_row(case.incident_id, case.state, case.severity, opened, escape(visible(case.title)))
    out.print(table)


@incidents_app.command("show")
def show_command(folder: Folder, incident_id: IncidentId) -> None:
    """Show what was done about one incident, when and by whom."""
    case = _book(folder).case(incident_id)
    lines = [f"{case.incident_id}  {case.severity}  {case.state}", case.title, f"begun {case.begun}"]
    if case.merged_into:
        lines.append(f"part of {case.merged_into}")
    for done in case.history:
        said = f": {done['why']}" if done["why"] else ""
        lines.append(f"{done['when']}  {done['what']} by {done['by']}{said}")
    lines += [f"to {step}: {took:,.0f} s" for step, took in case.seconds().items() if took is not None]
    for line in lines:
        out.print(visible(line), markup=False, soft_wrap=True, highlight=False)


@incidents_app.command("acknowledge")
def acknowledge_command(folder: Folder, incident_id: IncidentId, by: By, why: Why = "", at: At = None) -> None:
    """Somebody looks after it."""
    _move(folder, incident_id, "acknowledge", by, why, at)


@incidents_app.command("contain")
def contain_command(folder: Folder, incident_id: IncidentId, by: By, why: Why = "", at: At = None) -> None:
    """The intruder gets no further."""
    _move(folder, incident_id, "contain", by, why, at)


@incidents_app.command("recover")
def recover_command(folder: Folder, incident_id: IncidentId, by: By, why: Why = "", at: At = None) -> None:
    """All works as before."""
    _move(folder, incident_id, "recover", by, why, at)


@incidents_app.command("close")
def close_command(
    folder: Folder,
    incident_id: IncidentId,
    by: By,
    outcome: Annotated[
        Literal["resolved", "false_positive", "benign"],
        typer.Option("--as", help="What it turned out to be.", show_default=False),
    ],
    why: Why = "",
    at: At = None,
) -> None:
    """Nothing is left to do."""
    _move(folder, incident_id, "close", by, why, at, outcome)


@incidents_app.command("reopen")
def reopen_command(
    folder: Folder,
    incident_id: IncidentId,
    by: By,
    why: Annotated[str, typer.Option(help="For which reason.", show_default=False)],
    at: At = None,
) -> None:
    """It is not over."""
    _move(folder, incident_id, "reopen", by, why, at)


@incidents_app.command("report")
def report_command(
    folder: Folder, out_dir: Annotated[Path, typer.Option("--out", help="Folder for the report; made if missing.")]
) -> None:
    """Write how quickly incidents are detected, acknowledged, contained and recovered from, week by week."""
    summary = write_report(list(_book(folder).cases().values()), out_dir)
    for step in STEPS:
        mean, count = summary[f"{step}_mean_minutes"], summary[f"{step}_count"]
        out.print(f"to {step}: " + ("nothing yet" if mean is None else f"mean {mean:,.1f} min, of {count}"))
    out.print(f"Written to {out_dir}: report.html, incidents.json, incidents.csv", soft_wrap=True, markup=False)


def _book(folder: Path) -> Book:
    return book_of(folder, datetime.now(UTC))


def _move(
    folder: Path, incident_id: str, move: str, by: str, why: str, at: str | None, outcome: str | None = None
) -> None:
    now = datetime.now(UTC)
    case = book_of(folder, now).move(
        incident_id, move, by, now=now, why=why, outcome=outcome, when=None if at is None else time_of(at)
    )
    out.print(f"{case.incident_id} is {case.state}", markup=False, soft_wrap=True)
