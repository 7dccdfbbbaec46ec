"""Syslog to rsyslog and syslog-ng as Debian has them: what they parse is what was sent, field by field, over UDP, TCP
and TLS, whatever the strings, and after they were started anew."""

import re
import threading
import time
from collections import Counter
from contextlib import contextmanager
from datetime import datetime
from unittest.mock import patch

import pytest

from detector.alerts.model import told_json
from detector.renderings.kinds import RENDERINGS
from detector.sinks import delivery, syslog
from detector.sinks.connections import Tls
from detector.sinks.delivery import Delivery, Retry
from detector.sinks.messages import Message, rendering
from detector.sinks.syslog import SyslogSink
from tests.faults.proxy import Proxy
from tests.kafka.broker import free_ports
from tests.renderings import parsers
from tests.renderings.samples import OPEN, SAMPLES, hostile
from tests.sinks.receivers import RECEIVERS, make_certificates

EXTERNAL = re.compile(r"externalId=(\w+)")


@pytest.fixture(scope="module")
def certs(tmp_path_factory, require_tool):
    require_tool("openssl")
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def sink(port, transport, certs, **options):
    usual = {"facility": "local3", "hostname": "sensor.example", "limit_bytes": 65_507, "resend": 5000}
    tls = Tls(certs / "ca.pem") if transport == "tls" else Tls()
    return SyslogSink(host="127.0.0.1", port=port, transport=transport, **usual | {"tls": tls} | options)


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
@pytest.mark.parametrize("name", sorted(RECEIVERS))
def test_a_receiver_parses_what_was_sent(name, transport, certs, tmp_path):
    """All renderings of all samples, the hostile one among them: no message becomes two, and none another."""
    told = [sample for sample in (*SAMPLES.values(), hostile("\r\n<14>1 - - - - - - forged\n")) for _ in RENDERINGS]
    sent = [
        Message(0, one.kind, render(one), one) for one, render in zip(told, [*RENDERINGS.values()] * 6, strict=True)
    ]
    with RECEIVERS[name](tmp_path, transport, certs) as receiver:
        out = sink(receiver.port, transport, certs)
        out.send(sent)
        out.close()
        received = receiver.expect(len(sent))
    assert [line["message"].encode() for line in received] == [message.payload for message in sent]
    for line, one in zip(received, told, strict=True):
        assert line["app"] == "eastwest"
        assert line["host"] == "sensor.example"
        assert line["msgid"] == one.kind
        assert f'id="{one.id}" revision="{one.revision}"' in line["data"]
        time = one.ts if one.record is None else getattr(one.record, "last_ts", "") or one.record.ts
        assert datetime.fromisoformat(line["timestamp"]) == datetime.fromisoformat(time)
        assert 19 * 8 <= int(line["pri"]) < 20 * 8
    assert parsers.cef(received[list(RENDERINGS).index("cef")]["message"].encode())[1]["externalId"] == OPEN.id


@pytest.mark.parametrize("name", sorted(RECEIVERS))
def test_both_show_certificates(name, certs, tmp_path):
    ours = Tls(certs / "ca.pem", certs / "client.pem", certs / "client.key")
    with RECEIVERS[name](tmp_path, "tls", certs, mutual=True) as receiver:
        bare = sink(receiver.port, "tls", certs)
        with pytest.raises(Retry):
            bare.send([Message(0, "alert", b"from nobody", OPEN)])
        bare.close()
        out = sink(receiver.port, "tls", certs, tls=ours)
        out.send([Message(0, "alert", b"from us", OPEN)])
        out.close()
        assert [line["message"] for line in receiver.expect(1)] == ["from us"]


@pytest.mark.parametrize(
    ("tls", "problem"),
    [
        ({"ca_file": "other.pem"}, "certificate verify failed"),
        ({"ca_file": "ca.pem", "server_name": "siem.example"}, "Hostname mismatch"),
        ({"ca_file": "missing.pem"}, "No such file"),
        ({"ca_file": "ca.pem", "server_name": "receiver.example"}, None),
    ],
)
def test_a_receiver_is_who_we_mean(tls, problem, certs, tmp_path):
    files = {key: certs / value if key == "ca_file" else value for key, value in tls.items()}
    with RECEIVERS["rsyslog"](tmp_path, "tls", certs) as receiver:
        out = sink(receiver.port, "tls", certs, tls=Tls(**files))
        if problem is None:
            out.send([Message(0, "alert", b"x", OPEN)])
            assert receiver.expect(1)
        else:
            with pytest.raises(Retry, match=problem):
                out.send([Message(0, "alert", b"x", OPEN)])
        out.close()


@pytest.mark.parametrize("name", sorted(RECEIVERS))
def test_what_the_page_shows_works(name, certs, tmp_path):
    with RECEIVERS[name](tmp_path, "tls", certs, documented=f"{name}.md") as receiver:
        out = sink(receiver.port, "tls", certs)
        sent = [Message(0, one.kind, RENDERINGS["native"](one), one) for one in SAMPLES.values()]
        out.send(sent)
        out.close()
        receiver.wait(lambda: receiver.out.exists() and receiver.out.read_bytes().count(b"\n") >= len(sent))
    lines = receiver.out.read_bytes().splitlines()
    assert [line.strip() for line in lines] == [message.payload for message in sent]


# --- many, through faults ---


def fill(outbox, count):
    """So many alerts, each with an id of its own. Returns their ids."""
    line = told_json(OPEN)
    ids = [f"{number:026d}" for number in range(count)]
    for number, one in enumerate(ids):
        outbox.append("alert", line.replace(OPEN.id.encode(), one.encode()))
        if number % 10_000 == 9_999:
            outbox.sync()
    outbox.sync()
    return ids


class Stormy:
    """A sink whose deliveries set off storms, each while it goes on sending: how many there are depends on what was
    handed over and not on who is quicker.

    Args:
        out: the sink.
        storm: what happens, in a thread of its own.
        due: after so many records.
    """

    def __init__(self, out, storm, due):
        self._out, self._storm, self._due = out, storm, list(due)
        self._handed, self.storms = 0, []

    def send(self, records):
        self._out.send(records)
        self._handed += len(records)
        while self._due and self._handed >= self._due[0]:
            self._due.pop(0)
            self.join()
            self.storms.append(threading.Thread(target=self._storm))
            self.storms[-1].start()

    def join(self):
        for storm in self.storms:
            storm.join()

    def watch(self):
        self._out.watch()

    def close(self):
        self._out.close()


@contextmanager
def fed(outbox, out, storm, due):
    """Delivers all of it through storms, as many as are due; a context, in which the sink has nothing left to send."""
    stormy = Stormy(out, storm, due)
    batch = min(delivery.BATCH, outbox.end // 30)
    feed = Delivery("syslog", stormy, outbox, lambda *_: None, render=rendering("cef"), batch=batch)
    with (
        patch.object(delivery, "FIRST_SECONDS", 0.05),
        patch.object(delivery, "MOST_SECONDS", 0.5),
        patch.object(delivery, "WATCH_SECONDS", 0.2),
        patch.object(syslog, "LISTEN_SECONDS", 0.3),
    ):
        feed.start()
        while feed.progress.waiting:
            time.sleep(0.01)
        stormy.join()
        yield
        assert feed.stop(60)
    assert len(stormy.storms) == len(due)
    assert feed.progress.delivered == outbox.end
    assert feed.progress.refused == 0


def arrived(receiver):
    """How often each id arrived."""
    return Counter(EXTERNAL.search(line["message"])[1] for line in receiver.received())


def told(receiver, ids, fault):
    """A row of the table; none that arrived may be changed. Returns those that never did."""
    plain = RENDERINGS["cef"](OPEN).decode()
    for line in receiver.received():
        assert line["message"].replace(EXTERNAL.search(line["message"])[1], OPEN.id) == plain
    found = arrived(receiver)
    assert set(found) <= set(ids)
    missing = [one for one in ids if one not in found]
    duplicates = found.total() - len(found)
    name = type(receiver).__name__
    print(f"| {name} {receiver.transport} | {fault} | {len(ids)} | {len(found)} | {duplicates} |")
    return missing


LONG = [pytest.mark.faults, pytest.mark.timeout(1800)]
RUNS = [
    pytest.param("rsyslog", "tls", 1_500, id="rsyslog-tls-few"),
    pytest.param("syslog-ng", "tcp", 1_500, id="syslog-ng-tcp-few"),
    *(pytest.param(name, transport, 100_000, id=f"{name}-{transport}-many", marks=LONG)
      for name in RECEIVERS for transport in ("tcp", "tls")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "transport", "count"), RUNS)
def test_all_arrive_though_the_receiver_is_restarted(name, transport, count, certs, tmp_path, outbox):
    """Stopped as an administrator does, and a while later there again, four times."""
    ids = fill(outbox, count)
    with RECEIVERS[name](tmp_path, transport, certs) as receiver:

        def restart():
            receiver.stop()
            time.sleep(0.2)
            receiver.start()

        with fed(outbox, sink(receiver.port, transport, certs), restart, range(count // 5, count, count // 5)):
            receiver.wait(lambda: len(arrived(receiver)) == count)
        assert told(receiver, ids, "stopped and started 4 times") == []


@pytest.mark.parametrize(("name", "transport", "count"), RUNS)
def test_all_arrive_over_a_line_that_is_cut(name, transport, count, certs, tmp_path, outbox):
    ids = fill(outbox, count)
    [port] = free_ports(1)
    with RECEIVERS[name](tmp_path, transport, certs) as receiver, Proxy(port, receiver.port) as proxy:
        due = range(count // 10, count, count // 10)
        with fed(outbox, sink(port, transport, certs), proxy.cut, due):
            receiver.wait(lambda: len(arrived(receiver)) == count)
        assert told(receiver, ids, f"line cut {len(due)} times") == []
    assert proxy.cuts > 0


@pytest.mark.parametrize(("name", "transport", "count"), RUNS)
def test_a_receiver_that_is_killed_loses_no_more_than_it_held(name, transport, count, certs, tmp_path, outbox):
    """What it had in memory and what it had not read yet comes again, as far as ``resend`` goes back."""
    ids = fill(outbox, count)
    with RECEIVERS[name](tmp_path, transport, certs) as receiver:

        def kill():
            receiver.kill()
            receiver.start()

        with fed(outbox, sink(receiver.port, transport, certs), kill, [count // 2]):
            receiver.wait(lambda: ids[-1] in arrived(receiver))
        assert told(receiver, ids, "killed once") == []
