"""The usual lines of ``conn.log`` in Zeek's JSON, straight from their bytes into a frame.

What `formats.zeek` does row by row happens here column by column, with the same outcome to the last bit: a line is
either read here or left, untouched, to the general path. Texts are handled once a distinct value.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from detector.formats import json_lines, zeek
from detector.formats.address import canonical
from detector.formats.detect import stream
from detector.formats.fields import NO_VALUE
from detector.formats.json_lines import CELLS, TEXT_WORDS, UID_BYTES
from detector.records import FLOW

LOG: Final = "zeek.conn"
_LINES: Final = 2048  # that are joined at once: their bytes stay in the cache until they are read
_TEXTS: Final = 1 << 16  # distinct texts that are remembered from block to block: 3 MB
_NOT_TOLD: Final = "unknown_transport"  # then Zeek 8 tells the protocol by number

_HOSTS: Final = (json_lines.ORIG_H, json_lines.RESP_H)
_WORDS: Final = (
    json_lines.PROTO,
    json_lines.SERVICE,
    json_lines.STATE,
    json_lines.EXPORTER,
    json_lines.PATH,
)
Cells = NDArray[np.int64]
Positions = NDArray[np.int64]
Meaning = Callable[[str], str | None]


def _plain(text: str) -> str | None:
    return None if text in NO_VALUE else text


def _proto(text: str) -> str | None:
    return None if text in NO_VALUE or text == _NOT_TOLD else zeek.transport(text, None)


def _state(text: str) -> str | None:
    return text if text in zeek.CONN_STATES else None


def _service(text: str) -> str | None:
    return zeek.service(_plain(text))


def _log(text: str) -> str | None:
    return LOG if stream(text) == LOG.removeprefix("zeek.") else None


class _Meanings:
    """Distinct texts and what each of them means, worked out when it first comes. Number 0 is no text."""

    def __init__(self, *meanings: Meaning) -> None:
        self._meanings = meanings
        self._forget()

    def _forget(self) -> None:
        self._table = np.zeros(2 * _TEXTS, dtype=np.int32)
        self._rows = np.zeros((_TEXTS, TEXT_WORDS), dtype=np.uint64)
        self._rows[0, 0] = 1
        self._known = {meaning: pl.Series([None], dtype=pl.String) for meaning in self._meanings}

    def make_room(self) -> None:
        """Start again when half of the room is taken. Lines that find no room take the general path."""
        if self._rows[0, 0] > _TEXTS // 2:
            self._forget()

    def number(self, texts: NDArray[np.int64]) -> bool:
        """Put the number of each text in its place; whether all found room. See `json_lines.number_texts`."""
        return bool(json_lines.number_texts(texts, self._table, self._rows))

    def learn(self) -> None:
        """Work out what came since the last time."""
        rows = self._rows[len(self._known[self._meanings[0]]) : int(self._rows[0, 0])]
        if len(rows):
            new = [row.tobytes().rstrip(b"\0").decode("ascii") for row in rows]
            self._known = {
                meaning: pl.concat([known, pl.Series(list(map(meaning, new)), dtype=pl.String)], rechunk=True)
                for meaning, known in self._known.items()
            }

    def column(self, meaning: Meaning, numbers: NDArray[np.int64]) -> pl.Series:
        """The texts of these numbers as ``meaning`` understands them."""
        return self._known[meaning][pl.Series(numbers.astype(np.uint32))]


@dataclass(slots=True)
class Taken:
    """What was read of some lines.

    Args:
        flows: rows of `records.FLOW`, in the order of the lines.
        lines: the line of each row, ascending.
        told: whether the record named its log itself, by row.
        rest: the lines that the general path has to read, ascending.
    """

    flows: pl.DataFrame
    lines: NDArray[np.int64]
    told: NDArray[np.bool_]
    rest: NDArray[np.int64]

    def before(self, line: int) -> "Taken":
        """Only what was read before this line."""
        rows = int(np.searchsorted(self.lines, line))
        return Taken(self.flows[:rows], self.lines[:rows], self.told[:rows], self.rest)


class ConnLines:
    """Reads the usual lines of one source; see `json_lines` for what is usual.

    Args:
        source: as it stands in the frames.
        hinted: the log that the name of the source speaks of, or None.
    """

    def __init__(self, source: str, hinted: str | None) -> None:
        self._source = source
        self._hinted = hinted
        self._hosts = _Meanings(canonical)
        self._words = _Meanings(_plain, _proto, _service, _state, _log)
        self._follow = (np.arange(json_lines.FIELDS) + 1) % json_lines.FIELDS

    def branches(self, taken: Taken) -> Counter[str]:
        """By which rule of `formats.detect` the log of these rows is told."""
        told = int(np.count_nonzero(taken.told))
        others = "shape" if self._hinted is None else "name"
        return +Counter({"_path": told, others: len(taken.told) - told})

    def read(self, lines: Sequence[bytes], positions: NDArray[np.int64]) -> Taken:
        """The lines at these positions: those that are usual, and the numbers of the others."""
        self._hosts.make_room()
        self._words.make_room()
        cells = np.empty((CELLS, len(lines)), dtype=np.int64)
        durations = np.empty(len(lines), dtype=np.float64)
        uids = np.empty(UID_BYTES * len(lines), dtype=np.uint8)
        rows = written = 0
        room = True
        for first in range(0, len(lines), _LINES):
            some = lines[first : first + _LINES]
            text = np.frombuffer(b"\n".join([*some, json_lines.PADDING]), dtype=np.uint8)
            ends = np.cumsum(np.fromiter(map(len, some), dtype=np.int64, count=len(some)) + 1) - 1
            before = rows
            rows = json_lines.read_lines(text.ctypes.data, ends, first, rows, cells, durations, self._follow)
            for names, columns in ((self._hosts, _HOSTS), (self._words, _WORDS)):
                for column in columns:
                    room &= names.number(cells[column, before:rows])
            written = json_lines.copy_texts(cells[json_lines.UID, before:rows], written, uids)
        self._hosts.learn()
        self._words.learn()
        cells = cells[:, :rows]
        found = np.ones(rows, dtype=np.bool_)
        if not room:
            texts = [*_HOSTS, *_WORDS]
            found = np.asarray(cells[texts].min(axis=0) >= 0)
            cells[texts] = np.maximum(cells[texts], 0)
        return self._taken(cells, durations[:rows], uids, positions, found)

    def _taken(
        self,
        cells: Cells,
        durations: NDArray[np.float64],
        uids: NDArray[np.uint8],
        positions: Positions,
        found: NDArray[np.bool_],
    ) -> Taken:
        read = cells[json_lines.LINE]
        flows = self._flows(cells, durations, uids, positions[read])
        told = cells[json_lines.PATH] > 0
        usable = self._is_conn(cells, told) & found
        for name in ("orig_h", "resp_h", "proto"):
            if flows[name].null_count():
                usable &= flows[name].is_not_null().to_numpy()
        if not usable.all():
            flows, read, told = flows.filter(usable), read[usable], told[usable]
        rest = np.ones(len(positions), dtype=np.bool_)
        rest[read] = False
        return Taken(flows, read, told, np.flatnonzero(rest))

    def _is_conn(self, cells: Cells, told: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Whether `formats.detect` would take each row for one of conn.log."""
        if self._hinted == LOG:
            named = ~told
        elif self._hinted is None:
            named = ~told & (cells[json_lines.STATE] > 0)
        else:
            named = np.zeros_like(told)
        if told.any():
            named |= self._words.column(_log, cells[json_lines.PATH]).is_not_null().to_numpy()
        return named

    def _flows(
        self, cells: Cells, durations: NDArray[np.float64], uids: NDArray[np.uint8], positions: Positions
    ) -> pl.DataFrame:
        given: dict[str, Any] = {
            "ts": cells[json_lines.TS],
            "obs_ts": cells[json_lines.OBS],
            "uid": _texts(cells[json_lines.UID], uids),
            "orig_h": self._hosts.column(canonical, cells[json_lines.ORIG_H]),
            "orig_p": cells[json_lines.ORIG_P].astype(np.int32),
            "resp_h": self._hosts.column(canonical, cells[json_lines.RESP_H]),
            "resp_p": cells[json_lines.RESP_P].astype(np.int32),
            "proto": self._words.column(_proto, cells[json_lines.PROTO]),
            "service": self._words.column(_service, cells[json_lines.SERVICE]),
            "conn_state": self._words.column(_state, cells[json_lines.STATE]),
            "duration": pa.array(durations, mask=np.isnan(durations)),
            "orig_bytes": _counts(cells[json_lines.ORIG_BYTES]),
            "resp_bytes": _counts(cells[json_lines.RESP_BYTES]),
            "orig_pkts": _counts(cells[json_lines.ORIG_PKTS]),
            "resp_pkts": _counts(cells[json_lines.RESP_PKTS]),
            "oriented": True,
            "exporter": self._words.column(_plain, cells[json_lines.EXPORTER]),
            "sampling": 1,
            "log": LOG,
            "source": self._source,
            "position": positions,
        }
        return pl.DataFrame([_series(name, dtype, given.get(name), len(positions)) for name, dtype in FLOW.items()])


def _texts(ends: NDArray[np.int64], text: NDArray[np.uint8]) -> pa.Array:
    bounds = np.append(0, ends)
    return pa.LargeStringArray.from_buffers(len(ends), pa.py_buffer(bounds), pa.py_buffer(text))


def _counts(numbers: NDArray[np.int64]) -> pa.Array:
    return pa.array(numbers, mask=numbers < 0)


def _series(name: str, dtype: pl.DataType, values: Any, rows: int) -> pl.Series:
    if values is None or isinstance(values, bool | int | str):
        return pl.Series(name, [values], dtype=dtype).new_from_index(0, rows)
    return pl.Series(name, values, dtype=dtype)
