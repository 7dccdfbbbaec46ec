"""The syslog sink against receivers of our own, which do what real ones do only when something is wrong."""

import re
import socket
import threading
import time
from contextlib import contextmanager

import pytest

from detector.renderings.kinds import RENDERINGS
from detector.sinks import syslog
from detector.sinks.connections import Tls
from detector.sinks.delivery import Refused, Retry
from detector.sinks.kinds import sink_of
from detector.sinks.messages import Message
from detector.sinks.syslog import FACILITIES, SyslogSink, header
from tests.kafka.broker import free_ports
from tests.renderings.samples import ALERT, MERGED, NASTY, OPEN, SAMPLES, hostile

LINE = re.compile(
    rb"<(\d{1,3})>1 (-|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z) ([!-~]{1,255}) eastwest - (\w{1,32}) "
    rb'(-|\[eastwest@32473 id="([a-z0-9]+)" revision="(\d+)" state="(\w+)"\]) (.*)',
    re.DOTALL,
)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(syslog, "LISTEN_SECONDS", 0.05)


def sink(port, transport="tcp", **options):
    usual = {"facility": "local0", "hostname": "sensor.example", "limit_bytes": 8192, "resend": 5, "tls": Tls()}
    return SyslogSink(host="127.0.0.1", port=port, transport=transport, **usual | {"seconds": 2.0} | options)


def messages(*numbers):
    return [Message(number, "alert", b"CEF:%d" % number, OPEN) for number in numbers]


def frames(content):
    """What a strict reader of RFC 6587, section 3.4.1, takes from a stream; the rest of it must be none."""
    found = []
    while content:
        length = re.match(rb"([1-9]\d*) ", content)
        end = length.end() + int(length[1])
        assert len(content) >= end
        found.append(content[length.end() : end])
        content = content[end:]
    return found


def told(content):
    return [int(re.search(rb"CEF:(\d+)$", frame)[1]) for frame in frames(content)]


class Taker:
    """Takes connections one after the other; `act` says what it does with each. Keeps what it read of each."""

    def __init__(self, *acts):
        self.acts, self.streams = acts, []
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.thread.join(10)
        self.server.close()
        assert not self.thread.is_alive()

    def _run(self):
        for act in self.acts:
            connection, _ = self.server.accept()
            self.streams.append(bytearray())
            with connection:
                act(connection, self.streams[-1])


def read_all(connection, stream):
    while piece := connection.recv(1 << 16):
        stream += piece


def read_one(connection, stream):
    """One call's records, then it leaves."""
    stream += connection.recv(1 << 16)


def read_one_and_stay_a_while(connection, stream):
    read_one(connection, stream)
    time.sleep(0.1)


# --- the header ---


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_a_header_is_one_of_rfc_5424(name):
    line = header(SAMPLES[name], 16, "sensor.example") + b"message"
    found = LINE.fullmatch(line)
    assert found, line
    assert found[6].decode() == SAMPLES[name].id
    assert int(found[7]) == SAMPLES[name].revision
    assert found[9] == b"message"


@pytest.mark.parametrize(
    ("told", "severity"), [(OPEN, 2), (SAMPLES["incident"], 3), (hostile(), 6), (MERGED, 6), (None, 6)]
)
@pytest.mark.parametrize("facility", ["kern", "local0", "local7"])
def test_the_priority_is_of_facility_and_severity(told, severity, facility):
    number = {"kern": 0, "local0": 16, "local7": 23}[facility]
    assert FACILITIES.index(facility) == number
    found = LINE.fullmatch(header(told, number, "h") + b"x")
    assert int(found[1]) == number * 8 + severity


def test_a_name_of_ours_that_no_header_can_bear_is_left_out():
    with Taker(read_all) as taker:
        out = sink(taker.port, hostname="s p\nü" * 200)
        out.send(messages(1))
        out.close()
    assert LINE.fullmatch(frames(taker.streams[0])[0])[3] == b"sp" * 127 + b"s"


# --- over a stream ---


def test_length_counts_bytes():
    record = Message(1, "alert", RENDERINGS["leef"](hostile()), hostile())
    assert "💀".encode() in record.payload
    with Taker(read_all) as taker:
        out = sink(taker.port)
        out.send([record])
        out.close()
    assert LINE.fullmatch(frames(taker.streams[0])[0])[9] == record.payload


def test_a_peer_that_left_is_noticed_before_anything_is_sent_and_gets_the_last_again():
    with Taker(read_one_and_stay_a_while, read_all) as taker:
        out = sink(taker.port)
        out.send(messages(1, 2, 3))
        time.sleep(0.2)
        with pytest.raises(Retry, match="closed"):
            out.send(messages(4))
        out.send(messages(4))
        out.close()
    assert [told(bytes(stream)) for stream in taker.streams] == [[1, 2, 3], [1, 2, 3, 4]]


def test_a_peer_that_left_when_there_was_nothing_to_send_gets_the_last_again():
    with Taker(read_one_and_stay_a_while, read_all) as taker:
        out = sink(taker.port)
        out.watch()  # nothing was sent: nobody is called
        out.send(messages(1, 2))
        out.watch()
        time.sleep(0.2)
        with pytest.raises(Retry, match="closed"):
            out.watch()
        out.watch()
        out.close()
    assert [told(bytes(stream)) for stream in taker.streams] == [[1, 2], [1, 2]]


def test_what_is_sent_again_has_a_bound():
    with Taker(read_one_and_stay_a_while, read_all) as taker:
        out = sink(taker.port, resend=2)
        out.send(messages(1, 2, 3))
        time.sleep(0.2)
        with pytest.raises(Retry):
            out.send(messages(4))
        out.send(messages(4))
        out.close()
    assert told(bytes(taker.streams[1])) == [2, 3, 4]


def test_one_that_takes_connections_and_leaves_gets_nothing_to_lose():
    """As a balancer does whose receivers are all away: no record counts as sent, however often it is tried."""
    with Taker(read_one_and_stay_a_while, read_one, read_one, read_one, read_all) as taker:
        out = sink(taker.port, resend=3)
        out.send(messages(1, 2, 3))
        for number in (4, 4, 4, 4):
            time.sleep(0.1)
            with pytest.raises(Retry):
                out.send(messages(number))
        out.send(messages(4, 5))
        out.close()
    assert told(bytes(taker.streams[-1])) == [1, 2, 3, 4, 5]


def test_a_peer_that_takes_nothing_is_given_up():
    done = threading.Event()
    with Taker(lambda *_: done.wait(10)) as taker:
        out = sink(taker.port, seconds=0.3, limit_bytes=1 << 20)
        begin = time.monotonic()
        with pytest.raises(Retry, match=r"timed out|acknowledged nothing"):
            out.send([Message(0, "alert", b"x" * 1_000_000, OPEN)] * 20)
        assert time.monotonic() - begin < 60
        done.set()
        out.close()


def test_a_slow_reader_is_waited_for():
    def slow(connection, stream):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
        while piece := connection.recv(1 << 14):
            stream += piece
            time.sleep(0.02)

    with Taker(slow) as taker:
        out = sink(taker.port, seconds=1.0)
        out.send([Message(number, "alert", b"x" * 8000, OPEN) for number in range(400)])
        out.close()
    assert len(frames(bytes(taker.streams[0]))) == 400


@pytest.mark.parametrize("transport", ["tcp", "udp", "tls"])
def test_nobody_there_is_a_retry(transport):
    out = sink(free_ports(1)[0], transport)
    with pytest.raises(Retry, match=r"127\.0\.0\.1"):
        out.send(messages(1))
    out.close()


def test_a_name_that_is_none_is_a_retry():
    out = SyslogSink(host="no.such.host.invalid", port=1, transport="tcp", facility="user", hostname=None,
                     limit_bytes=8192, resend=0, tls=Tls())  # fmt: skip
    with pytest.raises(Retry, match="invalid:1"):
        out.send(messages(1))


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_one_that_is_too_long_is_refused_and_those_before_it_arrive(transport):
    large = Message(3, "alert", b"x" * 8192, OPEN)
    with listening(transport) as (port, received):
        out = sink(port, transport)
        with pytest.raises(Refused, match="limit_bytes") as refused:
            out.send([*messages(1, 2), large, *messages(4)])
        assert refused.value.index == 2
        with pytest.raises(Refused):
            out.send([large])
        out.send(messages(4))
        out.close()
    assert [LINE.fullmatch(line)[9] for line in received] == [b"CEF:1", b"CEF:2", b"CEF:4"]


@contextmanager
def listening(transport):
    """A port, and what was received there once it is left."""
    received = []
    if transport == "tcp":
        with Taker(read_all) as taker:
            yield taker.port, received
        received += frames(bytes(taker.streams[0]))
        return
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(2)
        yield server.getsockname()[1], received
        server.setblocking(False)
        while True:
            try:
                received.append(server.recv(1 << 16))
            except BlockingIOError:
                return


def test_a_datagram_is_a_message():
    text = RENDERINGS["cef"](hostile(NASTY))
    with listening("udp") as (port, received):
        out = sink(port, "udp")
        out.send([Message(1, "alert", text, hostile()), *messages(2)])
        out.close()
    assert [LINE.fullmatch(line)[9] for line in received] == [text, b"CEF:2"]


def test_settings_make_one():
    options = {"host": "h", "port": 6514, "transport": "tls", "facility": "local0", "hostname": None}
    options |= {"limit_bytes": 8192, "resend": 1, "server_name": None}
    options |= {"ca_file": None, "cert_file": None, "key_file": None}
    assert isinstance(sink_of("syslog", options, {}), SyslogSink)


def test_every_rendering_with_short_strings_fits_the_usual_limit():
    """CEF and LEEF always do (test_renderings.py)."""
    for name, render in RENDERINGS.items():
        assert len(header(OPEN, 16, "h" * 255) + render(OPEN)) <= 8192, name
    assert ALERT.alert_id.encode() in header(OPEN, 16, "h")
