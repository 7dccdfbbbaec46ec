"""Zero trust: can a connection or act be verified? Four questions (after the tenets of NIST SP 800-207, section 2.1):
is the device known, is the user known on it, is the service expected, is the path permitted?

*Known* is what was there before: seen for the first time at least `KNOWN_US` earlier, or declared. So nothing becomes
known by being repeated within a day. What nobody answered is asked about and teaches nothing. A service is expected of
a host that used it, and of the others of its zone when `PEERS` of them did. A verdict is no opinion on how strange a
row is, and no model: it changes no p-value.

All answers to a row are one number of eight bits, a column that costs next to nothing to hand on: `ANSWERS` and
`answered` tell what it says.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from detector.alerts.model import DENIED, LEARNING, UNVERIFIED, VERDICTS, VERIFIED, Verdict
from detector.score.columns import Columns
from detector.score.model import Said
from detector.score.phases import tick
from detector.score.table import key_of, keys_of
from detector.state.compiled import inlined, kernel
from detector.state.counts import AHEAD, Counts, find, soon

KNOWN_US: Final = 86_400_000_000
"""A day: an intruder's second try must not pass for a habit, and who is let be for longer is one."""
PEERS: Final = 3.0
"""Hosts of the originator's zone that use a service of a host: then it is expected of the next one, too."""
KEYS_SHARE: Final = 4
"""A part of ``max_entries``: hosts, accounts on hosts and pairs are a fraction of what models count."""
CHECKS: Final = ("device", "user", "service", "path")
ASKED, NO_DEVICE, NO_USER, NO_SERVICE, NO_PATH, HAS_USER, HAS_PATH, LEARNS = (1 << place for place in range(8))
_ATTEMPT: Final = 1  # `kind` of rows in which the responder said nothing
_NEW_ENTRIES: Final = 5
_NEVER: Final = np.inf
_DEVICE, _USER, _PAIR, _OFFER = (np.uint64(tag) for tag in range(61, 65))


@inlined
def _met(table: Any, used: Any, key: Any, now: Any, teaches: Any) -> Any:
    """When ``key`` was seen for the first time, µs; `_NEVER` when it was not. A row that teaches is a sight of it."""
    keys, cells, last = table
    slot = find(keys, key)
    if keys[slot] == np.uint64(0):
        if not teaches:
            return _NEVER
        keys[slot] = key
        used[0] += 1
        cells[slot, 0], cells[slot, 1], last[slot] = now, 0.0, now
    elif teaches:
        last[slot] = max(last[slot], now)
    return cells[slot, 0]


@kernel
def _offer(table: Any, used: Any, key: Any, now: Any) -> None:
    """One more host of a zone uses a service of a host. Cells: when it was the `PEERS`th, and how many there are."""
    keys, cells, last = table
    slot = find(keys, key)
    if keys[slot] == np.uint64(0):
        keys[slot] = key
        used[0] += 1
        cells[slot, 0], cells[slot, 1] = _NEVER, 0.0
    cells[slot, 1] += 1.0
    if cells[slot, 1] == PEERS:
        cells[slot, 0] = now
    last[slot] = max(last[slot], now)


@inlined
def _ask(
    table: Any, used: Any, parties: Any, own: Any, named: Any, outside: Any, now: Any, since: Any, teaches: Any
) -> Any:
    """Are device, user and service of a row known? ``parties`` = originator, responder, service, zone of the originator
    and account (0 = none); ``own`` = keys of originator, responder and pair; ``since`` = what was there then is known,
    µs."""
    s, d, service, zone, user = parties
    orig, resp, pair = own
    code = ASKED
    first = _met(table, used, orig, now, teaches)
    if not named and (s == outside or first > since):
        code |= NO_DEVICE
    _met(table, used, resp, now, teaches)
    if user != np.uint64(0):
        code |= HAS_USER
        if _met(table, used, key_of(_USER, user, s, s), now, teaches) > since:
            code |= NO_USER
    before = used[0]
    if _met(table, used, pair, now, teaches) > since:
        offer = key_of(_OFFER, d, service, zone)
        if _met(table, used, offer, now, False) > since:
            code |= NO_SERVICE
        if used[0] > before and s != outside:
            _offer(table, used, offer, now)
    return code


@kernel
def walk(
    columns: Any,
    own: Any,
    known_us: Any,
    outside: Any,
    table: Any,
    used: Any,
    max_entries: Any,
    clock: Any,
    start: Any,
    stop: Any,
    out: Any,
) -> Any:
    """Answers to rows ``start`` to ``stop``, asked with what came before each; returns the row at which the table is
    full, or ``stop``. ``own``: keys of originator, responder and pair; ``clock`` as in `phases.tick`."""
    devices, targets, pairs = own
    origs, resps, services, zones, users, named, permitted, groups, kinds, times = columns
    keys = table[0]
    for row in range(start, stop):
        if used[0] >= max_entries:
            return row
        near = min(row + AHEAD, stop - 1)
        soon(keys, devices[near])
        soon(keys, targets[near])
        soon(keys, pairs[near])
        now = times[row]
        tick(clock, now)
        out[row] = 0
        if groups[row]:
            continue
        parties = origs[row], resps[row], services[row], zones[row], users[row]
        known = devices[row], targets[row], pairs[row]
        code = _ask(table, used, parties, known, named[row], outside, now, now - known_us, kinds[row] != _ATTEMPT)
        if permitted[row] >= 0:
            code |= HAS_PATH
        if permitted[row] == 0:
            code |= NO_PATH
        if now < clock[0] + known_us:
            code |= LEARNS
        out[row] = code
    return stop


def _verdict(code: int) -> Verdict:
    """What a number says."""
    if not code & ASKED:
        return Verdict()
    asked = (True, code & (HAS_USER | NO_USER), True, code & (HAS_PATH | NO_PATH))
    answers = [not code & no if asks else None for asks, no in zip(asked, _NO, strict=True)]
    failed = "+".join(check for check, answer in zip(CHECKS, answers, strict=True) if answer is False)
    if code & NO_PATH:
        return Verdict(DENIED, failed, *answers)
    return Verdict(LEARNING if code & LEARNS else UNVERIFIED if failed else VERIFIED, failed, *answers)


_NO: Final = (NO_DEVICE, NO_USER, NO_SERVICE, NO_PATH)
ANSWERS: Final = tuple(_verdict(code) for code in range(256))
"""By the number of a row."""
_TABLE: Final = pl.DataFrame([asdict(one) for one in ANSWERS], orient="row")


def answered(codes: NDArray[np.uint8]) -> pl.DataFrame:
    """The answers of rows as columns: the fields of `Verdict`."""
    return _TABLE[codes]


class Trust:
    """What is known of devices, accounts and services, and what came of asking.

    Args:
        max_entries: bound of the table (36 bytes a device, account on a device, pair with a service, or service that a
            zone uses); what was seen longest ago goes first.
        outside: key of the zone of hosts outside, which is also that of such hosts.
        known_us: how long what is known has been there, µs.

    Attributes:
        rows: int64 ``(256,)``, rows by their answers.
    """

    name: Final = "trust"

    def __init__(self, max_entries: int, outside: np.uint64, known_us: int = KNOWN_US) -> None:
        self._max_entries, self._outside, self._known_us = max_entries, outside, known_us
        self._begin()

    def _begin(self) -> None:
        self.keys = Counts(self._max_entries)
        self._clock = np.zeros(3, dtype=np.int64)
        self.rows = np.zeros(len(ANSWERS), dtype=np.int64)

    def score(self, units: Columns) -> Said:
        """``trust``, uint8: the answers to each row, see `ANSWERS`."""
        out = np.empty(units.height, dtype=np.uint8)
        names = ("orig_device", "resp_device", "service_id", "orig_zone_id", "user_id", "orig_named", "permitted",
                 "resp_group", "kind", "obs_ts")  # fmt: skip
        columns, keys = tuple(units[name] for name in names), self.keys
        s, d, service = columns[:3]
        own = keys_of(_DEVICE, s, s, s), keys_of(_DEVICE, d, d, d), keys_of(_PAIR, s, d, service)
        keys.walk(
            units.height,
            _NEW_ENTRIES,
            lambda start, stop, table: walk(
                columns, own, self._known_us, self._outside, table, keys.used, keys.max_entries, self._clock, start,
                stop, out,
            ),
        )  # fmt: skip
        self.rows += np.bincount(out, minlength=self.rows.size)
        return {self.name: out}

    def known_since(self, units: Columns) -> dict[str, float | None]:
        """When what the first of these units is about was first seen, µs, before it is scored; None = never before."""
        s, d, service, user = (units[name][0] for name in ("orig_device", "resp_device", "service_id", "user_id"))
        keys = {
            "device": key_of(_DEVICE, s, s, s),
            "target": key_of(_DEVICE, d, d, d),
            "user": key_of(_USER, user, s, s),
            "pair": key_of(_PAIR, s, d, service),
            "offer": key_of(_OFFER, d, service, units["orig_zone_id"][0]),
        }
        table = self.keys.table
        slots = {name: find(table[0], np.uint64(key)) for name, key in keys.items()}
        known = {name: float(table[1][slot, 0]) for name, slot in slots.items() if table[0][slot]}
        return {name: known[name] if known.get(name, _NEVER) < _NEVER else None for name in keys}

    def verdicts(self) -> dict[str, int]:
        """Rows by verdict, of those that were asked about."""
        return {name: self._count([one.verdict == name for one in ANSWERS]) for name in VERDICTS}

    def share(self) -> float | None:
        """Verified among the rows that were judged, 0 to 1; None when none was."""
        verdicts = self.verdicts()
        judged = sum(verdicts.values()) - verdicts[LEARNING]
        return round(verdicts[VERIFIED] / judged, 4) if judged else None

    def failures(self) -> dict[str, int]:
        """Rows by question that was answered with no, of those that were judged."""
        judged = [() if one.verdict == LEARNING else one.failed.split("+") for one in ANSWERS]
        return {check: self._count([check in failed for failed in judged]) for check in CHECKS}

    def _count(self, which: list[bool]) -> int:
        return int(self.rows[which].sum())

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything learned, for a snapshot."""
        return {**self.keys.arrays(), "clock": self._clock, "rows": self.rows}

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Replace what was learned by what `arrays` returned; states of old have nothing, and it begins to learn."""
        self._begin()
        if not arrays:
            return
        self.keys.load({name: array for name, array in arrays.items() if name not in ("clock", "rows")})
        self._clock[:], self.rows[:] = arrays["clock"], arrays["rows"]
