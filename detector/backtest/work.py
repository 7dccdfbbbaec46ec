"""The folder in which a backtest works, so that one that was stopped goes on from its last checkpoint.

It lies in the folder of the results, belongs to one set of files and settings, and is gone when the results are there.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from detector.engine import Engine
from detector.errors import ConfigError, FolderInUse, StateMismatch, UnreadableInput
from detector.state.checkpoints import Checkpoint, Checkpoints, Origin
from detector.state.stores import FILE_MODE, FolderStore, write_whole

NAME: Final = ".eastwest-backtest"
_SCOPE: Final = "backtest"
_IDENTITY: Final = "identity"
_LOCK: Final = "lock"


@dataclass(slots=True)
class Work:
    """The folder, and its checkpoints.

    Args:
        folder: where pieces and segments lie.
        identity: digest of what the results follow from.
    """

    folder: Path
    identity: str
    _checkpoints: Checkpoints

    def load(self, engine: Engine) -> dict[str, Any] | None:
        """Restore the engine; what was put beside its state. None when there is no checkpoint."""
        found = self._checkpoints.latest(self._origin(engine)).checkpoint
        return None if found is None else engine.restore(found.state)

    def save(self, engine: Engine, beside: dict[str, Any]) -> None:
        """A checkpoint of the engine and of what belongs to it (JSON types), on the disk when this returns."""
        state = engine.capture(beside).write()
        rows = engine.accounting.rows
        self._checkpoints.write(Checkpoint(state, self._origin(engine), rows, offsets={}, outbox=0))
        self._checkpoints.collect()

    def _origin(self, engine: Engine) -> Origin:
        return Origin(self.identity, {}, engine.fingerprint)


@contextmanager
def working(out: Path, identity: str) -> Iterator[Work]:
    """The folder for a set of files and settings: with what an earlier run left, if that had the same; else empty.

    It is removed at the end, also of a run that can never succeed; what stops a run otherwise leaves it.

    Raises:
        FolderInUse: another backtest writes there.
    """
    folder = out / NAME
    folder.mkdir(exist_ok=True)
    lock = _locked(folder)
    try:
        if _known(folder) != identity:
            _clear(folder)
            write_whole(folder / _IDENTITY, identity.encode())
        yield Work(folder, identity, Checkpoints(FolderStore(folder / "checkpoints"), _SCOPE, keep=1))
        shutil.rmtree(folder)
    except (ConfigError, StateMismatch, UnreadableInput):
        shutil.rmtree(folder)
        raise
    finally:
        os.close(lock)


def _known(folder: Path) -> str | None:
    try:
        return (folder / _IDENTITY).read_text("utf-8")
    except FileNotFoundError:
        return None


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != _LOCK:
            path.unlink()


def _locked(folder: Path) -> int:
    """A descriptor that has the folder to itself (flock(2)) until it is closed, by whatever end of this process."""
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, FILE_MODE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise FolderInUse(f"another backtest writes to {folder.parent}; wait for it, or name another --out") from None
    return descriptor
