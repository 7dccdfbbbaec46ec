"""Incidents over HTTP, on the health server itself."""

import http.client
import json
import socket
from datetime import UTC, datetime, timedelta

import pytest

from detector.errors import ConfigError
from detector.incidents.book import Book, Opening
from detector.metrics import Metrics
from detector.service.cases import CasesApi
from detector.service.health import Health, HealthServer

START = datetime(2026, 3, 9, 10, tzinfo=UTC)
TOKEN = "correct-horse"


@pytest.fixture
def book(tmp_path):
    book = Book(tmp_path)
    book.open([Opening("one", "2026-03-09T09:30:00Z", "2026-03-09T10:00:00Z", "high", "a\u202e<b>")], START)
    return book


def serving(book, token):
    api = CasesApi(book, token, lambda: START + timedelta(minutes=5))
    return HealthServer("127.0.0.1", 0, Health(), Metrics("1", "x").exposition, api)


@pytest.fixture
def server(book):
    with serving(book, lambda: TOKEN) as server:
        yield server


def ask(server, method, path, body=None, token=TOKEN):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    content = body if body is None or isinstance(body, bytes) else json.dumps(body)
    connection.request(method, path, content, {} if token is None else {"Authorization": f"Bearer {token}"})
    answer = connection.getresponse()
    told = answer.read()
    connection.close()
    assert told.isascii()
    return answer.status, json.loads(told)


def test_incidents_are_read_without_a_token(server):
    status, told = ask(server, "GET", "/incidents", token=None)
    assert status == 200
    assert (told["count"], told["states"]["opened"], told["mean_seconds"]["detect"]) == (1, 1, 1800)
    assert "history" not in told["incidents"][0]
    status, told = ask(server, "GET", "/incidents/one", token=None)
    assert (status, told["state"], told["history"][0]["by"]) == (200, "opened", "eastwest")
    assert ask(server, "GET", "/incidents?state=closed")[1]["incidents"] == []
    assert ask(server, "GET", "/incidents?state=no")[0] == 400
    assert ask(server, "GET", "/incidents/two")[0] == 404


def test_an_incident_is_moved(server, book):
    status, told = ask(server, "POST", "/incidents/one", {"move": "acknowledge", "by": "anna", "why": "on it"})
    assert (status, told["state"], told["seconds"]["acknowledge"]) == (200, "acknowledged", 300)
    assert book.case("one").state == "acknowledged"


@pytest.mark.parametrize(
    ("path", "body", "token", "status"),
    [
        ("/incidents/one", {"move": "contain", "by": "anna"}, None, 401),
        ("/incidents/one", {"move": "contain", "by": "anna"}, "wrong", 401),
        ("/incidents/one", {"move": "contain", "by": "anna"}, "ключ".encode().decode("latin-1"), 401),
        ("/incidents/two", {"move": "contain", "by": "anna"}, TOKEN, 404),
        ("/incidents/one", {"move": "reopen", "by": "anna", "why": "x"}, TOKEN, 409),
        ("/incidents/one", {"move": "contain", "by": ""}, TOKEN, 409),
        ("/incidents/one", {"move": "contain", "by": "anna", "at": "yesterday"}, TOKEN, 409),
        ("/incidents/one", {"move": "vanish", "by": "anna"}, TOKEN, 400),
        ("/incidents/one", {"move": "contain", "by": 7}, TOKEN, 400),
        ("/incidents/one", {"move": "contain", "by": "anna", "who": "me"}, TOKEN, 400),
        ("/incidents/one", b"\xff{", TOKEN, 400),
        ("/incidents/one", b"[" * 5000, TOKEN, 400),
        ("/incidents/one", b"x" * 9000, TOKEN, 413),
        ("/metrics", {"move": "contain", "by": "anna"}, TOKEN, 405),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(server, book, path, body, token, status):
    before = book.path.read_bytes()
    assert ask(server, "POST", path, body, token)[0] == status
    assert book.path.read_bytes() == before


def test_without_a_token_in_the_settings_nobody_moves_anything(book):
    with serving(book, None) as server:
        assert ask(server, "POST", "/incidents/one", {"move": "contain", "by": "anna"})[0] == 403
        assert ask(server, "GET", "/incidents/one")[0] == 200


def test_a_token_that_cannot_be_read_opens_nothing(book):
    def gone():
        raise ConfigError("token", "", "cannot be read")

    with serving(book, gone) as server:
        assert ask(server, "POST", "/incidents/one", {"move": "contain", "by": "anna"})[0] == 500
    assert book.case("one").state == "opened"


def test_a_body_that_comes_in_parts_is_read_and_one_without_length_is_not(server):
    body = json.dumps({"move": "contain", "by": "anna"}).encode()
    head = f"POST /incidents/one HTTP/1.1\r\nAuthorization: Bearer {TOKEN}\r\n".encode()
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(head + f"Content-Length: {len(body)}\r\n\r\n".encode() + body[:7])
        connection.sendall(body[7:])
        assert b"200" in connection.recv(64)
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(head + b"\r\n" + body)
        assert b"413" in connection.recv(64)


def test_a_journal_that_somebody_changed_is_an_error_and_the_rest_answers(server, book):
    book.path.write_bytes(b"{}\n" + book.path.read_bytes())
    assert ask(server, "GET", "/incidents")[0] == 500
    assert ask(server, "GET", "/livez")[0] == 200
