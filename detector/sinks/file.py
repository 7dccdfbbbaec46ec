"""Records as lines of a file."""

from collections.abc import Sequence
from pathlib import Path

from detector.errors import StorageFailed
from detector.sinks.delivery import Retry
from detector.sinks.lines import Lines
from detector.sinks.messages import Message


class FileSink:
    """JSON lines, appended and on the disk when `send` returns; see `Lines` for rotation and crashes.

    Args:
        path: of the file; its folder must be there.
    """

    def __init__(self, path: Path) -> None:
        self._lines = Lines(path)

    def send(self, records: Sequence[Message]) -> None:
        """See `Sink`."""
        try:
            self._lines.append(record.payload for record in records)
        except StorageFailed as problem:
            raise Retry(str(problem)) from problem

    def close(self) -> None:
        """See `Sink`."""
        self._lines.close()
