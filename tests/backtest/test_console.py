"""The terminal's tables: complete, and deaf to what log strings would tell a terminal."""

from __future__ import annotations

import io
import unicodedata
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, RenderableType

from detector.alerts.model import Alert, Incident, Step
from detector.backtest.console import accounting_table, alert_table, incident_table, labels_table

STEP = Step(
    ts="2025-03-14T08:12:44.120000Z",
    src="10.10.4.23",
    dst="10.20.0.13",
    service="smb",
    services=("smb", "dce_rpc"),
    operations=("WRITE ADMIN$",),
    techniques=("T1021.002",),
    p_value=8.3e-5,
    src_zone="office",
    dst_zone="servers",
    users=(),
    reasons=("first use",),
    alert_ids=("a1",),
    evidence=("conn.log:17",),
)
INCIDENT = Incident(
    incident_id="k3vjxq7",
    first_ts=STEP.ts,
    last_ts=STEP.ts,
    score=10.4815,
    p_value=3.3e-11,
    severity="critical",
    hosts=("10.10.4.23", "10.20.0.13"),
    path=(STEP, replace(STEP, src="10.20.0.13", dst="10.61.1.5", dst_zone="cell1")),
    techniques=("T1021.002",),
    summary="two moves",
)
ALERT = Alert(
    alert_id="a1",
    ts=STEP.ts,
    src=STEP.src,
    dst=STEP.dst,
    service="smb",
    operation="WRITE ADMIN$",
    kind="operation",
    score=4.08,
    p_value=8.3e-5,
    severity="high",
    techniques=("T1021.002",),
    reasons=("first use",),
    incident_id=None,
    evidence=("conn.log:17",),
    src_zone="office",
    dst_zone="servers",
    user=None,
)
HOSTILE = [
    "\x1b[2J\x1b[1;1Howned",
    "\x1b]8;;http://evil.example\x07click\x1b]8;;\x07",
    "\x9b31mred",
    "over\rwritten\x08\x07",
    "pay\u202egpj.exe\u2066",
    "[bold red]loud[/bold red]",
    "[/]",
    "[link=http://evil.example]here[/link]",
    ":skull:",
    "lone \ud800",
]


def shown(renderable: RenderableType, width: int = 200) -> str:
    console = Console(width=width, file=io.StringIO(), force_terminal=True, color_system=None, legacy_windows=False)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


def summary(word: str = "reason") -> dict:
    return {
        "input": {"paths": [word], "files": 2, "skipped": [{"path": word, "reason": word}]},
        "rows": {"in": 1000, "scored": 900, "rejected": 40, "duplicate": 30, "late": 20, "filtered": 10},
        "rejected_reasons": {word: 40},
        "filtered_reasons": {f"conn: {word}": 10},
        "labels": {
            "campaigns": [
                {
                    "campaign": word,
                    "found": False,
                    "first_alert": None,
                    "hops": 6,
                    "hops_found": 5,
                    "hops_before_first_alert": None,
                    "minutes_to_detect": None,
                }
            ],
            "campaigns_found": 0,
            "campaigns_total": 1,
            "hops_found": 5,
            "hops_total": 6,
            "true_alerts": 5,
            "false_alerts": 2,
            "false_alerts_per_day": 0.3,
        },
    }


def everything(word: str) -> str:
    """All tables with ``word`` wherever a log or a file has a say."""
    bad = replace(STEP, src=word, dst=word, service=word, services=(word,), operations=(word,), techniques=(word,))
    bad = replace(bad, src_zone=word, dst_zone=word)
    ill = replace(INCIDENT, path=(bad,), severity=word, summary=word)
    sign = replace(ALERT, src=word, dst=word, service=word, operation=word, techniques=(word,), severity=word)
    sign = replace(sign, src_zone=word, dst_zone=word)
    tables = (
        incident_table([ill]),
        alert_table([sign]),
        accounting_table(summary(word)),
        labels_table(summary(word)),
    )
    return "".join(shown(table) for table in tables)


def obeyed(char: str) -> bool:
    """Neither letter, mark, number, sign nor space."""
    return unicodedata.category(char)[0] == "C" or char in "\u2028\u2029"


def plain(text: str) -> str:
    """Without the only sequences that rich itself writes: bold, dim and the like."""
    for code in ("0", "1", "2"):
        text = text.replace(f"\x1b[{code}m", "")
    return text


@pytest.mark.parametrize("word", HOSTILE)
def test_hostile_strings_reach_no_terminal(word):
    written = plain(everything(word))
    assert {char for char in written if obeyed(char)} <= {"\n"}
    written.encode("utf-8")


@pytest.mark.parametrize("word", ["[bold red]loud[/bold red]", "[/]", ":skull:", "[link=x]here[/link]"])
def test_markup_is_shown_as_it_is(word):
    assert everything(word).count(word) >= 10


@given(st.text(max_size=30))
def test_any_text_is_harmless(word):
    assert {char for char in plain(everything(word)) if obeyed(char)} <= {"\n"}


def test_an_incident_shows_its_hops_in_order():
    text = plain(shown(incident_table([INCIDENT])))
    for words in (
        "Incident 1  critical   score 10.48, 1 in 3.0 \u00d7 10¹⁰",
        "10.10.4.23 → 10.20.0.13",
        "office → servers",
        "smb, dce_rpc WRITE ADMIN$",
        "T1021.002 SMB/Windows Admin Shares",
        "03-14 08:12:44",
        "1 in 12,000",
    ):
        assert words in text
    assert text.index("10.10.4.23 →") < text.index("→ 10.61.1.5")


def test_a_narrow_terminal_loses_nothing():
    text = plain(shown(incident_table([INCIDENT]), width=80))
    for words in ("03-14 08:12:44", "10.10.4.23", "10.61.1.5", "T1021.002", "1 in 12,000"):
        assert words in text
    assert "…" not in text


def test_long_incidents_are_cut_and_say_so():
    assert "and 10 more hops" in shown(incident_table([replace(INCIDENT, path=(STEP,) * 30)]))


def test_the_strongest_alerts_come_first_and_the_limit_holds():
    weak, strong = replace(ALERT, src="10.0.0.1", score=3.0), replace(ALERT, src="10.0.0.2", score=9.0)
    text = shown(alert_table([weak, ALERT, strong], limit=2))
    assert text.index("10.0.0.2") < text.index("10.10.4.23")
    assert "10.0.0.1" not in text


def test_nothing_found_is_said_in_words():
    assert "No incidents" in shown(incident_table([]))
    assert "--train-until" in shown(alert_table([]))
    assert "No labels" in shown(labels_table({}))


def test_rows_and_reasons_are_counted():
    text = plain(shown(accounting_table(summary("broken line"))))
    for words in ("1,000", "rejected", "broken line", "conn: broken line", "skipped broken line"):
        assert words in text


def test_labels_show_what_was_found():
    text = plain(shown(labels_table(summary("ransom-1"))))
    for words in ("ransom-1", "5 of 6", "0 of 1 campaigns", "0.3 a day"):
        assert words in text
