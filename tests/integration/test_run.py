"""`eastwest run` on a real Kafka: what it tells, how it ends, and what it shows."""

import json
from collections import Counter
from dataclasses import replace
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import orjson
import pytest
import yaml

from detector.assets.plant import load_plant
from detector.backtest.run import backtest
from detector.config import Settings
from detector.incidents.book import NAME
from tests.faults.harness import Trial, broken
from tests.faults.process import STOP_SECONDS, Service, create, named_for, publish
from tests.faults.stream import ENGINE, rows_of, with_rubbish
from tests.integration.test_parity import files, found, stands
from tests.kafka.fixtures import kafka, kafka_bootstrap
from tests.scenarios.world import simulated

__all__ = ["kafka", "kafka_bootstrap"]

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="session")
def plain(tmp_path_factory):
    """Cells are enforced, and one conduit into them is missing: what went through it is a violation."""
    world = simulated(tmp_path_factory, days=2, hosts=40, seed=3)
    content = yaml.safe_load(world.plant.read_text("utf-8"))
    for zone in content["zones"]:
        zone["enforced"] = zone["name"].startswith("cell")
    content["conduits"] = [one for one in content["conduits"] if one["from"] != "site_operations"]
    plant = tmp_path_factory.mktemp("enforced") / "plant.yaml"
    plant.write_text(yaml.safe_dump(content), "utf-8")
    return replace(world, plant=plant), with_rubbish(rows_of(world))


@pytest.fixture
def started(plain, kafka, tmp_path):
    """A service on topics with the rows, and what it must tell."""
    world, rows = plain
    rows = named_for(rows, kafka.prefix)
    create(kafka, rows)
    publish(kafka, rows)
    topics = sorted({row.partition.topic for row in rows})
    with Service(tmp_path / "service", kafka.bootstrap, topics, world.plant) as service:
        yield service.start(), rows, world


def test_topics_to_alerts_as_in_one_process_and_in_a_backtest_and_again_nothing(started, tmp_path):
    service, rows, world = started
    backtest([files(rows, tmp_path / "logs")], tmp_path / "out", Settings(**ENGINE), plant=load_plant(world.plant))
    service.wait(service.done(len(rows)))
    shown = service.metrics()
    code, seconds = service.stop()
    assert (code, seconds < STOP_SECONDS) == (0, True)
    golden = Trial(tmp_path / "golden", rows, world.plant)
    assert not golden.run()
    outcome = service.outcome()
    assert broken(golden.outcome(), outcome) == []
    assert len(outcome.lines) == len(set(outcome.lines)) > 50
    assert stands(service.folder / "alerts.ndjson") == found(tmp_path / "out")
    manifest = outcome.checkpoint.counters
    assert {name: shown[f"eastwest_rows_total:{name}"] for name in manifest} == manifest
    assert shown["eastwest_sink_delivered_total"] >= len(outcome.lines)
    assert shown["eastwest_replay_mismatch_total"] == 0
    told = [line for line in map(orjson.loads, outcome.lines) if "alert_id" in line]
    assert Counter(line["kind"] for line in told)["violation"] > 5
    assert {line["trust"]["verdict"] for line in told if line["kind"] == "violation"} == {"denied"}
    assert 0 < shown["eastwest_trust_rows_total"] <= manifest["scored"] + manifest["late"]
    assert shown["eastwest_trust_failed_rows_total"] > 0

    service.start()
    service.wait(service.running)
    service.wait(lambda: service.metrics().get("eastwest_lag_rows") == 0)
    assert service.stop()[0] == 0
    assert service.outcome().lines == outcome.lines
    assert "goes on from a checkpoint" in service.log


def test_incidents_that_were_told_are_worked_on_and_opened_once(plain, kafka, tmp_path):
    world, rows = plain
    rows = named_for(rows, kafka.prefix)
    create(kafka, rows)
    publish(kafka, rows)
    token = tmp_path / "token"
    token.write_text("correct-horse\n")
    topics = sorted({row.partition.topic for row in rows})
    with Service(tmp_path / "service", kafka.bootstrap, topics, world.plant) as service:
        service.start(EASTWEST_HTTP__TOKEN_FILE=str(token))
        service.wait(service.done(len(rows)))
        told = [json.loads(line) for line in (service.folder / "alerts.ndjson").read_bytes().splitlines()]
        ids = {line["incident_id"] for line in told if "path" in line and line["revision"] == 0}
        listed = _asked(service.url("/incidents"))
        assert {one["incident_id"] for one in listed["incidents"]} == ids != set()
        working = next(one["incident_id"] for one in listed["incidents"] if one["state"] == "opened")
        wish = {"move": "contain", "by": "anna"}
        assert _asked(service.url(f"/incidents/{working}"), wish, "correct-horse")["state"] == "contained"
        with pytest.raises(HTTPError, match="401"):
            _asked(service.url(f"/incidents/{working}"), wish, "wrong")
        service.wait(lambda: 'eastwest_incident_cases{state="contained"} 1.0' in _text(service.url("/metrics")))
        lines = (service.folder / "outbox" / NAME).read_bytes()
        assert service.stop()[0] == 0
        service.start()
        service.wait(service.running)
        assert _asked(service.url(f"/incidents/{working}"))["state"] == "contained"
        assert service.stop()[0] == 0
        assert (service.folder / "outbox" / NAME).read_bytes() == lines


def _asked(url, wish=None, token=""):
    return json.loads(_text(url, None if wish is None else json.dumps(wish).encode(), token))


def _text(url, content=None, token=""):
    request = Request(url, content, {"Authorization": f"Bearer {token}"})  # noqa: S310 - our own address
    with urlopen(request, timeout=10) as answer:  # noqa: S310
        return answer.read().decode()


def test_an_end_under_load_tells_nothing_twice(started, tmp_path):
    service, rows, world = started
    service.wait(lambda: sum(service.metrics().get(f"eastwest_rows_total:{name}", 0) for name in ("scored",)) > 500)
    code, seconds = service.stop()
    assert (code, seconds < STOP_SECONDS) == (0, True)
    service.start()
    service.wait(service.done(len(rows)))
    assert service.stop()[0] == 0
    golden = Trial(tmp_path / "golden", rows, world.plant)
    assert not golden.run()
    assert broken(golden.outcome(), service.outcome()) == []
    told = [orjson.loads(line) for line in service.outcome().lines]
    ids = [(line.get("alert_id"), line.get("incident_id") if "path" in line or "merged_into" in line else None,
            line["revision"]) for line in told]  # fmt: skip
    assert len(ids) == len(set(ids))


def test_a_topic_made_anew_is_refused(started, kafka):
    service, rows, _ = started
    service.wait(lambda: service.metrics().get("eastwest_rows_total:scored", 0) > 0)
    assert service.stop()[0] == 0
    topic = next(row.partition.topic for row in rows if row.partition.topic.endswith("ssh"))
    with kafka.admin() as admin:
        admin.delete_topics([topic])
    mine = [row for row in rows if row.partition.topic == topic]
    create(kafka, mine)
    service.start()
    assert service.process.wait(60) == 2
    assert f"topic {topic} (deleted and made again?)" in service.log
    assert "allow new topics" in service.log
