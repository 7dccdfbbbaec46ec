"""One small plant and one drill on it, for all tests here."""

import pytest

from detector.assets.plant import load_plant
from detector.config import Settings
from detector.drill.run import Wish, drill
from detector.simulate import simulate

WISH = Wish(campaigns=14, paces=("minutes", "hours"), seed=5)


@pytest.fixture(scope="session")
def plant(tmp_path_factory):
    out = tmp_path_factory.mktemp("plant") / "plant"
    return simulate(out, days=3, hosts=60, seed=2, density=0.3, campaigns=0)


@pytest.fixture(scope="session")
def played(plant, tmp_path_factory):
    out = tmp_path_factory.mktemp("drill") / "out"
    return drill([plant.zeek_dir], out, Settings(), WISH, plant=load_plant(plant.plant))
