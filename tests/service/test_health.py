"""The health server: who is live, who is ready, and nobody can keep it busy."""

import contextlib
import http.client
import json
import socket
import threading
import time

import pytest

from detector.errors import ConfigError
from detector.metrics import Metrics
from detector.service import health as module
from detector.service.health import NEEDS, Health, HealthServer


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def health(clock):
    return Health(clock, beat_seconds=60)


@pytest.fixture
def server(health):
    with HealthServer("127.0.0.1", 0, health, Metrics("1", "x").exposition) as server:
        yield server


def ask(server, path, method="GET", host="127.0.0.1", **headers):
    connection = http.client.HTTPConnection(host, server.port, timeout=10)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer, content


def verdict(server, path):
    answer, content = ask(server, path)
    assert answer.headers["Content-Type"] == "application/json"
    return answer.status, json.loads(content)


def raw(server, content, wait=10.0):
    """What comes back for these bytes until the connection is closed."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=wait) as connection:
        connection.sendall(content)
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


# --- verdicts ---


def test_live_as_long_as_the_loop_goes_round(server, health, clock):
    clock.now = 59
    assert verdict(server, "/livez") == (200, {"status": "live", "silent_seconds": 59, "limit_seconds": 60})
    clock.now = 61
    assert verdict(server, "/livez")[0] == 503
    assert verdict(server, "/livez")[1]["status"] == "not live"
    health.beat()
    assert verdict(server, "/livez")[0] == 200


def test_ready_when_every_need_is_met_and_why_not(server, health):
    assert verdict(server, "/readyz") == (503, {"status": "not ready", "missing": dict.fromkeys(NEEDS, "not yet")})
    for need in NEEDS:
        assert verdict(server, "/readyz")[0] == 503
        health.done(need)
    assert verdict(server, "/readyz") == (200, {"status": "ready", "missing": {}})
    health.lost("assigned", "brokers are away")
    assert verdict(server, "/readyz") == (503, {"status": "not ready", "missing": {"assigned": "brokers are away"}})
    with pytest.raises(ValueError, match="none of assigned"):
        health.done("happy")
    with pytest.raises(ValueError, match="none of assigned"):
        health.lost("happy", "?")


def test_metrics_are_given_as_asked_for(server):
    answer, content = ask(server, "/metrics?name=x")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert b'eastwest_build_info{config="x",version="1"} 1.0' in content
    answer, content = ask(server, "/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert content.endswith(b"# EOF\n")


# --- manners ---


def test_head_is_get_without_the_content(server):
    answer, content = ask(server, "/metrics", "HEAD")
    assert (answer.status, content) == (200, b"")
    assert int(answer.headers["Content-Length"]) > 1000


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "X"])
def test_nothing_but_get_and_head(server, method):
    answer, _ = ask(server, "/metrics", method)
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", ["/", "/metrics/", "/../etc/passwd", "/%2e%2e/", "/livez/x", "*"])
def test_nothing_else_is_there(server, path):
    answer, content = ask(server, path)
    assert (answer.status, json.loads(content)) == (404, {"error": "Not Found"})


def test_an_answer_says_nothing_of_the_machine_and_nothing_of_the_request(server):
    answer = raw(server, b"GET /<script> HTTP/1.1\r\nHost: <b>\r\n\r\n")
    assert b"Server: eastwest\r\n" in answer
    assert b"Python" not in answer
    assert b"script" not in answer


def test_rubbish_is_refused_and_the_next_is_served(server):
    for content in (b"\x00\xff\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"a b c d\r\n\r\n", b"\r\n\r\n"):
        answer = raw(server, content)
        assert not answer or answer.startswith(b"HTTP/1.0 4") or b"error" in answer
    assert raw(server, b"GET /livez HTTP/1.0\r\n" + b"x: y\r\n" * 2000 + b"\r\n") == b""
    assert verdict(server, "/livez")[0] == 200


def test_a_pipeline_gets_one_answer(server):
    assert raw(server, b"GET /livez HTTP/1.1\r\n\r\n" * 3).count(b"HTTP/1.0 200") == 1


def test_who_is_slow_is_left(server, monkeypatch):
    monkeypatch.setattr(module, "_REQUEST_SECONDS", 0.3)
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as slow, contextlib.suppress(ConnectionError):
        for _ in range(10):  # a byte now and then does not help
            slow.sendall(b"G")
            time.sleep(0.1)
        assert slow.recv(10) == b""
    assert time.monotonic() - began < 5
    assert verdict(server, "/livez")[0] == 200


def test_many_at_once_do_not_take_a_thread_each(server, monkeypatch):
    monkeypatch.setattr(module, "_REQUEST_SECONDS", 2.0)
    before = threading.active_count()
    held = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(40)]
    time.sleep(0.5)
    assert threading.active_count() - before <= 16
    for connection in held:
        connection.close()
    end = time.monotonic() + 5
    while time.monotonic() < end:
        try:
            assert verdict(server, "/livez")[0] == 200
            return
        except (OSError, http.client.HTTPException):
            time.sleep(0.1)
    pytest.fail("not served again")


# --- addresses ---


@pytest.mark.parametrize(
    ("host", "clients"), [("::1", ["::1"]), ("::", ["::1", "127.0.0.1"]), ("localhost", ["localhost"])]
)
def test_it_listens_where_it_is_told(health, host, clients):
    if not socket.has_ipv6 or not has_ipv6_address():
        pytest.skip("no IPv6 here")
    with HealthServer(host, 0, health, Metrics("1", "x").exposition) as server:
        for client in clients:
            assert ask(server, "/livez", host=client)[0].status == 200


def has_ipv6_address():
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return False
    return True


def test_an_address_that_cannot_be_is_told(health, server):
    for host, port in (("127.0.0.1", server.port), ("no.such.host.invalid", 0), ("192.0.2.1", 0)):
        with pytest.raises(ConfigError, match=f"http: cannot listen at {host} port {port}: "):
            HealthServer(host, port, health, Metrics("1", "x").exposition)


def test_after_it_is_closed_nobody_answers(health):
    with HealthServer("127.0.0.1", 0, health, Metrics("1", "x").exposition) as server:
        port = server.port
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=5)
