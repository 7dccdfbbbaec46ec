"""How much is handled at once."""

from collections.abc import Iterator
from typing import Final

from detector.sources.kafka_merge import Arrival

PORTION: Final = 20_000
"""Records; about a second's work."""


def portions(arrivals: list[Arrival]) -> Iterator[list[Arrival]]:
    """What is handled at once; a poll behind a backlog may give as much as memory holds."""
    portion: list[Arrival] = []
    records = 0
    for arrival in arrivals:
        portion.append(arrival)
        records += len(arrival.records)
        if records >= PORTION:
            yield portion
            portion, records = [], 0
    if portion:
        yield portion
