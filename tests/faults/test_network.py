"""F6: the line to the broker is slow, loses packets, is cut, or goes silent one way."""

import time

import pytest

from tests.faults.fed import Expected, on
from tests.faults.proxy import Proxy
from tests.faults.test_brokers import PATIENT
from tests.kafka.broker import Cluster, free_ports
from tests.kafka.fixtures import abandoned_sockets, broker_for

pytestmark = [pytest.mark.kafka, pytest.mark.faults]
HEAL_SECONDS = 60.0
ANSWER_SECONDS = 10.0  # `sources.kafka`: then a connection that says nothing is given up


@pytest.fixture(scope="module")
def line(kafka_bootstrap, tmp_path_factory):
    """A broker that can be reached only through a proxy: it tells everybody that it lives there."""
    del kafka_bootstrap  # says whether Java is there
    cluster = Cluster(tmp_path_factory.mktemp("kafka") / "cluster")
    [node], [port] = cluster.nodes, free_ports(1)
    settings = node.folder / "settings"
    direct = f"advertised.listeners=PLAINTEXT://127.0.0.1:{node.port}"
    assert direct in settings.read_text()
    settings.write_text(settings.read_text().replace(direct, f"advertised.listeners=PLAINTEXT://127.0.0.1:{port}"))
    with abandoned_sockets(), Proxy(port, node.port) as proxy, cluster:
        yield proxy


@pytest.fixture
def subject(line, rows, world, tmp_path, request):
    """A running service with a part of its rows, and what it must tell of all."""
    line.calm()
    kafka = broker_for([f"127.0.0.1:{line.port}"], request.node.name)
    with on(kafka, rows, world, tmp_path, share=0.3, kafka=PATIENT) as made:
        expected = Expected(made.rows, world, tmp_path)
        made.start()
        made.wait(made.through)
        yield made, expected


def test_a_slow_line_that_loses_packets(line, subject, results):
    service, expected = subject
    service.publish_until(1)
    line.delay, line.jitter, line.lost = 0.5, 0.2, 0.05
    slow = service.wait(service.through)
    line.calm()
    service.finish()
    expected.check(service, results, "F6 500 ms, give or take 200, and 5 % lost", heal=round(slow, 1))
    assert slow < HEAL_SECONDS


def test_a_line_that_is_cut_again_and_again(line, subject, results):
    service, expected = subject
    for share in range(4, 10):
        service.publish_until(share / 10)
        time.sleep(0.3)
        line.cut()
    assert line.cuts >= 6
    heal = service.finish()
    expected.check(service, results, "F6 cut again and again", heal=heal)
    assert heal < HEAL_SECONDS


@pytest.mark.parametrize("way", ["there", "back"])
def test_a_line_that_is_silent_one_way(way, line, subject, results):
    """Nobody is told: requests do not arrive, or answers do not."""
    service, expected = subject
    service.publish_until(0.6)
    line.silent = frozenset({way})
    time.sleep(2 * ANSWER_SECONDS)
    assert service.process.poll() is None
    line.calm()
    heal = service.finish()
    expected.check(service, results, f"F6 silent on the way {way}", heal=heal)
    assert heal < HEAL_SECONDS
