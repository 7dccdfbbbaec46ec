"""Settings of the engine: one small frozen model, from defaults, a YAML file, the environment."""

import os
from pathlib import Path
from typing import Any, Final, Literal, get_args
from zoneinfo import ZoneInfo

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from detector.errors import ConfigError
from detector.records import FLOW

ModelName = Literal[
    "operations",
    "credentials",
    "timing",
    "crossing",
    "provenance",
    "vendors",
    "volume",
    "fanout",
    "windows",
    "drip",
    "forest",
]
MODELS: Final[tuple[ModelName, ...]] = get_args(ModelName)
ENVIRONMENT_PREFIX: Final = "EASTWEST_"


class Settings(BaseModel):
    """What can be set. Every key has a default; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    alerts_per_day: float = Field(
        default=25.0,
        gt=0,
        le=100_000,
        description="Alerts a day that people want to read; the threshold follows it.",
    )
    false_incidents_per_day: float = Field(
        default=0.2,
        gt=0,
        le=100,
        description="Chains of chance that may become incidents, expected a day; 0.2 is one in five days.",
    )
    half_life_days: float = Field(default=30.0, gt=0, le=3650, description="How fast counts of the past fade.")
    reorder_seconds: float = Field(
        default=2.0,
        ge=0,
        le=3600,
        description="How long a row waits for rows that belong before it (observation time).",
    )
    max_entries: int = Field(
        default=16_000_000,
        ge=1000,
        description="Bound of the count table (36 bytes an entry); the oldest are evicted.",
    )
    models: tuple[ModelName, ...] = Field(
        default=MODELS, description="Models that have a say beside the structure model, which always has."
    )
    max_seen: int = Field(default=4_000_000, ge=1000, description="Bound of each duplicate table (36 bytes an entry).")
    timezone: str = Field(default="UTC", description="IANA zone of text times that carry none (nfdump, pmacct, Argus).")
    columns: dict[str, str] | None = Field(
        default=None, description="Our field name: column name, for CSV and Parquet with other headers."
    )
    batch_rows: int = Field(default=50_000, ge=1, description="Records handled at once; changes speed, never results.")

    @field_validator("models", mode="before")
    @classmethod
    def _split(cls, names: object) -> object:
        """The environment has them with commas between."""
        return [name.strip() for name in names.split(",") if name.strip()] if isinstance(names, str) else names

    @field_validator("models")
    @classmethod
    def _in_order(cls, names: tuple[ModelName, ...]) -> tuple[ModelName, ...]:
        """As they run, whatever the order they are named in: the same settings are equal."""
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"named twice: {', '.join(twice)}")
        return tuple(name for name in MODELS if name in names)

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (OSError, ValueError, KeyError):  # a folder, an absolute path, a name that is not there
            raise ValueError(f"{name!r} is no IANA time zone, such as Europe/London") from None
        return name

    @field_validator("columns")
    @classmethod
    def _known_fields(cls, columns: dict[str, str] | None) -> dict[str, str] | None:
        for name in columns or ():
            if name not in FLOW:
                raise ValueError(f"{name!r} is no field of ours; they are {', '.join(FLOW)}")
        return columns


def load_settings(path: Path | None, overrides: dict[str, Any] | None = None) -> Settings:
    """Defaults < YAML file < environment (``EASTWEST_ALERTS_PER_DAY=10``) < overrides.

    Raises:
        ConfigError: unreadable file, unknown key, or value out of bounds; names file and key.
    """
    values: dict[str, Any] = {}
    if path is not None:
        try:
            values = yaml.safe_load(path.read_text("utf-8")) or {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as problem:
            raise ConfigError(str(path), "", f"cannot be read as YAML: {problem}") from problem
        if not isinstance(values, dict):
            raise ConfigError(str(path), "", "must be a mapping of settings")
    for name in Settings.model_fields:
        variable = ENVIRONMENT_PREFIX + name.upper()
        if variable in os.environ:
            values[name] = os.environ[variable]
    values |= overrides or {}
    try:
        return Settings.model_validate(values)
    except ValidationError as problem:
        first = problem.errors()[0]
        raise ConfigError(str(path or "settings"), ".".join(map(str, first["loc"])), first["msg"]) from problem
