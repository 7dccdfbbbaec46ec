"""Who sends flows and logs, and who has stopped: a sensor that fell silent looks like a quiet network.

By the brokers' time, so that catching up after an outage makes nobody silent. When all are silent that time stands
still; then no rows come at all, which the rows themselves show. It is no part of a checkpoint: after a start each
counts from when it is heard again.
"""

from dataclasses import dataclass
from typing import Final

import polars as pl

from detector.records import Decoded
from detector.service import logs

SILENT_US: Final = 15 * 60_000_000
"""A flow exporter tells long flows every minute to half an hour (its active timeout) and others when they end; Zeek
writes when connections end. A quarter of an hour without any is much for all that one exporter sees."""
_TIMES: Final = 3  # its own longest pause, so often, before one who speaks seldom is missed
FORGET_US: Final = 24 * 3600 * 1_000_000
"""Who was silent for a day is switched off, and forgotten."""
_PAUSE_US: Final = FORGET_US // 6
"""More of a pause does not count as usual: one night's outage would excuse the next until its exporter is forgotten."""
_MOST: Final = 4096  # names, as of the partitions that are shown; an attacker may make up more
_MOST_CHARACTERS: Final = 255  # of a name; a host's has no more (RFC 1035 2.3.4)


@dataclass(slots=True)
class _Heard:
    last: int
    longest: int = 0  # pause, µs
    silent: bool = False


class Exporters:
    """Addresses of flow exporters and names of sensors; what has neither counts for its topic."""

    def __init__(self) -> None:
        self._log = logs.get("exporters")
        self._heard: dict[str, _Heard] = {}
        self._now = 0

    def heard(self, topic: str, decoded: Decoded, now: int) -> None:
        """Rows of a topic came.

        Args:
            now: the brokers' time of the last of them, µs.
        """
        self._now = max(self._now, now)
        columns = [frame.get_column("exporter") for frame in (decoded.flows, decoded.operations)]
        names = pl.concat(columns).unique(maintain_order=True)
        for name in names.to_list():
            self._note((name or topic)[:_MOST_CHARACTERS], now)

    def counts(self) -> tuple[int, int]:
        """How many were heard within a day, and how many of these have fallen silent since."""
        for name, heard in list(self._heard.items()):
            silence = self._now - heard.last
            if silence > FORGET_US:
                del self._heard[name]
            elif not heard.silent and silence > max(SILENT_US, _TIMES * min(heard.longest, _PAUSE_US)):
                heard.silent = True
                self._log.warning("fell silent", exporter=name, seconds=silence // 1_000_000)
        return len(self._heard), sum(heard.silent for heard in self._heard.values())

    def _note(self, name: str, now: int) -> None:
        known = self._heard.get(name)
        if known is None:
            if len(self._heard) < _MOST:
                self._heard[name] = _Heard(now)
            return
        if known.silent:
            self._log.info("is heard again", exporter=name, seconds=(now - known.last) // 1_000_000)
        known.longest, known.last = max(known.longest, now - known.last), max(known.last, now)
        known.silent = False
