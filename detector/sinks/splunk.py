"""Splunk's HTTP Event Collector (HEC).

What its answers mean: docs.splunk.com, "Troubleshoot HTTP Event Collector", table of status codes; "About HTTP Event
Collector Indexer Acknowledgment".
"""

import time
import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import orjson

from detector.alerts.model import Alert, Told
from detector.sinks.delivery import Retry
from detector.sinks.http import PAUSE_SECONDS, Answer, Client, Secret, Unwilling, in_parts
from detector.sinks.messages import Message

_EVENTS: Final = "/services/collector/event"
_ACKS: Final = "/services/collector/ack?channel="
_MOST: Final = 500
_MOST_BYTES: Final = 800_000  # with what is put around them, below the 1 MB that Splunk Cloud takes
_OF_RECORD: Final = {5, 6, 12, 13, 15}
"""Codes that speak of an event: no data, invalid format, event missing, event blank, indexed fields. The others of
status 400 speak of the index, the channel or the token."""


class Patience(NamedTuple):
    """Seconds of waiting for an acknowledgement."""

    poll: float = 1.0  # between two questions
    call: float = 20.0  # that one call of `send` asks
    most: float = 300.0  # after which it is sent again


_PATIENCE: Final = Patience()


class _Waiting(NamedTuple):
    """What Splunk has and has not acknowledged."""

    first: int  # numbers of records
    last: int
    ack: int
    until: float  # monotonic; then it is sent again


class SplunkSink:
    """Events of HEC. Without acknowledgement 200 says that Splunk has them, not yet that they are on its disk.

    Args:
        client: the collector's address, ``https://host:8088``.
        token: of the collector.
        index: in place of the token's own.
        host: what events are said to come from.
        acknowledge: whether to wait until events are indexed; the token must be set so.
        patience: how long it waits for that.
    """

    def __init__(
        self,
        client: Client,
        token: Secret,
        *,
        index: str | None = None,
        host: str | None = None,
        acknowledge: bool = False,
        patience: Patience = _PATIENCE,
    ) -> None:
        self._client, self._token, self._acknowledge = client, token, acknowledge
        self._about = {
            key: value for key, value in (("host", host), ("source", "eastwest"), ("index", index)) if value is not None
        }
        self._patience = patience
        self._channel = str(uuid.uuid4())
        self._waiting: _Waiting | None = None

    def send(self, records: Sequence[Message]) -> None:
        """See `Sink`."""
        done = self._settle(records)
        try:
            in_parts(records[done:], self._send, _MOST, _MOST_BYTES)
        except Retry as problem:
            raise Retry(problem.reason, problem.after, done + problem.taken) from problem

    def close(self) -> None:
        """See `Sink`."""
        self._client.close()

    def _settle(self, records: Sequence[Message]) -> int:
        """Ask again about what an earlier call sent; how many of the records that settles."""
        waiting = self._waiting
        if waiting is None or waiting.first != records[0].sequence:
            self._waiting = None
            return 0
        self._await_ack(waiting)
        return sum(record.sequence <= waiting.last for record in records)

    def _send(self, records: Sequence[Message]) -> None:
        body = b"\n".join(self._event(record) for record in records)
        answer = self._post(_EVENTS, body)
        if not self._acknowledge:
            return
        ack = answer.get("ackId")
        if not isinstance(ack, int):
            raise Retry(f"{self._client.place}: no ackId: the token does not acknowledge", PAUSE_SECONDS)
        until = time.monotonic() + self._patience.most
        self._waiting = _Waiting(records[0].sequence, records[-1].sequence, ack, until)
        self._await_ack(self._waiting)

    def _await_ack(self, waiting: _Waiting) -> None:
        deadline = time.monotonic() + self._patience.call
        body = orjson.dumps({"acks": [waiting.ack]})
        while not self._post(_ACKS + self._channel, body).get("acks", {}).get(str(waiting.ack)):
            now = time.monotonic()
            if now >= waiting.until:
                self._waiting = None
                raise Retry(f"{self._client.place}: not indexed within {self._patience.most:g} s; sent again")
            if now >= deadline:
                raise Retry(f"{self._client.place}: not indexed yet")
            time.sleep(self._patience.poll)
        self._waiting = None  # it told once, and forgets

    def _post(self, path: str, body: bytes) -> dict[str, Any]:
        token = self._token()
        headers = {"Authorization": f"Splunk {token}", "Content-Type": "application/json"}
        if self._acknowledge:
            headers["X-Splunk-Request-Channel"] = self._channel
        answer = self._client.post(path, body, headers, compress=path == _EVENTS, hide=token)
        if answer.status == 400:
            raise _fault(answer)
        if not answer.good:
            raise answer.problem()
        told = answer.json()
        if not isinstance(told, dict) or told.get("code", 0) != 0:
            raise Retry(f"{answer.place}: answer {answer.status}: {answer.said}", PAUSE_SECONDS)
        return told

    def _event(self, record: Message) -> bytes:
        about = {**self._about, "sourcetype": f"eastwest:{record.kind}"}
        seconds = None if record.told is None else _time(record.told)
        if seconds is not None:
            about["time"] = seconds
        return orjson.dumps({**about, "event": orjson.Fragment(record.payload)})


def _time(told: Told) -> str | None:
    """When what is told happened last, in seconds since the epoch."""
    record = told.record
    last = told.ts if record is None else record.last_ts or (record.ts if isinstance(record, Alert) else None)
    return None if last is None else f"{datetime.fromisoformat(last).timestamp():.6f}"


def _fault(answer: Answer) -> Retry | Unwilling:
    """Whether the record or the settings are to blame for status 400."""
    told = answer.json()
    code = told.get("code") if isinstance(told, dict) else None
    text = f"{answer.place}: answer 400: {answer.said}"
    if code in _OF_RECORD:
        return Unwilling(text, told.get("invalid-event-number"))
    return Retry(text, PAUSE_SECONDS)
