"""What leaves the engine: ids that never change, lines that cannot be forged, levels people can rely on."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.alerts.model import (
    SEVERITIES,
    Alert,
    Incident,
    Step,
    alert_of,
    as_dict,
    content_id,
    iso,
    rounded_p,
    severity,
    to_json,
)

PLAIN = {
    "alert_id": "id", "ts": "2026-01-01T00:00:00.000000Z", "src": "192.0.2.1", "dst": "192.0.2.2", "service": "smb",
    "operation": None, "kind": "connection", "score": 4.0, "p_value": 1e-4, "severity": "low", "techniques": ("T1021",),
    "reasons": ("first use",), "incident_id": None, "evidence": ("C1",), "src_zone": "it", "dst_zone": "ot",
    "user": None,
}  # fmt: skip


def test_an_id_is_pinned():
    """Never change this: receivers recognise repeats by it, across versions and restarts."""
    parts = (
        "operation",
        "192.0.2.1",
        "192.0.2.2",
        "dce_rpc",
        "svcctl::CreateServiceW",
        1_767_225_600_000_000,
        49152,
        445,
    )
    assert content_id(*parts) == "6qh5d6gsld27chcsz7jormgxpf"
    assert content_id("connection", "192.0.2.1", "192.0.2.2", "smb", None, 0, None, 445) != content_id(*parts)


words = st.text(st.characters(exclude_characters="|", exclude_categories=["Cs"]), max_size=8)


@given(st.lists(words, max_size=5), st.lists(words, max_size=5))
def test_an_id_follows_from_its_content_alone(one, other):
    assert (content_id(*one) == content_id(*other)) == (one == other)


def test_an_id_takes_any_string_python_can_hold():
    assert content_id("\ud800") != content_id("\udfff")


def forbidden(text):
    """Characters that can break a line, hide text or turn its direction."""
    return [
        char
        for char in text
        if unicodedata.category(char) in {"Cc", "Zl", "Zp"}
        or unicodedata.bidirectional(char) in {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}
        or char in "\u061c\u200e\u200f"
    ]


nasty = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('\n\r\0\x7f\x85\u2028\u2029\u202e\u2066"\\'))


@given(nasty, nasty)
def test_a_line_is_one_line_of_harmless_json_that_says_the_same(operation, reason):
    record = Alert(**(PLAIN | {"operation": operation, "reasons": (reason, "second")}))
    line = to_json(record)
    text = line.decode("utf-8")
    assert forbidden(text) == []
    assert len(text.splitlines()) == 1
    back = json.loads(text)
    assert (back["operation"], back["reasons"]) == (operation, [reason, "second"])
    assert alert_of(back) == record


def test_every_forbidden_character_is_escaped():
    """All of Unicode, not only what hypothesis happens to try."""
    every = "".join(chr(code) for code in range(0x110000) if not 0xD800 <= code <= 0xDFFF)
    line = to_json(Alert(**(PLAIN | {"operation": every}))).decode("utf-8")
    assert forbidden(line) == []
    assert json.loads(line)["operation"] == every


@given(nasty)
def test_an_incident_is_as_harmless(text):
    step = Step(text, "a", "b", "smb", (text,), (text,), (), 0.1, "it", "it", (text,), (text,), ("id",), (text,))
    record = Incident("id", "t", "t", 1.0, 0.1, "low", (text,), (step,), (), text)
    line = to_json(record).decode("utf-8")
    assert forbidden(line) == []
    assert json.loads(line) == json.loads(json.dumps(as_dict(record)))


@pytest.mark.parametrize(
    ("p", "consequence", "level"),
    [
        (1e-3, 0, "low"),
        (1e-4, 0, "medium"),
        (1e-6, 0, "high"),
        (1e-3, 1, "medium"),
        (1e-3, 3, "high"),
        (1e-4, 3, "critical"),
        (1e-6, 1, "critical"),
        (1e-9, 4, "critical"),
    ],
)
def test_each_ground_counts_one_level(p, consequence, level):
    assert severity(p, consequence) == level


@given(st.floats(1e-300, 1), st.floats(1e-300, 1), st.integers(0, 4), st.integers(0, 4))
def test_worse_is_never_less_severe(p, q, consequence, other):
    worse = severity(min(p, q), max(consequence, other))
    assert SEVERITIES.index(worse) >= SEVERITIES.index(severity(max(p, q), min(consequence, other)))


@pytest.mark.parametrize(
    ("micros", "text"),
    [
        (0, "1970-01-01T00:00:00.000000Z"),
        (1_767_225_600_000_001, "2026-01-01T00:00:00.000001Z"),
        (253_402_300_799_999_999, "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_times_are_written_to_the_microsecond(micros, text):
    assert iso(micros) == text


@given(st.floats(1e-300, 1))
def test_p_values_are_written_to_four_digits(p):
    assert rounded_p(p) == pytest.approx(p, rel=5e-4)
    assert rounded_p(rounded_p(p)) == rounded_p(p)
