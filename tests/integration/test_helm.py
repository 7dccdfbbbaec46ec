"""What the chart renders, run without Kubernetes: the service with its settings and probes on a real Kafka, and a real
Prometheus with its rules, of which the dashboard asks all it shows."""

import json
import math
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import ExitStack

import pytest

from tests.faults.process import SECONDS, create, named_for, publish
from tests.faults.stream import ENGINE, rows_of, trailing, with_rubbish
from tests.helm.chart import NAMESPACE, RELEASE, example, merged, one, rendered
from tests.helm.dashboard import queries
from tests.kafka.broker import free_ports
from tests.kafka.fixtures import kafka, kafka_bootstrap
from tests.scenarios.world import simulated

__all__ = ["kafka", "kafka_bootstrap"]

pytestmark = [pytest.mark.kafka, pytest.mark.prometheus]

AHEAD_MS = 600_000  # that one record is dated in the future
NOTHING_YET = {
    "Mean times of incidents": "nobody has worked on an incident",
    "Last success": "nothing may have been taken yet at the first look",
}
"""Panels whose value may be no number here, and why."""
DECISION = """\
decisions:
  - {id: backups, action: suppress, by: anna, why: copies, from: 2026-01-01, until: 2027-01-01,
     scope: {src: 192.0.2.1}}
"""


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    return simulated(tmp_path_factory, days=2, hosts=40, seed=3)


class Pod:
    """A pod of the chart as processes of this machine: its folders are below ``folder``, and its address is of the
    loopback network, so that several have the same port."""

    def __init__(self, objects, kind, address, folder):
        self.folder, self.address = folder, address
        self.spec = one(objects, kind)["spec"]["template"]["spec"]
        self.container = self.spec["containers"][0]
        files = one(objects, "ConfigMap", "-eastwest")["data"]
        for mount in self.container["volumeMounts"]:
            self.at(mount["mountPath"]).mkdir(parents=True)
        for name, text in files.items():
            self.at(f"/etc/eastwest/{name}").write_text(self.here(text))
        self.process = None

    def at(self, path):
        return self.folder / path.lstrip("/")

    def here(self, text):
        """Paths of the container as they are here."""
        places = "|".join(re.escape(mount["mountPath"]) for mount in self.container["volumeMounts"])
        return re.sub(rf"(?<![\w.-])(?:{places})(?![\w.-])", lambda found: str(self.at(found[0])), text)

    def environment(self, container):
        """As the kubelet makes it, with the pod's address."""
        known = {
            "metadata.name": f"pod-{self.address}",
            "limits.memory": str(int(container["resources"]["limits"]["memory"].removesuffix("Gi")) << 30),
        }
        clean = {name: value for name, value in os.environ.items() if not name.startswith("EASTWEST_")}
        for variable in container["env"]:
            of = next(iter(variable.get("valueFrom", {}).values()), {})
            clean[variable["name"]] = variable.get("value") or known[of.get("fieldPath") or of["resource"]]
        return clean | {"EASTWEST_HTTP__HOST": self.address}

    def command(self, container):
        run = "from detector.cli import main; main()"
        return [sys.executable, "-c", run, *map(self.here, container["args"])]

    def __enter__(self):
        for container in self.spec["initContainers"]:
            done = subprocess.run(self.command(container), env=self.environment(container), capture_output=True,
                                  text=True, check=False)  # fmt: skip
            assert done.returncode == 0, done.stderr
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(self.command(self.container), env=self.environment(self.container),
                                            stdout=log, stderr=log)  # fmt: skip
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def probe(self, kind):
        """Whether a probe of the kubelet succeeds."""
        wish = self.container[f"{kind}Probe"]["httpGet"]
        (port,) = (port["containerPort"] for port in self.container["ports"] if port["name"] == wish["port"])
        try:
            with urllib.request.urlopen(f"http://{self.address}:{port}{wish['path']}", timeout=5) as answer:
                return 200 <= answer.status < 400
        except (urllib.error.URLError, OSError):
            return False

    def wait(self, until):
        end = time.monotonic() + 3 * SECONDS  # kernels may have to be compiled first, beside other tests
        while not until():
            assert self.process.poll() is None, (self.folder / "log").read_text()[-3000:]
            assert time.monotonic() < end, (self.folder / "log").read_text()[-3000:]
            time.sleep(0.2)


class Prometheus:
    """One that scrapes as the PodMonitor or ServiceMonitor says, but oftener, and has the rules of the chart."""

    def __init__(self, objects, targets, program, folder):
        folder.mkdir()
        (monitor,) = (each["spec"] for each in objects if each["kind"] in {"PodMonitor", "ServiceMonitor"})
        (endpoint,) = monitor.get("podMetricsEndpoints") or monitor["endpoints"]
        (folder / "rules.yml").write_text(json.dumps(one(objects, "PrometheusRule")["spec"]))
        scrape = {
            "job_name": RELEASE,
            "metrics_path": endpoint["path"],
            "static_configs": [{"targets": targets, "labels": {"namespace": NAMESPACE}}],
        }
        every = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config = {"global": every, "rule_files": ["rules.yml"], "scrape_configs": [scrape]}
        (folder / "prometheus.yml").write_text(json.dumps(config))
        [self.port] = free_ports(1)
        self.command = [program, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}",
                        f"--web.listen-address=127.0.0.1:{self.port}"]  # fmt: skip
        self.log = folder / "log"

    def __enter__(self):
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(20)

    def ask(self, path, **parameters):
        """What its API answers; None while it does not."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)["data"]
        except OSError:
            return None

    def values(self, expression):
        """Numbers of an instant query."""
        found = self.ask("query", query=expression)
        return [] if found is None else [float(series["value"][1]) for series in found["result"]]


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("single", ["StatefulSet"]),
        pytest.param("scaled", ["StatefulSet", "Deployment"], marks=pytest.mark.faults),  # twice the time of the other
    ],
)
def test_a_service_as_the_chart_has_it_is_watched_as_the_chart_says(name, kinds, world, kafka, tmp_path, require_tool):
    rows = named_for(with_rubbish(rows_of(world)), kafka.prefix)
    rows.append(rows[-1]._replace(offset=rows[-1].offset + 1, value=trailing(rows[-1].time + AHEAD_MS)))
    create(kafka, rows)
    [port] = free_ports(1)
    objects = rendered(values_here(name, kafka, rows, port, world.plant))
    addresses = [f"127.0.0.{number}" for number in range(1, len(kinds) + 1)]
    targets, program = [f"{address}:{port}" for address in addresses], require_tool("prometheus")
    with ExitStack() as stack:
        prometheus = stack.enter_context(Prometheus(objects, targets, program, tmp_path / "prometheus"))
        pods = [stack.enter_context(Pod(objects, kind, address, tmp_path / kind))
                for kind, address in zip(kinds, addresses, strict=True)]  # fmt: skip
        score = pods[0]
        for pod in pods:
            for probe in ("startup", "liveness", "readiness"):
                pod.wait(lambda pod=pod, probe=probe: pod.probe(probe))
        budget = "max(eastwest_budget_alerts_per_day)"
        score.wait(lambda: prometheus.values(budget) == [ENGINE["alerts_per_day"]])
        publish(kafka, rows)
        through = "sum(eastwest_rows_total) + sum(eastwest_rows_waiting)"
        score.wait(lambda: prometheus.values(through) == [len(rows)])
        score.wait(lambda: prometheus.values("sum(eastwest_sink_waiting)") == [0])
        assert all(pod.probe(kind) for pod in pods for kind in ("liveness", "readiness"))
        assert prometheus.values("sum(eastwest_normalized_rows_total)") == [len(rows) if len(pods) > 1 else 0]
        assert prometheus.values("sum(eastwest_future_rows_total)") == [1]
        assert prometheus.values("sum(eastwest_exporters)") == [len({row.partition.topic for row in rows})]
        everything_is_shown(prometheus)
        every_rule_is_evaluated(prometheus, objects)
        assert score.at("/var/lib/eastwest/alerts.ndjson").read_bytes().count(b"\n") > 50
        for pod in reversed(pods):
            pod.process.terminate()
            assert pod.process.wait(pod.spec["terminationGracePeriodSeconds"]) == 0


def values_here(name, kafka, rows, port, plant):
    """The example's values but for what is elsewhere: brokers, bucket, topics to write to, sinks."""
    values = merged(
        example(name),
        {
            "config": {
                "engine": ENGINE,
                "http": {"port": port},
                "alerts": {"sinks": [{"type": "file", "path": "/var/lib/eastwest/alerts.ndjson"}]},
            },
            "plant": plant.read_text(),
            "decisions": DECISION,
        },
    )
    topics = sorted({row.partition.topic for row in rows})
    values["config"]["kafka"] = {"bootstrap": kafka.bootstrap, "topics": topics, "group_id": kafka.prefix}
    values["config"]["state"] = {"every_seconds": 1}
    values["config"]["dead_letters"] = {"file": "/var/lib/eastwest/rejected.ndjson"}
    return values


def everything_is_shown(prometheus):
    """Each query of the dashboard has an answer, and it is a number."""
    asked = list(queries())
    assert len(asked) > 50
    for panel, expression in asked:
        values = prometheus.values(expression)
        assert values, f"{panel}: {expression}"
        assert panel in NOTHING_YET or not any(map(math.isnan, values)), f"{panel}: {expression}"


def every_rule_is_evaluated(prometheus, objects):
    groups = prometheus.ask("rules")["groups"]
    found = {rule["name"]: rule for group in groups for rule in group["rules"]}
    wanted = one(objects, "PrometheusRule")["spec"]["groups"]
    assert sorted(found) == sorted(rule["alert"] for group in wanted for rule in group["rules"])
    assert {(rule["health"], rule.get("lastError", "")) for rule in found.values()} == {("ok", "")}
    assert [name for name, rule in found.items() if rule["state"] == "firing"] == []
