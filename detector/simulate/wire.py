"""From intents to connections: ports, lengths, sizes, states and uids.

Benign and hostile rows go through the same lines; what belongs to an attack is only known from the ``hop``
column, which is never written to a log.
"""

from dataclasses import dataclass, fields
from typing import Final

import numpy as np
import numpy.typing as npt

from . import services
from .acts import DEAD, DRAWN, ActTable
from .draw import Ints, Mask, below, box, boxes, weighted
from .rhythm import MINUTE
from .services import IS_TCP, POLLS, Kind

STATES: Final = ("SF", "S0", "REJ", "RSTO", "RSTR", "S1", "OTH")
SF, S0, REJ, RSTO, RSTR, S1, OTH = range(7)

_BASE62: Final = np.frombuffer(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", dtype=np.uint8)
_UID_DIGITS: Final = 17  # Zeek's uids are C and 96 random bits in base 62: 16 or 17 digits
_EPHEMERAL: Final = (49_152, 16_384)  # first and number of client ports, IANA dynamic range (RFC 6335)
_RPC_FIRST: Final = 49_664  # Windows assigns its RPC services ports from here on in order of start
_SEGMENT: Final = 1448  # TCP payload of a full Ethernet frame with timestamps
_SECOND_SYN: Final = 3_000_000  # µs after the first, as Windows retries
_THIRD_SYN: Final = 9_000_000
_HEADERS: Final = np.array([28, 40], dtype=np.int64)  # IP with UDP or ICMP; IP with TCP


@dataclass(frozen=True, slots=True)
class Conns:
    """One row a connection as a sensor sees it, ordered by start. Times and durations in µs."""

    ts: Ints
    end: Ints
    kind: Ints
    orig: Ints
    resp: Ints
    orig_p: Ints
    resp_p: Ints
    user: Ints
    detail: Ints
    hop: Ints
    state: Ints
    duration: Ints
    turns: Ints
    orig_bytes: Ints
    resp_bytes: Ints
    orig_pkts: Ints
    resp_pkts: Ints
    uid: npt.NDArray[np.bytes_]

    def __len__(self) -> int:
        return len(self.ts)

    def take(self, rows: Ints | Mask) -> "Conns":
        """Some of the rows."""
        return Conns(*(getattr(self, column.name)[rows] for column in fields(self)))

    @property
    def answered(self) -> Mask:
        """Whether anything came back that a protocol analyser could read."""
        mask: Mask = (self.state != S0) & (self.state != REJ)
        return mask


def connect(table: ActTable, until: int, rng: np.random.Generator, poll: int = MINUTE) -> Conns:
    """Carries out a day's intents; what outlasts ``until`` (µs) is cut off, as a stopping sensor does.

    ``poll`` is the time (µs) between the requests of a poll that are logged; its bytes are those of one a minute.
    """
    kind, n = table.kind, len(table)
    state = _states(table, rng)
    duration, state = _durations(table, state, until, rng)
    drawn = boxes(rng, services.TURNS[kind])
    sent, received = _payloads(kind, state, _turns(kind, drawn, duration, MINUTE), rng)
    orig_p, resp_p = _ports(table, rng)
    orig_pkts, resp_pkts = _packets(table, state, duration, (sent, received), rng)
    return Conns(
        table.ts,
        table.ts + duration,
        kind,
        table.orig,
        table.resp,
        orig_p,
        resp_p,
        table.user,
        table.detail,
        table.hop,
        state,
        duration,
        _turns(kind, drawn, duration, poll),
        sent,
        received,
        orig_pkts,
        resp_pkts,
        _uids(rng, n),
    )


def join(parts: list[Conns]) -> Conns:
    """Several tables as one, by start."""
    whole = Conns(*(np.concatenate([getattr(part, c.name) for part in parts]) for c in fields(Conns)))
    return whole.take(np.argsort(whole.ts, kind="stable"))


def _states(table: ActTable, rng: np.random.Generator) -> Ints:
    faults = services.FAULTS[table.kind]
    dice = below(rng, 1024, len(table))
    worked = np.where(table.kind == Kind.PING, OTH, SF)
    reset = np.where(below(rng, 2, len(table)) == 0, RSTO, RSTR)
    lost, refused, cut = faults[:, 0], faults[:, 0] + faults[:, 1], faults.sum(axis=1)
    state = np.select([dice < lost, dice < refused, dice < cut], [np.full_like(dice, S0), REJ, reset], worked)
    state = np.where((table.fate != DRAWN) & ((state == S0) | (state == REJ)), worked, state)
    state = np.where(table.fate == DEAD, S0, state)
    return np.where(~IS_TCP[table.kind] & (state != S0), worked, state)


def _durations(table: ActTable, state: Ints, until: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
    n = len(table)
    drawn = boxes(rng, services.MILLIS[table.kind]) * 1000 + below(rng, 1000, n)
    duration = np.where(table.duration >= 0, table.duration, drawn)
    retries = np.array([0, _SECOND_SYN, _THIRD_SYN])[weighted(rng, (2, 3, 5), n)]
    unanswered = np.where(retries > 0, retries + below(rng, 30_000, n), 0)
    duration = np.where(state == S0, np.where(IS_TCP[table.kind], unanswered, 0), duration)
    duration = np.where(state == REJ, 200 + below(rng, 1800, n), duration)
    late = (table.ts + duration >= until) & (duration > 0)
    state = np.where(late & IS_TCP[table.kind] & (state != S0) & (state != REJ), S1, state)
    return np.where(late, np.maximum(until - table.ts - 1, 0), duration), state


def _turns(kind: Ints, drawn: Ints, duration: Ints, poll: int) -> Ints:
    return np.where(np.isin(kind, POLLS), 1 + duration // poll, drawn)


def _payloads(kind: Ints, state: Ints, turns: Ints, rng: np.random.Generator) -> tuple[Ints, Ints]:
    repeat = np.where(services.PER_TURN[kind] == 1, turns, 1)
    silent = (state == S0) | (state == REJ)
    sent = np.where(silent & IS_TCP[kind], 0, boxes(rng, services.SENT[kind]) * repeat)
    return sent, np.where(silent, 0, boxes(rng, services.RECEIVED[kind]) * repeat)


def _ports(table: ActTable, rng: np.random.Generator) -> tuple[Ints, Ints]:
    first, count = _EPHEMERAL
    ping, probe = table.kind == Kind.PING, table.kind == Kind.PROBE
    orig_p = np.where(ping, 8, first + below(rng, count, len(table)))  # ICMP: type 8, echo request
    port = services.PORT[table.kind]
    port = np.where(probe, table.detail, np.where(port == 0, _RPC_FIRST + table.resp % 9, port))
    return orig_p, np.where(ping, 0, port)


def _packets(
    table: ActTable, state: Ints, duration: Ints, payload: tuple[Ints, Ints], rng: np.random.Generator
) -> tuple[Ints, Ints]:
    """Data segments, an acknowledgement for every second one of the peer's, and the handshakes."""
    tcp, retries = IS_TCP[table.kind], (duration > 0).astype(np.int64) + (duration >= _THIRD_SYN)
    extra = box(rng, (0, 0, 1, 3, 12), len(table))
    out, back = (-(-size // _SEGMENT) for size in payload)
    orig_pkts = np.where(tcp, 4 + out + back // 2 + extra, np.maximum(out, 1))
    resp_pkts = np.where(tcp, 3 + back + out // 2 + extra // 2, np.maximum(back, 1))
    orig_pkts = np.where(tcp & (state == S0), 1 + retries, np.where(tcp & (state == REJ), 1, orig_pkts))
    return orig_pkts, np.where(state == S0, 0, np.where(tcp & (state == REJ), 1, resp_pkts))


def ip_bytes(conns: Conns) -> tuple[Ints, Ints]:
    """Bytes on the wire in each direction: payload and headers."""
    header = _HEADERS[IS_TCP[conns.kind].astype(np.int64)]
    return conns.orig_bytes + header * conns.orig_pkts, conns.resp_bytes + header * conns.resp_pkts


def _uids(rng: np.random.Generator, n: int) -> npt.NDArray[np.bytes_]:
    digits = np.empty((n, _UID_DIGITS + 1), dtype=np.uint8)
    digits[:, 0] = ord("C")
    digits[:, 1:] = _BASE62[rng.integers(0, 62, size=(n, _UID_DIGITS))]
    return digits.view(f"S{_UID_DIGITS + 1}").ravel()
