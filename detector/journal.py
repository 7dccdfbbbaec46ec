"""A journal: who did what, when. Of decisions about acts, of the life of incidents.

JSON lines that are only ever appended; each names the digest of the line before it, so that a line that was changed,
taken out or put in shows. That the end was cut off shows only beside a copy. A last line without its end was being
written when the power went; it was never promised, and the next one takes its place.
"""

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import orjson

from detector.errors import ConfigError

_FIRST: Final = "0" * 64  # what stands before the first line


def append(path: Path, entry: Mapping[str, Any]) -> None:
    """Add a line, on the disk when this returns.

    Raises:
        ConfigError: the journal is damaged; nothing is added.
    """
    extend(path, lambda _: [entry])


def extend(path: Path, make: Callable[[list[dict[str, Any]]], Iterable[Mapping[str, Any]]]) -> None:
    """Add lines that follow from those that are there; nobody else adds any meanwhile.

    Args:
        path: made if missing, with its folder.
        make: from all entries so far to new ones; what it raises is raised here, and nothing is added.

    Raises:
        ConfigError: the journal is damaged; nothing is added.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file, _alone(file.fileno()):
        lines = _lines(path)
        previous = _checked(path, lines)
        new = bytearray()
        for number, entry in enumerate(make([orjson.loads(line) for line in lines]), len(lines) + 1):
            line = orjson.dumps({"number": number, **entry, "previous": previous})
            new += line + b"\n"
            previous = hashlib.sha256(line).hexdigest()
        if new:
            file.truncate(sum(len(line) + 1 for line in lines))
            file.write(new)
            file.flush()
            os.fsync(file.fileno())


@contextmanager
def _alone(file: int) -> Iterator[None]:
    """Nobody else adds lines; flock(2), given back even while somebody has a copy of the descriptor."""
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


def entries(path: Path) -> list[dict[str, Any]]:
    """All lines; none of a journal that is not there.

    Raises:
        ConfigError: a line was changed, taken out or put in.
    """
    lines = _lines(path)
    _checked(path, lines)
    return [orjson.loads(line) for line in lines]


def _lines(path: Path) -> list[bytes]:
    """Whole lines: what is behind the last line feed was never finished."""
    return path.read_bytes().split(b"\n")[:-1] if path.exists() else []


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
