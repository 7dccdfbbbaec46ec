"""What of the models' learning another network can use: how strange rows usually look, never who did what.

Of a network with days of history travel

* the calibrations: how often each model gave which score, by stratum;
* rates: how many rows a day each model was asked about, so that p-values can be compared before a day has passed;
* the forest, and the rows it is grown from: surprises of the other models in nats, without hosts;
* the masses of the half-space trees.

Tables of counts stay at home: their keys are hosts, pairs, accounts, and roles, which are made of the names of zones.
The clocks stay there, too: a history begins with the first row of the network that is watched. Nothing of what travels
is for good. Calibrations halve whenever the history doubles, so that after a day a sixteenth of it is left; rates fade
with a day; the sample of the forest with `forest.HALF_LIFE` days.

Arrays of another are not trusted: `adopt` checks every shape and value before it changes anything.
"""

from collections.abc import Mapping
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from detector.config import Settings
from detector.errors import StateMismatch
from detector.score.calibration import Calibration
from detector.score.drip import Drip
from detector.score.forest import JOINED, Forest
from detector.score.scorer import Scorer
from detector.score.windows import FEATURES, Windows
from detector.state.bundle import Bundle

Arrays = Mapping[str, NDArray[Any]]
_MOST: Final = 1e12  # of a count or a rate; no network has so many rows a day


class _Learner(Protocol):
    """A part that knows itself what of it travels."""

    def portable(self) -> dict[str, NDArray[Any]]:
        """What travels."""
        ...

    def unfit(self, arrays: Arrays) -> str:
        """Why arrays are not what `portable` returns; empty when they are."""
        ...

    def adopt(self, arrays: Arrays) -> None:
        """Begin with them."""
        ...


def portable(scorer: Scorer) -> dict[str, NDArray[Any]]:
    """What travels, by name; copies."""
    arrays = {name: own.histograms.copy() for name, own in _calibrations(scorer).items()}
    arrays |= {name: own.copy() for name, own in _rates(scorer).items()}
    for part, owner in _learners(scorer).items():
        arrays |= {f"{part}.{name}": array for name, array in owner.portable().items()}
    return arrays


def features(scorer: Scorer) -> dict[str, list[str]]:
    """What each part that looks at several things looks at, in order."""
    names = {model.name for model in scorer.models}
    told = {Forest.name: [f"p_{name}" for name in JOINED if name in names], Windows.name: list(FEATURES)}
    return {name: columns for name, columns in told.items() if name in names}


def begin(scorer: Scorer, settings: Settings, model: Bundle) -> None:
    """`adopt` what a bundle holds.

    Raises:
        StateMismatch: it does not fit these settings, or holds what no scorer learned.
    """
    if tuple(model.manifest.models) != settings.models:
        raise StateMismatch(
            f"the model was trained with the models {', '.join(model.manifest.models)[:500]}; the settings name "
            f"{', '.join(settings.models)}: name the same, or train another"
        )
    adopt(scorer, model.arrays)


def adopt(scorer: Scorer, arrays: Arrays) -> None:
    """Begin with what another network taught, in place of nothing.

    Args:
        scorer: that has seen no row, with the same models as the one that `portable` was called with.
        arrays: what that returned.

    Raises:
        StateMismatch: they are not such arrays; nothing was changed.
    """
    counts = {name: own.histograms for name, own in _calibrations(scorer).items()} | _rates(scorer)
    for name, array in counts.items():
        _require_counts(name, arrays, array)
    known = set(counts)
    for part, owner in _learners(scorer).items():
        own = _of(part, arrays)
        if problem := owner.unfit(own):
            raise StateMismatch(f"the model does not fit: {part}: {problem}")
        known |= {f"{part}.{name}" for name in own}
    if more := sorted(arrays.keys() - known):
        raise StateMismatch(f"the model does not fit: it holds {more[0][:100]!r}, which nothing here has")
    for name, calibration in _calibrations(scorer).items():
        calibration.adopt(arrays[name])
    for name, rates in _rates(scorer).items():
        rates[...] = arrays[name]
    for part, owner in _learners(scorer).items():
        owner.adopt(_of(part, arrays))


def _require_counts(name: str, arrays: Arrays, like: NDArray[Any]) -> None:
    array = arrays.get(name)
    if array is None:
        raise StateMismatch(f"the model does not fit: it lacks {name}")
    if array.shape != like.shape or array.dtype != like.dtype:
        raise StateMismatch(f"the model does not fit: {name} is {array.dtype}{list(array.shape)}, "
                            f"not {like.dtype}{list(like.shape)}")  # fmt: skip
    if not ((array >= 0) & (array <= _MOST)).all():  # nor is nan
        raise StateMismatch(f"the model does not fit: {name} holds what is no count")


def _calibrations(scorer: Scorer) -> dict[str, Calibration]:
    """By name of the array. Not of `drip`: what is known of weeks never fades."""
    found: dict[str, Calibration] = {}
    for model in scorer.models:
        owner: Any = model if isinstance(model, Forest) else getattr(model, "memory", None)
        if owner is not None and model.name != Drip.name:
            found[f"{model.name}.scores"] = owner.calibration
    return {**found, "fusion.scores": scorer.fusion.calibration}


def _rates(scorer: Scorer) -> dict[str, NDArray[np.float64]]:
    return {"fusion.rates": scorer.fusion.rates, "fusion.asked": scorer.fusion.asked}


def _learners(scorer: Scorer) -> dict[str, _Learner]:
    """By the beginning of their arrays' names."""
    found: dict[str, _Learner] = {}
    for model in scorer.models:
        if isinstance(model, Forest):
            found["forest.grown"] = model
        elif isinstance(model, Windows):
            found["windows.trees"] = model.trees
    return found


def _of(part: str, arrays: Arrays) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(f"{part}."): array for name, array in arrays.items() if name.startswith(f"{part}.")}
