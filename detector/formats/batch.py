"""The seam every format fills: rows of one log type in, typed frames and rejects out."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from detector.records import Decoded

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Batch:
    """Parsed records of one log type from one source, in source order.

    ``rows[i]`` stands at ``positions[i]`` of ``source``; values are as the wire carried them (JSON types, or
    TSV/CSV cells already typed by their header).
    """

    log: str
    source: str
    positions: list[int]
    rows: list[Row]


@dataclass(frozen=True, slots=True)
class Context:
    """What a record alone does not tell.

    Args:
        timezone: IANA zone of text times that carry none (nfdump, pmacct, Argus).
        columns: our field name -> column name, for CSV and Parquet without a known header.
    """

    timezone: str = "UTC"
    columns: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class LogType:
    """One log type: its name and how its rows become frames."""

    name: str
    convert: Callable[[Batch, Context], Decoded]
