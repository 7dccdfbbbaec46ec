"""What orchestrators and Prometheus ask: `/livez`, `/readyz`, `/metrics`. What people ask of incidents is `/incidents`
(`service.cases`), where there is a journal of them. Nothing else is answered.

Live means that the loop goes round; Kafka, sinks and lag have no say, or a broker that is away would have us killed
again and again. Ready means that the loop has its partitions, its state and its compiled kernels; a sink that is away
does not change it.
"""

import json
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

from detector.alerts.model import escaped
from detector.errors import ConfigError
from detector.service.cases import CasesApi

BEAT_SECONDS: Final = 60.0  # silence of the loop beyond which it hangs; a checkpoint takes less than 5 s
NEEDS: Final = ("assigned", "restored", "warm")
_REQUEST_SECONDS: Final = 5.0  # for the whole head of a request, and for each write of the answer
_MOST_REQUEST_BYTES: Final = 8192
_MOST_AT_ONCE: Final = 16  # connections; further ones are closed at once
INCIDENTS: Final = "/incidents"
_JSON: Final = "application/json"


class Health:
    """What the loop says of itself, and what follows from it.

    Args:
        clock: seconds that only go up.
        beat_seconds: silence beyond which the loop counts as hung.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, beat_seconds: float = BEAT_SECONDS) -> None:
        self._clock, self._beat_seconds = clock, beat_seconds
        self._last = clock()
        self._missing = dict.fromkeys(NEEDS, "not yet")
        self._lock = threading.Lock()

    def beat(self) -> None:
        """The loop went round once more. Call it within long steps too."""
        self._last = self._clock()

    def done(self, need: str) -> None:
        """One of `NEEDS` is met."""
        if need not in NEEDS:
            raise ValueError(f"{need} is none of {', '.join(NEEDS)}")
        with self._lock:
            self._missing.pop(need, None)

    def lost(self, need: str, reason: str) -> None:
        """One of `NEEDS` is no longer met; why, in words for people."""
        if need not in NEEDS:
            raise ValueError(f"{need} is none of {', '.join(NEEDS)}")
        with self._lock:
            self._missing[need] = reason

    def live(self) -> tuple[bool, dict[str, Any]]:
        """Whether the loop goes round, and how long ago it last did."""
        silent = self._clock() - self._last
        return silent <= self._beat_seconds, {"silent_seconds": round(silent, 3), "limit_seconds": self._beat_seconds}

    def ready(self) -> tuple[bool, dict[str, Any]]:
        """Whether all needs are met, and which are not."""
        with self._lock:
            missing = {need: self._missing[need] for need in NEEDS if need in self._missing}
        return not missing, {"missing": missing}


class HealthServer:
    """Answers in threads of its own; use it as a context, or `close` it.

    Args:
        host: address to listen at, IPv4 or IPv6; ``::`` is both.
        port: 0 takes any that is free; see ``port`` then.
        health: what the loop says.
        exposition: `Metrics.exposition`.
        cases: answers about incidents; None = there are none here.

    Raises:
        ConfigError: the address cannot be used.
    """

    def __init__(
        self,
        host: str,
        port: int,
        health: Health,
        exposition: Callable[[str], tuple[bytes, str]],
        cases: CasesApi | None = None,
    ) -> None:
        try:
            self._server = _Server((host, port), health, exposition, cases)
        except OSError as problem:
            raise ConfigError("settings", "http", f"cannot listen at {host} port {port}: {problem.strerror}") from None
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="health", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening. Answers that are being given end by themselves."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 2 * _MOST_AT_ONCE

    def __init__(
        self,
        place: tuple[str, int],
        health: Health,
        exposition: Callable[[str], tuple[bytes, str]],
        cases: CasesApi | None,
    ) -> None:
        self.health, self.exposition, self.cases = health, exposition, cases
        self._free = threading.BoundedSemaphore(_MOST_AT_ONCE)
        family, *_, address = socket.getaddrinfo(*place, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        self.address_family = family
        super().__init__(address[:2], _Handler)  # type: ignore[arg-type]  # of IPv6 it makes the rest itself

    def server_bind(self) -> None:
        """Without the base class's look-up of our own name, which can take seconds."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who asks and goes away is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.0"  # one request a connection

    def setup(self) -> None:
        super().setup()
        self.rfile = BytesIO(self._head())
        self.connection.settimeout(_REQUEST_SECONDS)

    def _head(self) -> bytes:
        """The request up to its empty line, and what came with it. Nothing when it is too long or too slow."""
        self._end = time.monotonic() + _REQUEST_SECONDS
        head = b""
        while b"\r\n\r\n" not in head and b"\n\n" not in head:
            more = self._more()
            head += more
            if not more or len(head) > _MOST_REQUEST_BYTES:
                return b""
        return head

    def _more(self) -> bytes:
        """What comes next, within the time that a request has; nothing when it ends or is too slow."""
        self.connection.settimeout(max(self._end - time.monotonic(), 0.001))
        try:
            more: bytes = self.connection.recv(_MOST_REQUEST_BYTES)
        except OSError:
            return b""
        return more

    def _body(self) -> bytes | None:
        """The body, as long as its header says; None when it says nothing, too much, or more than comes."""
        told = self.headers.get("Content-Length", "")
        if not (told.isascii() and told.isdigit()) or int(told) > _MOST_REQUEST_BYTES:
            return None
        body = self.rfile.read()
        while len(body) < int(told):
            more = self._more()
            if not more:
                return None
            body += more
        self.connection.settimeout(_REQUEST_SECONDS)
        return body[: int(told)]

    def do_GET(self) -> None:
        health = self.server.health
        match urlsplit(self.path).path:
            case "/livez":
                self._verdict("live", *health.live())
            case "/readyz":
                self._verdict("ready", *health.ready())
            case "/metrics":
                self._answer(200, *self.server.exposition(self.headers.get("Accept", "")))
            case path if self.server.cases is not None and path.startswith(INCIDENTS):
                self._tell(*self.server.cases.read(path.removeprefix(INCIDENTS), urlsplit(self.path).query))
            case _:
                self.send_error(404)

    def do_POST(self) -> None:
        path, cases = urlsplit(self.path).path, self.server.cases
        if cases is None or not path.startswith(INCIDENTS):
            self.send_error(405)
            return
        refused = cases.refused(self.headers.get("Authorization", ""))
        body = None if refused else self._body()
        if refused:
            self._tell(*refused)
        elif body is None:
            self._tell(413, {"error": f"a body of {_MOST_REQUEST_BYTES} bytes at most, with its Content-Length"})
        else:
            self._tell(*cases.move(path.removeprefix(INCIDENTS), body))

    def _tell(self, code: int, content: dict[str, Any]) -> None:
        self._answer(code, escaped(json.dumps(content).encode()) + b"\n", _JSON)

    do_HEAD = do_GET  # noqa: N815 - the same

    def _verdict(self, word: str, good: bool, facts: dict[str, Any]) -> None:
        content = json.dumps({"status": word if good else f"not {word}", **facts}).encode() + b"\n"
        self._answer(200 if good else 503, content, _JSON)

    def _answer(self, code: int, content: bytes, content_type: str) -> None:
        self.send_response(code)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        if code == 405:
            self.send_header("Allow", "GET, HEAD")
        if code == 401:
            self.send_header("WWW-Authenticate", "Bearer")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """As JSON, without a word of the request. Methods that there is nothing for are 501 to the base class."""
        code = 405 if code == 501 else code
        said = self.responses.get(code, ("error",))[0]
        self.command = getattr(self, "command", None) or "GET"
        self._answer(code, json.dumps({"error": said}).encode() + b"\n", _JSON)

    def version_string(self) -> str:
        """No word of Python."""
        return "eastwest"

    def log_message(self, format: str, *args: Any) -> None:
        """A probe every few seconds is no news."""
