"""The ATT&CK table: every id the engine can name is in it, none is retired, ICS rows stand under their tactic."""

import re
from pathlib import Path

import pytest

import detector
from detector.alerts.attack import TECHNIQUES, named
from detector.assets.industrial import FUNCTIONS
from detector.assets.operations import facts
from detector.assets.services import INTERACTIVE_SERVICES

RETIRED = {"T0808", "T0810", "T0818", "T0824", "T0825", "T0833", "T0841", "T0844", "T0850", "T0854", "T0870", "T0875"}
ENTERPRISE_TACTICS = {f"TA{n:04}" for n in (*range(1, 12), 40)}
ICS_TACTICS = {f"TA{n:04}" for n in range(100, 112)}
# Read in ATT&CK for ICS 18.1; a technique that has several tactics may stand under any of them.
ICS_TACTIC_OF = {
    "T0886": {"TA0108", "TA0109"}, "T0867": {"TA0109"}, "T0843": {"TA0109"}, "T0848": {"TA0108"}, "T0822": {"TA0108"},
    "T0858": {"TA0104", "TA0103"}, "T0821": {"TA0104"}, "T0889": {"TA0110"}, "T0839": {"TA0110", "TA0106"},
    "T0857": {"TA0110", "TA0107"}, "T0846": {"TA0102"}, "T0888": {"TA0102"}, "T0845": {"TA0100"}, "T0868": {"TA0100"},
    "T0855": {"TA0106"}, "T0836": {"TA0106"}, "T0816": {"TA0107"}, "T0814": {"TA0107"}, "T0803": {"TA0107"},
    "T0878": {"TA0107"}, "T0881": {"TA0107"}, "T0800": {"TA0107"}, "T0892": {"TA0107"}, "T0859": {"TA0109", "TA0110"},
}  # fmt: skip


def test_every_id_in_the_source_is_in_the_table():
    package = Path(detector.__file__).parent
    found = {
        (technique, path.name)
        for path in package.rglob("*.py")
        for technique in re.findall(r"\bT[01]\d{3}(?:\.\d{3})?\b", path.read_text("utf-8"))
    }
    assert len(found) > 60
    assert sorted((technique, name) for technique, name in found if technique not in TECHNIQUES) == []


def test_what_the_tables_of_operations_and_services_name_is_in_the_table():
    named_by_operations = {
        facts(protocol, name).technique for protocol, functions in FUNCTIONS.items() for _, name, *_ in functions
    }
    used = {*named_by_operations, *INTERACTIVE_SERVICES.values()} - {None}
    assert used <= TECHNIQUES.keys()
    assert "T0843" in used


def test_no_retired_id_is_named():
    assert not RETIRED & TECHNIQUES.keys()


def test_rows_are_well_formed():
    assert len({technique.name + technique.matrix for technique in TECHNIQUES.values()}) == len(TECHNIQUES)
    for technique in TECHNIQUES.values():
        assert re.fullmatch(r"T(0|1)\d{3}(\.\d{3})?", technique.id)
        tactics = ICS_TACTICS if technique.matrix == "ics" else ENTERPRISE_TACTICS
        assert technique.tactic in tactics, technique


@pytest.mark.parametrize("technique", sorted(ICS_TACTIC_OF))
def test_ics_techniques_stand_under_one_of_their_tactics(technique):
    assert TECHNIQUES[technique].tactic in ICS_TACTIC_OF[technique]


def test_an_unknown_id_is_shown_as_it_is():
    assert named("T1021.002") == "T1021.002 SMB/Windows Admin Shares"
    assert named("T9999") == "T9999"
