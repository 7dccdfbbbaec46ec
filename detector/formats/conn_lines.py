"""The usual lines of ``conn.log``, JSON or tab-separated, straight from their bytes into a frame.

What `formats.zeek` does row by row happens here column by column, with the same outcome to the last bit: a line is
either read here or left, untouched, to the general path.
"""

from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from detector.formats import json_lines, line_cells, tab_lines, tsv, zeek
from detector.formats.address import canonical
from detector.formats.detect import stream
from detector.formats.fields import NO_VALUE
from detector.formats.json_lines import MICRO
from detector.formats.line_cells import (
    COUNT,
    DURATION,
    LINE,
    NAME,
    NAME_BYTES,
    SKIP,
    TEXT,
    TEXT_BYTES,
    TIME,
    Cells,
    Meanings,
    Reader,
    Taken,
)  # fmt: skip
from detector.formats.tsv import FLOATS, INTS, Header
from detector.records import Lines
from detector.state.compiled import kernel

LOG: Final = "zeek.conn"
_NOT_TOLD: Final = "unknown_transport"  # then Zeek 8 tells the protocol by number
_COUNT_MAX: Final = 2**63 - 1
_IP_PROTO_MAX: Final = 255

TS, OBS, ORIG_H, ORIG_P, RESP_H, RESP_P, PROTO, SERVICE, STATE = range(1, 10)
ORIG_BYTES, RESP_BYTES, ORIG_PKTS, RESP_PKTS, EXPORTER, PATH, _IP_PROTO, UID, _SPAN = range(10, 19)
_CELLS: Final = 19
_HOSTS: Final = np.array([ORIG_H, RESP_H])
_WORDS: Final = np.array([PROTO, SERVICE, STATE, EXPORTER, PATH])
_FIELDS: Final[tuple[json_lines.Field, ...]] = (
    ("_path", TEXT, PATH, TEXT_BYTES),
    ("_system_name", TEXT, EXPORTER, TEXT_BYTES),
    ("_write_ts", TIME, OBS, 0),
    ("ts", TIME, TS, 0),
    ("uid", NAME, UID, NAME_BYTES),
    ("id.orig_h", TEXT, ORIG_H, TEXT_BYTES),
    ("id.orig_p", COUNT, ORIG_P, zeek.PORT_MAX),
    ("id.resp_h", TEXT, RESP_H, TEXT_BYTES),
    ("id.resp_p", COUNT, RESP_P, zeek.PORT_MAX),
    ("proto", TEXT, PROTO, TEXT_BYTES),
    ("service", TEXT, SERVICE, TEXT_BYTES),
    ("duration", DURATION, _SPAN, 0),
    ("orig_bytes", COUNT, ORIG_BYTES, _COUNT_MAX),
    ("resp_bytes", COUNT, RESP_BYTES, _COUNT_MAX),
    ("conn_state", TEXT, STATE, TEXT_BYTES),
    *((name, SKIP, LINE, 0) for name in ("local_orig", "local_resp", "missed_bytes", "history")),
    ("orig_pkts", COUNT, ORIG_PKTS, _COUNT_MAX),
    ("orig_ip_bytes", SKIP, LINE, 0),
    ("resp_pkts", COUNT, RESP_PKTS, _COUNT_MAX),
    ("resp_ip_bytes", SKIP, LINE, 0),
    ("tunnel_parents", SKIP, LINE, 0),
    ("ip_proto", COUNT, _IP_PROTO, _IP_PROTO_MAX),
    *((name, SKIP, LINE, 0) for name in ("vlan", "inner_vlan", "orig_l2_addr", "resp_l2_addr", "community_id")),
    *((name, SKIP, LINE, 0) for name in ("speculative_service", "failed_service")),
    ("@system", TEXT, EXPORTER, TEXT_BYTES),
    ("_node_name", TEXT, EXPORTER, TEXT_BYTES),
    ("id_orig_h", TEXT, ORIG_H, TEXT_BYTES),
    ("id_orig_p", COUNT, ORIG_P, zeek.PORT_MAX),
    ("id_resp_h", TEXT, RESP_H, TEXT_BYTES),
    ("id_resp_p", COUNT, RESP_P, zeek.PORT_MAX),
)
"""In Zeek's order, with what its own scripts and Corelight add."""
_KEYS: Final = json_lines.keys(_FIELDS, (TS, UID, ORIG_H, ORIG_P, RESP_H, RESP_P, PROTO))
_BY_NAME: Final = {name: (kind, cell, limit) for name, kind, cell, limit in _FIELDS}
_TEXT_TYPES: Final = frozenset({"string", "enum", "addr"})
_TYPES: Final = {TIME: FLOATS, DURATION: FLOATS, COUNT: INTS, TEXT: _TEXT_TYPES, NAME: _TEXT_TYPES}


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


class _Texts:
    """What the texts of a source mean, spelt as its lines spell them."""

    def __init__(self, spelling: line_cells.Spelling) -> None:
        self.hosts = Meanings(spelling, canonical)
        self.words = Meanings(spelling, _plain, _proto, _service, _state, _log)
        self.reader = Reader(_CELLS, ((self.hosts, _HOSTS), (self.words, _WORDS)), UID)


class ConnLines:
    """Reads the usual lines of one source.

    Args:
        source: as it stands in the frames.
        hinted: the log that the name of the source speaks of, or None.
    """

    def __init__(self, source: str, hinted: str | None) -> None:
        self._source = source
        self._hinted = hinted
        self._json = partial(json_lines.read_lines, keys=_KEYS.given())

    @cached_property
    def _spelt(self) -> "_Texts":
        return _Texts(json_lines.spelling)

    @cached_property
    def _celled(self) -> "_Texts":
        return _Texts(tsv.spelling)

    def read(self, lines: Lines, positions: NDArray[np.int64]) -> Taken:
        """JSON lines at these positions: those that are usual, and the numbers of the others."""
        texts = self._spelt
        cells = texts.reader.read(lines, self._json)
        told = cells.table[PATH] > 0
        usable = self._is_conn(texts, cells.table, told) & cells.found
        rules = ("shape" if self._hinted is None else "name", "_path")
        return self._taken(texts, cells, positions, usable, told, rules)

    def read_rows(self, columns: tab_lines.Columns, lines: Lines, positions: NDArray[np.int64]) -> Taken:
        """The same for rows of a table with these columns."""
        texts = self._celled
        cells = texts.reader.read(lines, partial(tab_lines.read_rows, columns=columns.given()))
        return self._taken(texts, cells, positions, cells.found, cells.found, ("header", "header"))

    def _taken(
        self, texts: "_Texts", cells: Cells, positions: NDArray[np.int64], usable: NDArray[np.bool_],
        told: NDArray[np.bool_], rules: tuple[str, str],
    ) -> Taken:  # fmt: skip
        flows = self._flows(texts, cells, positions[cells.table[LINE]])
        for name in ("orig_h", "resp_h", "proto"):
            if flows[name].null_count():
                usable = usable & flows[name].is_not_null().to_numpy()
        return line_cells.take(flows, cells, usable, len(positions), told, rules)

    def _is_conn(self, texts: "_Texts", table: NDArray[np.int64], told: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Whether `formats.detect` would take each row for one of conn.log."""
        if self._hinted == LOG:
            named = ~told
        elif self._hinted is None:
            named = ~told & (table[STATE] > 0)
        else:
            named = np.zeros_like(told)
        if told.any():
            named |= texts.words.column(_log, table[PATH]).is_not_null().to_numpy()
        return named

    def _flows(self, texts: "_Texts", cells: Cells, positions: NDArray[np.int64]) -> pl.DataFrame:
        table, durations = cells.table, cells.durations
        _observe(table, durations)
        given: dict[str, Any] = {
            "ts": table[TS],
            "obs_ts": table[OBS],
            "uid": line_cells.names(cells, UID),
            "orig_h": texts.hosts.column(canonical, table[ORIG_H]),
            "orig_p": table[ORIG_P].astype(np.int32),
            "resp_h": texts.hosts.column(canonical, table[RESP_H]),
            "resp_p": table[RESP_P].astype(np.int32),
            "proto": texts.words.column(_proto, table[PROTO]),
            "service": texts.words.column(_service, table[SERVICE]),
            "conn_state": texts.words.column(_state, table[STATE]),
            "duration": pa.array(durations, mask=np.isnan(durations)),
            "orig_bytes": line_cells.counts(table[ORIG_BYTES]),
            "resp_bytes": line_cells.counts(table[RESP_BYTES]),
            "orig_pkts": line_cells.counts(table[ORIG_PKTS]),
            "resp_pkts": line_cells.counts(table[RESP_PKTS]),
            "oriented": True,
            "exporter": texts.words.column(_plain, table[EXPORTER]),
            "sampling": 1,
            "log": LOG,
            "source": self._source,
            "position": positions,
        }
        return line_cells.frame(given, len(positions))


@kernel
def _observe(table: Any, durations: Any) -> None:
    """When each record was complete: as it says, or else at its end."""
    for row in range(len(durations)):
        if table[OBS, row] < 0:
            span = 0 if np.isnan(durations[row]) else np.int64(np.rint(durations[row] * MICRO))
            table[OBS, row] = table[TS, row] + span


@dataclass(frozen=True, slots=True)
class ConnRows:
    """Reads the usual rows of a table of conn.log."""

    conns: ConnLines
    columns: tab_lines.Columns

    def read(self, lines: Lines, positions: NDArray[np.int64]) -> Taken:
        """The rows at these positions: those that are usual, and the numbers of the others."""
        return self.conns.read_rows(self.columns, lines, positions)


def rows(conns: ConnLines, header: Header) -> ConnRows | None:
    """The reader of a conn.log with this header; None when anything about it is unusual.

    Nobody reads columns without a meaning here. The first has to be one that cannot begin like a header, a JSON object
    or a blank line.
    """
    if (header.separator, header.empty, header.unset) != (b"\t", b"(empty)", b"-") or not header.columns:
        return None
    fields = [_BY_NAME.get(name, (SKIP, LINE, 0)) for name in header.columns]
    cells = [cell for _, cell, _ in fields if cell != LINE]
    typed = len(header.types) == len(fields) and all(
        kind == SKIP or told in _TYPES[kind] for (kind, _, _), told in zip(fields, header.types, strict=True)
    )
    whole = _KEYS.needed & ~sum(1 << cell for cell in set(cells)) == 0
    if not (typed and whole) or len(set(cells)) < len(cells) or fields[0][1] not in (TS, UID):
        return None
    return ConnRows(conns, tab_lines.Columns(np.array(fields, dtype=np.int64), _KEYS.needed))
