"""The log of feedback: who decided what, when.

JSON lines that are only ever appended; each names the digest of the line before it, so that a line that was changed,
taken out or put in shows. That the end was cut off shows only beside a copy.
"""

import fcntl
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from detector.errors import ConfigError

_FIRST: Final = "0" * 64  # what stands before the first line


def audit_path(decisions: Path) -> Path:
    """The log beside a file of decisions: ``decisions.audit.ndjson``."""
    return decisions.with_name(f"{decisions.stem}.audit.ndjson")


def append(path: Path, entry: Mapping[str, Any]) -> None:
    """Add a line, on the disk when this returns.

    Raises:
        ConfigError: the log is damaged; nothing is added.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        lines = _lines(path)
        previous = _checked(path, lines)
        file.write(orjson.dumps({"number": len(lines) + 1, **entry, "previous": previous}) + b"\n")
        file.flush()
        os.fsync(file.fileno())


def entries(path: Path) -> list[dict[str, Any]]:
    """All lines; none of a log that is not there.

    Raises:
        ConfigError: a line was changed, taken out or put in.
    """
    lines = _lines(path)
    _checked(path, lines)
    return [orjson.loads(line) for line in lines]


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines() if path.exists() else []


def _checked(path: Path, lines: list[bytes]) -> str:
    """Digest of the last line."""
    previous = _FIRST
    for number, line in enumerate(lines, 1):
        try:
            entry = orjson.loads(line)
        except orjson.JSONDecodeError:
            entry = None
        if not isinstance(entry, dict) or (entry.get("number"), entry.get("previous")) != (number, previous):
            raise ConfigError(
                str(path), f"line {number}", "does not follow from the line before it: the log was changed"
            )
        previous = hashlib.sha256(line).hexdigest()
    return previous
