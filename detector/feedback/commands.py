"""`eastwest feedback`: what analysts decide about acts, and what became of alerts."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
import typer
from rich.console import Console

from detector import journal
from detector.alerts.decisions import Decisions, load_decisions
from detector.alerts.model import Alert, alert_of
from detector.errors import ConfigError, UnreadableInput
from detector.feedback import tables
from detector.feedback.writing import add, audit_path, digest, name_of, scope_like, time_of

feedback_app = typer.Typer(
    help="Decide about acts: suppress, learn, end; say what became of alerts.", no_args_is_help=True
)
out = Console()
err = Console(stderr=True)

DecisionsPath = Annotated[Path, typer.Argument(help="File of decisions (YAML).", show_default=False)]
AlertsPath = Annotated[Path, typer.Argument(help="alerts.ndjson of a backtest.", show_default=False)]
By = Annotated[str, typer.Option(help="Who decides.", show_default=False)]
Why = Annotated[str, typer.Option(help="For which reason; who reads it later knows nothing else.", show_default=False)]
From = Annotated[str | None, typer.Option("--from", help="Time of observation it begins at (ISO 8601); now.")]


@feedback_app.command("add")
def add_command(
    file: DecisionsPath,
    by: By,
    why: Why,
    action: Annotated[Literal["suppress", "learn"], typer.Option(help="What to call such acts.")] = "suppress",
    until: Annotated[str | None, typer.Option(help="When it ends: a time, or days like 30d.")] = None,
    begin: From = None,
    name: Annotated[str | None, typer.Option("--id", help="Its id; made from what it says.")] = None,
    scope: Annotated[
        list[str] | None, typer.Option(help="What it is about, such as src=10.1.0.0/16; all that is given must hold.")
    ] = None,
    like: Annotated[str | None, typer.Option(help="In place of a scope: id of an alert.")] = None,
    alerts: Annotated[Path | None, typer.Option(help="alerts.ndjson that it is in.")] = None,
    likeness: Annotated[
        Literal["edge", "operation", "roles", "zones"], typer.Option("--as", help="Which acts are like it.")
    ] = "operation",
) -> None:
    """Add a decision to the file, and to its log."""
    now = datetime.now(UTC)
    begins = now if begin is None else time_of(begin, now)
    wanted = dict(_pair(text) for text in scope or ())
    if like is not None:
        if alerts is None:
            raise ConfigError("--like", "", "wants --alerts: the file that the alert is in")
        wanted |= scope_like(_find(_alerts(alerts), like), likeness)
    entry: dict[str, Any] = {"action": action, "by": by, "why": why, "from": begins}
    entry |= {} if until is None else {"until": time_of(until, begins)}
    entry["scope"] = wanted
    entry = {"id": name or name_of(entry), **entry}
    add(file, entry, now)
    typer.echo(entry["id"])


@feedback_app.command("end")
def end_command(
    file: DecisionsPath,
    name: Annotated[str, typer.Argument(help="Id of the decision.", show_default=False)],
    by: By,
    why: Why,
    begin: From = None,
) -> None:
    """End a decision: what it covered is an alert again. What was learned is unlearned."""
    now = datetime.now(UTC)
    add(file, {"id": name, "action": "end", "by": by, "why": why, "from": time_of(begin, now) if begin else now}, now)


@feedback_app.command("list")
def list_command(
    file: DecisionsPath,
    at: Annotated[str | None, typer.Option(help="Which of them hold at this time; now.")] = None,
) -> None:
    """Show the decisions."""
    now = datetime.now(UTC)
    out.print(tables.decisions_table(_decisions(file), tables.micros(now if at is None else time_of(at, now))))
    _compare(file)


@feedback_app.command("preview")
def preview_command(file: DecisionsPath, alerts: AlertsPath) -> None:
    """Show what each decision would have relabelled of the alerts of a backtest."""
    out.print(tables.preview_table(_decisions(file), _alerts(alerts)))


@feedback_app.command("explain")
def explain_command(
    file: DecisionsPath,
    alerts: AlertsPath,
    alert_id: Annotated[str, typer.Argument(help="Id of an alert.", show_default=False)],
) -> None:
    """Say why an alert has its status, and which decisions cover it."""
    for line in tables.explanation(_decisions(file), _find(_alerts(alerts), alert_id)):
        out.print(line, soft_wrap=True)


@feedback_app.command("verdict")
def verdict_command(
    file: DecisionsPath,
    alert_id: Annotated[str, typer.Argument(help="Id of an alert.", show_default=False)],
    verdict: Annotated[
        Literal["true_positive", "benign", "false_positive", "unknown"], typer.Argument(show_default=False)
    ],
    by: By,
    why: Why,
) -> None:
    """Write down what an alert turned out to be, in the log beside the decisions."""
    entry = {"at": datetime.now(UTC).isoformat(), "by": by, "what": "verdict", "alert_id": alert_id}
    journal.append(audit_path(file), entry | {"verdict": verdict, "why": why})


@feedback_app.command("log")
def log_command(file: DecisionsPath) -> None:
    """Show who decided what, and check that nobody changed the log."""
    out.print(tables.log_table(journal.entries(audit_path(file))))
    _compare(file)


def _compare(file: Path) -> None:
    """Say when the file is not as the log last saw it."""
    told = [entry["file"] for entry in journal.entries(audit_path(file)) if "file" in entry]
    if file.exists() and told and told[-1] != digest(file):
        err.print(f"{file}: was changed since the log last saw it", style="yellow", markup=False, soft_wrap=True)


def _decisions(file: Path) -> Decisions:
    return Decisions.of(load_decisions(file))


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigError("--scope", "", f"{text!r} is not like src=10.1.0.0/16")
    return name, value


def _alerts(path: Path) -> list[Alert]:
    """Alerts of a file of JSON lines.

    Raises:
        UnreadableInput: it is none.
    """
    try:
        lines = [orjson.loads(line) for line in path.read_bytes().splitlines()]
        return [alert_of({name: value for name, value in line.items() if name != "revision"}) for line in lines]
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as problem:
        raise UnreadableInput(f"{path}: is no alerts.ndjson of this version: {problem}") from None


def _find(alerts: list[Alert], alert_id: str) -> Alert:
    found = next((alert for alert in alerts if alert.alert_id == alert_id), None)
    if found is None:
        raise ConfigError(alert_id, "", "no alert of this id is in the file")
    return found
