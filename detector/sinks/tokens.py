"""Who we are: the Authorization header, and access tokens of OAuth 2.0 (RFC 6749), which are asked for, kept until they
are about to end, and asked for again."""

import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlencode

from detector.sinks.delivery import Retry
from detector.sinks.http import PAUSE_SECONDS, Client, Secret, Unwilling

_EARLY_SECONDS: Final = 300.0  # a token is renewed so long before it ends
_DEFAULT_SECONDS: Final = 600.0  # of a token that does not say; RFC 6749 section 5.1 leaves it to us


class Token:
    """The token that a service wants to see.

    Args:
        client: where tokens are given out.
        request: what to say there, read anew each time: it holds a secret.
        now: seconds, never going back.
    """

    def __init__(
        self, client: Client, request: Callable[[], Mapping[str, str]], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._client, self._request, self._now = client, request, now
        self._value, self._end = "", 0.0

    def __call__(self) -> str:
        """One that is good.

        Raises:
            Retry: none was given.
        """
        if not self._value or self._now() >= self._end:
            self._renew()
        return self._value

    def drop(self) -> None:
        """The service did not take it."""
        self._value = ""

    def close(self) -> None:
        """Leave the other side."""
        self._client.close()

    def _renew(self) -> None:
        form = urlencode(self._request()).encode()
        answer = self._client.post("", form, {"Content-Type": "application/x-www-form-urlencoded"})
        if not answer.good:
            problem = answer.problem()
            if isinstance(problem, Unwilling):  # 400: who we are is told here, and nothing of records
                problem = Retry(problem.reason, PAUSE_SECONDS)
            raise problem
        told = answer.json()
        value = told.get("access_token") if isinstance(told, dict) else None
        if not isinstance(value, str) or not value:
            raise Retry(f"{answer.place}: an answer without access_token", PAUSE_SECONDS)
        lives = told.get("expires_in", _DEFAULT_SECONDS)
        seconds = float(lives) if isinstance(lives, int | float | str) else _DEFAULT_SECONDS
        self._value, self._end = value, self._now() + max(seconds - _EARLY_SECONDS, seconds / 2)


def client_credentials(client_id: str, secret: Secret, scope: str) -> Callable[[], Mapping[str, str]]:
    """What an application says to get a token (RFC 6749 section 4.4)."""
    return lambda: {
        "grant_type": "client_credentials",
        "client_id": client_id,
        "client_secret": secret(),
        "scope": scope,
    }


def authorization(api_key: Secret | None, username: str | None, password: Secret | None) -> Callable[[], str] | None:
    """The header with an API key of Elasticsearch, or with name and password (RFC 7617); None without either."""
    if api_key is not None:
        return lambda: f"ApiKey {api_key()}"
    if username is None or password is None:
        return None
    return lambda: "Basic " + b64encode(f"{username}:{password()}".encode()).decode()
