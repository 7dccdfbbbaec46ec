"""The journal of incidents on disk, and where it lies: beside the results of a backtest, or in a service's outbox."""

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import orjson

from detector import journal
from detector.alerts.model import Incident
from detector.errors import ConfigError, UnreadableInput
from detector.incidents.life import MERGED, SYSTEM, Case, cases, entry_for, stamp

NAME: Final = "incidents.journal.ndjson"
_RESULT: Final = "incidents.ndjson"
_OUTBOX: Final = "alerts"  # folder within a service's outbox
_TITLE: Final = 300  # characters that are kept


@dataclass(frozen=True, slots=True)
class Opening:
    """An incident that was told: its id, first time of its evidence, when it was told; ISO 8601 UTC."""

    incident_id: str
    begun: str
    told: str
    severity: str
    title: str

    @classmethod
    def of(cls, incident: Incident, told: str) -> "Opening":
        """Of what the engine told."""
        return cls(incident.incident_id, incident.first_ts, told, incident.severity, incident.title[:_TITLE])


class Book:
    """The journal of one folder. Several processes and threads may use it; each change is on disk when it returns.

    Args:
        folder: result of a backtest, or the outbox of a service.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self._lock = threading.Lock()
        self._known: dict[str, Case] = {}
        self._seen: tuple[int, int] | None = None

    def cases(self) -> dict[str, Case]:
        """All incidents as they stand, in the order they were opened. The file is read when it changed.

        Raises:
            ConfigError: somebody changed the journal.
        """
        with self._lock:
            found = self._found()
            if found != self._seen:
                self._known, self._seen = cases(journal.entries(self.path)), found
            return self._known

    def _found(self) -> tuple[int, int] | None:
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return (0, 0)
        return status.st_mtime_ns, status.st_size

    def case(self, incident_id: str) -> Case:
        """One of them.

        Raises:
            ConfigError: there is none of this id.
        """
        return _find(self.cases(), incident_id)

    def open(self, told: Iterable[Opening], now: datetime) -> None:
        """Write down incidents that are not in the journal yet; the others stay as they are.

        Raises:
            ConfigError: somebody changed the journal.
        """
        told = list(told)

        def lines(entries: list[dict[str, Any]]) -> list[Mapping[str, Any]]:
            known = {entry["incident_id"] for entry in entries}
            return [_opening(one, now) for one in told if one.incident_id not in known]

        journal.extend(self.path, lines)

    def merge(self, incident_id: str, into: str | None, now: datetime) -> None:
        """An incident became part of another one, or of none that is told."""

        def lines(entries: list[dict[str, Any]]) -> list[Mapping[str, Any]]:
            known = cases(entries).get(incident_id)
            if known is None or known.state == MERGED:
                return []
            at = stamp(now)
            return [
                {
                    "at": at,
                    "when": at,
                    "by": SYSTEM,
                    "what": MERGED,
                    "incident_id": incident_id,
                    "why": "",
                    "into": into,
                }
            ]

        journal.extend(self.path, lines)

    def move(
        self,
        incident_id: str,
        move: str,
        by: str,
        *,
        now: datetime,
        why: str = "",
        outcome: str | None = None,
        when: datetime | None = None,
    ) -> Case:
        """Move an incident on; see `life.entry_for`. Returns it as it stands then.

        Raises:
            ConfigError: there is none of this id, the move cannot be made, or the journal was changed.
        """

        def lines(entries: list[dict[str, Any]]) -> list[Mapping[str, Any]]:
            case = _find(cases(entries), incident_id)
            return [entry_for(case, move, by, why, outcome, when, now)]

        journal.extend(self.path, lines)
        return self.case(incident_id)


def _find(known: Mapping[str, Case], incident_id: str) -> Case:
    if incident_id not in known:
        raise ConfigError(incident_id, "", "there is no incident of this id")
    return known[incident_id]


def _opening(one: Opening, now: datetime) -> dict[str, Any]:
    return {
        "at": stamp(now), "when": one.told, "by": SYSTEM, "what": "opened", "incident_id": one.incident_id, "why": "",
        "begun": one.begun, "severity": one.severity, "title": one.title,
    }  # fmt: skip


def book_of(folder: Path, now: datetime) -> Book:
    """The journal of a folder; what a backtest told there is opened.

    Raises:
        UnreadableInput: neither a backtest nor a service wrote the folder.
        ConfigError: somebody changed the journal.
    """
    book = Book(folder)
    if (folder / _RESULT).is_file():
        told = _told(folder)
        if any(one.incident_id not in book.cases() for one in told):
            book.open(told, now)
    elif not book.path.exists() and not (folder / _OUTBOX).is_dir():
        raise UnreadableInput(f"{folder}: holds neither {_RESULT} of a backtest nor the outbox of a service")
    return book


def _told(folder: Path) -> list[Opening]:
    """Incidents of a backtest. Told with the first of their alerts, as far as alerts were told; else at their end."""
    try:
        incidents = [orjson.loads(line) for line in (folder / _RESULT).read_bytes().splitlines()]
        alerts = folder / "alerts.ndjson"
        lines = [orjson.loads(line) for line in alerts.read_bytes().splitlines()] if alerts.is_file() else []
        first: dict[str, str] = {}
        for alert in lines:
            incident_id = alert["incident_id"]
            if incident_id is not None and alert["status"] == "open":
                first[incident_id] = min(alert["ts"], first.get(incident_id, alert["ts"]))
        return [
            Opening(
                one["incident_id"], one["first_ts"], first.get(one["incident_id"], one["last_ts"]), one["severity"],
                one["title"][:_TITLE],
            )
            for one in incidents
        ]  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise UnreadableInput(f"{folder}: holds no result of this version: {problem}") from None
