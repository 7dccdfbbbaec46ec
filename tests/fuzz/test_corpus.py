"""No input stops a reader or makes it say two things; those that once did are in the corpus."""

import random

import pytest

from detector.formats import zeek_other
from detector.formats.registry import LOG_TYPES
from tests.fuzz.decoders import READ
from tests.fuzz.mutations import mutated
from tests.fuzz.targets import CORPUS, TARGETS

DRAWN = 2  # inputs of each target; `make fuzz` goes on for minutes


KNOWN = {"netflow.nfdump": "a restart between nfdump's last row and its totals makes these rejects: state() lacks it"}


def named(name):
    return pytest.param(name, marks=pytest.mark.xfail(reason=KNOWN[name])) if name in KNOWN else name


@pytest.mark.parametrize("name", [named(name) for name in TARGETS])
def test_no_input_breaks_it(name):
    target, chance = TARGETS[name], random.Random(name)
    seeds = target.seeds()
    for data in [seeds[0], *target.trouble(), *(mutated(seeds, chance) for _ in range(DRAWN))]:
        target.check(data)


def test_each_log_that_is_read_has_a_target():
    assert {*READ} - {"columns"} <= {*LOG_TYPES}
    assert {log for log, kind in LOG_TYPES.items() if kind.convert.__module__ != zeek_other.__name__} <= {*READ}


def test_the_corpus_belongs_to_targets():
    assert {folder.name for folder in CORPUS.iterdir()} <= {target.folder.name for target in TARGETS.values()}
