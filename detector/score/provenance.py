"""Provenance: does the session that always precedes such an act precede this one?

Nobody sits at a jump host. What leaves it follows a session that came in, minutes or hours before; a write on a
controller from a station that suppliers use follows the supplier's log-on. So for each act or move from a host the
symbol is how long ago the last interactive session (RDP, SSH, VNC, WinRM, telnet) came in there, in the steps of
`GAPS_US`, and the chain of contexts (`backoff`) is host and service, host, role::

    P(gap | s, service) <- P(gap | s) <- P(gap | role of s)

A host that people sit at acts at every gap, and nothing is said; an intruder who acts from a jump host at night,
without a session, pays for it. For one alternative this is the rate of unexplained acts, (k + 1/2) / (n + 1).
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from detector.score import backoff
from detector.score.memory import Memory
from detector.state.compiled import kernel
from detector.state.counts import Counts, find
from detector.state.keys import mix_all

_MINUTE_US: Final = 60_000_000
GAPS_US: Final = np.array([15, 60, 4 * 60, 12 * 60], dtype=np.int64) * _MINUTE_US
"""Within a quarter of an hour, an hour, half a shift, a working day; else there was no session for this."""
_NEVER: Final = GAPS_US.size
_LEVELS: Final = 3


@kernel
def gaps(columns: Any, table: Any, used: Any, max_entries: Any, start: Any, stop: Any, out: Any) -> Any:
    """out <- step of the gap since a session last came in at the originator; notes sessions as they come."""
    origs, resps, times, sessions = columns
    keys, _, last = table
    for row in range(start, stop):
        if used[0] >= max_entries:
            return row
        slot = find(keys, origs[row])
        step = _NEVER
        if keys[slot] != np.uint64(0):
            step = np.searchsorted(GAPS_US, times[row] - last[slot])
        out[row] = step
        if sessions[row]:
            slot = find(keys, resps[row])
            if keys[slot] == np.uint64(0):
                keys[slot] = resps[row]
                used[0] += 1
                last[slot] = times[row]
            last[slot] = max(last[slot], times[row])
    return stop


class Provenance:
    """The model with its state. See `memory.Memory` for the arguments."""

    name: Final = "provenance"

    def __init__(self, strata: int, max_entries: int, half_life_days: float) -> None:
        self.memory = Memory(strata, max_entries, half_life_days, backoff.new_entries(1, _LEVELS))
        self.sessions = Counts(max_entries)
        """Host -> when the last interactive session came in there (start of it, µs)."""

    def score(self, units: pl.DataFrame) -> pl.DataFrame:
        """``p_provenance``; ``provenance`` (nats), ``session_gap`` (step of `GAPS_US`; their number = no session)."""
        ids = ("orig_id", "orig_role", "service_id")
        orig, role, service = (units[name].to_numpy() for name in ids)
        gap = self._gaps(units)
        questions = backoff.Questions(
            contexts=np.stack([mix_all(orig, service), orig, role], axis=1)[:, np.newaxis, :].copy(),
            symbols=(gap + 1).astype(np.uint64)[:, np.newaxis],
            asked=((units["p_structure"] < 1.0) & units["moves"]).to_numpy(),
            stratum=units["stratum"].cast(pl.Int64).to_numpy(),
            bonus=np.zeros(units.height),
            time=units["obs_ts"].to_numpy(),
            teach=units["teach"].to_numpy(),
        )
        out = backoff.answer(self.memory, questions)
        return pl.DataFrame({"p_provenance": out[:, 1], "provenance": out[:, 0], "session_gap": gap})

    def _gaps(self, units: pl.DataFrame) -> NDArray[np.int64]:
        out = np.empty(units.height, dtype=np.int64)
        columns = tuple(units[name].to_numpy() for name in ("orig_id", "resp_id", "ts", "session"))
        table = self.sessions
        table.walk(
            units.height,
            1,
            lambda start, stop, arrays: gaps(columns, arrays, table.used, table.max_entries, start, stop, out),
        )
        return out

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything learned, for a snapshot."""
        sessions = {f"sessions.{name}": array for name, array in self.sessions.arrays().items()}
        return {**self.memory.arrays(), **sessions}

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Replace what was learned by what `arrays` returned."""
        self.memory.load(arrays)
        prefix = "sessions."
        self.sessions.load({name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)})
