"""What a full table had to drop looks new when it comes again: rows of which that may be so say it.

A table does not know what it dropped, but when the latest of it was seen. Whoever was seen since is still there; what
was seen only before may be gone. After a half-life nothing is said of it any more: what was seen in one hour has faded
by then to less than a discount, and counts as new anyway (`table.DISCOUNT`).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detector.score.columns import Columns
from detector.score.model import Said
from detector.state.counts import Counts

TABLES: Final = ("structure", "operations", "credentials")
"""Models whose tables say that something is the first of its kind; each walks all rows."""

_DAY_US: Final = 86_400_000_000


class History:
    """How far back tables reach, row by row.

    Args:
        half_life_days: forgetting.

    Attributes:
        truncated: int64 ``(1,)``, rows that may not be the first of their kind although no table knows another.
    """

    def __init__(self, half_life_days: float) -> None:
        self._half_life = half_life_days * _DAY_US
        self.truncated = np.zeros(1, np.int64)

    def mark(self, units: Columns, tables: Sequence[Counts]) -> Said:
        """``history_truncated``: before which time (µs) a row that seems to be the first of its kind may have been seen
        all the same; 0 = it is the first, or not said to be.

        Args:
            tables: after they walked these rows.
        """
        since = np.zeros(units.height, np.int64)
        if not any(table.forgotten for table in tables):
            return {"history_truncated": since}
        for table in tables:
            rows, times = np.array(table.drops).T
            np.maximum(since, times.repeat(np.diff(rows, append=units.height)), out=since)
        first = units.judged() & (units["seen"] <= 0)
        since[~first | (units["obs_ts"] - since > self._half_life)] = 0
        self.truncated += np.count_nonzero(since)
        return {"history_truncated": since}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """For a snapshot."""
        return {"truncated": self.truncated}

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Replace what was counted by what `arrays` returned; states of old have nothing."""
        self.truncated[:] = arrays.get("truncated", 0)
