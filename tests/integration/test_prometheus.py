"""A real Prometheus scrapes the health server, and knows what it was told; promtool finds nothing to mend."""

import json
import socket
import subprocess
import time
import urllib.parse
import urllib.request

import pytest

from detector.metrics import NAMES, Metrics
from detector.service.health import Health, HealthServer

pytestmark = pytest.mark.prometheus


@pytest.fixture
def metrics():
    """Every metric with a value."""
    metrics = Metrics("1.2.3", "abcdef")
    metrics.rows({"scored": 10, "rejected": 1})
    metrics.partition("flows", 3, 7, 1.5)
    metrics.evicted({"forest.counts": 2})
    metrics.decided({"nightly-copy": 3})
    metrics.count("drift_changes", model="forest")
    metrics.sink("siem", delivered=1, retries=1, refused=1)
    metrics.set("state_entries", 5, table="forest.counts")
    for name in ("sink_waiting", "sink_success_timestamp_seconds", "sink_blocked"):
        metrics.set(name, 1, sink="siem")
    metrics.alert("high", 1.2)
    return metrics


@pytest.fixture
def server(metrics):
    with HealthServer("127.0.0.1", 0, Health(), metrics.exposition) as server:
        yield server


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


@pytest.fixture
def prometheus(require_tool, server, tmp_path):
    """Its address, when it is up."""
    config = tmp_path / "prometheus.yml"
    target = f"127.0.0.1:{server.port}"
    config.write_text(
        json.dumps(
            {
                "global": {"scrape_interval": "1s"},
                "scrape_configs": [{"job_name": "eastwest", "static_configs": [{"targets": [target]}]}],
            }
        )
    )
    port = free_port()
    command = [
        require_tool("prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(20)


def query(address, expression):
    """{label values: value} of an instant query, or None while nobody answers."""
    url = f"{address}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - of this machine
            found = json.load(answer)["data"]["result"]
    except OSError:
        return None
    return {json.dumps(series["metric"], sort_keys=True): float(series["value"][1]) for series in found}


def wait_for(address, expression, value):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        found = query(address, expression)
        if found and value in found.values():
            return found
        time.sleep(0.2)
    raise AssertionError(f"{expression} is {query(address, expression)}")


def test_prometheus_scrapes_every_metric(prometheus, metrics):
    wait_for(prometheus, 'up{job="eastwest"}', 1)
    wait_for(prometheus, 'eastwest_rows_total{outcome="scored"}', 10)
    names = {json.loads(key)["__name__"] for key in query(prometheus, '{__name__=~"eastwest_.*"}')}
    told = {
        name for metric in NAMES for name in ([metric.name] if metric.kind != "histogram" else suffixed(metric.name))
    }
    assert names == told
    (lag,) = query(prometheus, "eastwest_lag_rows")
    assert (json.loads(lag)["topic"], json.loads(lag)["partition"]) == ("flows", "3")
    metrics.rows({"scored": 25})
    wait_for(prometheus, 'eastwest_rows_total{outcome="scored"}', 25)
    (half,) = query(prometheus, "histogram_quantile(0.5, eastwest_produce_to_alert_seconds_bucket)").values()
    assert 1.0 < half <= 1.5


def suffixed(name):
    return [f"{name}_{part}" for part in ("bucket", "count", "sum")]


def test_promtool_finds_nothing_to_mend(require_tool, metrics):
    content, _ = metrics.exposition()
    done = subprocess.run(
        [require_tool("promtool"), "check", "metrics"], input=content, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
