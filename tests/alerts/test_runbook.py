"""What to check next: every kind of alert has its steps, and the worst thing about an alert decides."""

import itertools

import pytest

from detector.alerts.attack import TACTICS, TECHNIQUES, tactics
from detector.alerts.model import Alert
from detector.alerts.runbook import MEANT, RUNBOOK, next_steps
from detector.config import MODELS
from tests.alerts.test_model import PLAIN


def found(**changes):
    return Alert(**(PLAIN | {"techniques": ()} | changes))


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"techniques": ("T1046", "T1021.002")}, "sweep"),
        ({"techniques": ("T0886", "T0843")}, "controller"),
        ({"techniques": ("T1021.002", "T1569.002"), "bits": {"credentials": 9.0}}, "execution"),
        ({"techniques": ("T1021.001",), "bits": {"credentials": 9.0, "structure": 3.0}}, "account"),
        ({"bits": {"provenance": 9.0}}, "log-on"),
        ({"bits": {"vendors": 9.0}}, "supplier"),
        ({"bits": {"volume": 9.0}}, "volume"),
        ({"bits": {"timing": 9.0}}, "time"),
        ({"bits": {"windows": 9.0}}, "hour"),
        ({"techniques": ("T1021.001",), "bits": {"structure": 9.0}}, "move"),
        ({"techniques": ("T0886",)}, "move"),
        ({"kind": "attempt", "bits": {"structure": 9.0}}, "attempt"),
        ({}, "connection"),
        ({"techniques": ("T9999",), "bits": {"no such model": 1.0}}, "connection"),
    ],
)
def test_the_steps_are_those_of_its_kind(changes, kind):
    assert next_steps(found(**changes)) == (*RUNBOOK[kind], MEANT)


def test_whatever_was_found_there_are_few_short_steps():
    for technique, model in itertools.product(TECHNIQUES, ("structure", *MODELS)):
        steps = next_steps(found(techniques=(technique,), bits={model: 1.0}))
        assert 2 < len(steps) < 6
        assert all(len(step) < 140 and step.endswith(".") for step in steps)


def test_every_technique_serves_a_tactic_that_has_a_name():
    assert {technique.tactic for technique in TECHNIQUES.values()} <= set(TACTICS)
    assert tactics(["T1021.002", "T0000", "T1570", "T0843"]) == ("TA0008", "TA0109")
