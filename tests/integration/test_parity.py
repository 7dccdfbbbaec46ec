"""One set of bytes: a backtest by one process, several or Ray, and the service that reads it from a real Kafka."""

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from detector.assets.plant import load_plant
from detector.backtest import cluster, parts
from detector.backtest.parts import Part
from detector.backtest.pieces import Job
from detector.backtest.run import backtest
from detector.backtest.workers import ALONE, Means
from detector.config import Settings
from detector.state.bundle import Bundle, packed, read_bundle
from tests.backtest.test_scale import outcome
from tests.faults.process import Service, create, named_for, publish
from tests.faults.stream import ENGINE, Row, rows_of
from tests.kafka.fixtures import kafka, kafka_bootstrap
from tests.scenarios.world import simulated, written

__all__ = ["kafka", "kafka_bootstrap"]

pytestmark = pytest.mark.kafka

SHIPPED = Path("simulated")  # by its name


@pytest.fixture
def rows(tmp_path_factory, kafka) -> tuple[list[Row], Path]:
    """Records of two days, and the plant file."""
    world = simulated(tmp_path_factory, days=2, hosts=40, seed=3)
    return named_for(rows_of(world), kafka.prefix), world.plant


def files(rows: list[Row], folder: Path) -> Path:
    """The records as logs, a file a partition."""
    for row in rows:
        if not row.value:
            continue  # a tombstone
        path = folder / row.partition.topic / f"{row.partition.partition}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(row.value + b"\n")
    return folder


def streamed(kafka, rows: list[Row], plant: Path, folder: Path, **model: str) -> Path:
    """Folder of a service that took all of the records from the broker, and ended."""
    create(kafka, rows)
    publish(kafka, rows)
    topics = sorted({row.partition.topic for row in rows})
    with Service(folder, kafka.bootstrap, topics, plant, model=model) as service:
        service.start().wait(service.done(len(rows)))
        assert service.stop()[0] == 0
    return folder


def stands(lines: Path) -> tuple[bytes, bytes]:
    """The last revision of all that a service told, as a backtest writes it: alerts in the order in which they were
    opened, incidents sorted, as their strength changed meanwhile."""
    alerts: dict[str, bytes] = {}
    incidents: dict[str, bytes] = {}
    for line in lines.read_bytes().splitlines(keepends=True):
        told, last = orjson.loads(line), re.sub(rb',"revision":\d+}\n$', b"}\n", line)
        if "alert_id" in told:
            alerts[told["alert_id"]] = last
        elif "merged_into" in told:
            del incidents[told["incident_id"]]
        else:
            incidents[told["incident_id"]] = last
    return b"".join(alerts.values()), b"".join(sorted(incidents.values()))


def found(out: Path) -> tuple[bytes, bytes]:
    """What a backtest wrote; incidents sorted."""
    alerts, incidents = written(out)
    return alerts, b"".join(sorted(incidents.splitlines(keepends=True)))


def test_one_process_several_ray_and_a_real_kafka_tell_the_same_bytes(rows, kafka, tmp_path, monkeypatch):
    """With a model in force and a candidate in its shadow; without them `test_run` compares the two. One of Ray's
    processes is killed."""
    records, plant = rows
    logs, candidate = files(records, tmp_path / "logs"), tmp_path / "candidate.model"
    candidate.write_bytes(another(read_bundle(SHIPPED)))
    monkeypatch.setattr(parts, "PART_BYTES", 300_000)  # some parts
    monkeypatch.setattr(cluster, "_decode", mortal(tmp_path / "killed"))
    wish = {
        "one": (ALONE, SHIPPED), "two": (Means(workers=2), SHIPPED), "ray": (Means(1, engine="ray"), SHIPPED),
        "shadow": (ALONE, candidate),
    }  # fmt: skip
    for name, (means, model) in wish.items():
        read = {"plant": load_plant(plant), "model": read_bundle(model)}
        backtest([logs], tmp_path / name, Settings(**ENGINE), means=means, **read)
    alerts, incidents = written(tmp_path / "one")
    assert alerts.count(b"\n") > 50
    assert incidents.count(b"\n") > 1
    assert (tmp_path / "killed").exists()
    assert outcome(tmp_path / "two") == outcome(tmp_path / "ray") == outcome(tmp_path / "one")
    model = {"file": str(SHIPPED), "shadow": str(candidate)}
    service = streamed(kafka, records, plant, tmp_path / "service", **model)
    assert stands(service / "alerts.ndjson") == found(tmp_path / "one")
    assert stands(service / "outbox" / "shadow.ndjson") == found(tmp_path / "shadow")
    mine, other = (re.sub(rb'"model":"[0-9a-f]+"', b"", found(tmp_path / name)[0]) for name in ("one", "shadow"))
    assert mine != other, "or nothing was compared"


def mortal(killed: Path) -> Callable[..., bytes]:
    """What a node does; who has the third part first dies of it."""
    real = cluster._decode

    def decode(part: Part, job: Job, *about: object) -> bytes:
        if part.number == 2 and not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return real(part, job, *about)

    return decode


def another(model: Bundle) -> bytes:
    """A candidate of another opinion: it has seen everything far less often."""
    arrays = {name: array * 0.05 if array.dtype.kind == "f" and array.ndim < 3 and "forest" not in name else array
              for name, array in model.arrays.items()}  # fmt: skip
    return packed(model.manifest, arrays)
