"""What an engine has learned, as one verified block of bytes.

An Arrow IPC file (docs: arrow.apache.org/docs/format/Columnar.html) with one row an array: name, dtype, shape, bytes.
No pickle: nothing in it can run. The metadata names the format, the configuration it was made with and a
SHA-256 over the
content; all three are checked before any of it is used.
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
    metadata = {"format": str(FORMAT), "fingerprint": fingerprint, "sha256": _digest(rows)}
    table = pa.Table.from_pylist(rows, schema=_SCHEMA.with_metadata(metadata))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def read(content: bytes, fingerprint: str) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Arrays and facts of a snapshot.

    Raises:
        StateMismatch: damaged, of another format, or made under another configuration.
    """
    try:
        table = pa.ipc.open_file(pa.BufferReader(content)).read_all()
    except (pa.ArrowInvalid, OSError) as problem:
        raise StateMismatch(f"the snapshot is damaged: {problem}") from problem
    metadata = {key.decode(): value.decode("utf-8", "replace") for key, value in (table.schema.metadata or {}).items()}
    if metadata.get("format") != str(FORMAT):
        raise StateMismatch(f"the snapshot has format {metadata.get('format')}, this version reads {FORMAT}")
    rows = table.to_pylist() if table.schema.names == _SCHEMA.names else []
    if not rows or metadata.get("sha256") != _digest(rows):
        raise StateMismatch("the snapshot is damaged: its content does not match its SHA-256")
    if metadata.get("fingerprint") != fingerprint:
        raise StateMismatch("the snapshot was made with other settings or another plant file; start without it")
    arrays = {row["name"]: _array(row) for row in rows if row["dtype"] != "json"}
    return arrays, orjson.loads(rows[-1]["data"])


def _digest(rows: list[dict[str, Any]]) -> str:
    digest = hashlib.sha256()
    for row in rows:
        digest.update(orjson.dumps([row["name"], row["dtype"], row["shape"], len(row["data"])]))
        digest.update(row["data"])
    return digest.hexdigest()


def _array(row: dict[str, Any]) -> NDArray[Any]:
    if row["dtype"] not in _DTYPES:
        raise StateMismatch(f"the snapshot holds an array of type {row['dtype']!r}, which no state has")
    return np.frombuffer(row["data"], dtype=row["dtype"]).reshape(row["shape"]).copy()


def fingerprint(*parts: Any) -> str:
    """Of a configuration: SHA-256 over its parts as sorted JSON."""
    return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS, default=str)).hexdigest()
