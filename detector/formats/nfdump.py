"""nfdump's text outputs: ``-o csv`` before and after 1.7.5, ``-o csv-fast``, ``-o json`` and ``-o ndjson``.

All text times are local times of the machine that ran nfdump, without a zone: ``Context.timezone``. nfcapd
has already scaled sampled counters, so nothing is scaled here.

JSON of some 1.7 versions before 2024-10-18 has the *packets* in ``in_bytes`` (1.7.1 is right). The record
does not tell which version wrote it, so this cannot be detected: take the CSV of these versions where bytes
matter. ``-B -o json`` of 1.7.1 also leaves out the reply counters that ``-B -o csv`` has.
"""

from typing import Final

import orjson

from detector.formats.batch import Batch, Context, LogType, Row
from detector.formats.fields import RAW_LIMIT, BadValue
from detector.formats.netflow import Layout, flows
from detector.records import Decoded

NAME: Final = "netflow.nfdump"
OBJECT_LIMIT: Final = 65_536
"""Bytes of one printed object; nfdump's longest is about 3 kB. Beyond this the closing brace is lost."""

LAYOUT: Final = Layout(
    orig_h=("sa", "srcAddr", "src4_addr", "src6_addr"),
    resp_h=("da", "dstAddr", "dst4_addr", "dst6_addr"),
    orig_p=("sp", "srcPort", "src_port"),
    resp_p=("dp", "dstPort", "dst_port"),
    proto=("pr", "proto"),
    orig_bytes=("ibyt", "bytes", "in_bytes"),
    orig_pkts=("ipkt", "packets", "in_packets"),
    resp_bytes=("obyt", "out_bytes"),
    resp_pkts=("opkt", "out_packets"),
    orig_flags=("flg", "flags", "tcp_flags"),
    start=("ts", "firstSeen", "first"),
    end=("te", "lastSeen", "last"),
    duration=("td", "duration"),
    received=("tr", "received"),
    exporter=("ra", "ip4_router", "ip6_router"),
    zero_is_no_reply=True,  # both CSV columns are always printed
    implied_end=True,  # the ten-column CSV has a duration instead
)

CSV_NAMES: Final = frozenset(
    name
    for names in (getattr(LAYOUT, field) for field in LAYOUT.__slots__)
    if isinstance(names, tuple)
    for name in names
)
"""Columns that are read; the other of the 48 are left in the line."""


def convert(batch: Batch, context: Context) -> Decoded:
    """One flow a row; with reply counters (``-B``, biflow exporters) both directions of it."""
    return flows(batch, context, LAYOUT, _statistics)


def _statistics(row: Row) -> str | None:
    kind = row.get("type")
    return f"{kind} record" if isinstance(kind, str) and kind not in ("FLOW", "EVENT") else None


class JsonReader:
    """Objects out of ``-o json``: one property a line, and with ``-q`` without the array's brackets.

    Args:
        opened: the first line of the file was already the brace of the first object.
    """

    log: Final = NAME

    def __init__(self, opened: bool) -> None:
        self._lines: list[bytes] | None = [b"{"] if opened else None
        self._size = 0

    def row(self, line: bytes) -> Row | None:
        """The object that ``line`` completes, or None within and between objects.

        Raises:
            BadValue: the object is damaged, or the line belongs to none.
        """
        text = line.strip()
        if text == b"{" or self._lines is None:
            self._open(text)
            return None
        if text in (b"}", b"},", b"}]"):
            return self._close()
        self._size += len(text)
        if self._size > OBJECT_LIMIT:
            self._lines = None
            raise BadValue(f"JSON object longer than {OBJECT_LIMIT} bytes")
        self._lines.append(text)
        return None

    def _open(self, text: bytes) -> None:
        lost, self._lines, self._size = self._lines, self._lines, 0
        if text == b"{":
            self._lines = [text]
            if lost is not None:
                raise BadValue("JSON object without an end")
        elif text not in (b"", b"[", b"]", b"No matching flows"):
            raise BadValue(
                f"{text[:RAW_LIMIT].decode(errors='replace')[:40]!r} is outside of any JSON object"
            )

    def _close(self) -> Row:
        lines, self._lines = self._lines or [], None
        try:
            row = orjson.loads(b"".join([*lines, b"}"]))
        except orjson.JSONDecodeError as problem:
            raise BadValue(f"damaged JSON object: {problem}") from None
        if not isinstance(row, dict):
            raise BadValue("damaged JSON object")
        return row


LOG_TYPE: Final = LogType(NAME, convert)
