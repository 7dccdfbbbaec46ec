"""`eastwest vendors`: evidence about the access of suppliers."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from detector.assets.plant import Plant, load_plant, unknown_keys
from detector.assets.section import end_us, read_moment, utc_us
from detector.config import load_settings
from detector.errors import ConfigError
from detector.renderings.strings import visible
from detector.vendors.report import Found, violations
from detector.vendors.run import UNUSED_DAYS, Asked, look, write

VIOLATED = 5
"""Exit code of `check` when something was not agreed."""

vendors_app = typer.Typer(help="Suppliers: who came, what was done, and what was not agreed.", no_args_is_help=True)
out = Console()
err = Console(stderr=True)

Logs = Annotated[list[Path], typer.Argument(help="Log files or folders; Zeek and NetFlow may be mixed.")]
PlantFile = Annotated[Path, typer.Option("--plant", help="Plant file with the register: vendors (YAML).")]
Name = Annotated[str | None, typer.Option("--vendor", help="Only this supplier, by name or account.")]
Since = Annotated[str | None, typer.Option(help="Only from this time on (ISO 8601), or this day; the plant's time.")]
Until = Annotated[str | None, typer.Option(help="Only before this time, or to the end of this day.")]
Unused = Annotated[float, typer.Option(min=0, help="Days after which access that is not used is unused.")]
Format = Annotated[str, typer.Option("--format", help="auto, or one format's name for all records.")]
Config = Annotated[Path | None, typer.Option(help="Settings file (YAML); see docs/settings.md.")]


@vendors_app.command("report")
def report_command(
    paths: Logs,
    plant_file: PlantFile,
    out_dir: Annotated[Path, typer.Option("--out", help="Folder for the results; made if missing.")],
    vendor: Name = None,
    since: Since = None,
    until: Until = None,
    unused_days: Unused = UNUSED_DAYS,
    log_format: Format = "auto",
    config: Config = None,
) -> None:
    """Write who connected, when, to what, what was done, and what was not agreed: evidence for NIS2 Art. 21(2)(d)."""
    plant = _plant(plant_file)
    asked = _asked(plant, vendor, since, until, unused_days)
    out_dir.mkdir(parents=True, exist_ok=True)
    with (out_dir / "rejected.ndjson").open("wb") as dead_letters:
        found, rows, files = look(paths, load_settings(config), plant, dead_letters, asked=asked, log_format=log_format)
    write(found, rows, files, out_dir, plant_file)
    _show(found)
    out.print(f"report: {out_dir / 'report.html'}", markup=False, soft_wrap=True)


@vendors_app.command("check")
def check_command(
    paths: Logs,
    plant_file: PlantFile,
    vendor: Name = None,
    since: Since = None,
    until: Until = None,
    unused_days: Unused = UNUSED_DAYS,
    log_format: Format = "auto",
    config: Config = None,
) -> None:
    """Show what was not agreed and write nothing; exit code 5 when there is any (access that is not used does not
    count)."""
    plant = _plant(plant_file)
    asked = _asked(plant, vendor, since, until, unused_days)
    with Path("/dev/null").open("wb") as nowhere:
        found, _, _ = look(paths, load_settings(config), plant, nowhere, asked=asked, log_format=log_format)
    _show(found)
    if any(each.visit is not None for each in found.violations):
        raise typer.Exit(VIOLATED)


def _plant(file: Path) -> Plant:
    plant = load_plant(file)
    for key in unknown_keys(plant):
        err.print(f"{file}: {key} is not known to this version and passed over", style="yellow", markup=False)
    if not plant.vendors:
        raise ConfigError(str(file), "vendors", "there is no supplier in it")
    return plant


def _asked(plant: Plant, vendor: str | None, since: str | None, until: str | None, unused_days: float) -> Asked:
    if vendor is not None and not any(vendor.lower() in {each.label.lower(), *each.logins} for each in plant.vendors):
        raise ConfigError("--vendor", "", f"{vendor!r} is no supplier of the plant file")
    begin = None if since is None else utc_us(_moment("--since", since), plant.timezone)
    end = None if until is None else end_us(_moment("--until", until), plant.timezone)
    return Asked(vendor, begin, end, unused_days)


def _moment(option: str, text: str) -> Any:
    try:
        return read_moment(text)
    except ValueError as problem:
        raise ConfigError(option, "", str(problem)) from problem


def _show(found: Found) -> None:
    table = Table(title=f"{len(found.visits)} sessions of suppliers, {len(found.violations)} violations")
    for column in ("When", "Supplier", "What", "From", "To", "Account"):
        table.add_column(column, overflow="fold")
    for each in violations(found)[:40]:
        what = each["words"] + (f", {each['minutes_outside']} min" if each["minutes_outside"] else "")
        what += f": {each['what']}" if each["what"] else ""
        cells = (each["local_start"], each["vendor"], what, each["src"], each["dst"], each["account"])
        table.add_row(*(Text(visible(cell)) for cell in cells))
    out.print(table)
