"""Records that could not be used, as lines for people and for a second try."""

from base64 import b64encode
from hashlib import sha256
from typing import Final

import orjson

from detector.records import Reject

RAW_LIMIT: Final = 1 << 16
"""Bytes of a record that a dead letter carries. In base64 that is far below the largest record that Kafka takes by
default (1 MiB), and more than any row of a log."""


def dead_letter(reject: Reject, record: bytes | None = None, lines: int = 1) -> bytes:
    """One JSON object without a line feed.

    ``raw`` is base64 (RFC 4648 section 4) of the first `RAW_LIMIT` bytes: whatever they are, they survive every
    transport. ``size`` and ``sha256`` are those of the whole record. A source ``topic:partition`` is told by its parts,
    another as ``source`` and ``position``; a topic's name has no colon (Kafka: ``[a-zA-Z0-9._-]``).

    Args:
        reject: why, or why the first line.
        record: all of its bytes; None when nobody can tell them.
        lines: of the record that could not be used.
    """
    told = {**_place(reject), "reason": reject.reason, "detail": reject.detail, "lines": lines}
    if record is None:
        return orjson.dumps({**told, "size": None, "sha256": None, "raw": None})
    raw = b64encode(record[:RAW_LIMIT]).decode("ascii")
    return orjson.dumps({**told, "size": len(record), "sha256": sha256(record).hexdigest(), "raw": raw})


def _place(reject: Reject) -> dict[str, object]:
    topic, colon, partition = reject.source.rpartition(":")
    if colon and topic and partition.isascii() and partition.isdigit():
        return {"topic": topic, "partition": int(partition), "offset": reject.position}
    return {"source": reject.source, "position": reject.position}
