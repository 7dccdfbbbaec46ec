"""What runs, as a drill is to have it: out of the settings file of the backtest, or that of the service."""

from dataclasses import dataclass
from pathlib import Path

from detector.config import Settings, load_settings
from detector.service.loading import is_service_file, load_service_settings


@dataclass(frozen=True, slots=True)
class Live:
    """Settings of the engine; what a service's file names beside them is None in a backtest's.

    Args:
        train_until: µs since the epoch.
    """

    settings: Settings
    plant: Path | None = None
    decisions: Path | None = None
    train_until: int | None = None


def load_live(config: Path | None) -> Live:
    """The settings that run. The two kinds of files are told apart by their keys, of which they share none.

    The environment counts as it does for the command whose file it is.

    Raises:
        ConfigError: as `load_settings` and `load_service_settings`.
    """
    if config is None or not is_service_file(config):
        return Live(load_settings(config))
    service = load_service_settings(config)
    return Live(service.engine, service.plant, service.decisions, service.train_until_us)
