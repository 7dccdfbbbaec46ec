"""Google Security Operations, by ``events.import`` of the Chronicle API (cloud.google.com/chronicle/docs/reference/
ingestion-methods)."""

import base64
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import orjson

from detector.errors import ConfigError
from detector.sinks.http import Client, in_parts
from detector.sinks.messages import Message
from detector.sinks.tokens import Token

SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
TOKENS: Final = "https://oauth2.googleapis.com/token"
_GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"  # RFC 7523 section 2.1
_CLAIM_SECONDS: Final = 3600  # the longest that Google takes
_MOST: Final = 500
_MOST_BYTES: Final = 900_000  # with what is put around them, below the 1 MB of a request


class SecOpsSink:
    """Events of the Unified Data Model (UDM). One that is bad has the whole request refused, which is therefore sent
    again in halves.

    Args:
        client: the instance, ``https://<region>-chronicle.googleapis.com/v1/projects/../locations/../instances/..``.
        token: for `SCOPE`.
    """

    def __init__(self, client: Client, token: Token) -> None:
        self._client, self._token = client, token

    def send(self, records: Sequence[Message]) -> None:
        """See `Sink`."""
        in_parts(records, self._send, _MOST, _MOST_BYTES)

    def close(self) -> None:
        """See `Sink`."""
        self._token.close()
        self._client.close()

    def _send(self, records: Sequence[Message]) -> None:
        token = self._token()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        events = [{"udm": orjson.Fragment(record.payload)} for record in records]
        answer = self._client.post(
            "/events:import", orjson.dumps({"inlineSource": {"events": events}}), headers, hide=token
        )
        if answer.status == 401:
            self._token.drop()
        if not answer.good:
            raise answer.problem()
        answer.json()  # of the API; a proxy's page says nothing of events


def assertion(
    credentials: Callable[[], str], audience: str, now: Callable[[], float] = time.time
) -> Callable[[], Mapping[str, str]]:
    """What a service account says to get a token (RFC 7523; developers.google.com/identity/protocols/oauth2/
    service-account).

    Args:
        credentials: reads the account's key, JSON as Google gives it out.
        audience: address that gives out tokens.
        now: seconds since the epoch.
    """

    def request() -> Mapping[str, str]:
        account = _account(credentials())
        issued = int(now())
        claims = {"iss": account["client_email"], "scope": SCOPE, "aud": audience, "iat": issued}
        claims["exp"] = issued + _CLAIM_SECONDS
        header = {"alg": "RS256", "typ": "JWT", "kid": account.get("private_key_id", "")}
        told = b".".join((_base64(orjson.dumps(header)), _base64(orjson.dumps(claims))))
        signature = _base64(_signed(account["private_key"], told))
        return {"grant_type": _GRANT, "assertion": b".".join((told, signature)).decode()}

    return request


def _account(text: str) -> dict[str, Any]:
    try:
        account = orjson.loads(text)
        account["client_email"], account["private_key"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise ConfigError("credentials", "", "is no key of a service account") from None
    return dict(account)


def _signed(key: str, content: bytes) -> bytes:
    try:
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15  # noqa: PLC0415 - an extra
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey  # noqa: PLC0415
        from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415
        from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415
    except ImportError:
        raise ConfigError("secops", "", "needs more: pip install eastwest[secops]") from None
    try:
        private = load_pem_private_key(key.encode(), None)
    except ValueError:
        raise ConfigError("credentials", "", "its private key cannot be read") from None
    if not isinstance(private, RSAPrivateKey):
        raise ConfigError("credentials", "", "its private key is not of RSA")
    return private.sign(content, PKCS1v15(), SHA256())


def _base64(content: bytes) -> bytes:
    """RFC 7515 appendix C."""
    return base64.urlsafe_b64encode(content).rstrip(b"=")
