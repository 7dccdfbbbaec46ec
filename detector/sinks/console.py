"""Records as lines on standard output."""

import os
import select
import sys
import time
from collections.abc import Sequence
from typing import Final

from detector.sinks.delivery import Retry
from detector.sinks.messages import Message

_PIECE: Final = 4096  # PIPE_BUF of Linux, pipe(7): what a pipe that is ready takes without waiting
_SECONDS: Final = 10.0  # that a reader may take for what is sent at once


class ConsoleSink:
    """JSON lines on standard output. A reader that is slow or gone is a `Retry`; a line it took half of is gone on
    with.

    Args:
        file: descriptor to write to.
        seconds: longest wait for a slow reader.
    """

    def __init__(self, file: int | None = None, seconds: float = _SECONDS) -> None:
        self._file = sys.stdout.fileno() if file is None else file
        self._seconds = seconds
        self._part = 0  # bytes that are written of the line that is next

    def send(self, records: Sequence[Message]) -> None:
        """See `Sink`."""
        deadline = time.monotonic() + self._seconds
        for index, record in enumerate(records):
            try:
                self._write(record.payload + b"\n", deadline)
            except OSError as problem:
                raise Retry(f"standard output: {problem.strerror or problem}", taken=index) from problem

    def close(self) -> None:
        """Standard output stays open: it is not ours."""

    def _write(self, line: bytes, deadline: float) -> None:
        poll = select.poll()
        poll.register(self._file, select.POLLOUT)
        while self._part < len(line):
            if not poll.poll(max(deadline - time.monotonic(), 0) * 1000):
                raise TimeoutError(f"nobody read it for {self._seconds:g} s")
            self._part += os.write(self._file, line[self._part : self._part + _PIECE])
        self._part = 0
