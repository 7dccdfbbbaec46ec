"""`eastwest sinks` and `eastwest spool`: the places that alerts go to, for people. Late imports keep --help quick."""

# ruff: noqa: PLC0415
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from detector.errors import ConfigError
from detector.service.logs import escaped

if TYPE_CHECKING:
    from detector.service.settings import ServiceSettings
    from detector.service.settings_sinks import AnySink
    from detector.sinks.delivery import Sink
    from detector.sinks.messages import Message

FAILED: Final = 4
_WAIT_SECONDS: Final = 300.0

sinks_app = typer.Typer(help="Try the places that alerts go to.", no_args_is_help=True)
spool_app = typer.Typer(help="Look at what waits for a place, or was refused by it.", no_args_is_help=True)
out = Console()
err = Console(stderr=True)

Config = Annotated[Path, typer.Option("--config", "-c", help="Settings file of the service (YAML).")]


@sinks_app.command("test")
def try_command(
    config: Config, name: Annotated[str | None, typer.Argument(help="One sink; all when there is none.")] = None
) -> None:
    """Send a test alert through each sink and show what the other side answered. The service may be running."""
    settings = _load(config)
    results = [_tried(wish, settings) for wish in _wanted(settings, name)]
    table = Table("sink", "type", "format", "result", "seconds", "answer")
    for result in results:
        wish = result.wish
        table.add_row(
            wish.label, wish.type, wish.format, result.outcome, f"{result.seconds:.2f}", Text(escaped(result.said))
        )
    out.print(table)
    if any(result.outcome != "taken" for result in results):
        raise typer.Exit(FAILED)


@spool_app.command("show")
def show_command(config: Config) -> None:
    """Show what waits for each sink and what it refused. The service may be running."""
    from detector.sinks.spool import look

    settings = _load(config)
    spool = look(_folder(settings))
    table = Table("sink", "waiting", "next", "refused", "")
    told = {wish.label for wish in settings.alerts.sinks}
    for name in sorted(told | set(spool.done) | {name for name, count in spool.refused.items() if count}):
        done = max(spool.done.get(name, spool.first), spool.first)
        remark = "" if name in told else "not in the settings"
        table.add_row(name, f"{max(spool.end - done, 0):,}", f"{done}", f"{spool.refused.get(name, 0):,}", remark)
    out.print(table)
    out.print(
        f"Records {spool.first} to {spool.end - 1} are stored, {spool.size:,} bytes."
        if spool.end > spool.first
        else "No record is stored.",
        highlight=False,
    )


@spool_app.command("replay")
def replay_command(
    name: Annotated[str, typer.Argument(help="The sink.", show_default=False)],
    config: Config,
    refused: Annotated[bool, typer.Option("--refused", help="What it refused.")] = False,
    first: Annotated[int | None, typer.Option("--from", min=0, help="In place of that: number of a record.")] = None,
    last: Annotated[int | None, typer.Option("--to", min=0, help="The last one; the newest when not given.")] = None,
    seconds: Annotated[float, typer.Option(min=1, help="The longest it may take.")] = _WAIT_SECONDS,
) -> None:
    """Send stored or refused records to one sink again, with the ids they had. The service may be running."""
    from detector.sinks import spool
    from detector.sinks.messages import rendering

    if refused == (first is not None) or (last is not None and first is None):
        raise ConfigError("replay", "", "wants either --refused, or --from and perhaps --to")
    settings = _load(config)
    [wish] = _wanted(settings, name)
    folder = _folder(settings)
    records = spool.refused(folder, name) if refused else spool.stored(folder, first or 0, last)
    done = spool.replay(records, _sink(wish, settings), rendering(wish.format), seconds, _complain)
    out.print(f"{name}: {done.delivered:,} taken, {done.refused:,} refused, {done.waiting:,} not sent", highlight=False)
    if done.refused or done.waiting:
        raise typer.Exit(FAILED)


@dataclass(frozen=True, slots=True)
class _Try:
    wish: "AnySink"
    outcome: str  # taken, refused, not now
    seconds: float
    said: str


def _tried(wish: "AnySink", settings: "ServiceSettings") -> _Try:
    from detector.sinks.delivery import Refused, Retry

    sink, began = _sink(wish, settings), time.monotonic()
    outcome, said = "taken", ""
    try:
        sink.send([_example(wish.format)])
    except Refused as problem:
        outcome, said = "refused", problem.reason
    except Retry as problem:
        outcome, said = "not now", problem.reason
    except Exception as problem:  # noqa: BLE001 - the service would say the same, and try again
        outcome, said = "not now", f"{type(problem).__name__}: {problem}"
    finally:
        seconds = time.monotonic() - began
        sink.close()
    return _Try(wish, outcome, seconds, said)


def _example(form: str) -> "Message":
    """An alert that nobody can take for a real one, with an id of its own: a repetition would be left out."""
    from detector.alerts.model import Alert, Told, content_id, iso, told_json
    from detector.sinks.messages import rendering
    from detector.sinks.segments import Record

    now = iso(time.time_ns() // 1000)
    alert = Alert(
        alert_id=content_id("sinks test", now), ts=now, src="192.0.2.1", dst="192.0.2.2", service="test",
        operation=None, kind="connection", score=0.0, p_value=1.0, severity="low", techniques=(),
        reasons=("eastwest sinks test",), incident_id=None, evidence=(), src_zone="test", dst_zone="test", user=None,
        title="TEST: eastwest sinks test", summary="A test of the way that alerts take. Nothing happened.",
        last_ts=now,
    )  # fmt: skip
    return rendering(form)(Record(0, "alert", told_json(Told("alert", alert.alert_id, 0, alert))))


def _sink(wish: "AnySink", settings: "ServiceSettings") -> "Sink":
    from detector.service.kafka_options import connection_options
    from detector.service.sink_options import options_of
    from detector.sinks.kinds import sink_of

    return sink_of(wish.type, options_of(wish), connection_options(settings.kafka))


def _wanted(settings: "ServiceSettings", name: str | None) -> Iterator["AnySink"]:
    labels = [wish.label for wish in settings.alerts.sinks]
    if not labels or (name is not None and name not in labels):
        raise ConfigError("alerts.sinks", "", f"there is no sink {name or ''}; there are {', '.join(labels) or 'none'}")
    yield from (wish for wish in settings.alerts.sinks if name in {None, wish.label})


def _folder(settings: "ServiceSettings") -> Path:
    return settings.outbox.folder / "alerts"


def _load(file: Path) -> "ServiceSettings":
    from detector.service.loading import load_service_settings

    return load_service_settings(file)


def _complain(_: str, reason: str) -> None:
    err.print(escaped(reason), style="yellow", markup=False, soft_wrap=True)
