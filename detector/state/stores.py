"""Where checkpoints are kept: a folder, or a bucket of a service that speaks S3.

An object is put whole or not at all: in a folder by a file beside it that is renamed when all of it is on the disk
(rename(2), fsync(2)), in a bucket because an upload is one request, or several of which the last makes the object.
"""

import fcntl
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import urlsplit

from pyarrow import fs

from detector.errors import ConfigError, StorageFailed

_PART: Final = "[A-Za-z0-9_=-][A-Za-z0-9._=-]*"  # no "..", and none that is hidden
_NAME: Final = re.compile(f"{_PART}(/{_PART})*")
_TEMPORARY: Final = ".tmp"
FILE_MODE: Final = 0o640  # what is learned of a network is not for every account of the host
CONNECT_SECONDS: Final = 5.0
STALLED_SECONDS: Final = 10.0  # without a byte
ATTEMPTS: Final = 3  # with growing pauses between, AWS' "standard" retry mode


class Stored(NamedTuple):
    """An object of a store: its name, and its size in bytes."""

    name: str
    size: int


class Store(Protocol):
    """Objects by name. Names are relative paths of letters, digits and ``._=-``; another name is a `ValueError`.

    All raise `StorageFailed` when the folder or bucket cannot be used.
    """

    def put(self, name: str, content: bytes) -> None:
        """Make the object, or replace it. It is durable when this returns; when it fails, the old one is whole."""

    def get(self, name: str, limit: int) -> bytes:
        """The object's first ``limit`` bytes.

        Raises:
            FileNotFoundError: there is none of that name.
        """

    def entries(self, folder: str) -> list[Stored]:
        """What lies directly in a folder, by name; nothing when there is no such folder."""

    def delete(self, name: str) -> None:
        """Remove the object, if it is there."""


@dataclass(frozen=True, slots=True)
class Access:
    """How a bucket is reached. What is left out comes from the environment, as the AWS tools have it
    (``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, ``AWS_REGION``, ``AWS_ENDPOINT_URL``, ``~/.aws``, roles).

    Args:
        endpoint: URL of a service other than AWS, such as ``https://minio.example:9000``.
        region: of the bucket.
        access_key_file: holds the access key's id.
        secret_key_file: holds the secret key.
        ca_file: certificates in PEM format that sign the service's own.
    """

    endpoint: str = ""
    region: str = ""
    access_key_file: Path | None = None
    secret_key_file: Path | None = None
    ca_file: Path | None = None


def store_of(url: str, access: Access | None = None) -> Store:
    """The store at a URL: ``s3://bucket/prefix``, ``file:///folder``, or a folder's path.

    Raises:
        ConfigError: the URL is none of these, or holds a password.
        StorageFailed: the folder cannot be made, or a file of ``access`` cannot be read.
    """
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None:
        raise ConfigError("checkpoints", "url", "holds a password; give it by file or environment")
    if parts.scheme == "s3" and parts.netloc and not parts.query and not parts.fragment:
        return ObjectStore(parts.netloc, parts.path.strip("/"), access or Access())
    if parts.scheme == "file" and not parts.netloc and parts.path:
        return FolderStore(Path(parts.path))
    if not parts.scheme and url:
        return FolderStore(Path(url))
    raise ConfigError("checkpoints", "url", "is neither s3://bucket/prefix nor file:///folder nor a path")


# --- a folder ---


class FolderStore:
    """Objects as files under a folder, which is made when it is missing.

    Files that a writer left half written are removed when the store is opened; those of a living writer are not.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        with storage(f"cannot use the folder {root}"):
            make_folder(root)
            sweep(root)

    def __repr__(self) -> str:
        return f"FolderStore({str(self.root)!r})"

    def put(self, name: str, content: bytes) -> None:
        """See `Store`."""
        path = self.root / checked(name)
        with storage(f"cannot write {path}"):
            make_folder(path.parent)
            write_whole(path, content)

    def get(self, name: str, limit: int) -> bytes:
        """See `Store`."""
        path = self.root / checked(name)
        with storage(f"cannot read {path}", FileNotFoundError), path.open("rb") as file:
            return file.read(min(limit, os.fstat(file.fileno()).st_size))

    def entries(self, folder: str) -> list[Stored]:
        """See `Store`."""
        with storage(f"cannot list {self.root / checked(folder)}"):
            if not (self.root / folder).is_dir():
                return []
            found = [_stored(folder, path) for path in (self.root / folder).iterdir()]
        return sorted(entry for entry in found if entry)

    def delete(self, name: str) -> None:
        """See `Store`."""
        path = self.root / checked(name)
        with storage(f"cannot remove {path}"):
            path.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """Make or replace a file, atomically and durably: after a crash it is the old one or the new one, whole.

    Raises:
        OSError: it is as it was.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{_TEMPORARY}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # ends with this process, so that `sweep` knows what is left over
        write_all(descriptor, content)
        os.fsync(descriptor)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    sync_folder(path.parent)


def write_all(descriptor: int, content: bytes) -> None:
    """Write all of it: a single write(2) may take less, on a full disk or beyond 2 GiB."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: fsync(2) of a file does not."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, durably."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def _stored(folder: str, path: Path) -> Stored | None:
    """None for what is no object, or was removed meanwhile."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    ours = S_ISREG(status.st_mode) and _NAME.fullmatch(path.name)
    return Stored(f"{folder}/{path.name}", status.st_size) if ours else None


def sweep(root: Path) -> None:
    """Remove what dead writers left; a living one has its file locked."""
    for path in sorted(root.rglob(f".*{_TEMPORARY}")):
        with suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


# --- a bucket ---


class ObjectStore:
    """Objects of a bucket, under a prefix. The bucket must exist.

    A request is tried `ATTEMPTS` times; an attempt ends after `CONNECT_SECONDS` without a connection or
    `STALLED_SECONDS` without a byte.
    """

    def __init__(self, bucket: str, prefix: str, access: Access) -> None:
        self.place = "/".join([bucket, *([checked(prefix)] if prefix else [])])
        with storage(f"cannot use {self!r}"):
            self._fs = fs.S3FileSystem(**s3_options(access))

    def __repr__(self) -> str:
        return f"ObjectStore('s3://{self.place}')"

    def put(self, name: str, content: bytes) -> None:
        """See `Store`."""
        key = self._key(name)
        with storage(f"cannot write s3://{key}"):
            with self._fs.open_output_stream(key) as stream:
                stream.write(content)
            size = self._fs.get_file_info(key).size
            if size != len(content):
                raise OSError(f"{len(content)} bytes were sent and {size} are there")

    def get(self, name: str, limit: int) -> bytes:
        """See `Store`."""
        key = self._key(name)
        with storage(f"cannot read s3://{key}", FileNotFoundError), self._fs.open_input_file(key) as file:
            content: bytes = file.read_at(min(limit, file.size()), 0)
            return content

    def entries(self, folder: str) -> list[Stored]:
        """See `Store`."""
        key = self._key(folder)
        with storage(f"cannot list s3://{key}"):
            found = self._fs.get_file_info(fs.FileSelector(key, allow_not_found=True))
        return sorted(
            Stored(f"{folder}/{info.base_name}", info.size) for info in found if info.type == fs.FileType.File
        )

    def delete(self, name: str) -> None:
        """See `Store`."""
        key = self._key(name)
        with storage(f"cannot remove s3://{key}"):
            try:
                self._fs.delete_file(key)
            except FileNotFoundError:
                return

    def _key(self, name: str) -> str:
        return f"{self.place}/{checked(name)}"


def s3_options(access: Access) -> dict[str, Any]:
    """Arguments of `pyarrow.fs.S3FileSystem`. Nothing is uploaded behind the caller's back, and no bucket is made."""
    options: dict[str, Any] = {
        "connect_timeout": CONNECT_SECONDS,
        "request_timeout": STALLED_SECONDS,
        "retry_strategy": fs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
        "background_writes": False,
        "allow_delayed_open": True,  # one request for a small object instead of three
    }
    # Arrow leaves the last two to the caller.
    endpoint = access.endpoint or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint:
        options["endpoint_override"] = endpoint
    if access.region:
        options["region"] = access.region
    if access.ca_file:
        options["tls_ca_file_path"] = str(access.ca_file)
    if access.access_key_file and access.secret_key_file:
        options["access_key"] = access.access_key_file.read_text("utf-8").strip()
        options["secret_key"] = access.secret_key_file.read_text("utf-8").strip()
    return options


# --- both ---


def checked(name: str) -> str:
    """The name, if it is one."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"no name of an object: {name!r}")
    return name


@contextmanager
def storage(what: str, *passing: type[OSError]) -> Iterator[None]:
    """Errors of the system become `StorageFailed`, but for those passing.

    Args:
        what: could not be done, to where.
        passing: errors that the caller knows.
    """
    try:
        yield
    except passing:
        raise
    except OSError as problem:
        raise StorageFailed(f"{what}: {problem.strerror or problem}") from problem
