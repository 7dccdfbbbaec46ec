"""The page of a drill in a browser: log strings are shown, and can do nothing in it."""

import re

import pytest

from detector.drill.written import render

HOSTILE = (
    '<script>document.title="ran"</script>',
    '"><img src=x onerror=document.title="ran">',
    "</title></svg><script>document.title='ran'</script>",
    "{{ 7 * 191 }}",
    "\x1b[2Jclear",
    "pay\u202egpj.exe",
    "[bold]markup[/bold]",
)
TIME = "2026-03-09T10:00:00.000000Z"


def hop(word, **changes):
    return {
        "ts": TIME, "src": word, "dst": word, "technique": "T1021.002", "account": word, "new_pair": True,
        "recorded": True, "detected": True, "first_seen_here": True,
    } | changes  # fmt: skip


def summary(word):
    times = {"minutes_to_detect_median": 12.0, "minutes_to_detect_p90": 90.0}
    alert = {"ts": TIME, "src": word, "dst": word, "service": word, "operation": word}
    played = {
        "technique": "T1021.002", "name": "SMB", "injected": 4, "detected": 3, "coverage": 0.75, "low": 0.3,
        "high": 0.95, "minutes_median": 12.0, "minutes_p90": 90.0, "new_pairs": 2, "reason": None,
    }  # fmt: skip
    return {
        "found": {"found": 1, "campaigns": 2, "low": 0.1, "high": 0.9, "hops_before_detection_median": 1,
                  "hops_before_detection_p90": 2, **times},
        "control": {"alerts_per_day": 2.5, "alerts": 5, "judged_days": 2.0, "incidents": 1, "alerts_with_drill": 9,
                    "incidents_with_drill": 2, "gone": 1, "new_elsewhere": 1, "examples_gone": [alert],
                    "examples_new": [alert]},
        "hosts": 9, "history": {"first": TIME, "last": TIME, "judged_from": TIME}, "logs": ["conn", word], "seed": 1,
        "coverage": [played, played | {"technique": "T1047", "injected": 0, "reason": word}],
        "by_pace": [{"pace": "minutes", "found": 1, "campaigns": 2, "dwell_minutes_median": 5.0,
                     "dwell_minutes_p90": 9.0, "hurried": 0, **times}],
        "campaigns": [
            {"campaign": "one", "pace": "minutes", "found": True, "minutes_to_detect": 12.0, "hops_before_detection": 1,
             "hops": [hop(word), hop(word, first_seen_here=False)]},
            {"campaign": "two", "pace": "minutes", "found": False, "minutes_to_detect": None,
             "hops_before_detection": None,
             "hops": [hop(word, first_seen_here=False, detected=False, recorded=False)]},
        ],
    }  # fmt: skip


@pytest.mark.browser
def test_a_browser_shows_hostile_strings_and_obeys_none(browse):
    page = render(summary(" ".join(HOSTILE)))
    bare = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)  # escapes alone must do
    assert bare != page
    for html in (page, bare):
        dom = browse(html, "--dump-dom")
        assert "<title>eastwest drill</title>" in dom
        assert "<script" not in dom
        assert "<img" not in dom
        assert "&lt;script&gt;" in dom
        assert "first seen here" in dom
        assert "no record of it" in dom
        assert "{{ 7 * 191 }}" in dom
        assert "\\u202e" in dom
        assert not {"\u202e", "\x1b"} & set(dom)
