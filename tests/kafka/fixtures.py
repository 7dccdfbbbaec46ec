"""Fixtures that give tests a Kafka: import them in the ``conftest.py`` of a folder whose tests need one.

``kafka`` is one broker for all tests of a run, workers of pytest-xdist included, with topics for each test alone.
``kafka_cluster`` starts a cluster of the test's own, whose nodes it may kill. Where Java, Maven or the jars are missing
tests skip and say so; in CI they fail.
"""

import gc
import itertools
import json
import logging
import os
import re
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient

from tests.kafka.broker import Cluster, Unavailable, alone

IN_CI = bool(os.environ.get("CI"))
WORKER_SECONDS = 300  # that the worker which started the broker waits for the others


def leave(problem: str) -> None:
    """Skip the test, or fail it in CI."""
    if IN_CI:
        pytest.fail(f"{problem}, and in CI no test may skip for that")
    pytest.skip(problem)


@dataclass(frozen=True)
class Broker:
    """A Kafka with topics that only one test uses."""

    bootstrap: list[str]
    prefix: str
    numbers: Iterator[int]

    @contextmanager
    def admin(self) -> Iterator[KafkaAdminClient]:
        """A client for what tests do to topics."""
        client = KafkaAdminClient(bootstrap_servers=self.bootstrap)
        try:
            yield client
        finally:
            client.close()

    @contextmanager
    def producer(self, **how: object) -> Iterator[KafkaProducer]:
        """A producer that has sent everything when it is left."""
        client = KafkaProducer(bootstrap_servers=self.bootstrap, **how)
        try:
            yield client
            client.flush()
        finally:
            client.close()

    def topic(self, partitions: int = 1, **configs: object) -> str:
        """A new topic with the broker's time; ``configs`` are those of Kafka with _ for . in their names."""
        name = f"{self.prefix}-{next(self.numbers)}"
        settings = {"message.timestamp.type": "LogAppendTime"}
        settings |= {key.replace("_", "."): str(value) for key, value in configs.items()}
        with self.admin() as admin:
            topics = {name: {"num_partitions": partitions, "configs": settings}}
            admin.create_topics(topics, wait_for_metadata=True)
        return name


def broker_for(bootstrap: list[str], test: str) -> Broker:
    """The broker with names of topics that no other test, worker or run takes."""
    name = re.sub(r"[^A-Za-z0-9_-]", "-", test)[:100]
    return Broker(bootstrap, f"{name}-{os.getpid()}-{time.time_ns() % 10**9}", itertools.count())


@pytest.fixture(scope="session")
def kafka_bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """The addresses of ``KAFKA_BOOTSTRAP_SERVERS``, or of a broker started for this run."""
    if given := os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        yield given.split(",")
        return
    shared = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        shared = shared.parent  # of all workers
    with _one_of_all(shared) as bootstrap:
        yield bootstrap


@contextmanager
def _one_of_all(shared: Path) -> Iterator[list[str]]:
    """One broker for all workers: the first starts it, and stops it when no other uses it any more."""
    lock, users = shared / "kafka.lock", shared / "kafka.json"
    cluster = None
    with alone(lock):
        if users.exists():
            state = json.loads(users.read_text())
        else:
            try:
                cluster = Cluster(Path(tempfile.mkdtemp(dir=shared)) / "kafka")
            except Unavailable as problem:
                leave(str(problem))
            state = {"bootstrap": cluster.__enter__().bootstrap, "users": 0}
        users.write_text(json.dumps(state | {"users": state["users"] + 1}))
    try:
        yield state["bootstrap"]
    finally:
        with alone(lock):
            state = json.loads(users.read_text())
            users.write_text(json.dumps(state | {"users": state["users"] - 1}))
        if cluster:
            _wait_for_others(lock, users)
            cluster.__exit__()


def _wait_for_others(lock: Path, users: Path) -> None:
    end = time.monotonic() + WORKER_SECONDS
    while time.monotonic() < end:
        with alone(lock):
            if not json.loads(users.read_text())["users"]:
                users.unlink()  # who comes now starts one of their own
                return
        time.sleep(0.1)


@pytest.fixture
def kafka(kafka_bootstrap: list[str], request: pytest.FixtureRequest) -> Broker:
    """The broker of this run."""
    return broker_for(kafka_bootstrap, request.node.name)


@pytest.fixture(scope="module")
def kafka_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[int], Cluster]]:
    """Call it with 1 or 3 to get a running cluster of so many nodes, ended after the module."""
    running: list[Cluster] = []

    def start(size: int) -> Cluster:
        try:
            cluster = Cluster(tmp_path_factory.mktemp("kafka") / "cluster", size)
        except Unavailable as problem:
            leave(str(problem))
        running.append(cluster)
        return cluster.__enter__()

    with abandoned_sockets():
        yield start
        for cluster in running:
            cluster.__exit__()


@contextmanager
def abandoned_sockets() -> Iterator[None]:
    """kafka-python leaves a socket open where no broker answers, in garbage that its exceptions hold together, and
    pytest holds those it logs. Without this some later test would fail for it."""
    log = logging.getLogger("kafka")
    level = log.level
    log.setLevel(logging.CRITICAL)
    yield
    log.setLevel(level)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
