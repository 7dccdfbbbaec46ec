"""Decisions: what a file may say, which acts one covers, and from when to when it holds."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.alerts.decisions import Decisions, Scope, load_decisions, parse_decisions
from detector.alerts.model import Alert, Asset
from detector.errors import ConfigError
from tests.alerts.test_model import PLAIN

DAY_US = 86_400_000_000
MARCH = 1_772_323_200_000_000  # 2026-03-01T00:00:00Z

FILE = """
decisions:
  - id: scanner
    action: suppress
    by: anna
    why: the monthly scan
    from: 2026-03-01
    until: 2026-04-01T00:00:00Z
    scope: {src: 192.0.2.1, technique: T1021}
  - {id: copies, action: learn, by: ben, why: new job, from: 2026-03-02T00:00:00, scope: {service: smb}}
  - {id: copies, action: end, by: ben, why: job gone, from: 2026-03-10}
"""


def found(**changes):
    return Alert(**(PLAIN | changes))


def of(text=FILE):
    return Decisions.of(parse_decisions(text, "decisions.yaml"))


def decided(decisions, now, **changes):
    made = decisions.find(found(**changes), Asset(role="scanner"), Asset(role="PLC"), now)
    return None if made is None else made.id


def test_the_first_that_covers_an_act_decides_while_it_holds():
    held = of()
    assert decided(held, MARCH - 1) is None
    assert decided(held, MARCH) == "scanner"
    assert decided(held, MARCH + DAY_US, src="192.0.2.9") == "copies"
    assert decided(held, MARCH + DAY_US - 1, src="192.0.2.9") is None
    assert decided(held, MARCH + 9 * DAY_US, src="192.0.2.9") is None, "ended on the tenth"
    assert decided(held, MARCH + 31 * DAY_US) is None, "until is not included"
    made = held.find(found(), Asset(), Asset(), MARCH)
    assert (made.action, made.by, made.why, made.until) == (
        "suppress",
        "anna",
        "the monthly scan",
        "2026-04-01T00:00:00.000000Z",
    )


@pytest.mark.parametrize(
    ("scope", "covered"),
    [
        ({"host": "192.0.2.2"}, True),
        ({"host": "192.0.2.0/30"}, True),
        ({"host": "198.51.100.0/24"}, False),
        ({"host": "2001:db8::/32"}, False),
        ({"src": "192.0.2.2"}, False),
        ({"dst": "192.0.2.2", "src": "192.0.2.1"}, True),
        ({"src_role": "scanner", "dst_role": "PLC"}, True),
        ({"src_role": "PLC"}, False),
        ({"src_zone": "it", "dst_zone": "ot"}, True),
        ({"dst_zone": "it"}, False),
        ({"service": "smb"}, True),
        ({"service": "rdp"}, False),
        ({"operation": "svcctl::CreateServiceW"}, True),
        ({"operation": "svcctl::*"}, True),
        ({"operation": "svcctl"}, False),
        ({"technique": "T1021"}, True),
        ({"technique": "T1021.002"}, True),
        ({"technique": "T102"}, False),
        ({"user": "admin"}, True),
        ({"user": "else"}, False),
        ({"service": "smb", "user": "else"}, False),
    ],
)
def test_all_that_a_scope_names_must_hold(scope, covered):
    act = found(operation="svcctl::CreateServiceW", techniques=("T1570", "T1021.002"), user="ADMIN")
    assert Scope.model_validate(scope).covers(act, Asset(role="scanner"), Asset(role="PLC")) == covered


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            ("until: 2026-04-01T00:00:00Z", ""),
            "decisions.0: until is missing: what is suppressed must come back one day",
        ),
        (("until: 2026-04-01T00:00:00Z", "until: 2026-03-01"), "decisions.0: until is not after from"),
        (("from: 2026-03-01\n", "from: 1772323200\n"), "decisions.0.from: is not a time"),
        (("by: anna", ""), "decisions.0.by"),
        (("why: the monthly scan", "why: ''"), "decisions.0.why"),
        (("src: 192.0.2.1, technique: T1021", ""), "decisions.0.scope: names nothing; name at least one of host"),
        (("src: 192.0.2.1", "source: 192.0.2.1"), "decisions.0.scope.source"),
        (("192.0.2.1", "here"), "decisions.0.scope.src"),
        (("id: scanner", "id: Scanner X"), "decisions.0.id"),
        (("id: scanner", "id: copies"), "decisions: two decisions are called copies"),
        (("{id: copies, action: end", "{id: other, action: end"), "other ends, and no decision of that id"),
        (("action: suppress", "action: delete"), "decisions.0"),
        (("decisions:", "decision:"), "decision"),
        (("decisions:", "decisions: ]"), "cannot be read as YAML"),
    ],
)
def test_what_is_wrong_is_told_with_file_and_key(change, said):
    assert change[0] in FILE
    with pytest.raises(ConfigError) as problem:
        parse_decisions(FILE.replace(*change, 1), "decisions.yaml")
    assert "decisions.yaml" in str(problem.value)
    assert said in str(problem.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_decisions(tmp_path / "none.yaml")
    (tmp_path / "empty.yaml").write_text("", encoding="utf-8")
    assert load_decisions(tmp_path / "empty.yaml") == ()


# --- going on from a state ---


def test_what_the_state_does_not_know_holds_from_the_next_row_on():
    latest = MARCH + 5 * DAY_US
    held, before = of(), of("decisions: []")
    moved = held.adopt(before.state(), latest)
    assert [one.entry.id for one in moved] == ["scanner", "copies"]
    assert decided(held, latest) is None
    assert decided(held, latest + 1) == "scanner"
    again = of()
    assert again.adopt(held.state(), latest + 100) == [], "told once"
    assert again.state() == held.state()


def test_what_lies_ahead_holds_as_declared():
    held = of()
    assert held.adopt(of("decisions: []").state(), MARCH - DAY_US) == []
    assert held.state() == of().state()


def test_an_end_cannot_lie_before_what_was_told():
    latest = MARCH + 15 * DAY_US
    known = of(FILE.replace("  - {id: copies, action: end, by: ben, why: job gone, from: 2026-03-10}\n", ""))
    held = of()
    assert [one.entry.id for one in held.adopt(known.state(), latest)] == ["copies"]
    assert decided(held, latest, src="192.0.2.9") == "copies"
    assert decided(held, latest + 1, src="192.0.2.9") is None


@given(st.integers(-40 * DAY_US, 40 * DAY_US), st.integers(-40 * DAY_US, 40 * DAY_US))
def test_nothing_that_was_seen_is_decided_otherwise(seen, asked):
    """Whatever the file says when the service goes on: up to the latest row it decides as it did."""
    latest, now = MARCH + seen, MARCH + asked
    known = of(FILE.replace("2026-04-01", "2026-03-20"))
    held = of()
    held.adopt(known.state(), latest)
    if now <= latest and MARCH <= latest < MARCH + 19 * DAY_US:
        assert decided(held, now) == decided(known, now)


def test_hits_are_counted_and_kept():
    held = of()
    made = held.find(found(), Asset(), Asset(), MARCH)
    held.hit(made)
    held.hit(made)
    other = of()
    other.adopt(held.state(), MARCH)
    assert other.hits == {"scanner": 2}
