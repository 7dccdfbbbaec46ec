"""The client of all sinks that speak HTTP, against a real server on loopback, TLS included."""

import ssl
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from detector.sinks.delivery import Refused, Retry
from detector.sinks.http import PAUSE_SECONDS, Client, Unwilling, in_parts
from tests.kafka.broker import free_ports
from tests.sinks.conftest import message
from tests.sinks.web import CLIENT_SECONDS, Api, Reply, serving


class Echo(Api):
    def answer(self, request):
        self.got.append(request)
        return Reply(200, b'{"said":"' + request.headers.get("authorization", "").encode() + b'"}')


@pytest.fixture
def server():
    with serving(Echo()) as server:
        yield server


@pytest.fixture
def client(server):
    client = Client(server.url + "/base/", seconds=CLIENT_SECONDS)
    yield client
    client.close()


def failed(client, path="/x"):
    with pytest.raises(Retry) as raised:
        client.post(path, b"body", {})
    return raised.value.reason


# --- one request ---


def test_a_request_arrives_as_it_was_sent_and_compressed_where_wanted(client, server):
    content = b"0123456789" * 1000
    client.post("/a?b=c", content, {"X-One": "1"})
    client.post("/a", content, {}, compress=True)
    plain, packed = server.api.got
    assert (plain.path, plain.headers["x-one"], plain.body, plain.size) == ("/base/a?b=c", "1", content, len(content))
    assert packed.body == content
    assert packed.size < 200


def test_a_connection_is_kept(client, server):
    for _ in range(5):
        client.post("/", b"x", {})
    assert len({request.peer for request in server.seen}) == 1
    client.close()
    client.post("/", b"x", {})
    assert len({request.peer for request in server.seen}) == 2


def test_an_answer_does_not_tell_the_secret_that_is_in_the_request(client):
    answer = client.post("/", b"", {"Authorization": "Splunk s3cr3t"}, hide="s3cr3t")
    assert answer.good
    assert "s3cr3t" not in answer.said
    assert answer.said == '{"said":"Splunk (secret)"}'


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("reset", "the connection ended before the answer did"),
        ("cut", "the connection ended before the answer did"),
        ("half-open", "no answer in time"),
        ("mute", "no answer in time"),
        ("drip", "an answer that took more than 1 s"),
        (Reply(200, b"x" * ((8 << 20) + 1)), "an answer of more than 8388608 bytes"),
    ],
)
def test_what_goes_wrong_is_tried_again_and_told_without_the_path(client, server, fault, said):
    server.script = [fault]
    begun = time.monotonic()
    reason = failed(client, "/hooks/s3cr3t")
    assert said in reason
    assert "s3cr3t" not in reason
    assert reason.startswith("127.0.0.1:")
    assert time.monotonic() - begun < 20
    assert client.post("/x", b"", {}).good


def test_nobody_there_is_told(client):
    [port] = free_ports(1)
    assert "nobody answers: Connection refused" in failed(Client(f"http://127.0.0.1:{port}", seconds=CLIENT_SECONDS))
    assert "nobody answers" in failed(Client("http://no-such-host.invalid", seconds=CLIENT_SECONDS))


def test_no_redirect_is_followed(client, server):
    server.script = [Reply(302, b"", (("Location", "http://example.invalid/"),))]
    problem = client.post("/", b"", {}).problem()
    assert isinstance(problem, Retry)
    assert problem.after == PAUSE_SECONDS
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("status", "kind", "after"),
    [
        (408, Retry, None),
        (425, Retry, None),
        (429, Retry, None),
        (500, Retry, None),
        (503, Retry, None),
        (599, Retry, None),
        (301, Retry, PAUSE_SECONDS),
        (401, Retry, PAUSE_SECONDS),
        (403, Retry, PAUSE_SECONDS),
        (404, Retry, PAUSE_SECONDS),
        (407, Retry, PAUSE_SECONDS),
        (400, Unwilling, None),
        (413, Unwilling, None),
        (422, Unwilling, None),
    ],
)
def test_a_status_speaks_of_the_moment_the_place_or_the_content(client, server, status, kind, after):
    server.script = [Reply(status, b"why\x1b[31m\n not")]
    problem = client.post("/", b"", {}).problem()
    assert type(problem) is kind
    assert getattr(problem, "after", None) == after
    assert problem.reason.endswith(f"answer {status}: why [31m not")


@pytest.mark.parametrize(
    ("header", "low", "high"),
    [
        ("7", 7, 7),
        (timedelta(seconds=100), 50, 101),
        (timedelta(seconds=-100), 0, 0),
        ("soon", None, None),
        ("-3", None, None),
        ("9" * 30, None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(client, server, header, low, high):
    if isinstance(header, timedelta):
        header = format_datetime(datetime.now(UTC) + header, usegmt=True)
    server.script = [Reply(429, b"", (("Retry-After", header),))]
    after = client.post("/", b"", {}).problem().after
    assert (after is None) if low is None else (low <= after <= high)


def test_a_proxy_of_the_environment_is_used_unless_it_is_not_to_be(server, monkeypatch):
    monkeypatch.setenv("http_proxy", server.url.replace("http://", "http://name:word@"))
    monkeypatch.delenv("no_proxy", raising=False)
    client = Client("http://siem.invalid/x")
    assert client.post("/y", b"", {}).good
    [request] = server.api.got
    assert request.path == "http://siem.invalid/x/y"
    assert request.headers["proxy-authorization"] == "Basic bmFtZTp3b3Jk"
    client.close()
    monkeypatch.setenv("no_proxy", "siem.invalid")
    assert "nobody answers" in failed(Client("http://siem.invalid/x", seconds=CLIENT_SECONDS))


# --- TLS ---


@pytest.fixture(scope="module")
def keys(tmp_path_factory, request):
    """A server's certificate and key, a client's, both signed by themselves."""
    folder = tmp_path_factory.mktemp("keys")
    require_tool = request.getfixturevalue("require_tool")
    for name in ("server", "client", "other"):
        command = (
            f"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN={name} "
            f"-addext subjectAltName=IP:127.0.0.1 -keyout {folder}/{name}.key -out {folder}/{name}.pem"
        )
        subprocess.run([require_tool("openssl"), *command.split()], check=True, capture_output=True)
    return folder


@pytest.fixture
def secured(keys):
    """A server that asks for a certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=keys / "client.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(keys / "server.pem", keys / "server.key")
    with serving(Echo(), context) as server:
        yield server


def test_both_sides_show_certificates(secured, keys):
    client = Client(secured.url, keys / "server.pem", keys / "client.pem", keys / "client.key", seconds=5)
    assert client.post("/", b"x", {}).good
    client.close()


def test_a_certificate_that_nobody_vouches_for_is_not_spoken_to(secured, keys):
    for ca in (None, keys / "other.pem"):
        client = Client(secured.url, ca, keys / "client.pem", keys / "client.key", seconds=5)
        assert "TLS: self-signed certificate" in failed(client)
    assert secured.seen == []


def test_a_certificate_is_of_the_host_that_is_called(secured, keys):
    client = Client(
        secured.url.replace("127.0.0.1", "localhost"), keys / "server.pem", keys / "client.pem", keys / "client.key"
    )
    assert "TLS: Hostname mismatch" in failed(client)


def test_who_shows_none_is_sent_away(secured, keys):
    assert "127.0.0.1" in failed(Client(secured.url, keys / "server.pem", seconds=5))
    assert secured.seen == []


def test_a_file_that_is_missing_is_told_and_read_when_it_is_there(secured, keys, tmp_path):
    ca = tmp_path / "ca.pem"
    client = Client(secured.url, ca, keys / "client.pem", keys / "client.key", seconds=5)
    assert "No such file or directory" in failed(client)
    ca.write_bytes((keys / "server.pem").read_bytes())
    assert client.post("/", b"x", {}).good
    client.close()


# --- in parts ---


def sent_in(bad, most=100, most_bytes=10_000, count=20, hint=False):
    """The requests, as numbers of their records, and what was raised."""
    requests = []

    def send(part):
        numbers = [record.sequence for record in part]
        requests.append(numbers)
        if found := [index for index, number in enumerate(numbers) if number in bad]:
            raise Unwilling("no", found[0] if hint else None)

    try:
        in_parts([message(number, content=b"x" * 100) for number in range(count)], send, most, most_bytes)
    except Refused as problem:
        return requests, problem.index
    return requests, None


def test_requests_are_no_larger_than_they_may_be():
    assert sent_in(set(), most=8)[0] == [[*range(8)], [*range(8, 16)], [*range(16, 20)]]
    assert sent_in(set(), most_bytes=750)[0] == [[*range(7)], [*range(7, 14)], [*range(14, 20)]]
    assert sent_in(set(), most_bytes=1, count=2)[0] == [[0], [1]]
    assert sent_in({0}, hint=True)[0] == [[*range(20)], [0]]


@pytest.mark.parametrize("hint", [False, True])
@pytest.mark.parametrize("bad", [0, 1, 7, 18, 19])
def test_a_bad_record_is_found_and_those_before_it_have_arrived(bad, hint):
    requests, refused = sent_in({bad, bad + 1}, hint=hint)
    assert refused == bad
    arrived = [number for numbers in requests for number in numbers if not {bad, bad + 1} & set(numbers)]
    assert arrived == [*range(bad)]
    assert len(requests) <= (5 if hint else 10)


def test_what_arrived_is_counted_when_a_later_request_fails():
    calls = []

    def send(part):
        calls.append(part)
        if len(calls) == 3:
            raise Retry("later", 9, taken=2)

    with pytest.raises(Retry) as raised:
        in_parts([message(number) for number in range(20)], send, 5, 10_000)
    assert (raised.value.taken, raised.value.after) == (12, 9)


def test_urllib3_is_loaded_when_somebody_is_spoken_to():
    program = "import sys; from detector.sinks import elastic, http, kinds, secops, sentinel, splunk, webhook; "
    program += "print('urllib3' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, timeout=60)
    assert done.stdout == b"False\n"
