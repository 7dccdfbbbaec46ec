"""How far each reader of the outbox got."""

import re
import zlib
from pathlib import Path
from typing import Final

from detector.state.stores import make_folder, storage, write_whole

_FOLDER: Final = "cursors"
_NAME: Final = re.compile(r"[a-z0-9_-]{1,64}")
_MAGIC: Final = b"eastwest cursor, format 1"
_LIMIT: Final = 100  # bytes; a number and its checksum take fewer


class Cursor:
    """The number up to which one reader is done, kept in the outbox' folder.

    Args:
        outbox: folder of the outbox.
        name: of the reader: lower-case letters, digits, ``_`` and ``-``.
        start: where a reader begins that was not there before.

    Raises:
        StorageFailed: the folder cannot be used.
    """

    def __init__(self, outbox: Path, name: str, start: int = 0) -> None:
        if not _NAME.fullmatch(name):
            raise ValueError(f"no name of a reader: {name!r}")
        self._path = outbox / _FOLDER / name
        with storage(f"cannot use {self._path}"):
            make_folder(self._path.parent)
            known = self._path.exists()
        stored = _stored(self._path) if known else start
        self.damaged = stored is None  # then it begins again with the oldest record: twice is better than never
        self.done = stored or 0
        if not known or self.damaged:
            self._write(self.done)

    def advance(self, sequence: int) -> None:
        """All records before this number are done with; durable when it returns.

        Raises:
            StorageFailed: it stays where it was.
            ValueError: it would go back.
        """
        if sequence < self.done:
            raise ValueError(f"{self._path.name} is done with {self.done} records and cannot go back to {sequence}")
        if sequence > self.done:
            self._write(sequence)
            self.done = sequence

    def remove(self) -> None:
        """The reader is no more; the outbox keeps nothing for it."""
        with storage(f"cannot remove {self._path}"):
            self._path.unlink(missing_ok=True)

    def _write(self, sequence: int) -> None:
        number = b"%d" % sequence
        with storage(f"cannot write {self._path}"):
            write_whole(self._path, b"%s\n%s\n%08x\n" % (_MAGIC, number, zlib.crc32(number)))


def cursors(outbox: Path) -> dict[str, int]:
    """How many records each reader is done with, by name; a reader whose cursor is damaged with none."""
    folder = outbox / _FOLDER
    with storage(f"cannot list {folder}"):
        paths = sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name)) if folder.is_dir() else []
    return {path.name: _stored(path) or 0 for path in paths}


def _stored(path: Path) -> int | None:
    """None when it is damaged."""
    with storage(f"cannot read {path}"), path.open("rb") as file:
        content = file.read(_LIMIT)
    match content.split(b"\n"):
        case [magic, number, checksum, b""] if magic == _MAGIC and checksum == b"%08x" % zlib.crc32(number):
            return int(number) if number.isdigit() else None
    return None
