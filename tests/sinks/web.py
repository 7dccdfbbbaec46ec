"""The other side of sinks that speak HTTP: a real server on loopback whose API answers as its vendor says, and which
does first what it is told: be busy, slow, half-open, cut off.

An API is a function from `Request` to `Reply`; `Api.got` is what it took, in the order it came, repetitions too.
"""

import base64
import gzip
import hmac
import json
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs

SLOW_SECONDS = 2.5  # longer than clients of tests wait
CLIENT_SECONDS = 1.0
MOST_SEEN = 1000  # requests that are kept to be looked at
POISON = "poison"  # in a record: no API takes it


class Request(NamedTuple):
    path: str
    headers: dict[str, str]  # names in lower case
    body: bytes
    size: int  # as it came
    peer: int  # port of the other side


class Reply(NamedTuple):
    status: int = 200
    body: bytes = b"{}"
    headers: tuple[tuple[str, str], ...] = ()


Fault = Reply | str
"""A reply in place of the API's, or: ``cut`` (the API takes it, the answer ends in the middle), ``mute`` (it takes it
and says nothing), ``half-open`` (nobody reads), ``reset``, ``drip`` (an answer that takes for ever), ``rubbish``."""

BUSY = Reply(429, b'{"text":"slow down"}', (("Retry-After", "7"),))
BROKEN = Reply(500, b"oops")


class Api:
    """What a vendor's server does with a request."""

    def __init__(self) -> None:
        self.got: list[Any] = []
        self.keep: Callable[[Any], Any] = lambda document: document  # what of it is kept
        self.guard = threading.Lock()

    def __call__(self, request: Request) -> Reply:
        with self.guard:
            return self.answer(request)

    def answer(self, request: Request) -> Reply:
        raise NotImplementedError


class Server:
    """See `serving`."""

    def __init__(self, api: Api, faults: Callable[[Request], Fault | None]) -> None:
        self.api, self.faults = api, faults
        self.script: list[Fault | None] = []  # what to do first
        self.seen: list[Request] = []
        self.ended = threading.Event()
        self.url = ""

    def fault(self, request: Request) -> Fault | None:
        self.seen.append(request)
        if len(self.seen) > MOST_SEEN:
            del self.seen[: MOST_SEEN // 2]
        return self.script.pop(0) if self.script else self.faults(request)


class Handler(BaseHTTPRequestHandler):
    """One connection of a `Server`."""

    protocol_version = "HTTP/1.1"
    timeout = 30
    disable_nagle_algorithm = True

    @property
    def side(self) -> "Server":
        return self.server.side

    def do_POST(self):
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = gzip.decompress(raw) if headers.get("content-encoding") == "gzip" else raw
        request = Request(self.path, headers, body, len(raw), self.client_address[1])
        fault = self.side.fault(request)
        if fault in ("reset", "half-open"):
            self.silence(SLOW_SECONDS if fault == "half-open" else 0)
        elif isinstance(fault, Reply):
            self.reply(fault)
        elif fault == "rubbish":
            self.reply(Reply(200, b"<html>"))
        else:
            self.told(self.side.api(request), fault)

    def told(self, reply, fault):
        """The API has it; this is what becomes of its answer."""
        if fault == "mute":
            self.silence(SLOW_SECONDS)
        elif fault is None:
            self.reply(reply)
        else:
            self.reply(reply, 100)
            for _ in range(15 if fault == "drip" else 0):
                if not self.side.ended.wait(SLOW_SECONDS / 15):
                    self.wfile.write(b" ")
            self.close_connection = True

    def silence(self, seconds):
        self.side.ended.wait(seconds)
        self.close_connection = True

    def reply(self, reply, more=0):
        self.send_response(reply.status)
        for name, value in reply.headers:
            self.send_header(name, value)
        if reply.status != 204:
            self.send_header("Content-Length", str(len(reply.body) + more))
        self.end_headers()
        self.wfile.write(reply.body)
        self.wfile.flush()

    def log_message(self, *about):
        pass


class Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *about):
        pass  # clients that leave in the middle are what is tested


@contextmanager
def serving(
    api: Api, tls: ssl.SSLContext | None = None, faults: Callable[[Request], Fault | None] = lambda _: None
) -> Iterator[Server]:
    """A server with its URL, ended when left."""
    http = Quiet(("127.0.0.1", 0), Handler)
    if tls is not None:
        http.socket = tls.wrap_socket(http.socket, server_side=True)
    http.side = server = Server(api, faults)
    server.url = f"{'https' if tls else 'http'}://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.ended.set()
        http.shutdown()
        thread.join()
        http.server_close()


# --- APIs ---


def objects(text: str) -> list[Any]:
    """JSON objects one behind the other, with or without space between."""
    decoder, found, at = json.JSONDecoder(), [], 0
    while at < len(text):
        value, at = decoder.raw_decode(text, at)
        found.append(value)
        at += len(text[at:]) - len(text[at:].lstrip())
    return found


class Splunk(Api):
    """HEC. With ``acknowledge`` what it took is indexed after so many questions."""

    def __init__(self, acknowledge: bool = False, questions: int = 2) -> None:
        super().__init__()
        self.token, self.acknowledge, self.questions = "hush hush", acknowledge, questions
        self.pending: dict[str, dict[int, int]] = {}  # by channel: questions left, by ack
        self.lost = False  # after a restart it knows no acks

    def answer(self, request: Request) -> Reply:  # noqa: PLR0911 - a status each
        if request.headers.get("authorization") != f"Splunk {self.token}":
            return Reply(403, b'{"text":"Invalid token","code":4}')
        if request.path.startswith("/services/collector/ack?channel="):
            return self.acks(request.path.partition("=")[2], json.loads(request.body)["acks"])
        channel = request.headers.get("x-splunk-request-channel")
        if self.acknowledge and not channel:
            return Reply(400, b'{"text":"Data channel is missing","code":10}')
        try:
            events = objects(request.body.decode())
        except ValueError:
            return Reply(400, b'{"text":"Invalid data format","code":6,"invalid-event-number":0}')
        for number, event in enumerate(events):
            if POISON in json.dumps(event["event"]):
                said = {"text": "Invalid data format", "code": 6, "invalid-event-number": number}
                return Reply(400, json.dumps(said).encode())
            self.got.append(self.keep(event))
        if not self.acknowledge:
            return Reply(200, b'{"text":"Success","code":0}')
        acks = self.pending.setdefault(channel, {})
        acks[len(acks)] = self.questions
        return Reply(200, b'{"text":"Success","code":0,"ackId":%d}' % (len(acks) - 1))

    def acks(self, channel: str, wanted: list[int]) -> Reply:
        if not self.acknowledge:
            return Reply(400, b'{"text":"ACK is disabled","code":14}')
        acks = self.pending.get(channel, {})
        told = {}
        for ack in wanted:
            left = acks.get(ack, -1)
            told[str(ack)] = left == 0 and not self.lost
            acks[ack] = left - 1  # told once, then forgotten
        return Reply(200, json.dumps({"acks": told}).encode())


class Elastic(Api):
    """``_bulk`` of a data stream (``create`` only) or an index, with external versions."""

    def __init__(self, stream: bool = True) -> None:
        super().__init__()
        self.stream = stream
        self.documents: dict[str, Any] = {}
        self.versions: dict[str, int] = {}
        self.busy: list[int] = []  # which items of the next requests get 429
        self.repeated = 0

    def answer(self, request: Request) -> Reply:
        if not request.path.startswith("/_bulk"):
            return Reply(404, b'{"error":"no handler"}')
        if request.headers["content-type"] != "application/x-ndjson" or not request.body.endswith(b"\n"):
            return Reply(400, b'{"error":{"type":"illegal_argument_exception"}}')
        lines = [json.loads(line) for line in request.body.decode().split("\n")[:-1]]
        busy, self.busy = self.busy, []
        items = [
            {next(iter(about)): self.item(about, document, number in busy)}
            for number, (about, document) in enumerate(zip(lines[::2], lines[1::2], strict=True))
        ]
        return Reply(200, json.dumps({"errors": True, "items": items}).encode())

    def item(self, about: dict[str, Any], document: Any, busy: bool) -> dict[str, Any]:
        [(action, where)] = about.items()
        name = where["_id"]
        if busy:
            return {"status": 429, "error": {"type": "es_rejected_execution_exception", "reason": "queue is full"}}
        if self.stream and action != "create":
            reason = "only write ops with an op_type of create are allowed in data streams"
            return {"status": 400, "error": {"type": "illegal_argument_exception", "reason": reason}}
        if POISON in json.dumps(document):
            return {"status": 400, "error": {"type": "document_parsing_exception", "reason": "failed to parse"}}
        version = where.get("version", 1)
        if name in self.documents and (action == "create" or version <= self.versions[name]):
            self.repeated += 1
            return {"status": 409, "error": {"type": "version_conflict_engine_exception", "reason": "exists"}}
        self.documents[name], self.versions[name] = self.keep(document), version
        self.got.append(self.documents[name])
        return {"status": 201}


class Sentinel(Api):
    """Logs Ingestion, and the place that gives out tokens."""

    LIMIT = 1 << 20

    def __init__(self) -> None:
        super().__init__()
        self.tokens = 0
        self.valid = True

    def answer(self, request: Request) -> Reply:  # noqa: PLR0911 - a status each
        if request.path == "/tenant/oauth2/v2.0/token":
            form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
            wanted = {"grant_type": "client_credentials", "client_id": "app", "client_secret": "hush hush",
                      "scope": "https://monitor.azure.com/.default"}  # fmt: skip
            if form != wanted:
                return Reply(401, b'{"error":"invalid_client"}')
            self.tokens += 1
            return Reply(200, b'{"access_token":"bearer-%d","expires_in":3600}' % self.tokens)
        if request.headers.get("authorization") != f"Bearer bearer-{self.tokens}" or not self.valid:
            self.valid = True
            return Reply(401, b'{"error":{"code":"InvalidToken"}}')
        rule = "dcr-" + "0" * 32
        if request.path != f"/dataCollectionRules/{rule}/streams/Custom-Alerts?api-version=2023-01-01":
            return Reply(404, b'{"error":{"code":"NotFound"}}')
        if len(request.body) > self.LIMIT:
            return Reply(413, b'{"error":{"code":"ContentLengthLimitExceeded"}}')
        rows = json.loads(request.body)
        if any(POISON in json.dumps(row) for row in rows):
            return Reply(400, b'{"error":{"code":"InvalidPayload"}}')
        self.got += map(self.keep, rows)
        return Reply(204, b"")


class SecOps(Api):
    """``events:import``, and the place that gives out tokens, which reads the assertion with the account's key."""

    LIMIT = 1_000_000

    def __init__(self, verify: Callable[[str], dict[str, Any]]) -> None:
        super().__init__()
        self.verify, self.tokens = verify, 0

    def answer(self, request: Request) -> Reply:  # noqa: PLR0911 - a status each
        if request.path == "/token":
            form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
            assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
            claims = self.verify(form["assertion"])
            if claims["scope"] != "https://www.googleapis.com/auth/cloud-platform" or claims["exp"] < time.time():
                return Reply(400, b'{"error":"invalid_grant"}')
            self.tokens += 1
            return Reply(200, b'{"access_token":"bearer-%d","expires_in":3599}' % self.tokens)
        if request.headers.get("authorization") != f"Bearer bearer-{self.tokens}":
            return Reply(401, b'{"error":{"status":"UNAUTHENTICATED"}}')
        if not re.fullmatch(r"/v1/projects/p/locations/eu/instances/i/events:import", request.path):
            return Reply(404)
        if len(request.body) > self.LIMIT:
            return Reply(413, b"too large")
        events = [event["udm"] for event in json.loads(request.body)["inlineSource"]["events"]]
        if any(POISON in json.dumps(event) or "event_timestamp" not in event["metadata"] for event in events):
            return Reply(400, b'{"error":{"status":"INVALID_ARGUMENT"}}')
        self.got += map(self.keep, events)
        return Reply(200, b"{}")


class Webhook(Api):
    """An address that checks signatures as Standard Webhooks say."""

    def __init__(self, key: bytes = b"key", bearer: str | None = None) -> None:
        super().__init__()
        self.key, self.bearer = key, bearer
        self.names: list[str] = []

    def answer(self, request: Request) -> Reply:
        if self.bearer is not None and request.headers.get("authorization") != f"Bearer {self.bearer}":
            return Reply(401, b"who are you, " + request.headers.get("authorization", "").encode())
        name, stamp = request.headers["webhook-id"], request.headers["webhook-timestamp"]
        told = hmac.new(self.key, f"{name}.{stamp}.".encode() + request.body, sha256).digest()
        assert request.headers["webhook-signature"] == "v1," + base64.b64encode(told).decode()
        assert abs(time.time() - int(stamp)) < 300
        assert request.headers["idempotency-key"] == name
        if POISON.encode() in request.body:
            return Reply(422, b"unprocessable")
        self.names.append(name)
        self.got.append(self.keep(json.loads(request.body)))
        return Reply(202, b"")
