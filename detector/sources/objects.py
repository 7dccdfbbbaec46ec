"""Objects of a store that speaks S3 (``s3://bucket/prefix``) as files that are read."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from pyarrow import fs

from detector.errors import UnreadableInput
from detector.state.stores import Access, s3_options, storage

Span = tuple[int, int]
"""A stretch of a file: its first byte, and the one behind its last."""
_SCHEME: Final = "s3://"
_COPY: Final = 1 << 20  # bytes copied at once
_TAIL: Final = 8  # bytes at the end of a Parquet file: the length of what stands before them, and PAR1


def is_url(path: str) -> bool:
    """Whether a path names an object of a store, or a folder of objects."""
    return path.startswith(_SCHEME)


@cache
def _store() -> Any:
    """One for the process; keys, region and endpoint as the AWS tools find them."""
    return fs.S3FileSystem(**s3_options(Access()))


class Object:
    """One object. It has of `pathlib.Path` what a reader of files asks for.

    Args:
        url: as it is told to people, and stands in evidence.
        size: bytes.
        changed: when it was written, ns; 0 where the store does not tell.
    """

    __slots__ = ("changed", "size", "url")

    def __init__(self, url: str, size: int, changed: int) -> None:
        self.url, self.size, self.changed = url, size, changed

    def __str__(self) -> str:
        return self.url

    def __repr__(self) -> str:
        return f"Object({self.url!r})"

    @property
    def name(self) -> str:
        """Behind the last slash."""
        return self.url.rpartition("/")[2]

    def open(self, mode: str = "rb") -> BinaryIO:
        """Its bytes from the first to the last."""
        store, key = _placed(self.url)
        return cast("BinaryIO", store.open_input_stream(key, compression=None))

    def random_access(self) -> Any:
        """Its bytes in any order: a `pyarrow.NativeFile`."""
        store, key = _placed(self.url)
        return store.open_input_file(key)


def walk(url: str) -> Iterator[Object]:
    """The objects at and below a URL, by name; those whose name, or a folder's, begins with a dot are passed over.

    Raises:
        UnreadableInput: there is none.
        StorageFailed: the store does not answer.
    """
    store, key = _placed(url)
    with _readable(url):
        top = store.get_file_info(key)
        if top.type == fs.FileType.NotFound:
            raise UnreadableInput(f"{url}: no such object or folder")
        found = [top] if top.is_file else store.get_file_info(fs.FileSelector(key, recursive=True))
    for info in sorted((info for info in found if info.is_file), key=lambda info: info.path):
        if not any(part.startswith(".") for part in info.path.removeprefix(key).split("/")):
            yield Object(_SCHEME + info.path, info.size or 0, info.mtime_ns or 0)


def fetch(item: Object, spans: list[Span], folder: Path) -> Path:
    """Some stretches of an object, in a file as long as it: what lies between them takes no space.

    Raises:
        StorageFailed: the store does not answer.
    """
    path = folder / "object"
    with _readable(item.url), item.random_access() as remote, path.open("wb") as local:
        local.truncate(item.size)
        for begin, end in spans:
            local.seek(begin)
            remote.seek(begin)
            while (left := end - local.tell()) > 0 and (some := remote.read(min(left, _COPY))):
                local.write(some)
    return path


def footer(item: Object) -> Span:
    """Where the footer of a Parquet file is (parquet.apache.org/docs/file-format).

    Raises:
        StorageFailed: the store does not answer.
    """
    with _readable(item.url), item.random_access() as remote:
        remote.seek(max(item.size - _TAIL, 0))
        length = int.from_bytes(remote.read(_TAIL)[:4], "little")
    return max(item.size - _TAIL - length, 0), item.size


def _placed(url: str) -> tuple[Any, str]:
    with _readable(url):
        return _store(), url.removeprefix(_SCHEME).rstrip("/")


def _readable(url: str) -> AbstractContextManager[None]:
    return storage(f"cannot read {url}")
