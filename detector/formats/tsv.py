"""Zeek's tab-separated logs: the header says everything, positions nothing.

A header may come again in mid-stream (rotated files joined), with other columns. Cells become the values that
Zeek's JSON writer would print, so that both give the same frames (Zeek
``src/threading/formatters/Ascii.cc``).
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from detector.formats.batch import Row
from detector.formats.fields import BadValue

_ESCAPE: Final = re.compile(rb"\\(?:x([0-9A-Fa-f]{2})|\\)")
_DIGITS: Final = 18  # of an integer that surely fits 64 bits; longer ones stay text and are judged later
_NOT_OF_THE_HEADER: Final = "not as many columns as the header has: cut off, or not this log's line"
_CONTAINERS: Final = ("set[", "vector[", "table[", "list[")

FLOATS: Final = frozenset({"time", "interval", "double"})
INTS: Final = frozenset({"count", "int", "port"})

Cell = Callable[[str], Any]


@dataclass(slots=True)
class Header:
    """The state that ``#`` lines build up; `columns` is empty until ``#fields`` came."""

    separator: bytes = b"\t"
    set_separator: bytes = b","
    empty: bytes = b"(empty)"
    unset: bytes = b"-"
    path: str | None = None
    columns: list[str] = field(default_factory=list)
    types: list[str] = field(default_factory=list)

    def read(self, line: bytes) -> "Header":
        """The header after one more ``#`` line; unknown ones (``#open``, ``#close``, comments) change
        nothing."""
        if line.startswith(b"#separator"):
            # A new log begins: nothing of the one before holds.
            return Header(separator=_unescape(line[len(b"#separator") :].strip(b" ")) or b"\t")
        name, _, rest = line.partition(self.separator)
        if name == b"#set_separator":
            self.set_separator = _unescape(rest) or b","
        elif name == b"#empty_field":
            self.empty = rest
        elif name == b"#unset_field":
            self.unset = rest
        elif name == b"#path":
            self.path = rest.decode("utf-8", "replace")
        elif name == b"#fields":
            self.columns = [cell.decode("utf-8", "replace") for cell in rest.split(self.separator)]
            self.types = []
        elif name == b"#types":
            self.types = [cell.decode("utf-8", "replace") for cell in rest.split(self.separator)]
        return self


def rows(header: Header, lines: Sequence[bytes]) -> tuple[list[Row], list[int], list[tuple[int, BadValue]]]:
    """The lines as typed rows.

    Returns:
        the rows, the index of each one's line, and (index, problem) of the lines that do not fit the header.
    """
    width = len(header.columns)
    separator = _decoded(header.separator)
    # Bytes that are no UTF-8 are printed as \xNN, as Zeek's JSON writer does.
    split = [line.decode("utf-8", "backslashreplace").split(separator) for line in lines]
    good = [index for index, cells in enumerate(split) if len(cells) == width]
    bad = [
        (index, BadValue(_NOT_OF_THE_HEADER, f"{len(cells)} of {width} columns"))
        for index, cells in enumerate(split)
        if len(cells) != width
    ]
    if not good:
        return [], [], bad
    types = header.types if len(header.types) == width else [""] * width
    table = _Table(header, escaped=any(b"\\" in line for line in lines))
    kept = split if not bad else [split[index] for index in good]
    columns = [table.column(cells, kind) for cells, kind in zip(zip(*kept, strict=True), types, strict=True)]
    names = header.columns
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)], good, bad


class _Table:
    """Cells into values: a column at once where it is clean, cell by cell where it is not."""

    def __init__(self, header: Header, escaped: bool) -> None:
        self._unset = _decoded(header.unset)
        self._empty = _decoded(header.empty)
        self._set_separator = _decoded(header.set_separator)
        self._escaped = escaped

    def column(self, cells: Sequence[str], kind: str) -> list[Any]:
        unset = self._unset
        if kind in FLOATS:
            try:
                return [None if cell == unset else float(cell) for cell in cells]
            except ValueError:
                return [None if cell == unset else self._float(cell) for cell in cells]
        if kind in INTS:
            joined = "".join(cells).replace(unset, "")
            if joined.isascii() and joined.isdecimal() and max(map(len, cells)) <= _DIGITS:
                try:
                    return [None if cell == unset else int(cell) for cell in cells]
                except ValueError:
                    pass
            return [None if cell == unset else self._int(cell) for cell in cells]
        if not kind.startswith(_CONTAINERS) and kind != "bool" and not self._escaped and self._empty not in cells:
            return [None if cell == unset else cell for cell in cells]
        convert = self._cell(kind)
        return [None if cell == unset else convert(cell) for cell in cells]

    def _cell(self, kind: str) -> Cell:
        if kind == "bool":
            return self._bool
        if kind in FLOATS:
            return self._float
        if kind in INTS:
            return self._int
        if kind.startswith(_CONTAINERS):
            inner = self._cell(kind.partition("[")[2].rstrip("]"))
            return lambda cell: [] if cell == self._empty else [inner(item) for item in cell.split(self._set_separator)]
        return self._str

    def _float(self, cell: str) -> float | str:
        try:
            return float(cell)
        except ValueError:
            return self._str(cell)

    def _int(self, cell: str) -> int | str:
        digits = cell.removeprefix("-")
        if digits.isascii() and digits.isdecimal() and len(cell) <= _DIGITS:
            return int(cell)
        return self._str(cell)

    def _bool(self, cell: str) -> bool | str:
        return cell == "T" if cell in {"T", "F"} else self._str(cell)

    def _str(self, cell: str) -> str:
        if cell == self._empty:
            return ""
        return spelling(cell.encode("utf-8")) if "\\" in cell else cell


def spelling(cell: bytes) -> str:
    """The text that a cell spells which is none of the header's ways to say nothing."""
    text = _decoded(cell)
    return _decoded(_unescape(text.encode("utf-8"))) if "\\" in text else text


def _decoded(text: bytes) -> str:
    return text.decode("utf-8", "backslashreplace")


def _unescape(text: bytes) -> bytes:
    return _ESCAPE.sub(lambda found: bytes([int(found[1], 16)]) if found[1] else b"\\", text)


# --- tables without a header of Zeek's ---

_USUAL_TYPES: Final = {
    "ts": "time",
    "id.orig_p": "port",
    "id.resp_p": "port",
    "status_code": "count",
    "reply_code": "count",
    "get_requests": "count",
    "get_bulk_requests": "count",
    "set_requests": "count",
}


def bare_header(line: bytes) -> Header | None:
    """The header of a table that has Zeek's field names in its first line and no types (``zeek-cut``)."""
    cells = line.split(b"\t")
    if cells[0] not in {b"ts", b"uid"} or len(cells) < 3 or b"id.orig_h" not in cells:
        return None
    columns = [cell.decode("utf-8", "replace") for cell in cells]
    return Header(columns=columns, types=[_USUAL_TYPES.get(name, "") for name in columns])


_HEADERLESS: Final = {
    "ts": "time",
    "uid": "string",
    "id.orig_h": "addr",
    "id.orig_p": "port",
    "id.resp_h": "addr",
    "id.resp_p": "port",
    "proto": "enum",
    "service": "string",
    "duration": "interval",
    "orig_bytes": "count",
    "resp_bytes": "count",
    "conn_state": "string",
    "local_orig": "bool",
    "local_resp": "bool",
    "missed_bytes": "count",
    "history": "string",
    "orig_pkts": "count",
    "orig_ip_bytes": "count",
    "resp_pkts": "count",
    "resp_ip_bytes": "count",
    "tunnel_parents": "set[string]",
}
_CONN_LINE: Final = re.compile(
    rb"\d{9,10}\.\d{6}\t\w{8,24}\t[0-9a-fA-F.:]+\t\d{1,5}\t[0-9a-fA-F.:]+\t\d{1,5}"
    rb"\t(?:tcp|udp|icmp|unknown_transport)"
    rb"\t[^\t]*\t[^\t]*\t[^\t]*\t[^\t]*\t(?:S[0123FH]|SHR|REJ|RSTO|RSTR|RSTOS0|RSTRH|OTH)\t"
)


def headerless_conn(line: bytes) -> Header | None:
    """The header of Zeek's default conn.log, if a line without one can be nothing else.

    Safe only when types, states and the number of columns (21, or 22 with
    the ``ip_proto`` of Zeek 8) all fit.
    """
    extra = line.count(b"\t") + 1 - len(_HEADERLESS)
    if extra not in {0, 1} or not _CONN_LINE.match(line):
        return None
    if extra and not line.rpartition(b"\t")[2].isdigit():
        return None
    columns = _HEADERLESS | ({"ip_proto": "count"} if extra else {})
    return Header(path="conn", columns=list(columns), types=list(columns.values()))
