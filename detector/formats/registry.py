"""The one list of all log types: a new one is its file, a line here and its golden data."""

from typing import Final

from detector.formats import zeek, zeek_industrial, zeek_other, zeek_windows
from detector.formats.batch import LogType

LOG_TYPES: Final[dict[str, LogType]] = {
    log_type.name: log_type
    for log_type in (
        *zeek.LOG_TYPES,
        *zeek_windows.LOG_TYPES,
        *zeek_industrial.LOG_TYPES,
        *zeek_other.LOG_TYPES,
    )
}
"""Name (``zeek.conn``, ``netflow.goflow2``) -> log type."""
