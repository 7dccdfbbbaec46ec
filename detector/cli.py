"""`eastwest`: what people type. Thin: parses, calls, shows; exit codes are part of the contract.

0 done, 2 usage or configuration, 3 input that could not be read at all, 4 partial: more rejected than `--max-rejects`.
"""

import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

import detector
from detector.alerts.decisions import load_decisions
from detector.assets.plant import Plant, load_plant, unknown_keys
from detector.backtest import console as show
from detector.backtest import options
from detector.backtest.labels import Label, load_labels, parse_time
from detector.backtest.parts import Between
from detector.backtest.run import Result, backtest
from detector.backtest.workers import Means
from detector.bars import bars
from detector.compare.commands import compare_command
from detector.config import Settings, load_settings
from detector.drill.commands import drill_command
from detector.errors import ConfigError, DetectorError, UnreadableInput
from detector.evidence.commands import evidence_command
from detector.explain.commands import explain_command
from detector.feedback.commands import feedback_app
from detector.incidents.commands import incidents_app
from detector.models.commands import model_app
from detector.reach.commands import reach_command
from detector.service.commands import config_app, status_command
from detector.service.sink_commands import sinks_app, spool_app
from detector.simulate import SimulatedPlant, simulate
from detector.state.bundle import read_bundle
from detector.sweep.commands import sweep_command
from detector.trust.commands import trust_command
from detector.vendors.commands import vendors_app
from detector.zones.commands import zones_app

USAGE, UNREADABLE, PARTIAL = 2, 3, 4
SHADOW = "shadow"  # folder of what a candidate says
DEMO_DAYS, DEMO_HOSTS, DEMO_SEED = 8.0, 100, 7

app = typer.Typer(
    help="Find intruders moving sideways through IT and OT networks, in Zeek and NetFlow logs.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(config_app, name="config")
app.add_typer(sinks_app, name="sinks")
app.add_typer(spool_app, name="spool")
app.add_typer(feedback_app, name="feedback")
app.add_typer(vendors_app, name="vendors")
app.add_typer(incidents_app, name="incidents")
app.add_typer(zones_app, name="zones")
app.add_typer(model_app, name="model")
app.command("status")(status_command)
app.command("evidence")(evidence_command)
app.command("drill")(drill_command)
app.command("reach")(reach_command)
app.command("trust")(trust_command)
app.command("explain")(explain_command)
app.command("compare")(compare_command)
app.command("sweep")(sweep_command)
out = Console()
err = Console(stderr=True)


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Options before the command."""
    if version:
        typer.echo(f"eastwest {detector.__version__}")
        raise typer.Exit


@app.command("backtest")
def backtest_command(
    paths: options.Paths,
    out_dir: Annotated[Path, typer.Option("--out", help="Folder for the results; made if missing.")],
    log_format: options.LogFormat = "auto",
    plant: options.PlantFile = None,
    decisions: options.Decisions = None,
    labels: options.Labels = None,
    train_until: options.TrainUntil = None,
    history: options.History = None,
    model: Annotated[Path | None, typer.Option(help="Model to begin with; see docs/models.md.")] = None,
    model_key: Annotated[Path | None, typer.Option(help="Public key (PEM) that models must be signed for.")] = None,
    shadow: Annotated[Path | None, typer.Option(help="Candidate that scores the same, into the folder shadow.")] = None,
    first: Annotated[
        str | None, typer.Option("--from", help="Rows before this time (ISO 8601, UTC) do not count.")
    ] = None,
    stop: Annotated[str | None, typer.Option("--to", help="Nor do rows from this time on.")] = None,
    workers: Annotated[
        int, typer.Option(min=1, max=256, help="Processes that decode; changes speed and memory, never results.")
    ] = 1,
    engine: Annotated[
        Literal["processes", "ray"], typer.Option(help="Who decodes: processes of this machine, or Ray.")
    ] = "processes",
    ray_address: Annotated[
        str | None, typer.Option(help="HOST:PORT of a Ray cluster that this machine is a node of.")
    ] = None,
    alerts_per_day: Annotated[float | None, typer.Option(help="Alerts a day that people want to read.")] = None,
    config: Annotated[Path | None, typer.Option(help="Settings file (YAML); see docs/settings.md.")] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Records handled at once; changes speed and memory, never results.")
    ] = None,
    max_rejects: Annotated[
        str,
        typer.Option(help="Rejected records, as a count or a share like 5%, beyond which the exit code is 4."),
    ] = "10%",
) -> None:
    """Run the engine over logs: alerts, incidents, findings, a summary and an HTML report."""
    overrides = {"alerts_per_day": alerts_per_day, "batch_rows": batch_size}
    settings = load_settings(config, {key: value for key, value in overrides.items() if value is not None})
    limit = _limit(max_rejects)
    wish: dict[str, Any] = {
        "plant": _plant(plant),
        "labels": _labels(labels),
        "train_until": _time("--train-until", train_until),
        "decisions": () if decisions is None else load_decisions(decisions),
        "history": history or [],
        "log_format": log_format,
        "between": Between(_time("--from", first), _time("--to", stop)),
        "means": _means(workers, engine, ray_address),
        "notice": lambda told: err.print(told, markup=False),
    }
    live, candidate = (None if path is None else read_bundle(path, model_key) for path in (model, shadow))
    with bars(err) as progress:
        result = backtest(paths, out_dir, settings, **wish, model=live, progress=progress)
    if candidate is not None:
        with bars(err) as progress:
            beside = backtest(paths, out_dir / SHADOW, settings, **wish, model=candidate, progress=progress)
    _print(result)
    if candidate is not None:
        out.print(show.beside_table({"live": result.summary, SHADOW: beside.summary}))
    rows = result.summary["rows"]
    if rows["rejected"] > limit(rows["in"]):
        said = f"{rows['rejected']} of {rows['in']} records were rejected; see {out_dir / 'rejected.ndjson'}"
        err.print(said, style="yellow", markup=False, soft_wrap=True)
        raise typer.Exit(PARTIAL)


@app.command("inventory")
def inventory_command(
    paths: Annotated[list[Path], typer.Argument(help="Log files or folders; Zeek and NetFlow may be mixed.")],
    out_dir: Annotated[Path, typer.Option("--out", help="Folder for the results; made if missing.")],
    log_format: Annotated[str, typer.Option("--format", help="auto, or one format's name for all records.")] = "auto",
    plant: Annotated[Path | None, typer.Option(help="Plant file: zones, assets, known servers (YAML).")] = None,
    declared: Annotated[Path | None, typer.Option(help="Table of hosts (CSV), your own or exported by NetBox.")] = None,
    known: Annotated[
        Path | None, typer.Option(help="inventory.ndjson of an earlier run, to tell what changed.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Settings file (YAML); see docs/settings.md.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="Hosts shown in the terminal; the files have all.")] = 40,
) -> None:
    """List the hosts of a network out of its logs: what they are, why one thinks so, and what changed."""
    from detector.inventory import console as shown
    from detector.inventory.declared import load_declared
    from detector.inventory.lifecycle import load_inventory
    from detector.inventory.run import inventory

    before = None if known is None else load_inventory(known)
    with bars(err) as progress:
        result = inventory(
            paths,
            out_dir,
            load_settings(config),
            plant=_plant(plant),
            declared=[] if declared is None else load_declared(declared),
            known=before,
            log_format=log_format,
            progress=progress,
        )
    out.print(shown.asset_table(result.assets, limit))
    if len(result.assets) > limit:
        out.print(f"and {len(result.assets) - limit} more in {out_dir / 'inventory.csv'}", markup=False, soft_wrap=True)
    out.print(shown.role_table(result.assets))
    if result.events is not None:
        out.print(shown.event_lines(result.events, limit))
    out.print(shown.accounting(result.summary))
    written = "inventory.ndjson, inventory.csv, inventory.cdx.json, events.ndjson, summary.json, rejected.ndjson"
    out.print(f"\nWritten to {result.out}: {written}", soft_wrap=True, markup=False)


@app.command("run")
def run_command(
    config: Annotated[Path, typer.Option("--config", "-c", help="Settings file (YAML); see docs/service-settings.md.")],
) -> None:
    """Read topics of Kafka and tell alerts, until SIGTERM or Ctrl-C; goes on where it stopped."""
    from detector.service import logs
    from detector.service.loading import load_service_settings
    from detector.service.loop import run

    settings = load_service_settings(config)
    logs.configure(settings.log.level, settings.log.format)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    run(settings, stop)


@app.command("simulate")
def simulate_command(
    out_dir: Annotated[Path, typer.Option("--out", help="Folder for the logs; made if missing.")],
    days: Annotated[float, typer.Option(min=0.1, max=366, help="Length of the history.")] = 7.0,
    hosts: Annotated[int, typer.Option(min=40, max=10_000, help="Hosts in office, plant and supplier zones.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same bytes.")] = 1,
    density: Annotated[float, typer.Option(help="Share of routine repetitions that the sensors saw, up to 1.")] = 1.0,
    netflow: Annotated[bool, typer.Option(help="Whether NetFlow is written beside Zeek logs.")] = True,
    campaigns: Annotated[bool, typer.Option(help="Whether there are attacks, or just normal life.")] = True,
    violations: Annotated[bool, typer.Option(help="Whether suppliers do what was not agreed.")] = False,
) -> None:
    """Write the logs of a made-up car plant with labelled attacks: Zeek JSON and goflow2 NetFlow."""
    wish: dict[str, Any] = {"netflow": netflow, "campaigns": campaigns, "violations": violations}
    plant = _simulate(out_dir, days=days, hosts=hosts, seed=seed, density=density, **wish)
    places = {
        "Zeek logs": plant.zeek_dir,
        "NetFlow": plant.netflow_dir,
        "labels": plant.labels,
        "plant file": plant.plant,
        "violations": plant.violations,
    }
    for name, path in ((name, path) for name, path in places.items() if path):
        out.print(f"{name:<11} {path}", soft_wrap=True, markup=False, highlight=False)
    out.print(
        f"\nTry: eastwest backtest {plant.zeek_dir} --plant {plant.plant} --labels {plant.labels} "
        f"--train-until {plant.train_until} --out {out_dir / 'result'}",
        soft_wrap=True,
        markup=False,
    )


@app.command("demo")
def demo_command(
    out_dir: Annotated[Path, typer.Option("--out", help="Folder for logs and results.")] = Path("demo-out"),
) -> None:
    """Simulate a small plant under attack, run the engine over it, show what it found. Under a minute."""
    began = time.monotonic()
    out.print(
        "A car plant, a week of ordinary life: offices, servers, industrial DMZ, cells, a supplier. Then, intruders.\n"
    )
    logs = out_dir / "logs"
    if logs.exists() and not (logs / "labels.csv").exists():
        raise ConfigError("--out", "", f"{logs} exists and was not written by the demo; choose another folder")
    shutil.rmtree(logs, ignore_errors=True)
    plant = _simulate(logs, days=DEMO_DAYS, hosts=DEMO_HOSTS, seed=DEMO_SEED)
    with bars(err) as progress:
        result = backtest(
            [plant.zeek_dir],
            out_dir / "result",
            Settings(),
            plant=load_plant(plant.plant),
            labels=load_labels(plant.labels),
            train_until=parse_time(plant.train_until),
            progress=progress,
        )
    _print(result)
    said = f"\n{time.monotonic() - began:.0f} s in all. Open {result.out / 'report.html'} in a browser."
    out.print(said, soft_wrap=True, markup=False)


def _simulate(out_dir: Path, **wish: Any) -> SimulatedPlant:
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), console=err) as shown:
        task = shown.add_task("simulating", total=1.0)

        def update(day: str, share: float) -> None:
            shown.update(task, completed=share, description=f"simulating {day}")

        try:
            return simulate(out_dir, **wish, progress=update)
        except (ValueError, FileExistsError) as problem:
            raise ConfigError("simulate", "", str(problem)) from problem


def _print(result: Result) -> None:
    summary = result.summary
    out.print(show.accounting_table(summary))
    out.print(show.alert_table(result.alerts, limit=10))
    if result.incidents:
        out.print(show.incident_table(result.incidents))
    else:
        out.print("\nNo incident: no chain of moves was unlikely enough.")
    out.print(show.host_table(result.hosts, limit=10))
    out.print(show.phase_table(result.phases))
    if "labels" in summary:
        out.print(show.labels_table(summary))
    out.print(
        f"\nWritten to {result.out}: alerts.ndjson, incidents.ndjson, entities.ndjson, findings.parquet, "
        "summary.json, report.html",
        soft_wrap=True,
        markup=False,
    )


def _plant(path: Path | None) -> Plant | None:
    if path is None:
        return None
    plant = load_plant(path)
    if ignored := list(unknown_keys(plant)):
        shown = ", ".join(ignored[:5]) + (f" and {len(ignored) - 5} more" if len(ignored) > 5 else "")
        err.print(f"{path}: not read by this version: {shown}", style="yellow", markup=False)
    return plant


def _labels(path: Path | None) -> list[Label] | None:
    return None if path is None else load_labels(path)


def _time(option: str, text: str | None) -> int | None:
    try:
        return None if text is None else parse_time(text)
    except ValueError as problem:
        raise ConfigError(option, "", str(problem)) from problem


def _means(workers: int, engine: Literal["processes", "ray"], ray_address: str | None) -> Means:
    if ray_address is not None and engine != "ray":
        raise typer.BadParameter("is for --engine ray", param_hint="--ray-address")
    return Means(workers, engine=engine, address=ray_address)


def _limit(text: str) -> Any:
    """``5%`` or ``100`` as a function of the records read."""
    number = text.removesuffix("%")
    try:
        value = float(number)
    except ValueError:
        value = -1.0
    if not value >= 0:  # nor is nan
        raise ConfigError("--max-rejects", "", f"{text!r} is neither a count nor a share like 5%")
    return (lambda rows: rows * value / 100) if text.endswith("%") else (lambda rows: value)


def main() -> None:
    """The console script: errors a user can mend become one line and an exit code."""
    try:
        app()
    except UnreadableInput as problem:
        _fail(problem, UNREADABLE)
    except (DetectorError, OSError) as problem:  # of files, what remains is a folder that cannot be written
        _fail(problem, USAGE)


def _fail(problem: Exception, code: int) -> NoReturn:
    """One line, however long: parsers speak in several, and a log that collects stderr wants one."""
    err.print(f"eastwest: {' '.join(str(problem).split())}", style="red", markup=False, soft_wrap=True)
    sys.exit(code)
