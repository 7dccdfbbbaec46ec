"""POSTs over HTTP, for every sink that speaks it: bounded in time and size, encrypted, through the proxy of the
environment, and clear about what an answer means for what was sent."""

import gzip
import re
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import orjson

from detector.sinks.delivery import Refused, Retry
from detector.sinks.messages import Message

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

Secret = Callable[[], str]
"""Reads a password or token whenever it is called, so that it can be renewed."""

SECONDS: Final = 30.0
PAUSE_SECONDS: Final = 60.0  # before another try, when people have to mend something first
_CONNECT_SECONDS: Final = 10.0
_ANSWER_BYTES: Final = 8 << 20  # Elasticsearch tells a line or two about each of some hundred records
_EXCERPT: Final = 300  # characters of an answer that people are shown
_NOT_NOW: Final = {408, 425, 429}  # RFC 9110, RFC 8470, RFC 6585; and 5xx
_NOT_HERE: Final = {401, 402, 403, 404, 405, 407, 411, 421, 426}
"""They speak of the place or of who we are, not of the record; and 3xx. Another record would fare no better."""

_KEEPALIVE: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.IPPROTO_TCP, getattr(socket, "TCP_USER_TIMEOUT", 18), 30_000),  # ms; tcp(7): a half-open one ends
)


class Unwilling(Exception):
    """The other side does not take what one request holds. Smaller parts of it, perhaps.

    Args:
        reason: for people.
        index: of the record that is at fault, where the other side tells.
    """

    def __init__(self, reason: str, index: int | None = None) -> None:
        super().__init__(reason)
        self.reason, self.index = reason, index


class Answer(NamedTuple):
    """What came back."""

    place: str  # who answers, for people: host and port
    status: int
    after: float | None  # Retry-After, in seconds
    body: bytes
    said: str  # the beginning of the body, for people, without secrets

    @property
    def good(self) -> bool:
        """2xx."""
        return 200 <= self.status < 300

    def problem(self) -> Retry | Unwilling:
        """What an answer that is not good means where an API says nothing else."""
        text = f"{self.place}: answer {self.status}{': ' if self.said else ''}{self.said}"
        if self.status >= 500 or self.status in _NOT_NOW:
            return Retry(text, self.after)
        if self.status in _NOT_HERE or self.status < 400:
            return Retry(text, max(self.after or 0.0, PAUSE_SECONDS))
        return Unwilling(text)

    def json(self) -> Any:
        """The body.

        Raises:
            Retry: it is no JSON: whoever answers is not who we mean.
        """
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            raise Retry(f"{self.place}: an answer that is no JSON: {self.said}", PAUSE_SECONDS) from None


class Client:
    """Whom a sink speaks to.

    A connection is kept; after any failure the next call makes a new one, and reads certificates again.

    Args:
        url: ``https://host:port/path``; of that, errors tell host and port alone.
        ca_file: authorities (PEM) to trust in place of the system's.
        cert_file: our certificate (PEM).
        key_file: its key, when not in the same file.
        seconds: longest wait for the next bytes of an answer, and for all of them.
    """

    def __init__(
        self,
        url: str,
        ca_file: Path | None = None,
        cert_file: Path | None = None,
        key_file: Path | None = None,
        seconds: float = SECONDS,
    ) -> None:
        self._url, self._seconds = url.rstrip("/"), seconds
        self._ca_file, self._cert_file, self._key_file = ca_file, cert_file, key_file
        self.place = _place(url)
        self._pool: PoolManager | None = None

    def post(
        self, path: str, body: bytes, headers: Mapping[str, str], *, compress: bool = False, hide: str = ""
    ) -> Answer:
        """One request; its answer, whatever the status.

        Args:
            path: appended to the URL.
            body: of the request.
            headers: of the request.
            compress: whether the other side takes gzip.
            hide: a secret that is in the request; an answer that repeats it is shown without.

        Raises:
            Retry: nobody answered, or not all of it; whether the request arrived is not known.
        """
        from urllib3.exceptions import HTTPError  # noqa: PLC0415 - only sinks that speak HTTP load it

        if compress:
            body, headers = gzip.compress(body, mtime=0), {**headers, "Content-Encoding": "gzip"}
        try:
            return self._post(path, body, headers, hide)
        except (HTTPError, OSError, TimeoutError, ValueError) as problem:
            self.close()
            raise Retry(f"{self.place}: {_told(problem)}") from None  # its own text may hold the URL

    def close(self) -> None:
        """Leave the other side; `post` comes back."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.clear()

    def _post(self, path: str, body: bytes, headers: Mapping[str, str], hide: str) -> Answer:
        self._pool = self._pool or self._connected()
        response = self._pool.request(
            "POST", self._url + path, body=body, headers=headers, redirect=False, retries=False, preload_content=False
        )
        try:
            content = _read(response, self._seconds)
        finally:
            response.close() if response.length_remaining else response.release_conn()
        after = _after(response.headers.get("Retry-After"))
        return Answer(self.place, response.status, after, content, _excerpt(content, hide))

    def _connected(self) -> "PoolManager":
        from urllib3 import PoolManager, ProxyManager, Timeout, make_headers  # noqa: PLC0415

        context = ssl.create_default_context(cafile=self._ca_file)
        if self._cert_file is not None:
            context.load_cert_chain(self._cert_file, self._key_file)
        options: dict[str, Any] = {
            "ssl_context": context,
            "timeout": Timeout(connect=min(self._seconds, _CONNECT_SECONDS), read=self._seconds),
            "socket_options": list(_KEEPALIVE),
            "maxsize": 1,
        }
        proxy = _proxy(self._url)
        if proxy is None:
            return PoolManager(**options)
        parts = urlsplit(proxy)
        log_on = {}
        if parts.username is not None:
            log_on = make_headers(proxy_basic_auth=f"{unquote(parts.username)}:{unquote(parts.password or '')}")
        return ProxyManager(proxy, proxy_headers=log_on, **options)


def in_parts(
    messages: Sequence[Message], send: Callable[[Sequence[Message]], None], most: int, most_bytes: int
) -> None:
    """Send messages in requests of bounded size. What one request is refused for is sent in smaller ones, until the
    message that is at fault stands alone.

    Args:
        messages: in order.
        send: one request; raises `Unwilling` when it is refused for what it holds, or what `Sink.send` does.
        most: messages in a request.
        most_bytes: of their payloads in a request, a message at least.

    Raises:
        Retry: not now.
        Refused: one of them never.
    """
    begin, size = 0, most
    while begin < len(messages):
        part = _fitting(messages[begin : begin + size], most_bytes)
        try:
            send(part)
        except Unwilling as problem:
            if len(part) == 1:
                raise Refused(begin, problem.reason) from problem
            known = problem.index is not None and 0 <= problem.index < len(part)
            size = (problem.index or 1) if known else len(part) // 2
        except Retry as problem:
            raise Retry(problem.reason, problem.after, begin + problem.taken) from problem
        except Refused as problem:
            raise Refused(begin + problem.index, problem.reason) from problem
        else:
            begin += len(part)


def _fitting(messages: Sequence[Message], most_bytes: int) -> Sequence[Message]:
    size = 0
    for number, message in enumerate(messages):
        size += len(message.payload)
        if number and size > most_bytes:
            return messages[:number]
    return messages


def _read(response: "BaseHTTPResponse", seconds: float) -> bytes:
    """The body as it came; nobody asked for a compressed one."""
    deadline = time.monotonic() + seconds
    content = bytearray()
    for piece in response.stream(1 << 16, decode_content=False):
        content += piece
        if len(content) > _ANSWER_BYTES:
            raise ValueError(f"an answer of more than {_ANSWER_BYTES} bytes")
        if time.monotonic() > deadline:
            raise TimeoutError(f"an answer that took more than {seconds:g} s")
    return bytes(content)


def _after(header: str | None) -> float | None:
    """Seconds, or a date (RFC 9110 section 10.2.3); None for anything else."""
    if header is None:
        return None
    if re.fullmatch(r"\d{1,9}", header.strip()):
        return float(header)
    try:
        return max((parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds(), 0.0)
    except (ValueError, TypeError):
        return None


def _proxy(url: str) -> str | None:
    """``HTTPS_PROXY``, ``HTTP_PROXY`` and ``NO_PROXY``, as `urllib.request` reads them."""
    parts = urlsplit(url)
    return None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)


def _place(url: str) -> str:
    parts = urlsplit(url)
    port = parts.port or {"https": 443}.get(parts.scheme, 80)
    return f"{parts.hostname}:{port}"


def _told(problem: Exception) -> str:
    """What went wrong, without the URL: that of a webhook can be a secret as a whole."""
    from urllib3.exceptions import NewConnectionError, ProtocolError, ProxyError, SSLError, TimeoutError  # noqa: PLC0415

    cause = problem
    while (inner := cause.__cause__ or cause.__context__) is not None and isinstance(inner, Exception):
        cause = inner
    why = getattr(cause, "verify_message", "") or getattr(cause, "strerror", "") or type(cause).__name__
    match problem:
        case NewConnectionError():
            said = f"nobody answers: {why}"
        case ProxyError():
            said = f"the proxy does not connect us: {why}"
        case TimeoutError():
            said = "no answer in time"
        case SSLError() | ssl.SSLError():
            said = f"TLS: {why}"
        case ProtocolError():
            said = f"the connection ended before the answer did: {why}"
        case OSError(filename=str(file)):
            said = f"{file}: {why}"
        case _:
            said = str(problem) if isinstance(problem, ValueError | OSError) else why
    return said


def _excerpt(content: bytes, hide: str) -> str:
    text = content[: 16 * _EXCERPT].decode("utf-8", "replace")
    if hide:
        text = text.replace(hide, "(secret)")
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())[:_EXCERPT]
