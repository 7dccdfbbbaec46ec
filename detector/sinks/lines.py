"""A file of lines that others may read, rotate and remove while it is written."""

import errno
import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISREG
from typing import Final

from detector.state.stores import storage, sync_folder, write_all

_OURS: Final = (b"{", b"C", b"L", b"\0")  # JSON, CEF, LEEF; zeros
_MODE: Final = 0o600  # alerts tell where a network is weak
_LOOK_BYTES: Final = 1 << 16  # read at once, to find the beginning of the last line


class Lines:
    """JSON lines in a file, appended durably.

    What a crash left of a last line is cut off when the file is opened. A file that was moved away or removed is made
    again (mode 0600), so that logrotate needs no signal; one that was emptied is gone on with.

    Args:
        path: of the file; its folder must be there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = -1

    def append(self, lines: Iterable[bytes]) -> None:
        """Write lines, given without line feeds; durable when it returns.

        Raises:
            StorageFailed: nothing is written, as far as that can be known.
        """
        content = b"".join(line + b"\n" for line in lines)
        with storage(f"cannot write {self._path}"):
            self._follow()
            with _alone(self._file):
                before = os.fstat(self._file).st_size
                try:
                    write_all(self._file, content)
                    os.fsync(self._file)
                except OSError:
                    self._take_back(before)
                    raise

    def close(self) -> None:
        """Leave the file; `append` opens it again."""
        if self._file >= 0:
            os.close(self._file)
        self._file = -1

    def _follow(self) -> None:
        """Have the file open that has the name now."""
        if self._file >= 0 and not self._moved():
            return
        self.close()
        made = not self._path.exists()
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, _MODE)
        try:
            if not S_ISREG(os.fstat(file).st_mode):
                raise OSError(errno.EINVAL, "is no regular file")
            with _alone(file):
                _mend(file)
            if made:
                sync_folder(self._path.parent)
        except BaseException:
            os.close(file)
            raise
        self._file = file

    def _moved(self) -> bool:
        try:
            named = self._path.stat()
        except FileNotFoundError:
            return True
        return not os.path.samestat(named, os.fstat(self._file))

    def _take_back(self, before: int) -> None:
        """After fsync(2) failed, pages count as written that are not (wiki.postgresql.org/wiki/Fsync_Errors): what is
        cut off here is written anew."""
        with suppress(OSError):
            if os.fstat(self._file).st_size > before:  # it may have been emptied meanwhile
                os.ftruncate(self._file, before)
        self.close()


@contextmanager
def _alone(file: int) -> Iterator[None]:
    """No other process of ours is writing a line, which looked as if a crash had cut it off; flock(2)."""
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        with suppress(OSError):  # it may be closed by now
            fcntl.flock(file, fcntl.LOCK_UN)


def _mend(file: int) -> None:
    """Cut off the beginning of a line of ours, or the zeros of a file that got its length before its content; end
    another's line."""
    size = os.fstat(file).st_size
    start = _last_line(file, size)
    if start == size:
        return
    first = os.pread(file, 1, start)
    if first in _OURS:
        os.ftruncate(file, start)
    else:
        write_all(file, b"\n")
    os.fsync(file)


def _last_line(file: int, size: int) -> int:
    """Where the last line begins that has no line feed; the size when there is none."""
    end = size
    while end > 0:
        begin = max(end - _LOOK_BYTES, 0)
        at = os.pread(file, end - begin, begin).rfind(b"\n")
        if at >= 0:
            return begin + at + 1
        end = begin
    return 0
