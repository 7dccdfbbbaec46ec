"""What a disk holds when the power went: of a file what fsync(2) was to keep, of a folder the names it had then."""

import os
import random
import threading
from pathlib import Path
from stat import S_ISDIR
from unittest.mock import patch


class Disk:
    """A context in which fsync(2) only takes notes. Nothing but files and folders under ``root`` counts.

    What was written after the last fsync may be there too, as far as the kernel had come: `image` draws how far.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._guard = threading.Lock()
        self._files: dict[int, bytes] = {}
        self._held: dict[int, int] = {}  # descriptors, so that no number of a file is given again
        self._folders: dict[int, dict[str, int]] = {}
        self._patch = patch("os.fsync", self._sync)
        self.syncs = 0
        self.at_sync = lambda number: None

    def __enter__(self):
        for path in (self._root, *self._root.rglob("*")):  # what is there outlived the last time
            descriptor = os.open(path, os.O_RDONLY)
            self._sync(descriptor)
            os.close(descriptor)
        self.syncs = 0
        self._patch.start()
        return self

    def __exit__(self, *_):
        self._patch.stop()
        for descriptor in self._held.values():
            os.close(descriptor)

    def _sync(self, descriptor: int) -> None:
        with self._guard:
            status = os.fstat(descriptor)
            if status.st_ino not in self._held:
                self._held[status.st_ino] = os.dup(descriptor)
            if S_ISDIR(status.st_mode):
                self._folders[status.st_ino] = _names(descriptor)
            else:
                self._files[status.st_ino] = Path(f"/proc/self/fd/{descriptor}").read_bytes()
            self.syncs += 1
            number = self.syncs
        self.at_sync(number)

    def image(self, target: Path, chance: random.Random) -> None:
        """What is left, as a new folder."""
        with self._guard:
            self._restore(self._root.stat().st_ino, self._root, target, chance)

    def _restore(self, folder: int, now: Path, target: Path, chance: random.Random) -> None:
        target.mkdir(parents=True)
        for name, inode in sorted(self._folders.get(folder, {}).items()):
            if inode in self._folders or (now / name).is_dir():
                self._restore(inode, now / name, target / name, chance)
            else:
                kept = self._files.get(inode, b"")
                (target / name).write_bytes(kept + self._more(inode, now / name, kept, chance))

    def _more(self, inode: int, path: Path, kept: bytes, chance: random.Random) -> bytes:
        """What of an appended end the kernel had written by itself."""
        if not path.is_file() or path.stat().st_ino != inode:
            return b""
        content = path.read_bytes()
        more = content[len(kept) :] if content.startswith(kept) else b""
        return more[: chance.choice((0, chance.randint(0, len(more)), len(more)))]


def _names(folder: int) -> dict[str, int]:
    return {entry.name: entry.inode() for entry in os.scandir(folder)}
