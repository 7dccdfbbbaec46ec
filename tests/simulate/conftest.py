import json
from dataclasses import dataclass

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


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """What the demo shows: three days, sixty hosts."""
    return read(simulate(tmp_path_factory.mktemp("demo") / "out", days=3, hosts=60, seed=7))


@pytest.fixture(scope="session")
def quiet(tmp_path_factory):
    return read(simulate(tmp_path_factory.mktemp("quiet") / "out", days=3, hosts=60, seed=7, campaigns=False))
