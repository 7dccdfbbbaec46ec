"""Parsers alone, on the same lines: the fields that eastwest reads, typed, no checks, nothing made of them.

All take the whole buffer; DuckDB reads the same bytes from a file that is in the page cache.
"""

import io
from types import UnionType
from typing import TYPE_CHECKING, Any, Final

import duckdb
import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from detector.formats.batch import Context
from detector.formats.decode import Decoder
from detector.records import Block
from detector.sources.files import CHUNK
from detector.sources.framing import lines as lines_of

from . import lines
from .folder import BATCH, Text
from .laps import Contestant, Pass

if TYPE_CHECKING:
    from collections.abc import Callable

OURS: Final = "eastwest decoder"
COUNT: Final = "newline count"
READ_NDJSON: Final = "Polars read_ndjson"
_TYPES: Final[dict[str, tuple[Any, str, type | UnionType]]] = {
    "time": (pl.Float64(), "DOUBLE", float | None),
    "interval": (pl.Float64(), "DOUBLE", float | None),
    "count": (pl.Int64(), "BIGINT", int | None),
    "port": (pl.Int64(), "BIGINT", int | None),
    "string": (pl.String(), "VARCHAR", str | None),
    "enum": (pl.String(), "VARCHAR", str | None),
    "addr": (pl.String(), "VARCHAR", str | None),
}
"""By Zeek type: of Polars, of DuckDB, of msgspec."""
_UNREAD: Final = {"local_orig", "local_resp", "missed_bytes", "history", "orig_ip_bytes", "resp_ip_bytes"}
ZEEK: Final = {name: kind for name, kind in lines.CONN.items() if name not in _UNREAD}
GOFLOW2: Final = {
    **dict.fromkeys(("src_addr", "dst_addr", "proto", "sampler_address"), "string"),
    **dict.fromkeys(("src_port", "dst_port", "bytes", "packets", "tcp_flags", "sampling_rate"), "count"),
    **dict.fromkeys(("time_flow_start_ns", "time_flow_end_ns", "time_received_ns"), "count"),
}


def contestants(text: Text) -> list[Contestant]:
    """Everybody who reads such lines; names begin with that of the file."""
    kinds = GOFLOW2 if text.path.name.startswith("goflow2") else ZEEK
    buffer = text.buffer()
    mask = np.empty(len(buffer), dtype=np.bool_)
    runs: dict[str, Callable[[], Pass]] = {COUNT: lambda: lambda: _newlines(buffer, mask)}
    if text.path.suffix == ".json":
        schema = {name: _TYPES[kind][0] for name, kind in kinds.items()}
        runs[READ_NDJSON] = lambda: lambda: pl.read_ndjson(io.BytesIO(buffer), schema=schema).height
        runs["DuckDB read_json"] = lambda: _duckdb(_json_query(text, kinds))
        runs["msgspec"] = lambda: lambda: len(_struct(kinds).decode_lines(buffer))
    else:
        runs["Polars read_csv"] = lambda: lambda: _read_csv(buffer)
        runs["DuckDB read_csv"] = lambda: _duckdb(_csv_query(text))
    runs[OURS] = lambda: _ours(text, buffer)
    return [Contestant(f"{text.path.name}: {name}", len(text.rows), run) for name, run in runs.items()]


def decoder(text: Text) -> Decoder:
    """One that has read the header, if there is one."""
    made = Decoder(text.path.name, Context())
    made.decode(Block(text.path.name, 0, text.header))
    return made


def _ours(text: Text, buffer: bytes) -> Pass:
    """Lines are found in it as in a file, a chunk after the other."""
    made, source = decoder(text), text.path.name
    chunks = [buffer[at : at + CHUNK] for at in range(0, len(buffer), CHUNK)]
    return lambda: sum(made.decode(Block(source, 0, part)).flows.height for part in lines_of(chunks, BATCH))


def _newlines(buffer: bytes, mask: NDArray[np.bool_]) -> int:
    """Room for the result is given: it would take as long to get from the system."""
    np.equal(np.frombuffer(buffer, dtype=np.uint8), ord("\n"), out=mask)
    return int(np.count_nonzero(mask))


def _read_csv(buffer: bytes) -> int:
    schema = {name: _TYPES.get(kind, _TYPES["string"])[0] for name, kind in lines.CONN.items()}
    table = pl.read_csv(
        buffer, has_header=False, separator="\t", quote_char=None, null_values="-", schema=schema,
        columns=[list(schema).index(name) for name in ZEEK],
    )  # fmt: skip
    return table.height


def _struct(kinds: dict[str, str]) -> Any:
    fields = [(name.replace(".", "_").lstrip("_"), _TYPES[kind][2], None) for name, kind in kinds.items()]
    names = {name.replace(".", "_").lstrip("_"): name for name in kinds}
    return msgspec.json.Decoder(msgspec.defstruct("Record", fields, rename=names))


def _duckdb(query: str) -> Pass:
    """One thread, into Arrow: a count alone would not parse the fields."""
    connection = connect()
    return lambda: int(connection.sql(query).to_arrow_table().num_rows)


def connect() -> duckdb.DuckDBPyConnection:
    """A database in memory that uses one thread and draws nothing."""
    connection = duckdb.connect(config={"threads": 1})
    connection.execute("SET enable_progress_bar = false")
    return connection


def _json_query(text: Text, kinds: dict[str, str]) -> str:
    columns = {name: _TYPES[kind][1] for name, kind in kinds.items()}
    return f"SELECT * FROM read_json('{text.path}', format='newline_delimited', columns={columns})"  # noqa: S608


def _csv_query(text: Text) -> str:
    columns = {name: _TYPES.get(kind, _TYPES["string"])[1] for name, kind in lines.CONN.items()}
    wanted = ", ".join(f'"{name}"' for name in ZEEK)
    options = f"skip={len(text.header)}, header=false, delim='\\t', quote='', escape='', nullstr='-', auto_detect=false"
    return f"SELECT {wanted} FROM read_csv('{text.path}', columns={columns}, {options})"  # noqa: S608
