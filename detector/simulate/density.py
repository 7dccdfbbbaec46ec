"""How much of the plant's routine its sensors saw: repetitions are thinned, deeds never.

Three weeks of 5,500 hosts are thirty million connections, nearly all of them the same few hundred a desk, day
after day. A lower density leaves out repetitions, so that who talks to whom, and everything people and intruders
do, stays while the volume falls.
"""

from typing import Final

import numpy as np

from .acts import ActTable
from .draw import Ints, Mask, below
from .rhythm import MINUTE
from .services import MISTYPED, Kind

WHOLE: Final = 1_000_000
"""A density of 1 in the parts of a million that are counted with."""

ROUTINE: Final = frozenset(
    {
        Kind.DNS,
        Kind.NTP,
        Kind.KRB_AS,
        Kind.KRB_TGS,
        Kind.LDAP,
        Kind.RPC_LOGON,
        Kind.RPC_REPLICA,
        Kind.SMB_FILE,
        Kind.SMB_POLICY,
        Kind.PROXY,
        Kind.INTRANET,
        Kind.MAIL,
        Kind.SMTP,
        Kind.ERP,
        Kind.MES,
        Kind.PRINT,
        Kind.AGENT,
        Kind.UPDATE,
        Kind.SNMP,
        Kind.PING,
        Kind.SQL,
        Kind.PROBE,
        Kind.OPCUA,
        Kind.MODBUS_POLL,
        Kind.MODBUS_READ,
        Kind.S7_POLL,
    }
)
"""What programs repeat all day. Not in it: people's sessions, remote execution, copies, writes, downloads, deliveries
from desk to desk. Nor are mistyped passwords."""

_ROUTINE: Final = np.isin(np.arange(len(Kind)), list(ROUTINE))
_SHOWN: Final = 600  # of 1,000 days on which two hosts do a routine thing, it is seen at least once
_RAREST_POLL: Final = 30 * MINUTE  # or a link of four hours would no longer look polled


def parts(density: float) -> int:
    """The density in parts of `WHOLE`, so that only whole numbers are counted with."""
    return round(density * WHOLE)


def poll_period(density: int) -> int:
    """µs between the logged requests of a poll; ``density`` in parts of `WHOLE`."""
    return min(MINUTE * WHOLE // density, _RAREST_POLL)


def thin(table: ActTable, density: int, rng: np.random.Generator) -> ActTable:
    """A day's acts as the sensors saw them; ``density`` in parts of `WHOLE`.

    Of what one account repeats between two hosts in a day, the share ``density`` stays, at least one on most
    days. Of tickets for a log-on the first of the day always stays.
    """
    if density == WHOLE:
        return table
    routine = np.flatnonzero(_ROUTINE[table.kind] & (table.detail != MISTYPED))
    part = table.take(routine)
    stays = np.ones(len(table), dtype=np.bool_)
    stays[routine] = _chosen(part, density, rng)
    return table.take(stays)


def _chosen(part: ActTable, density: int, rng: np.random.Generator) -> Mask:
    log_on = part.kind == Kind.KRB_AS
    luck = np.where(log_on, 0, below(rng, 1 << 40, len(part)))
    habit = _habit(part)
    order = np.lexsort((luck, habit))
    starts = np.flatnonzero(np.diff(habit[order], prepend=-1))
    often = np.diff(starts, append=len(part))
    rank = np.arange(len(part)) - np.repeat(starts, often)
    wanted = often * density
    kept = wanted // WHOLE + (below(rng, WHOLE, len(starts)) < wanted % WHOLE)
    shown = (below(rng, 1000, len(starts)) < _SHOWN) | log_on[order[starts]]
    chosen = np.zeros(len(part), dtype=np.bool_)
    chosen[order] = rank < np.repeat(np.maximum(kept, shown), often)
    return chosen


def _habit(part: ActTable) -> Ints:
    """One number for who does what with whom."""
    width = 1 + max((int(column.max(initial=0)) for column in (part.orig, part.resp, part.user)), default=0)
    return ((part.kind * width + part.orig) * width + part.resp) * width + part.user
