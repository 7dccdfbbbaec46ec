"""The one list of all log types: a new one is its file, a line here and its golden data."""

from typing import Final

from detector.formats import (
    argus,
    columns,
    ecs,
    goflow2,
    logstash,
    nfdump,
    pmacct,
    telegraf,
    zeek,
    zeek_industrial,
    zeek_other,
    zeek_services,
    zeek_windows,
)
from detector.formats.batch import LogType

LOG_TYPES: Final[dict[str, LogType]] = {
    log_type.name: log_type
    for log_type in (
        *zeek.LOG_TYPES,
        *zeek_windows.LOG_TYPES,
        *zeek_services.LOG_TYPES,
        *zeek_industrial.LOG_TYPES,
        *zeek_other.LOG_TYPES,
        argus.LOG_TYPE,
        columns.LOG_TYPE,
        ecs.LOG_TYPE,
        ecs.CONNECTION_LOG_TYPE,
        goflow2.LOG_TYPE,
        logstash.LOG_TYPE,
        nfdump.LOG_TYPE,
        pmacct.LOG_TYPE,
        telegraf.LOG_TYPE,
    )
}
"""Name (``zeek.conn``, ``netflow.goflow2``) -> log type."""
