"""What a model keeps: its count table and the calibration of its scores."""

from collections.abc import Callable, Mapping
from typing import Any

from numpy.typing import NDArray

from detector.score.calibration import Calibration
from detector.state.counts import Counts, Table


class Memory:
    """State of one model.

    Args:
        strata: number of calibration strata.
        max_entries: bound of the count table (36 bytes an entry).
        half_life_days: forgetting.
        new_entries: most table entries one row can add.

    Attributes:
        watch: called with what a model of `backoff` is asked before it answers; for who explains an answer.
    """

    def __init__(self, strata: int, max_entries: int, half_life_days: float, new_entries: int) -> None:
        self.counts = Counts(max_entries)
        self.calibration = Calibration(strata)
        self.calibrated = tuple(self.calibration.arrays().values())
        """The calibration as its kernels take it; `Calibration.load` writes into these arrays."""
        self.half_life = half_life_days * 86_400e6
        self._new_entries = new_entries
        self.watch: Callable[[Any], None] | None = None

    def walk(self, rows: int, kernel: Callable[[int, int, Table], int]) -> None:
        """`Counts.walk` over the table of this model."""
        self.counts.walk(rows, self._new_entries, kernel)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything learned, for a snapshot."""
        parts = {"counts": self.counts.arrays(), "calibration": self.calibration.arrays()}
        return {f"{part}.{name}": array for part, arrays in parts.items() for name, array in arrays.items()}

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Replace what was learned by what `arrays` returned."""
        for part, owner in (("counts.", self.counts), ("calibration.", self.calibration)):
            owner.load({name.removeprefix(part): array for name, array in arrays.items() if name.startswith(part)})
