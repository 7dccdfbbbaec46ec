"""Credentials: how unlikely is this account from this host, and this host for this account?

An intruder on an old path with an old tool still needs somebody's account. Two chains of `backoff`, relative to how
often account and host are seen at all::

    P(u | s, d) / P(u) <- P(u | s) / P(u)        P(s | u, d) / P(s) <- P(s | u) / P(s)

A person's host knows one account in hundreds of hours, so a second one there is strange; an account that was used
from one host only is strange anywhere else. An administrator's host, and an administrator's account, know many, and
one more says little. Accounts are those seen on the wire (Zeek's ntlm, kerberos, rdp, ssh, smb, ftp, http, ...),
compared in lower case. Prior work on log-on records: Turcotte, Moore, Heard, McPhall 2016 (Poisson factorization,
doi:10.1109/ISI.2016.7745472); on switched credentials: Ho et al. 2021 (Hopper, arXiv:2105.13442).

A host is known by the machine account that logs on from its address (``NAME$``), so that a desk which got another
lease takes its habits with it. While the old one is active an address does not change hands. A ticket is fetched from
a domain controller and used elsewhere: what a log-on says of a host is said of its moves in the next minutes too.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from detector.score import backoff
from detector.score.calibration import BELOW_ONE
from detector.score.columns import Columns
from detector.score.memory import Memory
from detector.score.model import Said
from detector.state.compiled import kernel
from detector.state.counts import Counts, find
from detector.state.keys import mix_all, text_keys

_CHAINS, _LEVELS = 2, 3
TICKET_ODDS: Final = 5.0
"""A ticket from a domain controller is half the story: the strange account has to be so much rarer there than where it
is used, or the alert would stand on the wrong edge."""
CARRY_US: Final = 10 * 60_000_000  # a ticket is fetched right before it is used
LEASE_US: Final = 3_600_000_000  # an address whose machine was silent for an hour may belong to another


@kernel
def identify(columns: Any, table: Any, used: Any, max_entries: Any, start: Any, stop: Any, out: Any) -> Any:
    """out <- key of the machine behind each originator's address; notes machine accounts as they come. Returns the
    row at which the table is full, or ``stop``."""
    addresses, users, machines, times = columns
    keys, cells, last = table
    for row in range(start, stop):
        if used[0] >= max_entries:
            return row
        slot = find(keys, addresses[row])
        known = keys[slot] != np.uint64(0)
        if machines[row]:
            name = np.float64(users[row] >> np.uint64(12))  # 52 bits are exact in a float
            if not known:
                keys[slot] = addresses[row]
                used[0] += 1
            if not known or cells[slot, 0] == name or times[row] - last[slot] > LEASE_US:
                cells[slot, 0] = name
                last[slot] = times[row]
                known = True
        out[row] = np.uint64(cells[slot, 0]) if known else addresses[row]
    return stop


@kernel
def carry(columns: Any, p: Any, table: Any, used: Any, max_entries: Any, start: Any, stop: Any, out: Any) -> Any:
    """out <- the account's p-value on the rows that show it, and on what its host does with it next: moves within
    `CARRY_US` have the strangest p-value of the host since then, p. It is spent once: the k-th target gets p k (k + 1),
    and 1/2 + 1/6 + 1/12 + ... = 1 (Bonferroni, weighted). Returns the row at which the table is full."""
    hosts, targets, moves, tickets, times = columns
    keys, cells, last = table
    for row in range(start, stop):
        if used[0] >= max_entries:
            return row
        out[row] = min(p[row] * TICKET_ODDS, BELOW_ONE) if tickets[row] and p[row] < 1.0 else p[row]
        slot = find(keys, hosts[row])
        held = keys[slot] != np.uint64(0) and times[row] - last[slot] <= CARRY_US
        if p[row] < 1.0:
            if not held or p[row] <= cells[slot, 0]:
                if keys[slot] == np.uint64(0):
                    keys[slot] = hosts[row]
                    used[0] += 1
                cells[slot, 0], cells[slot, 1], cells[slot, 2] = p[row], 0.0, 0.0
                last[slot] = times[row]
        elif held and moves[row]:
            target = np.float64(targets[row] >> np.uint64(12))
            if cells[slot, 1] != target:
                cells[slot, 1] = target
                cells[slot, 2] += 1.0
            out[row] = min(cells[slot, 0] * cells[slot, 2] * (cells[slot, 2] + 1.0), BELOW_ONE)
    return stop


class Credentials:
    """The model with its state. See `memory.Memory` for the arguments."""

    name: Final = "credentials"

    def __init__(self, strata: int, max_entries: int, half_life_days: float) -> None:
        self.memory = Memory(strata, max_entries, half_life_days, backoff.new_entries(_CHAINS, _LEVELS))
        self._kerberos, self._ntlm = text_keys(pl.Series(["kerberos", "ntlm"]))
        self.machines = Counts(max_entries)
        """Address -> its machine account, and when it was last seen."""
        self.fresh = Counts(max_entries, width=3)
        """Host -> the strangest log-on of the last minutes, what it was last used on, on how many, and when it was."""

    def score(self, units: Columns) -> Said:
        """``p_credentials``; ``credentials`` (nats), ``user_seen`` (hours this account was seen on this edge),
        ``edge_users`` (distinct accounts on it)."""
        hosts = self._hosts(units)
        asked = units.at(np.flatnonzero(units["user_id"] != 0))
        host, resp, user = hosts[asked.rows], asked["resp_id"], asked["user_id"]
        everyone = np.zeros_like(user)
        account = np.stack([mix_all(host, resp), host, everyone], axis=1)
        origin = np.stack([mix_all(user, resp), user, everyone], axis=1)
        questions = backoff.Questions(
            asked,
            contexts=np.stack([account, origin], axis=1),
            symbols=np.stack([user, host], axis=1),
            bonus=np.zeros(user.size),
            relative=True,
        )
        out = backoff.answer(self.memory, questions)
        p = self._carried(units, hosts, out[1])
        return {"p_credentials": p, "credentials": out[0], "user_seen": out[2], "edge_users": out[4]}

    def _carried(self, units: Columns, hosts: NDArray[np.uint64], p: NDArray[np.float64]) -> NDArray[np.float64]:
        table = self.fresh
        if not table.used[0] and not (p < 1.0).any():  # nobody has anything to carry
            return p
        out = np.empty(units.height)
        moves, tickets = units["moves"] & units.judged(), units["service_id"] == self._kerberos
        columns = hosts, units["resp_id"], moves, tickets, units["obs_ts"]
        table.walk(
            units.height,
            1,
            lambda start, stop, arrays: carry(columns, p, arrays, table.used, table.max_entries, start, stop, out),
        )
        return out

    def held(self, units: Columns) -> tuple[float, float]:
        """p-value of the log-on that the host of the last of these units still carries, and on how many targets it was
        used, this one with them; right after it was scored."""
        address = units["orig_id"][-1]
        keys, cells, _ = self.machines.table
        slot = find(keys, address)
        host = np.uint64(cells[slot, 0]) if keys[slot] else address
        keys, cells, _ = self.fresh.table
        p, _, targets = cells[find(keys, host)].tolist()
        return p, targets

    def _hosts(self, units: Columns) -> NDArray[np.uint64]:
        table, named = self.machines, units["user_id"] != 0
        if not table.used[0] and not named.any():  # a log without accounts: no machine is known
            return units["orig_id"]
        out = np.empty(units.height, dtype=np.uint64)
        service = units["service_id"]
        machine = ((service == self._kerberos) | (service == self._ntlm)) & named
        logons = np.flatnonzero(machine)
        if logons.size:
            machine[logons] = units.units["user"][logons].str.ends_with("$").fill_null(False).to_numpy()
        columns = units["orig_id"], units["user_id"], machine, units["obs_ts"]
        table.walk(
            units.height,
            1,
            lambda start, stop, arrays: identify(columns, arrays, table.used, table.max_entries, start, stop, out),
        )
        return out

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything learned, for a snapshot."""
        parts: dict[str, Any] = {"memory": self.memory, "machines": self.machines, "fresh": self.fresh}
        return {f"{part}.{name}": array for part, own in parts.items() for name, array in own.arrays().items()}

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Replace what was learned by what `arrays` returned."""
        for part, own in (("memory.", self.memory), ("machines.", self.machines), ("fresh.", self.fresh)):
            own.load({name.removeprefix(part): array for name, array in arrays.items() if name.startswith(part)})
