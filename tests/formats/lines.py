"""Rows through one flow format, and whole files through all there is."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from detector.formats import argus, columns, ecs, goflow2, logstash, nfdump, pmacct, telegraf
from detector.formats.batch import Batch, Context
from detector.formats.decode import Decoder
from detector.records import Block, Decoded, merge
from detector.sources.files import Files

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


def decode_file(path: Path, context: Context) -> Decoded:
    """A file the way it comes in production: found, framed, detected, decoded."""
    return merge(decode_blocks(Files([path]), path, context))


def decode_blocks(blocks: Iterable[Block], path: Path, context: Context) -> list[Decoded]:
    decoder = Decoder(str(path), context)
    return [decoder.decode(block) for block in blocks]
