"""Lines to frames through one flow format, without the detection of formats: the smallest driver there is."""

from collections.abc import Sequence
from typing import Any

import orjson

from detector.formats import argus, columns, csv_header, ecs, goflow2, logstash, nfdump, pmacct, telegraf
from detector.formats.batch import Batch, Context
from detector.formats.fields import BadValue
from detector.records import Decoded, Reject

LOG_TYPES = {
    log_type.name: log_type
    for log_type in (
        goflow2.LOG_TYPE,
        pmacct.LOG_TYPE,
        ecs.LOG_TYPE,
        ecs.CONNECTION_LOG_TYPE,
        logstash.LOG_TYPE,
        telegraf.LOG_TYPE,
        nfdump.LOG_TYPE,
        argus.LOG_TYPE,
        columns.LOG_TYPE,
    )
}


def convert(log: str, rows: Sequence[dict[str, Any]], context: Context | None = None) -> Decoded:
    batch = Batch(log, "test", list(range(len(rows))), list(rows))
    return LOG_TYPES[log].convert(batch, context or Context())


def decode_lines(lines: Sequence[bytes], context: Context, log: str) -> tuple[Decoded, int]:
    """The frames, and how many records the lines held (an exploded message counts once for each metric)."""
    rows, positions, rejects = [], [], []
    reader = csv_header.match(lines[0], context)
    for position, line in enumerate(lines if reader is None else lines[1:], 0 if reader is None else 1):
        try:
            row = orjson.loads(line) if reader is None else reader.row(line)
        except BadValue as problem:
            rejects.append(Reject("test", position, str(problem), line))
            continue
        if row is not None:
            rows.append(row)
            positions.append(position)
    if reader is not None:
        assert reader.log == log
    decoded = LOG_TYPES[log].convert(Batch(log, "test", positions, rows), context)
    decoded.rejects = sorted([*decoded.rejects, *rejects], key=lambda reject: reject.position)
    return decoded, len(rejects) + sum(len(row.get("metrics", (0,))) for row in rows)
