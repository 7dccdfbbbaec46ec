"""Where a large log may be cut, so that each stretch is decoded as it would be within the whole.

What a line means follows from it alone, from the header of its table, and from its number, which stands in evidence. So
logs of JSON lines and Zeek's tables are cut between lines that are counted, unless what stands in them changes the
meaning of those behind: a header in the middle, or lines of another kind. One pass over the bytes tells.
"""

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detector.reading import Stretch
from detector.sources.files import BLOCK_LINES
from detector.sources.framing import looks_like_objects
from detector.sources.kinds import HEAD, kind
from detector.sources.messages import looks_like_messages

LINES: Final = 30 * BLOCK_LINES  # of a stretch, some 80 MB of connections: half of what becomes one sorted file
_CHUNK: Final = 4 << 20  # bytes looked at at once
_HEAD_LIMIT: Final = 1 << 16  # bytes of a table's header
_FEED, _RETURN, _HASH, _BRACE = b"\n\r#{"


def cuts(file: Path) -> list[Stretch]:
    """The stretches of a log, in order; none where it cannot be cut, or is too short for two.

    Raises:
        OSError: it cannot be read.
    """
    with file.open("rb") as opened:
        head = opened.read(HEAD)
    if head[:1] not in (b"{", b"#") or kind(str(file), head) is not None:
        return []
    if looks_like_messages(head) or looks_like_objects(head):
        return []
    lines = _Lines(head[0])
    with file.open("rb") as opened:
        while chunk := opened.read(_CHUNK):
            if not lines.add(np.frombuffer(chunk, np.uint8)):
                return []
        if len(lines.places) < 2 or lines.body is None or lines.body > _HEAD_LIMIT:
            return []
        opened.seek(0)
        header = tuple(opened.read(lines.body).split(b"\n")[:-1])
    if head[:1] == b"#" and not any(line.startswith(b"#fields") for line in header):
        return []
    ends = [*lines.places[1:], lines.size]
    return [
        Stretch(begin, end, number * LINES + 1, header if number else ())
        for number, (begin, end) in enumerate(zip(lines.places, ends, strict=True))
    ]


class _Lines:
    """What is known of the lines of a file that is read from its beginning.

    Args:
        first: its first byte.

    Attributes:
        places: where every `LINES`-th line begins, bytes.
        body: where the first line begins that is not of a header.
        size: bytes so far.
    """

    def __init__(self, first: int) -> None:
        self._json = first == _BRACE
        self._count = 0  # lines that began
        self._begins = True  # whether the next byte begins one
        self._closed = False  # whether a line of a header came behind the others
        self.places: list[int] = []
        self.body: int | None = None
        self.size = 0

    def add(self, chunk: NDArray[np.uint8]) -> bool:
        """Take what comes next; whether the file can still be cut."""
        starts = np.flatnonzero(chunk[:-1] == _FEED) + 1
        if self._begins:
            starts = np.insert(starts, 0, 0)
        ok = self._kinds(chunk[starts], starts + self.size)
        due = -self._count % LINES
        self.places += (starts[due::LINES] + self.size).tolist()
        self._count += len(starts)
        self._begins = bool(chunk[-1] == _FEED)
        self.size += len(chunk)
        return ok

    def _kinds(self, firsts: NDArray[np.uint8], places: NDArray[np.int64]) -> bool:
        """Whether lines with these first bytes are all of one kind, with headers at both ends only."""
        header = firsts == _HASH
        body = ~header & (firsts != _FEED) & (firsts != _RETURN)
        if self._json and (firsts[body] != _BRACE).any():
            return False
        if self.body is None and body.any():
            at = int(body.argmax())
            self.body = int(places[at])
            header, body = header[at:], body[at:]
        if self.body is None:
            return True
        closes = int(header.argmax()) if header.any() else len(header)
        if self._closed and body.any():
            return False
        self._closed |= closes < len(header)
        return not body[closes:].any()
