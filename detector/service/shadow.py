"""A candidate that scores what the live engine scores, to be judged by people before it is promoted.

It has an engine of its own and shares nothing with the live one but the rows it reads. What it says goes to a file and
to numbers, never to an outbox or a sink. Its state is captured at the same rows as the live one's: what the file says
after a crash is what it would have said without one, and a candidate that is promoted goes on from what it has learned.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from detector.alerts.decisions import End, Entry
from detector.alerts.model import Alert, told_json
from detector.assets.plant import Plant
from detector.engine import Engine
from detector.metrics import Metrics
from detector.records import Decoded
from detector.service.settings import ServiceSettings
from detector.state.bundle import Bundle
from detector.state.snapshot import Capture
from detector.state.stores import sync_folder

FILE: Final = "shadow.ndjson"  # in the folder of the outboxes
LIMIT: Final = 256 << 20  # bytes of it; then it says no more, and numbers go on
_MODE: Final = 0o600  # alerts tell where a network is weak
_WRITTEN: Final = "shadow_bytes"


class Shadow:
    """The candidate's engine and its file.

    Args:
        settings: of the service.
        plant, decisions: as the live engine has them.
        model: the candidate.
        metrics: counts its alerts, and what its file lacks.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        plant: Plant | None,
        model: Bundle,
        metrics: Metrics,
        decisions: Sequence[Entry | End] = (),
    ) -> None:
        self.engine = Engine(settings.engine, plant, settings.train_until_us, decisions, model)
        self.engine.judge.keep_all = False
        self.engine.release_rows = sys.maxsize  # as the live one: `settle` says when
        self._file, self._metrics = settings.outbox.folder / FILE, metrics
        self._written = 0

    def begin(self) -> None:
        """What the file has so far is of another time."""
        self._cut(0)

    def push(self, decoded: Decoded) -> None:
        """Take what the live engine takes."""
        self.engine.push(decoded)

    def settle(self) -> None:
        """Say what came of it."""
        self.engine.settle()
        for told in self.engine.judge.told():
            if isinstance(told.record, Alert) and not told.revision:
                self._metrics.count("shadow_alerts", severity=told.record.severity)
            self._write(told_json(told) + b"\n")

    def capture(self, beside: Mapping[str, Any]) -> Capture:
        """Its state; ``beside`` is the live pipeline's, so that a promoted candidate finds what that would. What the
        file has so far is on the disk before the state that counts it."""
        self._sync()
        return self.engine.capture({**beside, _WRITTEN: self._written})

    def restore(self, state: bytes) -> None:
        """Go on from a captured state.

        Raises:
            StateMismatch: see `Engine.restore`.
        """
        self._cut(int(self.engine.restore(state)[_WRITTEN]))

    def _cut(self, length: int) -> None:
        """Back to where the state stands; the file and its name are on the disk."""
        self._written = length
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self._file, os.O_RDWR | os.O_CREAT, _MODE)
            try:
                os.ftruncate(file, min(length, os.fstat(file).st_size))
                os.fsync(file)
            finally:
                os.close(file)
            sync_folder(self._file.parent)
        except OSError:
            self._metrics.count("shadow_unwritten")

    def _sync(self) -> None:
        try:
            with self._file.open("ab") as file:
                os.fsync(file.fileno())
        except OSError:
            self._metrics.count("shadow_unwritten")

    def _write(self, line: bytes) -> None:
        """The live engine waits for nothing: what cannot be written is counted."""
        self._written += len(line)
        try:
            if self._written > LIMIT:
                raise OSError
            with self._file.open("ab") as file:
                file.write(line)
        except OSError:
            self._metrics.count("shadow_unwritten")
