"""Every rendering: exact bytes, what independent readers read of them, and what an attacker's strings may not do."""

import os
from dataclasses import replace
from pathlib import Path

import jc
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

import detector
from detector.alerts.model import Told
from detector.renderings.facts import millis
from detector.renderings.json_line import LIST_LENGTH, TEXT_BYTES
from detector.renderings.kinds import RENDERINGS
from detector.renderings.strings import MARK, cut, visible, whole
from tests.renderings import parsers
from tests.renderings.samples import ALERT, HUGE, LONE, MERGED, NASTY, OPEN, SAMPLES, WITHDRAWN, hostile, with_strings

GOLDEN = Path(__file__).parent / "golden"
HEADER = {"CEFVersion", "deviceVendor", "deviceProduct", "deviceVersion", "deviceEventClassId", "agentSeverity"}  # jc's
TEXT = {"cef": "cef", "leef": "leef"}  # suffix of the file; the others are JSON
JSON = sorted(set(RENDERINGS) - set(TEXT))
VERSION = detector.__version__.encode()

nasty = st.text(
    st.characters(exclude_categories=[])
    | st.sampled_from('\r\n\0\t\x1b\x7f\x85\u2028\u2029\u202e\u2066|=\\"]^ ;,<>&\ud800\udfff')
)


def readable(text):
    """No rendering but our own takes strings that are no UTF-8; no record of an outbox has any."""
    return text.encode("utf-8", "ignore").decode()


# --- exact bytes ---


@pytest.mark.parametrize("name", sorted(RENDERINGS))
@pytest.mark.parametrize("sample", sorted(SAMPLES))
def test_the_bytes_are_the_golden_ones(name, sample):
    file = GOLDEN / f"{sample}.{name}.{TEXT.get(name, 'json')}"
    told = RENDERINGS[name](SAMPLES[sample])
    if name in TEXT:
        content = told.replace(b"|" + VERSION + b"|", b"|VERSION|") + b"\n"
    else:  # laid out for people; that it is one line is tested for all
        content = orjson.dumps(orjson.loads(told), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        content = content.replace(b'"' + VERSION + b'"', b'"VERSION"')
    if os.environ.get("EASTWEST_GOLDEN") == "write":
        file.write_bytes(content)
    assert content == file.read_bytes()


@pytest.mark.parametrize("name", sorted(set(RENDERINGS) - {"cef"}))  # which has no field left
def test_the_model_is_named_where_there_is_one(name):
    digest = b"41454850c8db7040"
    told = RENDERINGS[name](replace(OPEN, record=replace(ALERT, model=digest.decode())))
    assert told.count(digest) == 1
    assert b"model" not in RENDERINGS[name](OPEN)


# --- one in, one out ---


@pytest.mark.parametrize("name", sorted(RENDERINGS))
@given(text=nasty)
def test_one_alert_is_one_line_whatever_its_strings(name, text):
    line = RENDERINGS[name](hostile(readable(text)))
    assert parsers.one_line(line)
    if name in JSON:
        assert orjson.loads(line)
    elif name == "cef":
        _, values = parsers.cef(line)
        assert values["externalId"] == ALERT.alert_id
    else:
        _, values = parsers.leef(line)
        assert values["alertId"] == ALERT.alert_id


@pytest.mark.parametrize("name", sorted(set(RENDERINGS) - {"native"}))
@pytest.mark.parametrize("text", [LONE, HUGE, "", " ", "=", "\\", "^", "|", "\n", "\U0001f480" * 25_000])
def test_what_is_no_utf8_or_too_long_is_told_all_the_same(name, text):
    line = RENDERINGS[name](hostile(text))
    assert parsers.one_line(line)
    assert len(line) < {"cef": 8192 - 400, "leef": 4096 - 300}.get(name, 200_000)  # a syslog header comes before it


@pytest.mark.parametrize("name", sorted(RENDERINGS))
def test_an_incident_that_is_no_more_is_told_with_its_id_its_time_and_what_it_became(name):
    for told in (MERGED, WITHDRAWN):
        line = RENDERINGS[name](told)
        assert told.id.encode() in line
        assert (b"other" in line) == (told is MERGED)
        time = str(millis(told.ts)).encode() if name in {"cef", "leef", "ocsf"} else told.ts.encode()
        assert time in line


@pytest.mark.parametrize("name", sorted(RENDERINGS))
def test_the_id_stays_and_the_revision_tells(name):
    first, second = (RENDERINGS[name](replace(OPEN, revision=revision)) for revision in (0, 1))
    assert first != second
    assert OPEN.id.encode() in first
    assert OPEN.id.encode() in second


@pytest.mark.parametrize("name", sorted(RENDERINGS))
def test_what_is_optional_may_be_missing(name):
    bare = replace(
        ALERT, operation=None, user=None, incident_id=None, techniques=(), tactics=(), reasons=(), evidence=(),
        title="", summary="", counterfactual="", last_ts="", src_port=None, dst_port=None, transport=None,
        community_id=None, bits={}, next_steps=(), related=(), src_zone="", dst_zone="",
    )  # fmt: skip
    line = RENDERINGS[name](Told("alert", ALERT.alert_id, 0, bare))
    assert parsers.one_line(line)
    if name != "native":
        assert b"null" not in line
        assert b"None" not in line


# --- what readers read ---


def kept(text, limit):
    """What is left of a string where line ends are kept."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return cut("\n".join(map(visible, lines)).strip(), limit)


def another_reader(line):
    """Name and extension as jc reads them, which leaves escapes of values to others."""
    [found] = jc.parse("cef", line.decode(), raw=True, quiet=True)
    told = {key: parsers.unescaped(value.strip()) for key, value in found.items() if key not in HEADER}
    return told | {"name": found["name"].strip()}


@given(nasty)
def test_cef_says_what_was_meant(text):
    line = RENDERINGS["cef"](hostile(text))
    header, values = parsers.cef(line)
    assert header == ["CEF:0", "eastwest", "eastwest", detector.__version__, "operation", header[5], "0"]
    assert header[5] == (cut(visible(text).replace("=", "\\u003d"), 256) or header[5])
    read = another_reader(line)
    if set(header[5]) & {
        "\\",
        "|",
    }:  # jc knows no escape in a header: then it loses the name
        del read["name"]
        read = {key.rpartition("|")[2]: value for key, value in read.items()}
        assert read == values
    else:
        assert read == {"name": header[5].strip(), **{key: value.strip() for key, value in values.items()}}
    assert values.get("msg", "") == kept(text or f"{text}; {text}", 1000)
    assert values.get("suser", "") == kept(text, 128)
    assert values.get("cs2", "") == kept(text, 100)
    assert (values["spt"], values["dpt"], values["cn1"], values["act"]) == ("50122", "445", "2", "suppressed")


@given(nasty)
def test_leef_says_what_was_meant(text):
    header, values = parsers.leef(RENDERINGS["leef"](hostile(text)))
    assert header == ["LEEF:2.0", "eastwest", "eastwest", detector.__version__, "operation", "^"]

    def told(text, limit):
        return cut(visible(text).replace("^", "\\u005e").strip(), limit)

    assert values.get("summary", "") == told(text or f"{text}; {text}", 800)
    assert values.get("usrName", "") == told(text, 128)
    assert (values["srcPort"], values["dstPort"], values["revision"]) == ("50122", "445", "2")


@pytest.mark.parametrize("name", [name for name in JSON if name != "native"])
@given(text=nasty)
def test_json_says_what_was_meant(name, text):
    document = orjson.loads(RENDERINGS[name](hostile(text)))
    where = {
        "ecs": lambda: document["user"]["name"],
        "ocsf": lambda: document["evidences"][0]["user"]["name"],
        "cim": lambda: document["user"][0],
        "udm": lambda: document["principal"]["user"]["userid"],
    }[name]
    assert not text or where() == cut(whole(text), TEXT_BYTES)


def test_ipv6_addresses_have_their_own_places_in_cef():
    both = replace(ALERT, src="2001:db8::1", dst="fe80::2")
    _, values = parsers.cef(RENDERINGS["cef"](replace(OPEN, record=both)))
    assert (values["c6a2"], values["c6a3"]) == ("2001:db8::1", "fe80::2")
    assert values["c6a2Label"] == "Source IPv6 Address"
    assert not {"src", "dst"} & set(values)
    _, values = parsers.leef(RENDERINGS["leef"](replace(OPEN, record=both)))
    assert (values["src"], values["dst"]) == ("2001:db8::1", "fe80::2")


def test_what_is_no_address_is_a_name():
    odd = replace(ALERT, src="not an address")
    _, values = parsers.cef(RENDERINGS["cef"](replace(OPEN, record=replace(odd, src_asset=ALERT.src_asset))))
    assert "src" not in values
    document = orjson.loads(RENDERINGS["ecs"](replace(OPEN, record=odd)))
    assert "ip" not in document["source"]
    assert document["source"]["address"] == "not an address"
    assert document["related"]["hosts"] == ["ws-17", "ews-3", "not an address"]


@pytest.mark.parametrize(
    ("severity", "cef", "leef", "ecs", "ocsf", "cim", "udm"),
    [
        ("low", "3", "3", 21, 2, "low", "LOW"),
        ("medium", "5", "5", 47, 3, "medium", "MEDIUM"),
        ("high", "8", "8", 73, 4, "high", "HIGH"),
        ("critical", "10", "10", 99, 5, "critical", "CRITICAL"),
    ],
)
def test_a_severity_is_the_same_everywhere(severity, cef, leef, ecs, ocsf, cim, udm):
    told = replace(OPEN, record=replace(ALERT, severity=severity))
    lines = {name: render(told) for name, render in RENDERINGS.items()}
    assert parsers.cef(lines["cef"])[0][6] == cef
    assert parsers.leef(lines["leef"])[1]["sev"] == leef
    assert orjson.loads(lines["ecs"])["event"]["severity"] == ecs
    assert orjson.loads(lines["ocsf"])["severity_id"] == ocsf
    assert orjson.loads(lines["cim"])["severity"] == cim
    assert orjson.loads(lines["udm"])["security_result"][0]["severity"] == udm


@pytest.mark.parametrize("status", ["suppressed", "learned"])
def test_what_was_decided_on_asks_nobody_to_act(status):
    told = replace(OPEN, record=replace(ALERT, status=status))
    lines = {name: render(told) for name, render in RENDERINGS.items()}
    assert parsers.cef(lines["cef"])[0][6] == "0"
    assert orjson.loads(lines["ecs"])["event"]["kind"] == "event"
    assert orjson.loads(lines["ecs"])["eastwest"]["severity"] == "critical"
    ocsf = orjson.loads(lines["ocsf"])
    assert (ocsf["is_alert"], ocsf["status_id"]) == (False, 3 if status == "suppressed" else 4)
    assert orjson.loads(lines["cim"])["severity"] == "informational"
    assert orjson.loads(lines["udm"])["security_result"][0]["alert_state"] == "NOT_ALERTING"


# --- sizes ---


@given(st.text(), st.integers(4, 40))
def test_a_cut_is_between_characters_and_leaves_a_mark(text, limit):
    short = cut(text, limit)
    assert len(short.encode()) <= limit
    assert short == text if len(text.encode()) <= limit else short.endswith(MARK) and text.startswith(short[:-1])


def test_long_lists_are_cut_and_their_length_is_told():
    alerts = tuple(f"{number:026d}" for number in range(LIST_LENGTH + 30))
    incident = SAMPLES["incident"].record
    path = (replace(incident.path[0], alert_ids=alerts),)
    document = orjson.loads(RENDERINGS["ocsf"](replace(SAMPLES["incident"], record=replace(incident, path=path))))
    assert len(document["finding_info"]["related_events"]) == LIST_LENGTH
    assert document["finding_info"]["related_events_count"] == document["count"] == len(alerts)


def test_hostile_text_is_still_text():
    """What a browser or a spreadsheet makes of it is for those to prevent; we change no character of it."""
    document = orjson.loads(RENDERINGS["ecs"](hostile()))
    assert document["user"]["name"] == NASTY
    assert with_strings(NASTY).user == NASTY
