"""Operations: how unlikely is this act on this edge, and was it ever more than reading?

Two chains of `backoff`::

    P(act | s, d) <- P(act | role of s, role of d) <- P(act | protocol)
    P(consequence class | s, protocol) <- P(class | role of s, protocol) <- P(class | protocol)

The first says that this edge never did that. The second is the first write after N reads: with the classes 0 read,
1 write, 2 operate, 3 change of mode, 4 program, a host that read in each of N hours and never wrote gives a write
about (T + D) / N times what hosts like it give it (for one alternative the exact law is Beta-Bernoulli,
a / (a + b + N)). Acts of IT are classed by what they mean to an intruder: 0 chatter, 1 discovery, 2 the rest.
Weights of acts: docs/detection.md; the operations' names: MITRE's BZAR for DCE-RPC, the protocols' own for OT.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detector.score import backoff
from detector.score.columns import Columns, Part
from detector.score.memory import Memory
from detector.score.model import Said
from detector.state.keys import mix_all

_CHAINS, _LEVELS = 2, 3
_MEANT: Final = 1.5  # nats of bonus from which an act of IT is more than discovery (features.acts ACT_BONUS x weight)


class Operations:
    """The model with its state. See `memory.Memory` for the arguments."""

    name: Final = "operations"

    def __init__(self, strata: int, max_entries: int, half_life_days: float) -> None:
        self.memory = Memory(strata, max_entries, half_life_days, backoff.new_entries(_CHAINS, _LEVELS))

    def score(self, units: Columns) -> Said:
        """``p_operations``; ``operations`` (nats), ``act_seen`` (hours in which this edge did it), ``edge_hours``
        (hours in which the edge did anything of the kind), ``edge_acts`` (distinct acts of it), ``class_seen`` (hours
        in which the host did acts of this class over this protocol), ``first_act`` (whether the row changes a
        controller and its host never did such a thing)."""
        asked = units.at(_acts(units))
        ids = ("orig_id", "resp_id", "service_id", "token_id", "orig_role", "resp_role")
        orig, resp, service, token, orig_role, resp_role = (asked[name] for name in ids)
        acts = np.stack([mix_all(orig, resp), mix_all(orig_role, resp_role), service], axis=1)
        classes = np.stack([mix_all(part, service) for part in (orig, orig_role)] + [service], axis=1)
        questions = backoff.Questions(
            asked,
            contexts=np.stack([acts, classes], axis=1),
            symbols=np.stack([token, _classes(asked)], axis=1),
            bonus=asked["bonus"],
        )
        out = backoff.answer(self.memory, questions)
        names = ("operations", "p_operations", "act_seen", "edge_hours", "edge_acts", "class_seen")
        first = (units["consequence"] > 0) & (out[1] < 1.0) & (out[5] <= 0.0)
        return {**dict(zip(names, out, strict=True)), "first_act": first}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything learned, for a snapshot."""
        return self.memory.arrays()

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Replace what was learned by what `arrays` returned."""
        self.memory.load(arrays)


def _acts(units: Columns) -> NDArray[np.int64]:
    """Rows that are acts: most batches have none."""
    codes, names = units.units.coded("operation")
    told = np.array([name is not None for name in names], dtype=np.bool_)
    return np.flatnonzero(told[codes]) if told.any() else np.empty(0, dtype=np.int64)


def _classes(units: Part) -> NDArray[np.uint64]:
    """Consequence class of OT, or what an act of IT means; from 1."""
    bonus, consequence = units["bonus"], units["consequence"]
    meaning = np.where(bonus >= _MEANT, 2, np.where(bonus > 0, 1, 0))
    return (np.where(consequence > 0, consequence + 2, meaning) + 1).astype(np.uint64)
