"""From a record of the outbox to what a sink sends: the one place where a rendering is applied."""

from collections.abc import Callable
from typing import NamedTuple

from detector.alerts.model import Told, told_of
from detector.renderings.kinds import CONTENTS, RENDERINGS, Content
from detector.sinks.segments import Record


class Message(NamedTuple):
    """A record as the other side reads it."""

    sequence: int  # of the record
    kind: str  # alert, incident, dead_letter
    payload: bytes  # in the sink's format; without a line feed
    told: Told | None = None  # what it is about; None of a dead letter
    content: Content = CONTENTS["native"]


Render = Callable[[Record], Message]
"""May raise anything: then the record is refused."""


def as_stored(record: Record) -> Message:
    """The record's own bytes, unread: for dead letters."""
    return Message(record.sequence, record.kind, record.payload)


def rendering(name: str) -> Render:
    """How alerts and incidents become messages in one of the formats of `RENDERINGS`."""
    render = RENDERINGS[name]
    content = CONTENTS[name]

    def message(record: Record) -> Message:
        told = told_of(record.kind, record.payload)
        return Message(record.sequence, record.kind, render(told), told, content)

    return message
