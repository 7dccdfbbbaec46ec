"""`eastwest evidence`: the reports of an incident, prefilled."""

import hashlib
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import orjson
import typer
from rich.console import Console

import detector
from detector.errors import ConfigError, UnreadableInput
from detector.evidence.pack import Times, documents
from detector.evidence.written import as_html, as_json, as_markdown

_INPUTS: Final = ("incidents.ndjson", "alerts.ndjson", "entities.ndjson")
out = Console()


def evidence_command(
    result_dir: Annotated[Path, typer.Argument(help="Result folder of a backtest.", show_default=False)],
    incident: Annotated[str, typer.Option(help="Its incident_id.")],
    out_dir: Annotated[Path, typer.Option("--out", help="Folder for the documents; made if missing.")],
    aware: Annotated[str, typer.Option(help="When you became aware of it (ISO 8601 with offset).")],
    notified: Annotated[
        str | None, typer.Option(help="When the notification was sent; the final report counts from it.")
    ] = None,
) -> None:
    """Prefill the reports of an incident that NIS2 Art. 23 asks for: 24 hours, 72 hours, one month."""
    times = Times(_time("--aware", aware), None if notified is None else _time("--notified", notified))
    told, alerts, entities = (_lines(result_dir / name) for name in _INPUTS)
    found = next((each for each in told if each.get("incident_id") == incident), None)
    if found is None:
        raise ConfigError("--incident", "", f"there is no incident {incident!r} in {result_dir}")
    about = [alert for alert in alerts if alert.get("incident_id") == incident]
    out_dir.mkdir(parents=True, exist_ok=True)
    made: dict[str, bytes] = {}
    for document in documents(found, about, entities, times):
        made[f"{document.name}.json"] = as_json(document)
        made[f"{document.name}.md"] = as_markdown(document).encode()
        made[f"{document.name}.html"] = as_html(document).encode()
        out.print(f"{document.title}: due {document.due}", markup=False, highlight=False)
    for name, content in made.items():
        (out_dir / name).write_bytes(content)
    manifest = {
        "version": detector.__version__,
        "incident_id": incident,
        "inputs": [_hashed(name, (result_dir / name).read_bytes()) for name in _INPUTS],
        "outputs": [_hashed(name, content) for name, content in sorted(made.items())],
    }
    (out_dir / "manifest.json").write_bytes(
        orjson.dumps(manifest, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    )


def _time(option: str, text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError as problem:
        raise ConfigError(option, "", f"{text!r} is no time such as 2026-03-09T10:00+01:00") from problem
    if time.tzinfo is None:
        raise ConfigError(option, "", f"{text!r} has no offset; deadlines depend on it")
    return time


def _lines(file: Path) -> list[dict[str, Any]]:
    try:
        return [orjson.loads(line) for line in file.read_bytes().splitlines() if line.strip()]
    except (OSError, orjson.JSONDecodeError) as problem:
        raise UnreadableInput(f"{file}: {problem}") from problem


def _hashed(name: str, content: bytes) -> dict[str, Any]:
    return {"name": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
