"""docs/reliability.md says of faults, places and tests what is so."""

import re

from tests.conftest import REPOSITORY
from tests.faults.test_crashes import POINTS

PAGE = (REPOSITORY / "docs" / "reliability.md").read_text("utf-8")
TESTS = REPOSITORY / "tests"


def test_each_fault_has_a_row():
    assert re.findall(r"^\| (F\d+) \|", PAGE, re.MULTILINE) == [f"F{number}" for number in range(1, 28)]


def test_each_drill_has_a_row_on_the_page_of_operations():
    page = (REPOSITORY / "docs" / "operations.md").read_text("utf-8")
    drills = (TESTS / "faults" / "test_drills.py").read_text("utf-8")
    assert re.findall(r"^\| (D\d+) \|", page, re.MULTILINE) == sorted(set(re.findall(r'"(D\d+) ', drills)))


def test_the_tests_that_are_named_exist():
    named = set(re.findall(r"`([\w/]+\.py)`", PAGE))
    assert len(named) > 20
    assert [name for name in sorted(named) if not (TESTS / name).is_file()] == []


def test_each_place_of_a_crash_is_told_and_passed():
    service = REPOSITORY / "detector" / "service"
    source = "".join((service / name).read_text("utf-8") for name in ("loop.py", "saved.py"))
    passed = re.findall(r'point\("(\w+)"\)', source)
    assert sorted(passed) == sorted(POINTS)
    assert re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE) == list(POINTS)
