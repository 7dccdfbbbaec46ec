import csv
import json
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from detector.simulate import SimulatedPlant, simulate


@dataclass(frozen=True)
class Week:
    """A simulation and its records, read back."""

    made: SimulatedPlant
    logs: dict[str, list[dict]]

    @property
    def conns(self):
        return {record["uid"]: record for record in self.logs["conn"]}


def read(made):
    logs: dict[str, list[dict]] = {}
    for path in sorted(made.zeek_dir.glob("*/*.log")):
        logs.setdefault(path.stem, []).extend(json.loads(line) for line in path.read_text().splitlines())
    return Week(made, logs)


def seconds(text):
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC).timestamp()


def labels(week):
    return list(csv.DictReader(week.made.labels.read_text().splitlines()))


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """What the demo shows: three days, sixty hosts."""
    return read(simulate(tmp_path_factory.mktemp("demo") / "out", days=3, hosts=60, seed=7))


@pytest.fixture(scope="session")
def quiet(tmp_path_factory):
    return read(simulate(tmp_path_factory.mktemp("quiet") / "out", days=3, hosts=60, seed=7, campaigns=False))


@pytest.fixture(scope="session")
def weeks(tmp_path_factory):
    """Three thinned weeks in which nobody attacks."""
    wish = {"days": 21, "hosts": 300, "seed": 1, "density": 0.02, "netflow": False, "campaigns": False}
    return read(simulate(tmp_path_factory.mktemp("weeks") / "out", **wish))
