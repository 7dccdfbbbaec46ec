"""Ranked hosts where people meet them: the page, the terminal, `entities.ndjson`; log strings can do nothing there."""

import re
from dataclasses import fields, replace
from pathlib import Path

import orjson
import pytest

from detector.alerts.model import to_json
from detector.backtest.console import bar, host_table
from detector.backtest.report import MAX_HOST_PAGES, MAX_HOSTS, render
from detector.backtest.words import visible
from detector.correlate.entities import IMPORTANT, RankedHost
from tests.backtest.test_console import obeyed, plain, shown
from tests.backtest.test_report import HOST, HOSTILE, LINKS, Page, incident, view

DOCS = Path(__file__).resolve().parents[2] / "docs"

QUIET = replace(HOST, host="10.10.1.9", score=0.0, evidence=0.0, incident_ids=(), techniques=(), reasons=())


def hostile(word):
    return replace(
        HOST, host=word, zone=word, why=word, incident_ids=(word,), techniques=(word,), reasons=(word, word + "2")
    )


# --- the page ---


def test_the_page_shows_the_hosts_with_their_reasons():
    page = Page(html := render(view(hosts=[HOST, QUIET])))
    for words in ("Hosts to look at first", HOST.host, "3 of 4", HOST.why, "T0843 Program Download", *HOST.reasons):
        assert words in page.text
    table = html[html.index('id="hosts"') : html.index('id="alerts"')]
    assert table.count('href="#incident-1"') == 1, "the incident on this page is linked, the other is not"
    assert "not-shown" not in html
    assert re.findall(r'class="bar-in risk" style="width:([\d.]+)%"', table) == ["60.0", "0.0"]


def test_without_findings_there_is_no_such_section():
    assert 'id="hosts"' not in render(view())
    assert "0.0%" in render(view(hosts=[QUIET])), "nor does a score of nothing divide by it"


def test_the_page_shows_the_first_hosts_and_says_how_many_there_are():
    many = [replace(HOST, host=f"10.60.2.{n}", score=300.0 - n) for n in range(250)]
    page = Page(render(view(hosts=many)))
    assert f"The first {MAX_HOSTS} of 250" in page.text
    assert f"The first {MAX_HOST_PAGES} of 250 by score" in page.text
    pages = [value for _, name, value in page.attributes if name == "id" and value.startswith("host-")]
    assert len([one for one in pages if one != "host-pages"]) == MAX_HOST_PAGES
    assert f"10.60.2.{MAX_HOST_PAGES - 1}" in page.text
    assert f"10.60.2.{MAX_HOST_PAGES}" not in page.text


@pytest.mark.parametrize("word", HOSTILE)
def test_hostile_strings_are_only_text_on_the_page(word):
    plainly, page = Page(render(view(hosts=[HOST]))), Page(html := render(view(hosts=[hostile(word)])))
    assert page.tags <= plainly.tags
    assert {(tag, name) for tag, name, _ in page.attributes} <= {(tag, name) for tag, name, _ in plainly.attributes}
    assert visible(word) in page.text
    assert html.count("<script") == 1
    assert {char for char in html if not char.isprintable()} <= {"\n"}


def test_an_incident_named_like_markup_makes_no_link():
    word = '"><script>alert(1)</script>'
    html = render(view(hosts=[hostile(word)], incidents=[incident(incident_id=word)]))
    assert html.count("<script") == 1
    links = {value for _, name, value in Page(html).attributes if name == "href"}
    assert all(re.fullmatch(LINKS, link) for link in links)


# --- the terminal ---


def test_the_terminal_shows_host_importance_and_reason():
    text = plain(shown(host_table([HOST, QUIET])))
    told = (HOST.host, HOST.zone, HOST.why, HOST.reasons[0], "19 findings, 6 alerts, 2 incidents", "T0843", "24.7")
    for words in told:
        assert words in text
    assert "█" in text.splitlines()[1]


def test_the_terminal_shows_no_more_than_asked_for():
    text = shown(host_table([replace(HOST, host=f"10.60.2.{n}") for n in range(30)], limit=10))
    assert "10.60.2.9" in text
    assert "10.60.2.10" not in text
    assert "No host stands out" in shown(host_table([]))


@pytest.mark.parametrize("word", HOSTILE)
def test_hostile_strings_reach_no_terminal(word):
    text = plain(shown(host_table([hostile(word)])))
    assert {char for char in text if obeyed(char)} <= {"\n"}


@pytest.mark.parametrize(
    ("share", "drawn"), [(0.0, "░░░░"), (0.5, "██░░"), (1.0, "████"), (7.0, "████"), (-1.0, "░░░░")]
)
def test_a_bar_is_as_long_as_its_share(share, drawn):
    assert bar(share, 4) == drawn


# --- the file ---


@pytest.mark.parametrize("word", [word for word in HOSTILE if "\ud800" not in word])
def test_a_line_of_the_file_is_read_back_and_obeyed_by_nothing(word):
    line = to_json(hostile(word))
    assert orjson.loads(line)["reasons"] == [word, word + "2"]
    text = line.decode()
    assert "\n" not in text
    assert not {char for char in text if obeyed(char)} - {"\u200b", "\ufeff"}, "as in alerts: nothing that moves text"


def test_every_field_is_documented():
    text = (DOCS / "backtest.md").read_text("utf-8").partition("### `entities.ndjson`")[2].partition("\n### ")[0]
    table = text.partition("**Evidence.**")[0]
    told = re.findall(r"`(\w+)`", "\n".join(line.split("|")[1] for line in table.splitlines() if line[:3] == "| `"))
    assert told == [field.name for field in fields(RankedHost)]
    assert f"of importance {IMPORTANT} and {IMPORTANT + 1}" in (DOCS / "backtest.md").read_text("utf-8")
