"""What a model is: rows in scoring order in, one p-value a row out.

A model walks rows in order, score then learn, so the result for a row does not depend on the batch it came in. It
reads the columns of `features.units.Enrich` plus what `structure` adds (``orig_role``, ``resp_role``, ``p_structure``,
...) and keeps bounded state that a snapshot can hold as arrays.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from numpy.typing import NDArray

from detector.score.columns import Columns

Said = Mapping[str, NDArray[Any]]
"""Columns a model adds, by name."""


class Model(Protocol):
    """One opinion on how strange a row is."""

    @property
    def name(self) -> str:
        """Of its columns, in `config.MODELS` and in the settings."""
        ...

    def score(self, units: Columns) -> Said:
        """Columns ``p_<name>`` (float64 in (0, 1]; exactly 1.0 = nothing to say of this row) and whatever numbers
        explain it, one row a unit."""
        ...

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything learned, for a snapshot."""
        ...

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Replace what was learned by what `arrays` returned."""
        ...
