"""Text tables recognised by their first line: nfdump, Argus, and tables with our, Zeek's or mapped names."""

import csv
from collections.abc import Collection
from typing import Final, Protocol

from detector.formats import argus, columns, nfdump
from detector.formats.batch import Context, Row
from detector.formats.fields import BadValue

_SEPARATORS: Final = ("\t", ",", ";", "|")
_BOM: Final = "\ufeff"
_HEADERS: Final = (
    (nfdump.NAME, frozenset({"ts", "sa", "da", "pr"}), nfdump.CSV_NAMES),
    (nfdump.NAME, frozenset({"firstSeen", "srcAddr", "dstAddr"}), nfdump.CSV_NAMES),
    (argus.NAME, frozenset({"StartTime", "SrcAddr", "DstAddr", "Proto"}), argus.CSV_NAMES),
)
_NFDUMP_NOTES: Final = (b"No matching flows", b"No matched flows", b"No flows")
_UNSET: Final = frozenset({"-", "(empty)"})  # Zeek's, also in tables made from its logs


class CsvReader(Protocol):
    """Reads the lines after the first one."""

    @property
    def log(self) -> str:
        """Name of the log type its rows belong to."""

    def row(self, line: bytes) -> Row | None:
        """The record that a line holds, or None for a line that is no record.

        Raises:
            BadValue: a damaged record.
        """


def match(header_line: bytes, context: Context) -> CsvReader | None:
    """The reader for a file that starts with this line, or None when it is no known header."""
    try:
        text = header_line.decode().lstrip(_BOM).rstrip("\r\n")
    except UnicodeDecodeError:
        return None
    separator = max(_SEPARATORS, key=text.count)
    try:
        names = [name.strip() for name in _cells(text, separator)]
    except BadValue:
        return None
    if context.columns and (known := columns.renames(names, context)):
        return _Table(columns.NAME, text, separator, names, known)
    for log, needed, read in _HEADERS:
        if needed <= set(names):
            return _Table(log, text, separator, names, {name: name for name in names if name in read})
    known = columns.renames(names, context)
    return _Table(columns.NAME, text, separator, names, known) if known else None


def _cells(text: str, separator: str) -> list[str]:
    if '"' not in text:
        return text.split(separator)
    try:
        return next(csv.reader([text], delimiter=separator, strict=True))
    except (csv.Error, StopIteration) as problem:
        raise BadValue("quoting", str(problem)) from None


class _Table:
    """Rows of one table by its header; empty cells are left out.

    Args:
        log: name of the log type.
        header: the first line; it comes again where files were joined.
        separator: between cells.
        names: all columns.
        known: column -> key in the row, for those that are read.
    """

    def __init__(self, log: str, header: str, separator: str, names: Collection[str], known: dict[str, str]) -> None:
        self.log = log
        self._header = header.encode()
        self._separator = separator
        self._width = len(names)
        self._read = [(index, known[name]) for index, name in enumerate(names) if name in known]
        self._unset = _UNSET if log == columns.NAME else frozenset[str]()
        self._footer = False

    def row(self, line: bytes) -> Row | None:
        """See `CsvReader.row`."""
        line = line.rstrip(b"\r\n")
        if not line or line == self._header:
            self._footer = False
            return None
        if self.log == nfdump.NAME and self._is_footer(line):
            return None
        try:
            cells = _cells(line.decode(), self._separator)
        except UnicodeDecodeError:
            raise BadValue("not UTF-8") from None
        if len(cells) != self._width:
            raise BadValue("not as many cells as the header has", f"{len(cells)} of {self._width}")
        unset = self._unset
        return {name: cell for index, name in self._read if (cell := cells[index].strip()) and cell not in unset}

    def _is_footer(self, line: bytes) -> bool:
        """nfdump ends with the word Summary, a header of totals and the totals, unless run with ``-q``."""
        self._footer = self._footer or line.startswith(b"Summary")
        return self._footer or line.startswith(_NFDUMP_NOTES)
