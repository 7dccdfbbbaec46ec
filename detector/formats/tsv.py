"""Zeek's tab-separated logs: the header says everything, positions nothing.

A header may come again in mid-stream (rotated files joined), with other columns. Cells become the values that Zeek's
JSON writer would print, so that both give the same frames (Zeek ``src/threading/formatters/Ascii.cc``).
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from detector.formats.batch import Row

_ESCAPE: Final = re.compile(rb"\\(?:x([0-9A-Fa-f]{2})|\\)")
_DIGITS: Final = 18  # of an integer that surely fits 64 bits; longer ones stay text and are judged later
_CONTAINERS: Final = ("set[", "vector[", "table[", "list[")

Cell = Callable[[bytes], Any]


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
        """The header after one more ``#`` line; unknown ones (``#open``, ``#close``, comments) change nothing."""
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


def rows(header: Header, lines: Sequence[bytes]) -> tuple[list[Row], list[int], list[tuple[int, str]]]:
    """The lines as typed rows.

    Returns:
        the rows, the index of each one's line, and (index, reason) of the lines that do not fit the header.
    """
    width = len(header.columns)
    split = [line.split(header.separator) for line in lines]
    good = [index for index, cells in enumerate(split) if len(cells) == width]
    bad = [
        (index, f"{len(cells)} of {width} columns: cut off, or not this log's line")
        for index, cells in enumerate(split)
        if len(cells) != width
    ]
    if not good:
        return [], [], bad
    types = header.types if len(header.types) == width else [""] * width
    columns = [
        _column(cells, kind, header)
        for cells, kind in zip(zip(*(split[index] for index in good), strict=True), types, strict=True)
    ]
    names = header.columns
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)], good, bad


def _column(cells: Sequence[bytes], kind: str, header: Header) -> list[Any]:
    unset = header.unset
    convert = _cell(kind, header)
    return [None if cell == unset else convert(cell) for cell in cells]


def _cell(kind: str, header: Header) -> Cell:
    if kind in {"time", "interval", "double"}:
        return _float
    if kind in {"count", "int", "port"}:
        return _int
    if kind == "bool":
        return _bool
    if kind.startswith(_CONTAINERS):
        separator, empty = header.set_separator, header.empty
        inner = _cell(kind.partition("[")[2].rstrip("]"), header)
        return lambda cell: [] if cell == empty else [inner(item) for item in cell.split(separator)]
    empty = header.empty
    return lambda cell: "" if cell == empty else _str(cell)


def _float(cell: bytes) -> float | str:
    try:
        return float(cell)
    except ValueError:
        return _str(cell)


def _int(cell: bytes) -> int | str:
    digits = cell[1:] if cell[:1] == b"-" else cell
    return int(cell) if digits.isdigit() and len(digits) <= _DIGITS else _str(cell)


def _bool(cell: bytes) -> bool | str:
    return cell == b"T" if cell in {b"T", b"F"} else _str(cell)


def _str(cell: bytes) -> str:
    if b"\\" in cell:
        cell = _unescape(cell)
    # Bytes that are no UTF-8 are printed as \xNN, as Zeek's JSON writer does.
    return cell.decode("utf-8", "backslashreplace")


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
    """The header of a table made with ``zeek-cut -C``-like tools: Zeek's field names in the first line, no types."""
    cells = line.split(b"\t")
    if cells[0] not in {b"ts", b"uid"} or len(cells) < 3 or b"id.orig_h" not in cells:  # noqa: PLR2004
        return None
    columns = [cell.decode("utf-8", "replace") for cell in cells]
    return Header(columns=columns, types=[_USUAL_TYPES.get(name, "") for name in columns])



_HEADERLESS: Final = (
    "ts uid id.orig_h id.orig_p id.resp_h id.resp_p proto service duration orig_bytes resp_bytes conn_state "
    "local_orig local_resp missed_bytes history orig_pkts orig_ip_bytes resp_pkts resp_ip_bytes tunnel_parents"
).split()
_HEADERLESS_TYPES: Final = (
    "time string addr port addr port enum string interval count count string bool bool count string count count "
    "count count set[string]"
).split()
_CONN_LINE: Final = re.compile(
    rb"\d{9,10}\.\d{6}\t\w{8,24}\t[0-9a-fA-F.:]+\t\d{1,5}\t[0-9a-fA-F.:]+\t\d{1,5}\t(?:tcp|udp|icmp|unknown_transport)"
    rb"\t[^\t]*\t[^\t]*\t[^\t]*\t[^\t]*\t(?:S[0123FH]|SHR|REJ|RSTO|RSTR|RSTOS0|RSTRH|OTH)\t"
)


def headerless_conn(line: bytes) -> Header | None:
    """The header of Zeek's default conn.log, if a line without one can be nothing else.

    Safe only when types, states and the number of columns (21, or 22 with the ``ip_proto`` of Zeek 8) all fit.
    """
    extra = line.count(b"\t") + 1 - len(_HEADERLESS)
    if extra not in {0, 1} or not _CONN_LINE.match(line):
        return None
    if extra and not line.rpartition(b"\t")[2].isdigit():
        return None
    columns = [*_HEADERLESS, *["ip_proto"][:extra]]
    return Header(path="conn", columns=columns, types=[*_HEADERLESS_TYPES, *["count"][:extra]])
