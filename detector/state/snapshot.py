"""What an engine has learned, as one verified block of bytes.

A line that names the format, a SHA-256 over everything behind it, and an Arrow IPC file
(docs: arrow.apache.org/docs/format/Columnar.html) with one batch of one row an array: name, dtype, shape, bytes. Its
metadata names the configuration it was made with. The digest is checked before Arrow sees a byte: its reader trusts
what it reads, and one flipped bit of a length can end the process. No pickle: nothing in it can run.

The state is taken at one moment (`Capture`) and written later, where another thread may do it: arrays pass from one
compiled library to the next without a copy, and none of these holds Python's lock for long.
"""

import hashlib
import io
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from detector.errors import StateMismatch

FORMAT: Final = 4
_MAGIC: Final = b"eastwest state, format "
_HEAD: Final = b"%s%d\n" % (_MAGIC, FORMAT)
_DIGEST: Final = hashlib.sha256().digest_size
_SCHEMA: Final = pa.schema(
    [("name", pa.string()), ("dtype", pa.string()), ("shape", pa.list_(pa.int64())), ("data", pa.large_binary())]
)
_DTYPES: Final = frozenset({"uint64", "int64", "int32", "float64", "float32", "bool", "uint8"})
_JSON: Final = "json"


@dataclass(frozen=True, slots=True)
class Capture:
    """State as it was at one moment, whatever happens to what it was taken from.

    Attributes:
        arrays: flat tables, by name; nothing else may write into them.
        waiting: makes more of them, from what nobody changes.
        facts: the rest of the state, as JSON.
        fingerprint: of the configuration; a snapshot is only restored under the same.
    """

    arrays: Mapping[str, NDArray[Any]]
    waiting: Callable[[], Mapping[str, NDArray[Any]]]
    facts: bytes
    fingerprint: str

    @classmethod
    def of(
        cls,
        arrays: Mapping[str, NDArray[Any]],
        facts: Mapping[str, Any],
        fingerprint: str,
        waiting: Callable[[], Mapping[str, NDArray[Any]]] = dict,
    ) -> "Capture":
        """Copies what could still be written to: an array that is read-only was made for this.

        Args:
            facts: JSON types only.
        """
        frozen = {name: array.copy() if array.flags.writeable else array for name, array in arrays.items()}
        return cls(frozen, waiting, orjson.dumps(facts, option=orjson.OPT_SORT_KEYS), fingerprint)

    def write(self) -> bytes:
        """Bytes of the snapshot: the same for the same state."""
        arrays = {**self.arrays, **self.waiting()}
        sink = io.BytesIO()
        sink.write(_HEAD + bytes(_DIGEST))
        schema = _SCHEMA.with_metadata({"fingerprint": self.fingerprint})
        with pa.ipc.new_file(sink, schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
            for name, array in sorted(arrays.items()):
                writer.write_batch(_batch(name, str(array.dtype), array.shape, np.ascontiguousarray(array)))
            writer.write_batch(_batch("facts", _JSON, (), self.facts))
        with sink.getbuffer() as content:
            content[len(_HEAD) : len(_HEAD) + _DIGEST] = hashlib.sha256(content[len(_HEAD) + _DIGEST :]).digest()
        return sink.getvalue()


def _batch(name: str, dtype: str, shape: tuple[int, ...], data: Any) -> pa.RecordBatch:
    """One row; ``data`` is not copied."""
    content = pa.py_buffer(data)
    bounds = pa.py_buffer(np.array([0, content.size], dtype=np.int64))
    columns = [pa.array([value], type=_SCHEMA.field(place).type) for place, value in enumerate((name, dtype, shape))]
    columns.append(pa.Array.from_buffers(pa.large_binary(), 1, [None, bounds, content]))
    return pa.record_batch(columns, schema=_SCHEMA)


def read(content: bytes, fingerprint: str) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Arrays (read-only) and facts of a snapshot.

    Raises:
        StateMismatch: damaged, of another format, or made under another configuration.
    """
    arrow = pa.py_buffer(_verified(content))
    file = pa.ipc.open_file(arrow)
    if (file.schema.metadata or {}).get(b"fingerprint") != fingerprint.encode():
        raise StateMismatch(
            "the snapshot was made with other settings, another plant file or another model; start without it"
        )
    arrays = {}
    with ThreadPoolExecutor(os.cpu_count()) as threads:  # unpacking takes longest, and none of Python's lock
        rows = list(threads.map(lambda place: _row(arrow, place), range(file.num_record_batches)))
    for name, dtype, shape, data in rows[:-1]:
        if dtype not in _DTYPES:
            raise StateMismatch(f"the snapshot holds an array of type {dtype!r}, which no state has")
        arrays[name] = np.frombuffer(data, dtype=dtype).reshape(shape)
        arrays[name].flags.writeable = False
    return arrays, orjson.loads(memoryview(rows[-1][-1]))


def _verified(content: bytes) -> memoryview:
    """The Arrow file of a snapshot."""
    first, newline, _ = content[: 2 * len(_HEAD)].partition(b"\n")
    if not first.startswith(_MAGIC) or not newline:
        raise StateMismatch("this is no snapshot, or its first bytes are damaged; start without it")
    if first + newline != _HEAD:
        found = first.removeprefix(_MAGIC)[:20].decode("utf-8", "backslashreplace")
        raise StateMismatch(f"the snapshot has format {found}, this version reads {FORMAT}; start without it")
    rest = memoryview(content)[len(_HEAD) :]
    digest, arrow = rest[:_DIGEST], rest[_DIGEST:]
    if hashlib.sha256(arrow).digest() != digest:
        raise StateMismatch("the snapshot is damaged: its content does not match its SHA-256; start without it")
    return arrow


def _row(arrow: pa.Buffer, place: int) -> tuple[str, str, list[int], pa.Buffer]:
    """Name, dtype, shape and content of an array."""
    batch = pa.ipc.open_file(arrow).get_batch(place)
    name, dtype, shape = (batch.column(place)[0].as_py() for place in range(3))
    return name, dtype, shape, batch.column(3).buffers()[2]


def fingerprint(*parts: Any) -> str:
    """Of a configuration: SHA-256 over its parts as sorted JSON."""
    return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS, default=str)).hexdigest()
