"""The stream that all faults happen to, and what is told of it when none does."""

import os
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.faults.harness import Outcome, Trial, note
from tests.faults.stream import Row, rows_of, with_rubbish
from tests.kafka.fixtures import kafka, kafka_bootstrap, kafka_cluster
from tests.scenarios.world import simulated

__all__ = ["kafka", "kafka_bootstrap", "kafka_cluster"]

HERE = Path(__file__).parent
RESULTS = Path(os.environ.get("EASTWEST_FAULT_RESULTS") or REPOSITORY / "out" / "faults.ndjson")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """``-m faults`` runs the short ones too."""
    if "faults" in config.option.markexpr:
        for item in items:
            if HERE in item.path.parents:
                item.add_marker(pytest.mark.faults)


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    return simulated(tmp_path_factory, days=2, hosts=40, seed=3)


@pytest.fixture(scope="session")
def rows(world) -> list[Row]:
    return with_rubbish(rows_of(world))


@pytest.fixture(scope="session")
def golden(rows, world, tmp_path_factory) -> Outcome:
    """A run without faults; there is some of everything, or nothing would be compared."""
    trial = Trial(tmp_path_factory.mktemp("golden") / "trial", rows, world.plant)
    assert not trial.run()
    outcome = trial.outcome()
    assert {kind for kind, _ in outcome.told} == {"alert", "incident"}
    assert len(outcome.told) > 50
    assert outcome.lines == [line for _, line in outcome.told]
    assert outcome.letters
    return outcome


@pytest.fixture
def trial(rows, world, tmp_path):
    """Call it for a service on the rows."""

    def make(seed=0, of=None):
        return Trial(tmp_path / f"trial{seed}", of or rows, world.plant, seed)

    return make


@pytest.fixture
def results():
    """Call it with a fault's name and numbers, for the table."""
    return lambda **row: note(RESULTS, **row)
