"""Settings of a sink as the sink takes them. Secrets are given as functions that read them, called at each use."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from detector.errors import ConfigError
from detector.service.kafka_options import SecretFile, SecretVariable
from detector.service.settings_sinks import AnySink

_FOR_OTHERS: Final = {"type", "name", "format"}
_SECRETS: Final = ("token", "api_key", "password", "client_secret", "secret", "bearer")


def options_of(wish: AnySink) -> dict[str, Any]:
    """For `sinks.kinds.sink_of`: ``token_file`` and ``token_env`` become ``token``, and so on with each secret."""
    options = dict(wish)
    for name in _SECRETS:
        if f"{name}_file" in options:
            options[name] = _secret(options.pop(f"{name}_file"), options.pop(f"{name}_env"))
    if "credentials_file" in options:
        options["credentials"] = _text(options.pop("credentials_file"))
    return {name: value for name, value in options.items() if name not in _FOR_OTHERS}


def _secret(file: Path | None, variable: str | None) -> SecretFile | SecretVariable | None:
    if file is not None:
        return SecretFile(file)
    return None if variable is None else SecretVariable(variable)


def _text(file: Path) -> Callable[[], str]:
    """Reads a file of several lines."""

    def read() -> str:
        try:
            return file.read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            raise ConfigError(str(file), "", "cannot be read") from None

    return read
