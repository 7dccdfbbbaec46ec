"""Incidents over HTTP, in JSON: who looks after which, and what was done. Paths are those behind ``/incidents``.

Reading is as open as the metrics beside it. Whoever moves an incident shows a token (RFC 6750); without one in the
settings nobody can.
"""

import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qs

from detector.errors import ConfigError
from detector.incidents.book import Book
from detector.incidents.life import MERGED, MOVES, STATES, Case, time_of
from detector.incidents.trend import means, states
from detector.incidents.written import as_dict
from detector.service import logs

MOST_SHOWN: Final = 1000
_FIELDS: Final = frozenset({"move", "by", "why", "outcome", "at"})
Answer = tuple[int, dict[str, Any]]
"""Status and content."""


class CasesApi:
    """What is answered.

    Args:
        book: the journal.
        token: reads the secret that moves want; None = nobody may move anything.
        now: time of day.
    """

    def __init__(
        self, book: Book, token: Callable[[], str] | None, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._book, self._token, self._now = book, token, now

    def read(self, path: str, query: str) -> Answer:
        """``GET``: a list, newest first, or one incident. ``?state=`` chooses."""
        try:
            known = self._book.cases()
        except ConfigError as problem:
            logs.get("incidents").error("the journal cannot be read", problem=str(problem))
            return 500, {"error": "the journal of incidents cannot be read; see the log"}
        if path in ("", "/"):
            return self._list(list(known.values()), query)
        case = known.get(path.removeprefix("/"))
        return (404, {"error": "there is no incident of this id"}) if case is None else (200, as_dict(case))

    @staticmethod
    def _list(known: list[Case], query: str) -> Answer:
        wanted = parse_qs(query).get("state", [None])[-1]
        if wanted is not None and wanted not in (*STATES, MERGED):
            return 400, {"error": f"state is one of {', '.join((*STATES, MERGED))}"}
        chosen = [case for case in reversed(known) if wanted in (None, case.state)]
        shown = [{name: value for name, value in as_dict(case).items() if name != "history"}
                 for case in chosen[:MOST_SHOWN]]  # fmt: skip
        return 200, {"incidents": shown, "count": len(chosen), "states": states(known), "mean_seconds": means(known)}

    def refused(self, authorization: str) -> Answer | None:
        """Why this request may not move anything; None when it may. Takes as long whatever the token is."""
        if self._token is None:
            return 403, {"error": "moves are off: the settings name no token (http.token_file or http.token_env)"}
        kind, _, shown = authorization.partition(" ")
        try:
            secret = self._token()
        except ConfigError as problem:
            logs.get("incidents").error("the token cannot be read", problem=str(problem))
            return 500, {"error": "the token cannot be read; see the log"}
        if kind.lower() != "bearer" or not hmac.compare_digest(shown.strip().encode(), secret.encode()):
            return 401, {"error": "wants Authorization: Bearer and the token"}
        return None

    def move(self, path: str, body: bytes) -> Answer:
        """``POST`` to an incident: ``{"move": "contain", "by": "anna", "why": "..."}``, and ``at`` and ``outcome``."""
        incident_id = path.removeprefix("/")
        try:
            wish = _wish(body)
        except ValueError as problem:
            return 400, {"error": str(problem)}
        try:
            if incident_id not in self._book.cases():
                return 404, {"error": "there is no incident of this id"}
            return 200, as_dict(self._moved(incident_id, wish))
        except ConfigError as problem:
            return 409, {"error": str(problem)}
        except OSError as problem:
            logs.get("incidents").error("the journal cannot be written", problem=str(problem))
            return 503, {"error": "the journal of incidents cannot be written; see the log"}

    def _moved(self, incident_id: str, wish: dict[str, str]) -> Case:
        return self._book.move(
            incident_id,
            wish.get("move", ""),
            wish.get("by", ""),
            now=self._now(),
            why=wish.get("why", ""),
            outcome=wish.get("outcome"),
            when=time_of(wish["at"]) if "at" in wish else None,
        )


def _wish(body: bytes) -> dict[str, str]:
    """What a request wants.

    Raises:
        ValueError: it is no object of texts, names something else, or a move that there is not.
    """
    try:
        wish = json.loads(body)
    except (ValueError, RecursionError):  # also of bytes that are no UTF-8
        raise ValueError("the body is not JSON") from None
    if not isinstance(wish, dict) or not all(isinstance(value, str) for value in wish.values()):
        raise ValueError("the body is not an object of texts")
    if unknown := sorted(wish.keys() - _FIELDS):
        raise ValueError(f"unknown: {unknown[0]!r}; allowed: {', '.join(sorted(_FIELDS))}")
    if wish.get("move") not in MOVES:
        raise ValueError(f"move is one of {', '.join(MOVES)}")
    return wish
