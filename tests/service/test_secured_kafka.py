"""A real Kafka behind TLS and SASL: settings open it, and a renewed secret is taken without a restart.

The broker ends each log-on after a few seconds (KIP-368), so that one consumer has to log on again within a test.
"""

import base64
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, ScramMechanism, UserScramCredentialUpsertion

from detector.service.kafka_options import connection_options
from detector.service.loading import load_service_settings
from tests.kafka.broker import Cluster, Node, Unavailable, free_ports
from tests.kafka.fixtures import leave

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

SESSION_SECONDS = 3.0
SECURED = """
listeners=PLAINTEXT://127.0.0.1:{plain},CONTROLLER://127.0.0.1:{controller},SECURED://localhost:{secured},MUTUAL://localhost:{mutual}
advertised.listeners=PLAINTEXT://127.0.0.1:{plain},CONTROLLER://127.0.0.1:{controller},SECURED://localhost:{secured},MUTUAL://localhost:{mutual}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SECURED:SASL_SSL,MUTUAL:SSL
ssl.keystore.type=PEM
ssl.keystore.location={folder}/server.pem
ssl.truststore.type=PEM
ssl.truststore.location={folder}/client-cert.pem
listener.name.mutual.ssl.client.auth=required
listener.name.secured.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512,OAUTHBEARER
listener.name.secured.connections.max.reauth.ms={session}
listener.name.secured.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_anna="one";
listener.name.secured.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.secured.oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";
listener.name.secured.oauthbearer.sasl.server.callback.handler.class=org.apache.kafka.common.security.oauthbearer.internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler
"""  # noqa: E501


class Secured(Cluster):
    """One node with a listener for SASL over TLS, and one for mutual TLS."""

    def __init__(self, folder: Path) -> None:
        self.secured, self.mutual = free_ports(2)
        super().__init__(folder)

    def _settings(self, node: Node, controller: int) -> str:
        extra = SECURED.format(
            plain=node.port,
            controller=controller,
            secured=self.secured,
            mutual=self.mutual,
            folder=node.folder.parent.parent,
            session=round(SESSION_SECONDS * 1000),
        )
        return super()._settings(node, controller) + extra


@pytest.fixture(scope="module")
def broker(tmp_path_factory, require_tool):
    """The node, with a topic and a user of SCRAM, and beside it the certificates."""
    folder = tmp_path_factory.mktemp("secured")
    for name in ("server", "client"):
        names = "-subj /CN=localhost -addext subjectAltName=DNS:localhost"
        command = f"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -days 1 -nodes {names}"
        where = ["-keyout", folder / f"{name}-key.pem", "-out", folder / f"{name}-cert.pem"]
        subprocess.run([require_tool("openssl"), *command.split(), *where], check=True, capture_output=True)
    (folder / "server.pem").write_text(
        (folder / "server-key.pem").read_text() + (folder / "server-cert.pem").read_text()
    )
    try:
        cluster = Secured(folder / "kafka")
    except Unavailable as problem:
        leave(str(problem))
    with cluster:
        admin = KafkaAdminClient(bootstrap_servers=cluster.bootstrap)
        admin.create_topics({"flows": {"num_partitions": 1, "replication_factor": 1}})
        scram(admin, "first")
        yield cluster, folder, admin
        admin.close()


def scram(admin, word):
    """The password of a user of SCRAM whose name wants escaping."""
    admin.alter_user_scram_credentials([UserScramCredentialUpsertion("b=e,n", ScramMechanism.SCRAM_SHA_512, word)])


def token(seconds):
    """An unsecured JSON Web Token (RFC 7519, section 6), good for so long."""
    now = time.time()
    parts = ({"alg": "none"}, {"sub": "carl", "iat": now, "exp": now + seconds})
    coded = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
    return ".".join(coded) + "."


@pytest.fixture
def settings(broker, written):
    """Call it with a section ``security`` to get the settings of Kafka."""
    cluster, folder, _ = broker

    def load(port=cluster.secured, **security):
        changes = {"bootstrap": [f"localhost:{port}"], "topics": ["flows"]}
        security = {"ca_file": str(folder / "server-cert.pem"), **security}
        return load_service_settings(written({"kafka": {**changes, "security": security}})).kafka

    return load


def read(consumer, number):
    """As many values as that, from wherever the consumer stands."""
    values, end = [], time.monotonic() + 30
    while len(values) < number and time.monotonic() < end:
        for records in consumer.poll(timeout_ms=500).values():
            values += [record.value for record in records]
    return values


TRY = """
import sys
from pathlib import Path
from kafka import KafkaConsumer
from kafka.errors import KafkaError
from detector.service.kafka_options import connection_options
from detector.service.loading import load_service_settings
try:
    KafkaConsumer(**connection_options(load_service_settings(Path(sys.argv[1])).kafka), bootstrap_timeout_ms=3000)
except KafkaError:
    sys.exit(7)
"""
"""In a process of its own: a consumer that is not let in leaves its thread and its sockets behind."""


def let_in(path):
    """Whether the broker lets a consumer in with the settings of that file."""
    code = subprocess.run([sys.executable, "-c", TRY, path], check=False, timeout=60).returncode
    assert code in {0, 7}
    return code == 0


def consumer_of(kafka):
    consumer = KafkaConsumer(**connection_options(kafka), enable_auto_commit=False, bootstrap_timeout_ms=15_000)
    consumer.assign([TopicPartition("flows", 0)])
    consumer.seek_to_end()
    consumer.position(TopicPartition("flows", 0))
    return consumer


def send(cluster, value):
    producer = KafkaProducer(bootstrap_servers=cluster.bootstrap)
    producer.send("flows", value).get(timeout=20)
    producer.close()


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "OAUTHBEARER"])
def test_a_renewed_secret_is_taken_by_a_consumer_that_runs(broker, settings, tmp_path, mechanism):
    cluster, _, admin = broker
    secret = tmp_path / "secret"
    if mechanism == "OAUTHBEARER":
        sasl = {"token_file": str(secret)}
        secret.write_text(token(SESSION_SECONDS))
    else:
        sasl = {"username": "b=e,n", "password_file": str(secret)}
        secret.write_text("first")
    consumer = consumer_of(settings(protocol="SASL_SSL", sasl={"mechanism": mechanism, **sasl}))
    send(cluster, b"before")
    assert read(consumer, 1) == [b"before"]
    if mechanism == "OAUTHBEARER":
        secret.write_text(token(3600))
    else:
        scram(admin, "second")
        secret.write_text("second")
    end = time.monotonic() + 2.5 * SESSION_SECONDS
    while time.monotonic() < end:  # the session ends meanwhile
        consumer.poll(timeout_ms=200)
    send(cluster, b"after")
    assert read(consumer, 1) == [b"after"]
    consumer.close()
    if mechanism != "OAUTHBEARER":
        scram(admin, "first")


def test_a_password_of_the_environment_opens_it_and_a_wrong_one_does_not(settings, tmp_path, monkeypatch):
    kafka = settings(protocol="SASL_SSL", sasl={"mechanism": "PLAIN", "username": "anna", "password_env": "WORD"})
    monkeypatch.setenv("WORD", "one")
    producer = KafkaProducer(**connection_options(kafka))
    assert producer.send("flows", b"x").get(timeout=20).topic == "flows"
    producer.close()
    assert let_in(tmp_path / "eastwest.yaml")
    monkeypatch.setenv("WORD", "two")
    assert not let_in(tmp_path / "eastwest.yaml")


def test_a_certificate_opens_it_and_without_one_it_stays_shut(broker, settings, tmp_path):
    cluster, folder, _ = broker
    ours = {"cert_file": str(folder / "client-cert.pem"), "key_file": str(folder / "client-key.pem")}
    consumer = consumer_of(settings(cluster.mutual, protocol="SSL", **ours))
    send(cluster, b"mutual")
    assert read(consumer, 1) == [b"mutual"]
    consumer.close()
    for wrong in ({}, {**ours, "ca_file": ours["cert_file"]}):  # none of ours; an authority that is not the broker's
        settings(cluster.mutual, protocol="SSL", **wrong)
        assert not let_in(tmp_path / "eastwest.yaml")
