"""In a simulated plant every violation that was seeded is found, and none is invented."""

import csv
from datetime import datetime
from io import BytesIO

import pytest

from detector.assets.plant import load_plant
from detector.config import Settings
from detector.simulate import simulate
from detector.vendors.run import Asked, look


def us(text):
    return round(datetime.fromisoformat(text).timestamp() * 1e6)


def found(logs, plant):
    told, _, _ = look([logs], Settings(), plant, BytesIO(), asked=Asked())
    return [(v.kind, told.agreed[v.place].vendor.label, v.start, v.end) for v in told.violations if v.place is not None]


def during(row, violation):
    return row["vendor"] == violation[1] and violation[2] <= us(row["end"]) and violation[3] >= us(row["start"])


@pytest.mark.parametrize("seed", [5, pytest.param(21, marks=pytest.mark.long)])
def test_seeded_violations_are_found_and_no_others(tmp_path, seed):
    plant = simulate(tmp_path, days=9, hosts=40, seed=seed, campaigns=False, violations=True)
    truth = list(csv.DictReader(plant.violations.read_text().splitlines()))
    assert len(truth) >= 6
    register = load_plant(plant.plant)
    for logs, hidden in (
        (plant.zeek_dir, set()),
        (plant.netflow_dir, {"operation", "shared_account", "unknown_source"}),
    ):
        told = found(logs, register)
        for row in truth:
            seen = any(row["kind"] == each[0] and during(row, each) for each in told)
            assert seen == (row["kind"] not in hidden), row  # flows tell neither accounts nor operations
        assert [each for each in told if not any(each[0] == row["kind"] and during(row, each) for row in truth)] == []


def test_the_supplier_who_is_an_intruder_is_found(tmp_path):
    plant = simulate(tmp_path, days=6, hosts=40, seed=3, netflow=False)
    hops = [row for row in csv.DictReader(plant.labels.read_text().splitlines()) if row["campaign"] == "supplier"]
    told = found(plant.zeek_dir, load_plant(plant.plant))
    assert any(kind == "outside_window" and start == us(hops[0]["start"]) for kind, _, start, _ in told)
