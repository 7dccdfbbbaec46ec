"""A producer that sends rows as they happen: each says that it ended when it was sent."""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson
from race import lines
from race.shape import Network, Shape

from . import feed

STEP_SECONDS: Final = 0.005
"""Between two sends; rows that belong into one are made at its end."""
UNDER_WAY_SECONDS: Final = 0.25
"""Of rows that the broker may not have yet; then the producer waits, and is late, rather than rows that have their time
already."""
TAKEN_SECONDS: Final = 60.0
ACTS_A_SECOND: Final = 5.0
UID: Final = "P"
"""What the uid of a paced row begins with; µs since the epoch follow, and no other row has the same."""
_RPC_PORT: Final = 49_664
_MICRO: Final = 1e6
_SOON: Final = 0.05  # seconds behind that are no delay: a process waits for its turn


@dataclass(frozen=True, slots=True)
class Pace:
    """What is sent.

    Args:
        rate: flows a second.
        seconds: for how long.
        many: lines a record.
        first: of the rows of the shape's stream.
    """

    name: str
    rate: float
    seconds: float
    many: int
    first: int

    @property
    def rows(self) -> int:
        """Flows in all."""
        return round(self.rate * self.seconds)


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of it: rows by topic, when, and by how many seconds it was late at worst."""

    flows: int
    acts: int
    began: float  # seconds since the epoch
    ended: float
    behind: float

    @property
    def rate(self) -> float:
        """Flows a second."""
        return self.flows / (self.ended - self.began)


def run(bootstrap: Sequence[str], topics: tuple[str, str], shape: Shape, pace: Pace) -> Sent:
    """Send flows to the first topic, and acts that nobody did before to the second; all are sent when it returns."""
    network = Network(shape)
    spans, tails = tails_of(network, pace)
    flows = acts = 0
    behind, stamps = 0.0, _Stamps()
    under_way: deque[Any] = deque()
    draw = np.random.default_rng([shape.seed, 3, pace.first])
    with feed.producer(bootstrap) as client:
        wall, began = time.time(), time.monotonic()
        while flows < pace.rows:
            due = began + (flows + pace.many) / pace.rate
            time.sleep(max(due - time.monotonic(), STEP_SECONDS))
            now = time.monotonic()
            behind = max(behind, now - due)
            most = flows + pace.many + int(pace.rate * UNDER_WAY_SECONDS)  # what is made is sent at once
            ready = min(int((now - began) * pace.rate), most, pace.rows)
            whole = ready - ready % pace.many if ready < pace.rows else ready
            made = [stamps.flow(spans[row], tails[row]) for row in range(flows, whole)]
            for at in range(0, len(made), pace.many):
                under_way.append(client.send(topics[0], b"\n".join(made[at : at + pace.many]), partition=0))
            while len(under_way) * pace.many > pace.rate * UNDER_WAY_SECONDS:
                under_way.popleft().get(TAKEN_SECONDS)
            flows = max(flows, whole)
            while acts < (now - began) * ACTS_A_SECOND:
                orig, resp = draw.choice(len(network.addresses), 2, replace=False)
                client.send(topics[1], stamps.act(network.addresses[orig], network.addresses[resp]), partition=0)
                acts += 1
        ended = time.time()
    return Sent(flows, acts, wall, ended, max(behind - _SOON, 0.0))


def tails_of(network: Network, pace: Pace) -> tuple[list[float], list[bytes]]:
    """Durations of flows (s), and their lines without time and uid, which come first."""
    spans, tails = [], []
    for row in lines.records(network.flows(pace.first, pace.first + pace.rows)):
        spans.append(row["duration"] or 0.0)
        rest = {name: value for name, value in row.items() if value is not None and name not in {"ts", "uid"}}
        tails.append(orjson.dumps(rest)[1:])
    return spans, tails


def closing(moment: float) -> bytes:
    """A flow so late that nothing before it waits any more."""
    ends = {"id.orig_h": "10.9.9.1", "id.orig_p": 50_000, "id.resp_h": "10.9.9.2", "id.resp_p": 443}
    return orjson.dumps({"ts": moment, "uid": "Cclosing", **ends, "proto": "tcp", "conn_state": "SF", "duration": 0.0})


class _Stamps:
    """Gives each row the time it is made at, in its uid too."""

    def __init__(self) -> None:
        self._last = 0

    def _now(self) -> int:
        self._last = max(time.time_ns() // 1000, self._last + 1)
        return self._last

    def flow(self, span: float, tail: bytes) -> bytes:
        """A line of conn.log that ended now."""
        now = self._now()
        return b'{"ts":%.6f,"uid":"%s%d",%s' % (now / _MICRO - span, UID.encode(), now, tail)

    def act(self, orig: str, resp: str) -> bytes:
        """A service is made on another host."""
        now = self._now()
        row = {"ts": now / _MICRO, "uid": f"{UID}{now}", "id.orig_h": orig, "id.orig_p": 50_000, "id.resp_h": resp,
               "id.resp_p": _RPC_PORT, "rtt": 0.001, "endpoint": "svcctl", "operation": "CreateServiceW"}  # fmt: skip
        return orjson.dumps(row)


def sent_at(uid: str) -> float | None:
    """Seconds since the epoch, of the uid of a paced row."""
    return int(uid.removeprefix(UID)) / _MICRO if uid.startswith(UID) else None
