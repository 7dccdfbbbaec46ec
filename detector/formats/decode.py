"""Lines in, typed frames out: one decoder per source, which never raises on any bytes.

Every record of a block ends in exactly one place: a flow, an operation, a reject with its reason, or a count
of what no model reads. Blank lines and header lines are no records.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final, Protocol

import numpy as np
import orjson
from numpy.typing import NDArray

from detector.errors import ConfigError
from detector.formats import conn_lines, csv_header, goflow2_lines, goflow2_protobuf, tsv
from detector.formats.batch import Batch, Context, LogType, Row
from detector.formats.conn_lines import ConnLines
from detector.formats.detect import detect, log_of_hint, log_of_stream
from detector.formats.fields import RAW_LIMIT, BadValue, evidence
from detector.formats.goflow2_lines import Goflow2Lines
from detector.formats.line_cells import Taken
from detector.formats.registry import LOG_TYPES
from detector.records import Block, Decoded, Lines, Reject, merge

LINE_LIMIT: Final = 1 << 20
"""Bytes of one record; Zeek's longest rows have some ten thousand."""

_ASCII_END: Final = 0x80
_PRINTABLE: Final = 0x20
_BRACKETS: Final = (b"[", b"]", b"{", b"}")
_TAB_ROWS: Final = 4096  # rows of one header that are converted at once
_QUOTED: Final = 120  # characters of a parser's message that become a detail
_SPAN_MIN: Final = 64  # lines behind a header that are read at once, twice as many each time after
_SPAN_MAX: Final = 1 << 20


Observer = Callable[[Batch], None]
"""Sees the records of one log type as the wire carried them, before they become frames; must not change them."""

_LINK_LAYER: Final = b"_l2_addr"
"""Of Zeek's ``orig_l2_addr`` and ``resp_l2_addr``: in conn.log where the script ``mac-logging`` is loaded."""


class UsualLines(Protocol):
    """Reads the usual lines of one log, and names the others."""

    def read(self, lines: Lines, positions: NDArray[np.int64]) -> Taken:
        """The lines at these positions: those that are usual, and the numbers of the others."""


class Decoder:
    """What one source's lines become; keeps the header of a tab-separated log from block to block.

    Args:
        source: file, or topic:partition, as it stands in the frames.
        context: what the records do not tell.
        hint: file name, path or topic that may tell the log type; the source by default.
        format: a name of `registry.LOG_TYPES` to take every record for, or ``auto``.
        observer: is handed the records of each log type before they are converted; usual lines, which are read straight
            into frames, only where they carry hardware addresses.

    ``branches`` counts which rule of `formats.detect` told the log type.
    """

    def __init__(
        self,
        source: str,
        context: Context,
        hint: str | None = None,
        format: str = "auto",
        observer: Observer | None = None,
    ) -> None:
        if format != "auto" and format not in LOG_TYPES:
            raise ConfigError("--format", format, f"unknown; use auto or one of {', '.join(sorted(LOG_TYPES))}")
        self.source = source
        self.context = context
        self._observer = observer
        self.branches: Counter[str] = Counter()
        self._forced = None if format == "auto" else format
        self._hinted = self._forced or log_of_hint(source if hint is None else hint)
        self._header = tsv.Header()
        self._table: csv_header.CsvReader | None = None
        self._table_line = b""  # the header of the table
        self._headers = 0  # header lines that came
        self._span = _SPAN_MAX
        self._conns = ConnLines(source, self._hinted)
        self._rows: conn_lines.ConnRows | None = None
        readers: dict[str, UsualLines] = {conn_lines.LOG: self._conns, goflow2_lines.LOG: Goflow2Lines(source)}
        self._objects = [reader for log, reader in readers.items() if self._forced in (None, log)]

    def decode(self, block: Block) -> Decoded:
        """The records of the next block of the source, each accounted for."""
        task = _Task(self.source)
        for position, line in self._unusual(task, block):
            first = line[:1]
            if first == b"{" and not self._is_row(line):
                self._json(task, position, line)
            elif first == b"#" and not _is_message(line):
                self._header_line(task, line)
            else:
                self._other(task, position, line)
        self._flush(task)
        return task.finish(self.context, self._observer)

    def _unusual(self, task: "_Task", block: Block) -> Iterator[tuple[int, bytes]]:
        """Take the usual lines, many at once, and hand out the others one by one.

        Lines behind a header are not what they seemed to be before it: they are read again, fewer at once, so that
        headers without end cost little.
        """
        lines, numbers = block.lines, _numbers(block)
        ordered = (np.diff(numbers) > 0).all()  # what is sorted by position later must have an order
        if not ordered or (self._observer is not None and self._has_link_layer(lines)):
            yield from zip(numbers.tolist(), lines, strict=True)
            return
        at, lines = 0, Lines.of(lines)
        while at < len(lines):
            readers = self._readers()
            if not readers:
                yield int(numbers[at]), lines[at]
                at += 1
                continue
            end, headers = min(at + self._span, len(lines)), self._headers
            self._span = min(2 * self._span, _SPAN_MAX)
            found, rest = _read(readers, lines[at:end], numbers[at:end])
            for index in rest.tolist():
                yield int(numbers[at + index]), lines[at + index]
                if self._headers != headers:
                    found, end, self._span = [taken.before(index) for taken in found], at + index + 1, _SPAN_MIN
                    break
            for taken in found:
                self.branches += taken.branches()
                task.taken.append(Decoded(flows=taken.flows))
            at = end

    def _has_link_layer(self, lines: Sequence[bytes]) -> bool:
        columns = (name.encode() for name in self._header.columns)
        return any(_LINK_LAYER in text for text in (*columns, *lines))

    def _readers(self) -> list[UsualLines]:
        """Who may read what comes next: nobody before the first record of a source, which may be a header."""
        if self._header.columns:
            return [self._rows] if self._rows is not None else []
        return self._objects if self.branches else []

    def state(self) -> dict[str, Any]:
        """What is kept from block to block, JSON types only."""
        header = {name: _text(value) for name, value in asdict(self._header).items()}
        table = None if self._table is None else _text(self._table_line)
        return {"begun": bool(self.branches), "header": header, "table": table}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on where another decoder of the same source was when it gave its `state`."""
        plain = tsv.Header()
        kinds = {name: type(value) for name, value in asdict(plain).items()}
        self._header = tsv.Header(
            **{
                name: value.encode("latin-1") if kinds[name] is bytes else value
                for name, value in state["header"].items()
            }
        )
        if state["table"] is not None:
            self._table_line = state["table"].encode("latin-1")
            self._table = csv_header.match(self._table_line, self.context)
        if state["begun"]:
            self.branches["before"] += 1

    def _is_row(self, line: bytes) -> bool:
        """Whether a brace begins a row of the current table; the separator never stands bare in Zeek's JSON."""
        return bool(self._header.columns) and self._header.separator in line

    def _json(self, task: "_Task", position: int, line: bytes) -> None:
        if len(line) > LINE_LIMIT:
            task.reject(position, f"longer than {LINE_LIMIT} bytes", line)
            return
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as problem:
            if _is_message(line):
                self._message(task, position, line)
            else:
                task.reject(position, "not JSON", line, str(problem)[:_QUOTED])
            return
        found = detect(row, self._hinted)
        if isinstance(found, str):
            task.reject(position, found, line)
            return
        log, row, branch = found
        self.branches[branch] += 1
        task.add(self._forced or log, position, row)

    def _header_line(self, task: "_Task", line: bytes) -> None:
        self._flush(task)
        if len(line) <= LINE_LIMIT:
            self._header = self._header.read(line.rstrip(b"\r\n"))
            self._headers += 1
            known = self._header.columns and (self._forced or self._log_of_header()) == conn_lines.LOG
            self._rows = conn_lines.rows(self._conns, self._header) if known else None

    def _other(self, task: "_Task", position: int, line: bytes) -> None:
        """Neither JSON nor header at the first byte: a row of a table, a message, a blank or rubbish."""
        stripped = line.strip()
        if not stripped:
            return
        if len(line) > LINE_LIMIT:
            task.reject(position, f"longer than {LINE_LIMIT} bytes", line)
        elif stripped[:1] == b"{" and not self._header.columns:
            self._json(task, position, stripped)
        elif self._header.columns:
            task.tab_positions.append(position)
            task.tab_lines.append(line.rstrip(b"\r\n"))
            if len(task.tab_lines) >= _TAB_ROWS:
                self._flush(task)
        elif self._table is not None:
            self._table_row(task, position, line, self._table)
        elif _is_message(line):
            self._message(task, position, line)
        else:
            self._headerless(task, position, line.rstrip(b"\r\n"))

    def _table_row(self, task: "_Task", position: int, line: bytes, table: csv_header.CsvReader) -> None:
        try:
            row = table.row(line)
        except BadValue as problem:
            task.reject(position, f"{table.log}: {problem.reason}", line, problem.detail)
            return
        if row is not None:
            self.branches["table"] += 1
            task.add(table.log, position, row)

    def _message(self, task: "_Task", position: int, line: bytes) -> None:
        try:
            row = goflow2_protobuf.row(line)
        except BadValue as problem:
            task.reject(position, problem.reason, line)
            return
        self.branches["protobuf"] += 1
        task.add("netflow.goflow2", position, row)

    def _headerless(self, task: "_Task", position: int, line: bytes) -> None:
        """The first line of a table is its header; without any only a default conn.log can be told."""
        header = tsv.headerless_conn(line) if self._hinted == "zeek.conn" else None
        if header is not None:
            self.branches["headerless"] += 1
            rows, _, _ = tsv.rows(header, [line])
            task.add("zeek.conn", position, rows[0])
            return
        # A header stands before all records; later, such a line is rubbish that must not change how others are read.
        # Arrays are framed by the source.
        if not self.branches and line.strip() not in _BRACKETS:
            bare = tsv.bare_header(line)
            if bare is not None:
                self._header = bare
                return
            self._table = csv_header.match(line, self.context)
            self._table_line = line
        if self._table is None:
            task.reject(position, "neither a JSON object nor a row under a known header", line)

    def _flush(self, task: "_Task") -> None:
        """Turn the waiting rows of the current header into records."""
        if not task.tab_lines:
            return
        lines, positions = task.tab_lines, task.tab_positions
        task.tab_lines, task.tab_positions = [], []
        rows, good, bad = tsv.rows(self._header, lines)
        for index, problem in bad:
            task.reject(positions[index], problem.reason, lines[index], problem.detail)
        log = self._forced or self._log_of_header()
        for index, row in zip(good, rows, strict=True):
            if log is None:
                found = detect(row, self._hinted)
                if isinstance(found, str):
                    task.reject(positions[index], found, lines[index])
                    continue
                task.add(found[0], positions[index], row)
            else:
                task.add(log, positions[index], row)
        self.branches["header"] += len(rows)

    def _log_of_header(self) -> str | None:
        return None if self._header.path is None else log_of_stream(self._header.path, self._header.columns)


def _numbers(block: Block) -> NDArray[np.int64]:
    if block.positions is not None:
        return np.asarray(block.positions, dtype=np.int64)
    return np.arange(block.first_position, block.first_position + len(block.lines))


def _read(
    readers: list[UsualLines], lines: Lines, positions: NDArray[np.int64]
) -> tuple[list[Taken], NDArray[np.int64]]:
    """What the readers take, each of what the one before left, and what all left; who took more goes first next time.

    The numbers of lines are those of the first reader.
    """
    found: list[Taken] = []
    left = np.arange(len(lines))
    for reader in readers:
        taken = reader.read(lines[left] if found else lines, positions[left])
        taken.lines, left = left[taken.lines], left[taken.rest]
        found.append(taken)
        if not len(left):
            break
    if len(found[-1].lines) > len(found[0].lines):
        readers.reverse()
    return found, left


def _text(value: Any) -> Any:
    """Bytes as text of as many characters, anything else as it is."""
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _is_message(line: bytes) -> bool:
    """Whether a record is binary, as a protobuf message is, with or without its length in front.

    A length may happen to be the byte of a brace or hash; then it equals the bytes behind it, and a field's
    tag, a control character, follows.
    """
    first = line[0]
    if first >= _ASCII_END or first < _PRINTABLE:
        return True
    return first == len(line) - 1 and line[1] < _PRINTABLE


class _Task:
    """The records of one block, sorted into log types as they come."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.taken: list[Decoded] = []
        self.tab_lines: list[bytes] = []
        self.tab_positions: list[int] = []
        self._rows: dict[str, tuple[list[int], list[Row]]] = {}
        self._rejects: list[Reject] = []

    def add(self, log: str, position: int, row: Row) -> None:
        try:
            positions, rows = self._rows[log]
        except KeyError:
            positions, rows = self._rows[log] = ([], [])
        positions.append(position)
        rows.append(row)

    def reject(self, position: int, reason: str, line: bytes, detail: str = "") -> None:
        self._rejects.append(Reject(self.source, position, reason, line[:RAW_LIMIT], detail))

    def finish(self, context: Context, observer: Observer | None) -> Decoded:
        """All of it as frames, in the order of the source whatever the log types."""
        batches = [Batch(log, self.source, positions, rows) for log, (positions, rows) in self._rows.items()]
        if observer is not None:
            for batch in batches:
                observer(batch)
        parts = [_convert(LOG_TYPES.get(batch.log), batch, context) for batch in batches]
        parts += [taken for taken in self.taken if taken.rows]
        decoded = merge([*parts, Decoded(rejects=self._rejects)]) if self._rejects else merge(parts)
        if len(parts) > 1:
            decoded.flows = decoded.flows.sort("position", maintain_order=True)
            decoded.operations = decoded.operations.sort("position", maintain_order=True)
        decoded.rejects.sort(key=lambda reject: reject.position)
        return decoded


def _convert(log_type: LogType | None, batch: Batch, context: Context) -> Decoded:
    """The batch as frames; should a converter stumble, only over the row that trips it."""
    if log_type is None:
        return _rejected(batch, range(len(batch.rows)), f"{batch.log}: no reader for this log")
    try:
        return log_type.convert(batch, context)
    except Exception as problem:  # noqa: BLE001 - the last line of defence: a record must never stop the path
        if len(batch.rows) == 1:
            return _rejected(batch, [0], f"{batch.log}: {type(problem).__name__} while reading it")
    singles = (
        Batch(batch.log, batch.source, [position], [row])
        for position, row in zip(batch.positions, batch.rows, strict=True)
    )
    return merge(_convert(log_type, single, context) for single in singles)


def _rejected(batch: Batch, indices: Iterable[int], reason: str) -> Decoded:
    return Decoded(rejects=[Reject(batch.source, batch.positions[i], reason, evidence(batch.rows[i])) for i in indices])
