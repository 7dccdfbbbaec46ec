"""``grid.yaml``: settings with the values to try; all combinations are points."""

import itertools
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError

from detector.config import Settings
from detector.errors import ConfigError

MAX_POINTS: Final = 1000
_NO_RESULT: Final = ("batch_rows",)
"""Settings that change no result: there is nothing to compare."""


def load_grid(path: Path) -> dict[str, list[Any]]:
    """Read a grid: a mapping of settings, each with a list of values.

    Raises:
        ConfigError: it cannot be read, a key is no setting, a value is none that the setting can have, or there are
            more than `MAX_POINTS` points; says what to do.
    """
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as problem:
        raise ConfigError(str(path), "", f"cannot be read as YAML: {problem}") from problem
    if not isinstance(content, dict) or not content:
        raise ConfigError(str(path), "", "must name settings with the values to try, such as alerts_per_day: [5, 25]")
    grid = {str(key): _values(path, str(key), values) for key, values in content.items()}
    count = 1
    for values in grid.values():
        count *= len(values)
    if count > MAX_POINTS:
        raise ConfigError(str(path), "", f"has {count:,} points, at most {MAX_POINTS:,} are run; name fewer values")
    return grid


def points(grid: Mapping[str, list[Any]]) -> Iterator[dict[str, Any]]:
    """All combinations, the last setting changes first."""
    for values in itertools.product(*grid.values()):
        yield dict(zip(grid, values, strict=True))


def _values(path: Path, key: str, values: object) -> list[Any]:
    if key not in Settings.model_fields:
        near = get_close_matches(key, Settings.model_fields, n=1)
        meant = f"did you mean {near[0]}? " if near else ""
        raise ConfigError(
            str(path), key[:100], f"is no setting; {meant}settings are {', '.join(Settings.model_fields)}"
        )
    if key in _NO_RESULT:
        raise ConfigError(str(path), key, "changes no result; leave it out")
    if not isinstance(values, list) or not values:
        raise ConfigError(str(path), key, "needs a list of values to try, such as [5, 25]")
    made = []
    for place, value in enumerate(values):
        try:
            made.append(getattr(Settings.model_validate({key: value}), key))
        except ValidationError as problem:
            raise ConfigError(str(path), f"{key}.{place}", problem.errors()[0]["msg"]) from problem
    twice = next((value for place, value in enumerate(made) if value in made[:place]), None)
    if twice is not None:
        raise ConfigError(str(path), key, f"{twice} is there twice; name each value once")
    return made
