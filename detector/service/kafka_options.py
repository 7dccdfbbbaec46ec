"""Settings as kafka-python takes them. Secrets are given as functions that read them, called at each connection."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from detector.errors import ConfigError
from detector.service.settings_kafka import Kafka, Sasl, Security

if TYPE_CHECKING:
    from detector.sources.kafka import KafkaSettings

_MOST_SECRET_BYTES: Final = 1 << 20  # tokens are a few KiB; what is longer is some other file


class SecretFile:
    """A file that holds one secret. Its content is read when called, so that it can be renewed, and never kept."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self) -> str:
        """The secret, without the line feed that editors leave.

        Raises:
            ConfigError: not readable, empty, or no text of one line.
        """
        try:
            with self._path.open("rb") as file:
                text = file.read(_MOST_SECRET_BYTES).decode("utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as problem:
            what = problem.strerror if isinstance(problem, OSError) else "not UTF-8"
            raise ConfigError(str(self._path), "", f"cannot be read: {what}") from None
        if not text or any(ord(character) < 32 for character in text):
            raise ConfigError(str(self._path), "", "must hold one line, the secret")
        return text

    def __repr__(self) -> str:
        return f"SecretFile({str(self._path)!r})"


class SecretVariable:
    """A variable of the environment that holds one secret."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self) -> str:
        """The secret.

        Raises:
            ConfigError: not set, or empty.
        """
        if not os.environ.get(self._name):
            raise ConfigError(self._name, "", "is not set in the environment")
        return os.environ[self._name]

    def __repr__(self) -> str:
        return f"SecretVariable({self._name!r})"


def source_settings(kafka: Kafka, rows_prefix: str = "") -> "KafkaSettings":
    """For `sources.kafka.KafkaSource`. Where there is a pattern, names become part of it, and no topic that begins with
    ``rows_prefix`` matches."""
    from detector.sources.kafka import KafkaSettings  # noqa: PLC0415 - loads kafka-python

    names = [topic.name for topic in kafka.topics if topic.name is not None]
    patterns = [topic.pattern for topic in kafka.topics if topic.pattern is not None]
    whole = "|".join(f"(?:{pattern})" for pattern in [*patterns, *map(re.escape, names)]) if patterns else ""
    if whole and rows_prefix:
        whole = f"(?!{re.escape(rows_prefix)})(?:{whole})"
    return KafkaSettings(
        bootstrap_servers=kafka.bootstrap,
        topics=() if patterns else tuple(names),
        pattern=whole,
        client_id=kafka.client_id,
        group_id=kafka.group_id,
        security=security_options(kafka.security),
        fetch_bytes=kafka.fetch_bytes,
        partition_bytes=kafka.partition_bytes,
        held_bytes=kafka.held_bytes,
        isolation_level=kafka.isolation,
        merge_wait=kafka.merge_wait_seconds,
        stall_seconds=kafka.stall_seconds,
        start=kafka.start,
    )


def connection_options(kafka: Kafka) -> dict[str, Any]:
    """Of any client, such as the producer of a sink: brokers, name, encryption, authentication."""
    return {
        "bootstrap_servers": list(kafka.bootstrap),
        "client_id": kafka.client_id,
        **security_options(kafka.security),
    }


def security_options(security: Security) -> dict[str, Any]:
    """kafka-python's ``security_protocol``, ``ssl_*`` and ``sasl_*``."""
    return _tls(security) | (_sasl(security.sasl) if security.sasl else {})


def _tls(security: Security) -> dict[str, Any]:
    """kafka-python makes a TLS context for each connection, and thereby reads the files again."""
    files = {"ssl_cafile": security.ca_file, "ssl_certfile": security.cert_file, "ssl_keyfile": security.key_file}
    options: dict[str, Any] = {"security_protocol": security.protocol, "ssl_check_hostname": True}
    options |= {name: str(path) for name, path in files.items() if path is not None}
    if security.key_password_file is not None:
        options["ssl_password"] = SecretFile(security.key_password_file)
    return options


def _sasl(sasl: Sasl) -> dict[str, Any]:
    from detector.sources.sasl import TokenProvider  # noqa: PLC0415 - loads kafka-python

    options: dict[str, Any] = {"sasl_mechanism": sasl.mechanism}
    if sasl.token_file is not None:
        return options | {"sasl_oauth_token_provider": TokenProvider(SecretFile(sasl.token_file))}
    password = _secret(sasl.password_file, sasl.password_env)
    name = sasl.username if sasl.username_file is None else SecretFile(sasl.username_file)
    return options | {"sasl_plain_username": name, "sasl_plain_password": password}


def _secret(file: Path | None, variable: str | None) -> Callable[[], str]:
    return SecretFile(file) if file is not None else SecretVariable(variable or "")
