"""Logging on to brokers with secrets that change: read again at each connection, never kept.

kafka-python makes a mechanism for each connection and each re-authentication (KIP-368), from the consumer's options.
The mechanisms here are its own, but for two things: a name or password may be a callable, which is called then; and a
SCRAM user name is escaped as RFC 5802 section 5.1 wants. They take the place of its own when this module is imported.
"""

from collections.abc import Callable
from typing import Any, Final

from kafka.net.sasl import register_sasl_mechanism
from kafka.net.sasl.oauth import AbstractTokenProvider
from kafka.net.sasl.plain import SaslMechanismPlain
from kafka.net.sasl.scram import SaslMechanismScram

_CALLED: Final = ("sasl_plain_username", "sasl_plain_password")


def _resolved(config: dict[str, Any]) -> dict[str, Any]:
    return config | {name: config[name]() for name in _CALLED if callable(config.get(name))}


class Plain(SaslMechanismPlain):  # type: ignore[misc]  # kafka-python has no types
    """PLAIN (RFC 4616) with the secrets of now."""

    def __init__(self, **config: Any) -> None:
        super().__init__(**_resolved(config))


class Scram(SaslMechanismScram):  # type: ignore[misc]
    """SCRAM-SHA-256 and -512 (RFC 5802, RFC 7677) with the secrets of now."""

    def __init__(self, **config: Any) -> None:
        config = _resolved(config)
        name = str(config["sasl_plain_username"]).replace("=", "=3D").replace(",", "=2C")
        super().__init__(**config | {"sasl_plain_username": name})


class TokenProvider(AbstractTokenProvider):  # type: ignore[misc]
    """OAUTHBEARER (RFC 7628): the token of now, from wherever ``read`` gets it."""

    def __init__(self, read: Callable[[], str]) -> None:
        self._read = read

    def token(self) -> str:
        """The token, without its name."""
        return self._read()


register_sasl_mechanism("PLAIN", Plain, overwrite=True)
for _mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512"):
    register_sasl_mechanism(_mechanism, Scram, overwrite=True)
