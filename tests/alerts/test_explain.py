"""Reasons: the numbers they give are the row's, and what a log said cannot drown them."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.alerts.explain import MAX_EVIDENCE, alert, joined, repeated, summary, techniques
from detector.alerts.model import Asset, Verdict, as_dict
from detector.config import MODELS
from detector.score.fusion import SMALLEST_P

ROW = {
    "orig_h": "192.0.2.10", "resp_h": "192.0.2.20", "orig_p": 50123, "resp_p": 445, "service": "smb", "operation": None,
    "object": None, "user": None, "ts": 1_767_225_600_000_000, "evidence": "C1", "guessed": False,
    "orig_zone": "office", "resp_zone": "servers", "orig_level": 4.0, "resp_level": 3.0, "crossing": False,
    "technique": "T1021.002", "consequence": 0, "p_value": 1e-5,
    "p_structure": 1e-4, "structure_forward": 8 * math.log(2), "structure_reverse": 3.5 * math.log(2),
    "seen": 0.0, "orig_rows": 1234.4, "orig_pairs": 12.2, "role_sources": 3.0,
    "resp_rows": 99_000.0, "resp_pairs": 41.0, "transport": "tcp", "importance": "normal", "log": "zeek.conn",
    "history_truncated": 0, "trust": Verdict(),
}  # fmt: skip


def said(kind="connection", act=None, **changes):
    found = alert(ROW | changes, kind, "inside IT", act)
    return found, " | ".join(found.reasons)


def test_a_new_edge_says_what_was_never_seen_and_how_busy_both_ends_are():
    found, text = said()
    assert found.reasons[0] == "first use of smb from 192.0.2.10 to 192.0.2.20"
    assert "192.0.2.10 made 1,234 connections before, over 12 host and service pairs" in text
    assert "3 hosts like it (zone office) did this to 192.0.2.20 before" in text
    assert "192.0.2.20 saw 99,000 connections from 41 such pairs before" in text
    assert "8.0 bits given the source, 3.5 bits given the target" in text
    assert "ATT&CK T1021.002 SMB/Windows Admin Shares" in text


def test_what_a_full_table_may_have_dropped_is_not_called_new_without_a_word():
    told = "perhaps not the first: a full table dropped some of what was last seen before 2026-01-01T00:00:00.000000Z"
    assert told in said(history_truncated=1_767_225_600_000_000)[0].reasons
    assert "perhaps" not in said()[1]


def test_how_rare_it_is_taken_together_is_the_p_value():
    found, text = said(p_value=1e-5)
    assert "taken together, 1 in 100,000 rows is as strange" in text
    assert (found.p_value, found.score) == (1e-5, 5.0)
    assert "1 in 1 rows" in said(p_value=1.0)[1]


@pytest.mark.parametrize("p", [0.0, 5e-324, 1e-300, 1e-16])
def test_what_is_rarer_than_any_history_can_tell_has_no_digits(p):
    """A tail's p-value underflows; a division by it must not."""
    _, text = said(p_value=max(p, SMALLEST_P), p_timing=p, hour_seen=0.0)
    assert text.count("1 in more than 1,000,000,000,000,000 ") == 2
    assert "1 in 100,000,000,000,000 rows" in said(p_value=1e-14)[1]


@pytest.mark.parametrize(("seen", "count"), [(7.3, "7"), (0.1, "less than 1"), (0.6, "1")])
def test_a_rare_edge_says_how_often_it_was_seen(seen, count):
    found, _ = said(seen=seen)
    assert found.reasons[0] == f"rare ({count} before) use of smb from 192.0.2.10 to 192.0.2.20"


SWEEP = {"fanout_targets": 16.0, "fanout_sweep": 12.0}


@pytest.mark.parametrize("kind", ["attempt", "connection"])
@pytest.mark.parametrize(
    ("service", "level", "technique"),
    [("smb", 3.0, "T1046"), ("smb", 2.0, "T0846"), ("smb", None, "T1046"), ("icmp", 1.0, "T1018")],
)
def test_many_targets_in_ten_minutes_are_called_a_sweep(kind, service, level, technique):
    swept, text = said(kind, technique=None, service=service, resp_level=level, **SWEEP)
    assert swept.techniques == (technique,)
    assert f"ATT&CK {technique}" in text


@pytest.mark.parametrize("less", [{"fanout_targets": 9.0}, {"fanout_sweep": 4.0}])
def test_few_targets_or_as_many_as_usual_are_no_sweep(less):
    assert said("attempt", technique=None, **SWEEP | less)[0].techniques == ()
    assert said("attempt", technique=None)[0].techniques == (), "nor what that model did not see"


def test_an_operation_in_a_sweep_keeps_its_own_technique():
    shares = {"service": "dce_rpc", "operation": "srvsvc::NetrShareEnum", "technique": "T1135"}
    assert said("operation", **shares, **SWEEP)[0].techniques == ("T1135",)


def test_an_attempt_says_so():
    found, text = said("attempt")
    assert found.reasons[0] == "first failed attempt at smb from 192.0.2.10 to 192.0.2.20"
    assert "made 1,234 failed attempts before" in text


def test_a_sweep_tells_how_many_targets_and_how_many_are_usual():
    numbers = {"fanout_targets": 32.0, "fanout_usual": 2.2, "fanout_windows": 140.0, "fanout_sweep": 20.0}
    text = said("attempt", p_fanout=1e-4, **numbers)[1]
    assert (
        "192.0.2.10 tried 32 different targets within ten minutes where 2 are usual, by 140 windows of this host and "
        "what others do; 1 in 10,000 such rows is as strange"
    ) in text
    assert "different targets" not in said("attempt", p_fanout=0.2, **numbers)[1]


@pytest.mark.parametrize(("what", "noun"), [(1.0, "connections"), (2.0, "bytes sent"), (3.0, "bytes received")])
def test_a_burst_tells_how_much_of_what(what, noun):
    numbers = {"volume_what": what, "volume_seen": 65_536.0, "volume_usual": 120.4, "volume_hours": 60.0}
    text = said(p_volume=0.001, **numbers)[1]
    assert f"65,536 {noun} within the hour where 120 are usual, by 60 hours of this path" in text


def test_an_operation_tells_what_it_does_on_what_and_as_whom():
    found, text = said(
        "operation", "creates or starts a service", service="dce_rpc", operation="svcctl::CreateServiceW",
        object="PSEXESVC", user="EXAMPLE\\admin", technique="T1569.002",
    )  # fmt: skip
    assert found.reasons[0] == (
        "first dce_rpc svcctl::CreateServiceW (creates or starts a service) from 192.0.2.10 to 192.0.2.20"
    )
    assert "made 1,234 acts before, over 12 host and operation pairs" in text
    assert "object: PSEXESVC" in text
    assert "account: EXAMPLE\\admin" in text
    assert found.user == "EXAMPLE\\admin"
    assert found.techniques == ("T1569.002",)


def test_a_crossing_names_both_levels():
    found, text = said(crossing=True, resp_zone="cell 1", resp_level=1.0)
    assert "crosses from office (Purdue level 4) to cell 1 (level 1) and no declared conduit permits it" in text
    assert found.techniques == ("T1021.002", "T0886")
    assert techniques(ROW | {"crossing": True, "technique": "T0886"}, "connection") == ("T0886",)


def test_a_guessed_direction_is_admitted():
    assert "direction is a guess" in said(guessed=True)[1]
    assert "guess" not in said()[1]


def test_long_strings_of_a_log_are_cut():
    endless = "A" * 100_000
    found, _ = said(
        "operation", operation=endless, object=endless, user=endless, orig_zone=endless, crossing=True,
        technique=None,
    )  # fmt: skip
    assert max(map(len, found.reasons)) < 600
    assert found.reasons[0].startswith("first smb " + "A" * 200 + "… from")


def test_the_id_ignores_what_the_model_thinks():
    one, _ = said()
    other, _ = said(p_value=1e-9, seen=3.0, orig_zone="elsewhere", user="someone", evidence="C2", technique=None)
    assert one.alert_id == other.alert_id
    for changed in ({"ts": 1}, {"orig_p": 1}, {"resp_h": "192.0.2.21"}, {"operation": "read"}):
        assert said(**changed)[0].alert_id != one.alert_id


# --- what an analyst asks next ---


def test_bits_are_those_of_the_models_the_largest_first():
    found, _ = said(p_structure=1e-4, p_timing=1e-6, p_volume=0.6, p_credentials=0.5, hour_seen=0.0)
    assert list(found.bits.items()) == [("timing", 19.9), ("structure", 13.3), ("credentials", 1.0)]
    assert max(said(p_structure=1e-200)[0].bits.values()) == 49.8, "further than any history no bits are told"


@pytest.mark.parametrize(
    ("kind", "act", "changes", "title"),
    [
        ("connection", None, {}, "First use of smb from 192.0.2.10 to 192.0.2.20"),
        ("attempt", None, {"seen": 7.0}, "Rare (7 before) failed attempt at smb from 192.0.2.10 to 192.0.2.20"),
        (
            "connection",
            None,
            {"p_structure": 1.0, "p_timing": 1e-6, "hour_seen": 0.0},
            "Use of smb from 192.0.2.10 to 192.0.2.20 at an unusual time",
        ),
        (
            "operation",
            "logs on",
            {"operation": "logon", "service": "ntlm", "p_structure": 1.0, "p_vendors": 1e-9},
            "ntlm logon (logs on) from 192.0.2.10 to 192.0.2.20 outside what was agreed with the supplier",
        ),
        (
            "attempt",
            None,
            {"technique": None, **SWEEP},
            "Sweep by 192.0.2.10: failed attempt at smb on 16 targets within ten minutes, among them 192.0.2.20",
        ),
    ],
)
def test_a_title_says_what_and_what_is_strange_about_it(kind, act, changes, title):
    assert said(kind, act, **changes)[0].title == title


def test_ports_and_the_community_id_are_those_of_the_conversation():
    found, _ = said()
    assert (found.src_port, found.dst_port, found.transport) == (50123, 445, "tcp")
    assert found.community_id.startswith("1:")
    ping = {"transport": "icmp", "orig_p": 8, "resp_p": 0}
    assert (said(**ping)[0].src_port, said(**ping)[0].community_id is not None) == (None, True)
    assert said(**ping, log="netflow.nfdump")[0].community_id is None, "its ports are no types"
    assert said(transport=None)[0].community_id is None
    assert said(orig_p=None)[0].community_id is None


def test_a_summary_names_both_hosts_and_what_had_to_be_otherwise():
    found, _ = said()
    owned = Asset("EWS-3", "engineering workstation", 2.0, "critical", "maintenance")
    text = summary(replace(found, src_asset=owned, count=3, last_ts="2026-01-01T05:00:00.000000Z"))
    assert text == (
        "First use of smb from 192.0.2.10 to 192.0.2.20. Source: EWS-3, engineering workstation, zone office, "
        "Purdue level 2, critical importance, owner maintenance. Target: zone servers. "
        "1 in 100,000 rows is as strange; structure alone says 13.3 bits. "
        "3 findings from 2026-01-01 00:00 to 2026-01-01 05:00. Would not alert if "
        "use of smb from 192.0.2.10 to 192.0.2.20 were a habit of most hours."
    )


NUMBERS = dict.fromkeys(
    ("edge_hours", "edge_acts", "act_seen", "user_seen", "edge_users", "hour_seen", "way_seen", "unexplained_share",
     "volume_seen", "volume_usual", "volume_hours", "fanout_usual", "fanout_windows"), 3.0,
) | {"volume_what": 1.0, **SWEEP}  # fmt: skip
SPEAKING = ["structure", *(name for name in MODELS if name not in {"vendors", "forest", "windows", "drip"})]
HOSTILE = st.text(max_size=20) | st.sampled_from(["\x1b[2J", "{{7*7}}", "${jndi:x}", "a|b=c", "\u202e", "x" * 5000])


@given(
    st.lists(st.tuples(HOSTILE, HOSTILE, HOSTILE, HOSTILE), min_size=1, max_size=20),
    st.dictionaries(st.sampled_from(SPEAKING), st.sampled_from([1e-300, 1e-3, 1.0])),
)  # fmt: skip
def test_whatever_logs_say_every_text_and_list_has_a_bound(words, p_values):
    several = [
        said("operation", "acts", **NUMBERS, operation=a, object=b, user=c, evidence=d, crossing=True,
             **{f"p_{name}": p for name, p in p_values.items()})[0]
        for a, b, c, d in words
    ]  # fmt: skip
    whole = joined(several[0], several, len(several))
    for found in several:
        whole = repeated(whole, found)
    assert whole.count == 2 * len(several)
    assert len(whole.evidence) <= MAX_EVIDENCE
    assert len(whole.reasons) < 30
    for value in as_dict(replace(whole, summary=summary(whole))).values():
        for text in value if isinstance(value, tuple) else [value]:
            assert not isinstance(text, str) or len(text) <= 3000
