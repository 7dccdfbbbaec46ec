"""`eastwest model`: bundles of what a network taught."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from detector.assets.plant import load_plant
from detector.backtest.labels import load_labels
from detector.bars import bars
from detector.config import MODELS, Settings, load_settings
from detector.engine import Engine
from detector.errors import ConfigError
from detector.models.card import card
from detector.models.compare import differences
from detector.models.promote import history, promote
from detector.models.train import Measure, measured, train
from detector.renderings.strings import visible
from detector.state.bundle import Bundle, packed, read_bundle, unpacked

DIFFERENT = 1  # exit code
CARD = ".md"  # the card lies beside the bundle, under its name
model_app = typer.Typer(help="Models: train, show, verify, compare, promote.", no_args_is_help=True)
out = Console()
err = Console(stderr=True)

File = Annotated[Path, typer.Argument(help="Bundle.", show_default=False)]
Key = Annotated[Path | None, typer.Option("--key", help="Public key (Ed25519, PEM) the bundle must be signed for.")]


@model_app.command("train")
def train_command(
    paths: Annotated[list[Path], typer.Argument(help="Clean log files or folders of one network, a week or so.")],
    to: Annotated[Path, typer.Option("--out", help="Bundle to write; its card goes beside it.")],
    name: Annotated[str | None, typer.Option(help="Of the bundle; that of the file.")] = None,
    plant: Annotated[Path | None, typer.Option(help="Plant file: zones, conduits, vendors (YAML).")] = None,
    config: Annotated[Path | None, typer.Option(help="Settings file (YAML); see docs/settings.md.")] = None,
    log_format: Annotated[str, typer.Option("--format", help="auto, or one format's name for all records.")] = "auto",
    about: Annotated[Path | None, typer.Option(help="Written part of the model card (Markdown).")] = None,
    sign: Annotated[Path | None, typer.Option(help="Private key (Ed25519, PEM) to sign with.")] = None,
    measure: Annotated[list[Path] | None, typer.Option(help="Logs of another network to measure on.")] = None,
    measure_plant: Annotated[Path | None, typer.Option(help="Its plant file.")] = None,
    measure_labels: Annotated[Path | None, typer.Option(help="Its known attacks (CSV).")] = None,
) -> None:
    """Let logs teach, and write what another network can use; measured without history, with and without it."""
    settings = load_settings(config)
    with bars(err) as progress:
        bundle = train(
            paths, settings, name or to.stem, plant=None if plant is None else load_plant(plant), plant_file=plant,
            description=_text(about), log_format=log_format, progress=progress,
        )  # fmt: skip
        manifest = bundle.manifest
        if measure:
            on = Measure(
                measure[0].name,
                measure,
                None if measure_plant is None else load_plant(measure_plant),
                None if measure_labels is None else load_labels(measure_labels),
            )
            numbers = {where: dict(found) for where, found in measured(bundle, [on], settings, progress).items()}
            manifest = manifest.model_copy(update={"metrics": numbers})
    content = packed(manifest, bundle.arrays, sign)
    written = unpacked(content)
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_bytes(content)
    to.with_suffix(CARD).write_text(card(written), encoding="utf-8")
    _show(written)
    _say(f"\nWritten to {to} ({len(content):,} bytes) and {to.with_suffix(CARD)}")


@model_app.command("show")
def show_command(
    file: File,
    key: Key = None,
    as_card: Annotated[bool, typer.Option("--card", help="The model card, as Markdown.")] = False,
) -> None:
    """Show what a bundle is, who promoted it, and what it was measured to do."""
    bundle = read_bundle(file, key)
    if as_card:
        typer.echo(card(bundle), nl=False)
        return
    _show(bundle)
    for entry in history(file):
        _say(f"{entry['when']}  promoted {entry['sha256'][:16]} ({entry['model']}) by {entry['by']}: {entry['why']}")


@model_app.command("verify")
def verify_command(
    file: File,
    key: Key = None,
    config: Annotated[Path | None, typer.Option(help="Settings file it is to be used with (YAML).")] = None,
) -> None:
    """Check digest, signature, and that an engine can begin with it; anything else is exit code 2."""
    bundle = read_bundle(file, key)
    settings = load_settings(config) if config else Settings(models=_models(bundle))
    Engine(settings.model_copy(update={"max_entries": 1000, "max_seen": 1000}), model=bundle)
    _say(f"{file}: {bundle.sha256}, {bundle.signature}, fits")


@model_app.command("diff")
def diff_command(before: File, after: File, key: Key = None) -> None:
    """Say what two bundles do not have in common; exit code 1 when there is something."""
    found = list(differences(read_bundle(before, key), read_bundle(after, key)))
    table = Table("What", visible(str(before)), visible(str(after)), box=None, pad_edge=False)
    for difference in found:
        table.add_row(*(_cell(text) for text in difference))
    if not found:
        _say("no difference")
        return
    out.print(table)
    raise typer.Exit(DIFFERENT)


@model_app.command("promote")
def promote_command(
    candidate: File,
    live: Annotated[Path, typer.Argument(help="Live model, replaced whole.", show_default=False)],
    by: Annotated[str, typer.Option(help="Who does it.", show_default=False)],
    why: Annotated[str, typer.Option(help="For which reason.", show_default=False)],
    key: Key = None,
) -> None:
    """Make a candidate the live model, with a record; a service uses it from its next start on."""
    bundle = promote(candidate, live, key, by, why, datetime.now(UTC))
    _say(f"{live} is now {bundle.manifest.name}, {bundle.sha256}, {bundle.signature}")


def _models(bundle: Bundle) -> tuple[str, ...]:
    """Those of the bundle, as far as this version knows them: if it does not know all, the engine says which."""
    return tuple(name for name in MODELS if name in bundle.manifest.models)


def _show(bundle: Bundle) -> None:
    manifest, training = bundle.manifest, bundle.manifest.training
    lines = {
        "name": manifest.name,
        "SHA-256": bundle.sha256,
        "signature": bundle.signature,
        "made with": f"eastwest {manifest.detector}, "
        + ", ".join(f"{name} {number}" for name, number in sorted(manifest.libraries.items())),
        "models": f"structure, {', '.join(manifest.models)}",
        "taught from": f"{training.first} to {training.last}, {training.days:g} days, {training.rows:,} rows, "
        f"{training.hosts:,} addresses",
        "data": f"{training.file_count} files, {training.data_sha256}",
    }
    for name, text in lines.items():
        _say(f"{name:<12} {text}")
    for where, numbers in manifest.metrics.items():
        _say(f"{where:<12} {', '.join(f'{name} {number:g}' for name, number in numbers.items())}")


def _say(text: str) -> None:
    out.print("\n".join(visible(line) for line in text.split("\n")), markup=False, highlight=False, soft_wrap=True)


def _cell(text: str) -> str:
    return visible(text).replace("[", "\\[")


def _text(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigError(str(path), "", f"cannot be read as text: {problem}") from problem
