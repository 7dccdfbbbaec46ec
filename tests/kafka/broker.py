"""A real Apache Kafka for tests: the broker's jars as Maven finds them, run by plain Java (KRaft, no ZooKeeper).

`Cluster` is one node or three on free ports of 127.0.0.1, with a data folder of its own. Nodes can be stopped, killed
and started again one by one.
"""

import base64
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import Self

HERE = Path(__file__).parent
START_SECONDS = 60  # a quiet machine of two cores needs five
STOP_SECONDS = 30
MAVEN_SECONDS = 600  # about 40 MB

SETTINGS = """\
process.roles=broker,controller
node.id={number}
{quorum}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={folder}/data
default.replication.factor={copies}
min.insync.replicas={enough}
offsets.topic.num.partitions=1
offsets.topic.replication.factor={copies}
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor={copies}
transaction.state.log.min.isr={enough}
share.coordinator.state.topic.replication.factor={copies}
share.coordinator.state.topic.min.isr={enough}
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
replica.lag.time.max.ms=3000
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
controlled.shutdown.enable=true
auto.create.topics.enable=false
log.cleaner.backoff.ms=100
log.message.timestamp.type=LogAppendTime
"""
"""Sizes are for a machine of two cores; times so short that the loss of a broker is told within seconds."""


def name_of(number: int) -> str:
    """A name as Kafka makes them for clusters and folders: 16 bytes in base64."""
    return base64.urlsafe_b64encode(b"eastwest tests %d" % number).decode().rstrip("=")


CLUSTER = name_of(0)


class Unavailable(Exception):
    """Kafka cannot be run here; the message says what is missing."""


def version(name: str = "kafka", pom: Path = HERE / "pom.xml") -> str:
    """The one that a pom asks for."""
    found = re.search(rf"<{name}\.version>(.+?)</{name}\.version>", pom.read_text())
    assert found
    return found[1]


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Only one process of this machine at a time is inside."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        flock(lock, LOCK_EX)
        yield


def jars() -> Path:
    """The folder of Kafka's jars: ``KAFKA_LIBS``, or one in the user's cache that Maven fills once.

    Raises:
        Unavailable: Maven is missing or did not get them.
    """
    if given := os.environ.get("KAFKA_LIBS"):
        if not any(Path(given).glob("kafka-clients-*.jar")):
            raise Unavailable(f"KAFKA_LIBS={given} holds no jars of Kafka")
        return Path(given)
    return download("kafka", HERE / "pom.xml")


def download(name: str, pom: Path) -> Path:
    """The folder of the jars that a pom asks for, in the user's cache, which Maven fills once.

    Raises:
        Unavailable: Maven is missing or did not get them.
    """
    cache = _cache()
    folder = cache / f"{name}-{version(name, pom)}"
    with alone(cache / f"{name}.lock"):
        if not folder.is_dir():
            _download(folder, pom)
    return folder


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "eastwest-tests"


def _download(folder: Path, pom: Path) -> None:
    if not shutil.which("mvn"):
        raise Unavailable(f"mvn (Maven) is not installed, and there is no {folder}")
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={part}"]
    command = ["mvn", "--quiet", "--batch-mode", "--file", str(pom), *goal]
    done = subprocess.run(command, capture_output=True, text=True, timeout=MAVEN_SECONDS, check=False)
    if done.returncode:
        raise Unavailable(f"Maven did not get {folder.name}: {done.stdout[-500:]}{done.stderr[-500:]}")
    part.rename(folder)


def archive() -> Path:
    """Kafka's classes as Java maps them into memory, which halves the time to start; made once, by a node that ends.

    Java takes it only together with the jars and the Java it was made with, and otherwise goes without.
    """
    cache = _cache()
    path = cache / f"kafka-{version()}.jsa"
    with alone(cache / "archive.lock"):  # another than that of the jars, which its node takes
        if not path.exists():
            with tempfile.TemporaryDirectory() as folder:
                part = path.with_suffix(".part")
                with Cluster(Path(folder) / "kafka", share=f"-XX:ArchiveClassesAtExit={part}") as cluster:
                    cluster.nodes[0].stop()
                part.rename(path)
    return path


def free_ports(number: int) -> list[int]:
    """Ports nobody listens on. They may be taken between now and their use, which then fails loudly."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


class Node:
    """One process of Kafka, broker and controller in one."""

    def __init__(self, number: int, folder: Path, port: int, java: list[str]) -> None:
        self.number, self.folder, self.port = number, folder, port
        self._java = java
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """What it printed since it was started last."""
        return self.folder / "log"

    def format(self, *options: str) -> None:
        """Make the data folder of the first node."""
        command = ["kafka.tools.StorageTool", "format", "--cluster-id", CLUSTER, "--config", "settings", *options]
        subprocess.run([*self._java, *command], cwd=self.folder, check=True, capture_output=True, timeout=START_SECONDS)

    def format_like(self, first: Self) -> None:
        """Make the data folder of another node of the same cluster, without a Java for it."""
        shutil.copytree(first.folder / "data", self.folder / "data")
        names = {"version": 1, "cluster.id": CLUSTER, "node.id": self.number, "directory.id": name_of(self.number)}
        text = "".join(f"{key}={value}\n" for key, value in names.items())
        (self.folder / "data" / "meta.properties").write_text(text)

    def start(self) -> None:
        """Start it; see `wait`."""
        # Where the test run is killed, the broker goes too.
        bound = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        with self.log.open("wb") as log:
            command = [*bound, *self._java, "kafka.Kafka", "settings"]
            self._process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=subprocess.STDOUT)

    def wait(self) -> None:
        """Return when it takes requests."""
        assert self._process
        ready = f"[KafkaRaftServer nodeId={self.number}] Kafka Server started"
        end = time.monotonic() + START_SECONDS
        while ready not in self.log.read_text(errors="replace"):
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"Kafka did not start:\n{self.log.read_text(errors='replace')[-3000:]}")
            time.sleep(0.05)

    def restart(self) -> None:
        """Start it again on the data it has."""
        self.start()
        self.wait()

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in order; it hands its partitions over first."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self._process and self._process.poll() is None:
            self._process.send_signal(how)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = None


def _java(folder: Path, share: str) -> list[str]:
    java = shutil.which("java")
    if not java:
        raise Unavailable("java is not installed")
    libraries = jars()
    quick = ["-Xms384m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true"]
    shared = [share or f"-XX:SharedArchiveFile={archive()}", "-Xlog:disable", "-Xlog:all=error:stderr"]
    where = [f"-Dlog4j2.configurationFile={(HERE / 'log4j2.xml').as_uri()}", f"-Dkafka.logs.dir={folder}"]
    return [java, *quick, *shared, *where, "-cp", f"{libraries}/*"]


class Cluster:
    """Nodes of one Kafka; a context that starts all and in the end kills all.

    Args:
        folder: for its data; must not exist.
        size: 1 or 3 nodes.
        share: the option that tells Java about the archive of classes; by default it is used.

    Raises:
        Unavailable: Java or the jars are missing.
    """

    def __init__(self, folder: Path, size: int = 1, share: str = "") -> None:
        java = _java(folder, share)
        ports = free_ports(2 * size)
        self.nodes = [Node(number, folder / f"node{number}", port, java) for number, port in enumerate(ports[:size], 1)]
        self._controllers = ports[size:]
        for node, controller in zip(self.nodes, self._controllers, strict=True):
            node.folder.mkdir(parents=True)
            (node.folder / "settings").write_text(self._settings(node, controller))

    def _settings(self, node: Node, controller: int) -> str:
        if len(self.nodes) == 1:
            quorum = f"controller.quorum.bootstrap.servers=127.0.0.1:{controller}"
        else:
            places = (f"{number}@127.0.0.1:{port}" for number, port in enumerate(self._controllers, 1))
            quorum = "controller.quorum.voters=" + ",".join(places)
        copies = len(self.nodes)
        return SETTINGS.format(
            number=node.number, quorum=quorum, port=node.port, controller=controller, folder=node.folder,
            copies=copies, enough=(copies + 1) // 2,
        )  # fmt: skip

    @property
    def bootstrap(self) -> list[str]:
        """The addresses of all nodes."""
        return [f"127.0.0.1:{node.port}" for node in self.nodes]

    def __enter__(self) -> Self:
        first, *others = self.nodes
        try:
            first.format(*([] if others else ["--standalone"]))
            for node in others:
                node.format_like(first)
            for node in self.nodes:
                node.start()
            for node in self.nodes:
                node.wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for node in self.nodes:
            node.kill()
