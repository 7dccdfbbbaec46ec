"""``run.json``: what a backtest was asked for. With it a result is done again (`eastwest explain`), and two results are
told apart (`eastwest compare`). The plant and the decisions are in it whole: files change."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from detector.errors import ConfigError

NAME: Final = "run.json"
FORMAT: Final = 1
_LIMIT: Final = 64 << 20  # bytes; a plant file of 100,000 hosts has a tenth of it


class Model(BaseModel):
    """A bundle that was begun with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    sha256: str


class Asked(BaseModel):
    """What the results follow from, but for the content of the logs. Times in µs.

    ``fingerprint`` is the engine's; ``workers``, the size of batches and labels change no alert and are no part of it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = FORMAT
    version: str
    paths: tuple[str, ...]
    history: tuple[str, ...]
    log_format: str
    train_until: int | None
    first: int | None
    stop: int | None
    plant: dict[str, Any] | None
    decisions: tuple[dict[str, Any], ...]
    model: Model | None
    settings: dict[str, Any]
    fingerprint: str

    def write(self, folder: Path) -> None:
        """Into the folder of the results."""
        content = orjson.dumps(self.model_dump(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        (folder / NAME).write_bytes(content)


def read_asked(folder: Path) -> Asked:
    """What the results in a folder follow from.

    Raises:
        ConfigError: it is not there, or another version wrote it; says what to do.
    """
    path = folder / NAME
    try:
        if path.stat().st_size > _LIMIT:
            raise ConfigError(str(path), "", f"has more than {_LIMIT:,} bytes; no backtest wrote it")
        plain = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        raise ConfigError(
            str(folder), "", f"has no {NAME}: name the folder that a backtest of this version wrote, or run it again"
        ) from None
    except (OSError, ValueError) as problem:
        raise ConfigError(str(path), "", f"cannot be read as JSON: {problem}") from problem
    if isinstance(plain, Mapping) and plain.get("format") != FORMAT:
        told = str(plain.get("format"))[:20]
        raise ConfigError(str(path), "format", f"is {told}, this version reads {FORMAT}; run the backtest again")
    try:
        return Asked.model_validate_json(orjson.dumps(plain))
    except ValidationError as problem:
        first = problem.errors()[0]
        raise ConfigError(str(path), ".".join(map(str, first["loc"])), first["msg"]) from problem
