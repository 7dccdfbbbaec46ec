"""Two bundles side by side: what of their manifests differs, and how differently they find rows strange."""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detector.score.calibration import BIN_WIDTH
from detector.state.bundle import Bundle, Manifest

_TAIL: Final = 0.01  # the highest percent of scores is what becomes findings
_SCORES: Final = ".scores"
_MOST_DIMENSIONS: Final = 2


class Difference(NamedTuple):
    """One thing that is not the same; as text."""

    what: str
    before: str
    after: str


def differences(before: Bundle, after: Bundle) -> Iterator[Difference]:
    """All that is not the same: the manifest key by key, then arrays. Of scores: where their highest percent begins, in
    nats, over all strata."""
    yield from _of_manifests(before.manifest, after.manifest)
    for name in sorted(before.arrays.keys() | after.arrays.keys()):
        old, new = before.arrays.get(name), after.arrays.get(name)
        if old is None or new is None or not np.array_equal(old, new):
            yield Difference(name, _said(name, old), _said(name, new))


def _of_manifests(before: Manifest, after: Manifest) -> Iterator[Difference]:
    left, right = (_flat(each.model_dump(mode="json", exclude={"arrays": True})) for each in (before, after))
    for key in sorted(left.keys() | right.keys()):
        if left.get(key) != right.get(key):
            yield Difference(key, left.get(key, ""), right.get(key, ""))


def _flat(value: Any, prefix: str = "") -> dict[str, str]:
    if not isinstance(value, dict):
        return {prefix: str(value)}
    return {place: text for key, part in value.items()
            for place, text in _flat(part, f"{prefix}.{key}" if prefix else str(key)).items()}  # fmt: skip


def _said(name: str, array: NDArray[Any] | None) -> str:
    if array is None:
        return "is not there"
    if not name.endswith(_SCORES) or array.ndim != _MOST_DIMENSIONS or not array.sum() > 0:
        return f"{array.dtype}, {' x '.join(map(str, array.shape))}"
    scores = array.sum(axis=0)
    above = np.flatnonzero(scores[::-1].cumsum()[::-1] >= _TAIL * scores.sum())[-1]
    return f"{scores.sum() / 2:,.0f} rows, 1 % at {above * BIN_WIDTH:.1f} nats or more"
