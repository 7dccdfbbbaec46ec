"""What an engine has learned, as one verified block of bytes.

A line that names the format, a SHA-256 over everything behind it, and an Arrow IPC file
(docs: arrow.apache.org/docs/format/Columnar.html) with one row an array: name, dtype, shape, bytes. Its metadata names
the configuration it was made with. The digest is checked before Arrow sees a byte: its reader trusts what it reads, and
one flipped bit of a length can end the process. No pickle: nothing in it can run.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from detector.errors import StateMismatch

FORMAT: Final = 1
_MAGIC: Final = b"eastwest state, format "
_DIGEST: Final = hashlib.sha256().digest_size
_SCHEMA: Final = pa.schema(
    [("name", pa.string()), ("dtype", pa.string()), ("shape", pa.list_(pa.int64())), ("data", pa.large_binary())]
)
_DTYPES: Final = frozenset({"uint64", "int64", "float64", "bool", "uint8"})


def write(arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any], fingerprint: str) -> bytes:
    """Bytes of a snapshot.

    Args:
        arrays: flat tables, by name.
        facts: the rest of the state, JSON types only.
        fingerprint: of the configuration; a snapshot is only restored under the same.
    """
    rows = [
        {"name": name, "dtype": str(array.dtype), "shape": list(array.shape), "data": array.tobytes()}
        for name, array in sorted(arrays.items())
    ]
    rows.append(
        {"name": "facts", "dtype": "json", "shape": [], "data": orjson.dumps(facts, option=orjson.OPT_SORT_KEYS)}
    )
    table = pa.Table.from_pylist(rows, schema=_SCHEMA.with_metadata({"fingerprint": fingerprint}))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    content: bytes = sink.getvalue().to_pybytes()
    return b"%s%d\n%s%s" % (_MAGIC, FORMAT, hashlib.sha256(content).digest(), content)


def read(content: bytes, fingerprint: str) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Arrays and facts of a snapshot.

    Raises:
        StateMismatch: damaged, of another format, or made under another configuration.
    """
    table = pa.ipc.open_file(pa.BufferReader(_verified(content))).read_all()
    if (table.schema.metadata or {}).get(b"fingerprint") != fingerprint.encode():
        raise StateMismatch(
            "the snapshot was made with other settings, another plant file or another version; start without it"
        )
    rows = table.to_pylist()
    arrays = {row["name"]: _array(row) for row in rows if row["dtype"] != "json"}
    return arrays, orjson.loads(rows[-1]["data"])


def _verified(content: bytes) -> bytes:
    """The Arrow file of a snapshot."""
    first, newline, rest = content.partition(b"\n")
    if not first.startswith(_MAGIC) or not newline:
        raise StateMismatch("this is no snapshot, or its first bytes are damaged; start without it")
    if first != b"%s%d" % (_MAGIC, FORMAT):
        found = first.removeprefix(_MAGIC)[:20].decode("utf-8", "backslashreplace")
        raise StateMismatch(f"the snapshot has format {found}, this version reads {FORMAT}; start without it")
    digest, arrow = rest[:_DIGEST], rest[_DIGEST:]
    if hashlib.sha256(arrow).digest() != digest:
        raise StateMismatch("the snapshot is damaged: its content does not match its SHA-256; start without it")
    return arrow


def _array(row: dict[str, Any]) -> NDArray[Any]:
    if row["dtype"] not in _DTYPES:
        raise StateMismatch(f"the snapshot holds an array of type {row['dtype']!r}, which no state has")
    return np.frombuffer(row["data"], dtype=row["dtype"]).reshape(row["shape"]).copy()


def fingerprint(*parts: Any) -> str:
    """Of a configuration: SHA-256 over its parts as sorted JSON."""
    return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS, default=str)).hexdigest()
