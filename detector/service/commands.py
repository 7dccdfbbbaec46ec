"""`eastwest config` and `eastwest status`: what people ask of the service. Late imports keep --help quick."""

# ruff: noqa: PLC0415
import http.client
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import urlsplit

import typer
from rich.console import Console

from detector.errors import ConfigError, UnreadableInput

if TYPE_CHECKING:
    from detector.service.settings import ServiceSettings

INVALID: Final = 2
_ANSWER_SECONDS: Final = 5.0
_MOST_ANSWER_BYTES: Final = 16 << 20

config_app = typer.Typer(help="Look at the settings of the service.", no_args_is_help=True)
out = Console()
err = Console(stderr=True)

SettingsFile = Annotated[Path, typer.Argument(help="Settings file of the service (YAML).", show_default=False)]


@config_app.command("check")
def check_command(file: SettingsFile) -> None:
    """Say what is wrong with a settings file, the environment, and the files they name. Opens no connection."""
    from detector.service.checks import check

    findings = list(check(_load(file)))
    for finding in findings:
        said, style = ("error", "red") if finding.fatal else ("warning", "yellow")
        err.print(f"{said}: {file}: {finding.key}: {finding.text}", style=style, markup=False, soft_wrap=True)
    if any(finding.fatal for finding in findings):
        raise typer.Exit(INVALID)
    typer.echo(f"{file}: ok")


@config_app.command("schema")
def schema_command() -> None:
    """Print the JSON Schema of the settings file, for editors."""
    from detector.service.loading import json_schema

    typer.echo(json.dumps(json_schema(), indent=2))


@config_app.command("show")
def show_command(file: SettingsFile) -> None:
    """Print the settings as they are used, with where each comes from. Files that hold secrets are only named."""
    from detector.service.loading import origins

    for line in shown(_load(file).model_dump(mode="json"), origins(file)):
        typer.echo(line)


def shown(values: Mapping[str, Any], origin: Mapping[str, str], prefix: str = "") -> Iterator[str]:
    """The settings as YAML; what is no default says where it comes from."""
    import yaml

    indent = "  " * prefix.count(".")
    for name, value in values.items():
        place = f"{prefix}{name}"
        if isinstance(value, dict) and place not in origin:
            yield f"{indent}{name}:"
            yield from shown(value, origin, f"{place}.")
            continue
        head, *rest = yaml.safe_dump({name: value}, sort_keys=False, allow_unicode=False, width=10_000).splitlines()
        yield f"{indent}{head}" + (f"  # {_one_line(origin[place])}" if place in origin else "")
        yield from (f"{indent}{line}" for line in rest)


def _one_line(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)


def _load(file: Path) -> "ServiceSettings":
    from detector.service.loading import load_service_settings

    return load_service_settings(file)


def status_command(
    url: Annotated[str, typer.Option(help="Where the service shows its metrics.")] = "http://127.0.0.1:9108",
) -> None:
    """Show how the running service is: lag, rows, checkpoints, sinks."""
    from detector.metrics import read_exposition
    from detector.service.status import tables

    try:
        samples = list(read_exposition(_get(url, "/metrics")[1]))
        ready, said = _get(url, "/readyz")
        missing = json.loads(said).get("missing", {})
    except ValueError as problem:
        raise UnreadableInput(f"{url}: no answer of eastwest: {problem}") from None
    for part in tables(samples, ready=ready, missing=missing):
        out.print(part, highlight=False)


def _get(url: str, path: str) -> tuple[bool, str]:
    """Whether the answer is a good one, and its text. Asks directly: a proxy has no business with a health port."""
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise ConfigError("--url", "", f"{url!r} is not like http://127.0.0.1:9108")
    try:
        connection = http.client.HTTPConnection(parts.hostname, parts.port or 9108, timeout=_ANSWER_SECONDS)
        connection.request("GET", parts.path.rstrip("/") + path)
        answer = connection.getresponse()
        text = answer.read(_MOST_ANSWER_BYTES).decode("utf-8")
        connection.close()
    except (OSError, http.client.HTTPException, ValueError) as problem:
        raise UnreadableInput(f"{url}: nobody answers: {problem}") from None
    if answer.status not in {200, 503}:
        raise UnreadableInput(f"{url}{path}: answer {answer.status}")
    return answer.status == 200, text
