"""One small plant, and two results over it that differ in the budget."""

from pathlib import Path

import pytest

from detector.backtest.labels import load_labels, parse_time
from detector.config import Settings
from detector.simulate import SimulatedPlant
from tests.scenarios.world import plant_of, run, simulated

TRAIN_UNTIL = "2026-03-03T00:00:00Z"


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> SimulatedPlant:
    return simulated(tmp_path_factory, days=3, hosts=40, seed=3, density=0.1, netflow=False)


@pytest.fixture(scope="session")
def asked(world) -> dict:
    """What both results were asked for."""
    return {"plant": plant_of(world), "labels": load_labels(world.labels), "train_until": parse_time(TRAIN_UNTIL)}


@pytest.fixture(scope="session")
def before(world, asked, tmp_path_factory) -> Path:
    return run([world.zeek_dir], tmp_path_factory.mktemp("before"), **asked).out


@pytest.fixture(scope="session")
def after(world, asked, tmp_path_factory) -> Path:
    return run([world.zeek_dir], tmp_path_factory.mktemp("after"), Settings(alerts_per_day=5), **asked).out
