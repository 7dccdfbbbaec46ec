"""Provenance: does the session that always precedes such an act precede this one?

Nobody sits at a jump host. What leaves it follows a session that came in, minutes or hours before; a write on a
controller from a station that suppliers use follows the supplier's log-on. So acts and moves from a host are told
apart by whether an interactive session (RDP, SSH, VNC, WinRM, telnet) came in there in the last `SHIFT_US`, and the
chain of contexts (`backoff`) is host and service, host, role::

    P(unexplained | s, service) <- P(unexplained | s) <- P(unexplained | role of s)

For one host this is the rate of unexplained acts, about (k + 1/2) / (n + 1). A host that people sit at acts
unexplained all day, and nothing is said; an intruder who acts from a jump host without a session pays for it. Only the
unexplained is strange: an act behind a session that was not needed is none.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detector.score import backoff
from detector.score.columns import Columns
from detector.score.memory import Memory
from detector.score.model import Said
from detector.state.compiled import kernel
from detector.state.counts import Counts, find
from detector.state.keys import mix_all

SHIFT_US: Final = 4 * 3_600_000_000
"""Half a working day: people stay logged on over a meeting, not over the night."""
_LEVELS: Final = 3


@kernel
def unexplained(columns: Any, table: Any, used: Any, max_entries: Any, start: Any, stop: Any, out: Any) -> Any:
    """out <- whether no session came in at the originator of late; notes sessions as they come. Returns the row at
    which the table is full, or ``stop``."""
    origs, resps, times, sessions = columns
    keys, _, last = table
    for row in range(start, stop):
        if used[0] >= max_entries:
            return row
        slot = find(keys, origs[row])
        out[row] = keys[slot] == np.uint64(0) or times[row] - last[slot] > SHIFT_US
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

    def score(self, units: Columns) -> Said:
        """``p_provenance``; ``provenance`` (nats), ``unexplained`` (no session came in at the host of late),
        ``unexplained_share`` (of the host's hours of this service, those that were)."""
        alone = self._unexplained(units)
        asked = units.at(np.flatnonzero(units.judged() & units["moves"]))
        orig, role, service = (asked[name] for name in ("orig_id", "orig_role", "service_id"))
        questions = backoff.Questions(
            asked,
            contexts=np.stack([mix_all(orig, service), orig, role], axis=1)[:, np.newaxis, :],
            symbols=(1 + alone[asked.rows]).astype(np.uint64)[:, np.newaxis],
            bonus=np.zeros(orig.size),
        )
        out = backoff.answer(self.memory, questions)
        return {
            "p_provenance": np.where(alone, out[1], 1.0),
            "provenance": out[0],
            "unexplained": alone,
            "unexplained_share": out[2] / np.maximum(out[3], 1.0),
        }

    def _unexplained(self, units: Columns) -> NDArray[np.bool_]:
        out = np.empty(units.height, dtype=np.bool_)
        columns = tuple(units[name] for name in ("orig_id", "resp_id", "ts", "session"))
        table = self.sessions
        table.walk(
            units.height,
            1,
            lambda start, stop, arrays: unexplained(columns, arrays, table.used, table.max_entries, start, stop, out),
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
