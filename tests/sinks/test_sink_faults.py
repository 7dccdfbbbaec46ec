"""A great many alerts through each sink while the other side is busy, broken, cut off and silent: none is lost, none
changed, and what comes twice comes with the same id. `make test-faults` sends 100,000 through each."""

import json
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from detector.renderings.kinds import RENDERINGS
from detector.sinks import delivery as module
from detector.sinks.delivery import Delivery
from detector.sinks.elastic import ElasticSink
from detector.sinks.http import Client
from detector.sinks.messages import rendering
from detector.sinks.outbox import Outbox
from detector.sinks.secops import SecOpsSink, assertion
from detector.sinks.sentinel import SCOPE, SentinelSink
from detector.sinks.splunk import Patience, SplunkSink
from detector.sinks.tokens import Token, client_credentials
from detector.sinks.webhook import WebhookSink
from tests.sinks.conftest import alert_line, told_alert
from tests.sinks.web import POISON, Elastic, Fault, Reply, SecOps, Sentinel, Splunk, Webhook, serving

FEW, MANY = 500, int(os.environ.get("EASTWEST_FAULT_ALERTS") or 100_000)
POISONED = 197  # every so many-th alert no other side takes
SECONDS = 1.0  # that a client waits
QUICK = Patience(poll=0.001, call=0.2, most=0.4)
FAULTS = (
    Reply(429, b"busy", (("Retry-After", "3"),)), Reply(500, b"oops"), Reply(503, b"later"), Reply(502, b""),
    "reset", "cut", "rubbish", Reply(401, b"who?"), Reply(413, b"large"),
)  # fmt: skip
SLOW = ("mute", "half-open")
SHARES = {FEW: (0.3, 0.01), MANY: (0.1, 0.001)}  # of requests that meet a fault, and one that takes a second
BATCHES = {FEW: 25, MANY: 100}  # small ones: more requests


@dataclass
class Side:
    """A sink and its other side."""

    format: str
    api: Any
    sink: Callable[[str], Any]  # of the URL
    name: Callable[[Any], str]  # the id in what arrived
    faults: Sequence[Fault] = FAULTS
    requests: int = 1  # how many more there are than of others; so many fewer of them meet a fault
    document: Callable[[Any], Any] = lambda arrived: arrived  # what we wrote


@pytest.fixture(scope="module")
def account():
    key = rsa.generate_private_key(65537, 2048)
    kind = serialization.PrivateFormat.PKCS8
    pem = key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption()).decode()
    return json.dumps({"client_email": "a@b", "private_key": pem})


def client(url):
    return Client(url, seconds=SECONDS)


def sentinel(url):
    token = Token(client(url + "/tenant/oauth2/v2.0/token"), client_credentials("app", lambda: "hush hush", SCOPE))
    return SentinelSink(client(url), token, "dcr-" + "0" * 32, "Custom-Alerts")


def sides(account):
    """Each sink by its name in the table."""

    def secops(url):
        token = Token(client(url + "/token"), assertion(lambda: account, url + "/token"))
        return SecOpsSink(client(url + "/v1/projects/p/locations/eu/instances/i"), token)

    def splunk(url, **how):
        return SplunkSink(client(url), lambda: "hush hush", patience=QUICK, **how)

    claims = {"scope": "https://www.googleapis.com/auth/cloud-platform", "exp": time.time() + 10**6}
    of_splunk = {"name": lambda event: event["event"]["id"], "document": lambda event: event["event"]}
    return {
        "splunk": Side("cim", Splunk(), splunk, **of_splunk),
        "splunk, acknowledged": Side(
            "cim", Splunk(acknowledge=True, questions=1), lambda url: splunk(url, acknowledge=True), **of_splunk
        ),
        "elastic, append": Side(
            "ecs", Elastic(), lambda url: ElasticSink(client(url), None, "a"), lambda found: found["event"]["id"]
        ),
        "elastic, replace": Side(
            "ecs", Elastic(stream=False), lambda url: ElasticSink(client(url), None, "a", "replace"),
            lambda found: found["event"]["id"],
        ),
        "sentinel": Side("native", Sentinel(), sentinel, lambda row: row["alert_id"]),
        "secops": Side("udm", SecOps(lambda _: claims), secops, lambda found: found["metadata"]["product_log_id"]),
        "webhook": Side(
            "ocsf", Webhook(), lambda url: WebhookSink(client(url), lambda: "key"),
            lambda found: found["finding_info"]["uid"],
            faults=[fault for fault in FAULTS if fault != "rubbish"],  # any 2xx says yes there
            requests=5,
        ),
    }  # fmt: skip


def title(number):
    return POISON if number % POISONED == POISONED - 1 else f"alert {number} \u202e|=\\ é\n"


def digest(document):
    return hash(json.dumps(document, sort_keys=True))


@contextmanager
def quick():
    """Pauses are shortened, what is asked for too."""
    with ExitStack() as stack:
        for name, value in {"FIRST_SECONDS": 0.001, "MOST_SECONDS": 0.004, "MOST_AFTER_SECONDS": 0.002}.items():
            stack.enter_context(patch.object(module, name, value))
        yield


def weather(seed, count, side):
    """What each request meets."""
    share, slow_share = (share / side.requests for share in SHARES[count])
    chance, counted, lock = random.Random(seed), Counter(), threading.Lock()

    def fault(_):
        with lock:
            draw = chance.random()
            if draw >= share:
                return None
            met = chance.choice(SLOW if draw < slow_share else side.faults)
            counted[met.status if isinstance(met, Reply) else met] += 1
            return met

    return fault, counted


def deliver(outbox, sink, form, batch, seconds):
    """Until all is delivered; how it went."""
    problems = []
    delivery = Delivery(
        "siem", sink, outbox, lambda *about: problems.append(about), render=rendering(form), batch=batch
    )
    with quick():
        delivery.start()
        assert delivery.stop(seconds), problems[-3:]
    return delivery.progress


@pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=[pytest.mark.faults, pytest.mark.timeout(7200)])])
@pytest.mark.parametrize(
    "name",
    ["splunk", "splunk, acknowledged", "elastic, append", "elastic, replace", "sentinel", "secops", "webhook"],
)
def test_none_is_lost_and_none_changed(name, count, account, tmp_path):
    side = sides(account)[name]
    fault, counted = weather(name, count, side)
    side.api.keep = lambda arrived: (side.name(arrived), digest(side.document(arrived)))
    with Outbox(tmp_path / "outbox") as outbox, serving(side.api, faults=fault) as server:
        for number in range(count):
            outbox.append("alert", alert_line(number, title=title(number)))
        outbox.sync()
        if isinstance(side.api, Elastic):
            side.api.busy = [3, 4, 9]
        seconds = 100 if count == FEW else 7000
        progress = deliver(outbox, side.sink(server.url), side.format, BATCHES[count], seconds)
        aside = outbox.folder / "refused" / "siem.ndjson"
        refused = [json.loads(line)["sequence"] for line in aside.read_bytes().splitlines()] if aside.exists() else []
    got = Counter(side.api.got)
    render = RENDERINGS[side.format]
    expected = {
        number: (f"id-{number}", digest(json.loads(render(told_alert(number, title=title(number))))))
        for number in range(count)
        if title(number) != POISON
    }
    doubled = sum(got.values()) - len(got)
    print(
        f"| {name} | {sum(counted.values()):,} | {count:,} | {len(got):,} | {len(refused):,} | {doubled:,} |", counted
    )
    assert set(got) <= set(expected.values())  # none changed
    arrived = {number for number, alert in expected.items() if alert in got}
    assert arrived | set(refused) == set(range(count))  # none lost
    assert {number for number in range(count) if title(number) == POISON} <= set(refused)
    assert progress.delivered + progress.refused == count
    assert counted


def test_a_siem_that_is_silent_does_not_slow_another(tmp_path):
    """Each has a thread, a connection and pauses of its own."""
    silent, quick = Splunk(), Splunk()
    with (
        Outbox(tmp_path / "outbox") as outbox,
        serving(silent, faults=lambda _: "half-open") as away,
        serving(quick) as there,
    ):
        for number in range(500):
            outbox.append("alert", alert_line(number))
        outbox.sync()
        deliveries = [
            Delivery(
                name, SplunkSink(client(url), lambda: "hush hush"), outbox, lambda *_: None, render=rendering("cim")
            )
            for name, url in (("away", away.url), ("there", there.url))
        ]
        for delivery in deliveries:
            delivery.start()
        assert deliveries[1].stop(60)
        assert (deliveries[1].progress.delivered, len(quick.got)) == (500, 500)
        assert (deliveries[0].progress.waiting, silent.got) == (500, [])
        assert not deliveries[0].stop(0)
