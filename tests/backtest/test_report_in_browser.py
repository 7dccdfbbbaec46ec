"""The report in a real browser: clicks, keys, addresses; no request, a silent console, log strings are inert."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from detector.alerts.model import Verdict
from detector.backtest.report import SCREEN, render
from tests.backtest.test_report import HOST, HOSTILE, PATH, alert, hostile_view, incident, step, view

OFFICE = ("office", "office")
SEVERITY = ("low", "medium", "high", "critical")


def described(number: int, **changes: Any) -> Any:
    """One of many alerts that differ in all that the filter knows; numbers of the report count from the strongest."""
    hop = step(number % 24, f"10.10.4.{number}", "10.10.8.40", OFFICE, ("smb", "rdp", "ssh")[number % 3])
    said = {
        "alert_id": f"id-{number}",
        "score": 50.0 - number / 100,
        "severity": SEVERITY[number % 4],
        "kind": ("connection", "operation")[number % 2],
        "techniques": (("T1021.002",), ("T1021.001",), ())[number % 3],
        "incident_id": None,
        "community_id": f"1:{number}=",
        "title": f"Use of {hop.service} number {number}",
    }
    return alert(replace(hop, alert_ids=()), **(said | changes))


MANY = [described(number) for number in range(12)]
CROSSING = alert(PATH[1], alert_id="a2", score=90.0, severity="critical", title="Remote desktop into the DMZ")
KNOWN = described(20, status="suppressed", title="A backup that is known")
FULL = view(
    alerts=[alert(), CROSSING, *MANY, KNOWN], hosts=[replace(HOST, host=PATH[1].dst, zone="industrial_dmz"), HOST]
)
PAGE = render(FULL)


class Shown:
    """A page in the browser, and what is to be seen of it."""

    def __init__(self, driver: Any, folder: Path) -> None:
        self.driver, self.folder = driver, folder

    def open(self, html: str, fragment: str = "") -> Shown:
        file = self.folder / "report.html"
        file.write_text(html, encoding="utf-8")
        self.driver.get("about:blank")
        self.driver.get(file.as_uri() + fragment)
        return self

    def js(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(f"return {script}", *arguments)

    def one(self, selector: str) -> Any:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    @property
    def alerts(self) -> list[str]:
        """Titles of the alerts laid out, from top to bottom."""
        bodies = '[...document.querySelectorAll("#alerts-table > tbody")].filter((body) => body.checkVisibility())'
        return self.js(f'{bodies}.map((body) => body.querySelector("summary").textContent)')

    @property
    def count(self) -> str:
        return self.one("#filters .shown").text

    @property
    def fragment(self) -> str:
        return self.js("location.hash")

    def button(self, value: str) -> Any:
        return self.one(f'#filters button[data-value="{value}"]')


@pytest.fixture
def shown(driven: Any, tmp_path: Path) -> Iterator[Callable[..., Shown]]:
    """Call it with a page to open it. Afterwards the browser must have asked for that file only, and said nothing."""
    driven.set_window_size(1280, 900)
    driven.get_log("performance"), driven.get_log("browser")
    yield Shown(driven, tmp_path).open
    events = [json.loads(entry["message"])["message"] for entry in driven.get_log("performance")]
    asked = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    fetched = {url.split("#")[0] for url in asked if not url.startswith("data:")}  # icons of the browser's own controls
    assert fetched == {(tmp_path / "report.html").as_uri()}
    assert driven.get_log("browser") == []


pytestmark = pytest.mark.browser
SERVICES = [title for title in (one.title for one in MANY) if "ssh" in title]


def test_words_and_buttons_narrow_the_alerts_and_the_counts_follow(shown):
    page = shown(PAGE)
    assert page.count == "14 of 15 alerts", "what was decided is not shown at first"
    assert "A backup that is known" not in page.alerts
    page.one("#search").send_keys("use of SSH")
    assert page.alerts == SERVICES
    assert page.count == page.one("nav .shown").text == "4 of 15 alerts"
    assert [page.button(value).text for value in SEVERITY] == ["low 1", "medium 1", "high 1", "critical 1"]
    page.button("high").click()
    page.button("low").click()
    assert page.alerts == [one.title for one in MANY if one.service == "ssh" and one.severity in {"low", "high"}]
    assert page.button("critical").text == "critical 1", "what it would add"
    page.button("low").click()
    assert page.count == "1 of 15 alerts"
    page.one("#search").clear()
    page.one("#search").send_keys("high -ssh")
    assert page.alerts == [one.title for one in MANY if one.service != "ssh" and one.severity == "high"] + [
        alert().title or PATH[0].reasons[0]
    ]
    page.one("#reset").click()
    assert page.count == "14 of 15 alerts"
    page.button("open").click()
    assert page.alerts[-1] == "A backup that is known"
    assert "status=any" in page.fragment


def test_verdicts_are_a_part_of_the_filter(shown):
    """One that was judged before there were verdicts has none."""
    verdicts = ("denied", "unverified", "denied", "learning")
    judged = [replace(one, trust=Verdict(verdict)) for one, verdict in zip(MANY, verdicts, strict=False)]
    page = shown(render(view(alerts=[*judged, *MANY[4:6]])))
    assert page.count == "6 of 6 alerts"
    assert [page.button(value).text for value in ("denied", "unverified", "learning")] == [
        "denied 2", "unverified 1", "learning 1"
    ]  # fmt: skip
    page.button("denied").click()
    assert page.alerts == [judged[0].title, judged[2].title]
    page.button("learning").click()
    assert page.count == "3 of 6 alerts"
    assert page.fragment == "#verdict=denied&verdict=learning"
    page.one("#search").send_keys(judged[3].alert_id)
    assert page.button("denied").text == "denied 0"


def test_a_filter_that_nothing_passes_says_so(shown):
    page = shown(PAGE, "#text=no-such-word")
    assert page.alerts == []
    assert page.one("#nothing").is_displayed()
    assert page.count == "0 of 15 alerts"


@pytest.mark.parametrize(
    ("fragment", "titles"),
    [
        ("#technique=T1021.001", [one.title for one in MANY if "T1021.001" in one.techniques]),
        ("#zone=industrial_dmz", [CROSSING.title]),
        ("#zone=office → industrial_dmz", [CROSSING.title]),
        ("#host=10.10.4.7", [MANY[7].title]),
        ("#host=10.10.8.40 → 10.50.0.14", [CROSSING.title]),
        ("#incident=1&sort=time", [PATH[0].reasons[0], CROSSING.title]),
        ("#since=2025-03-14T04:00&until=2025-03-14T06:00", [MANY[4].title, MANY[5].title]),
        ("#text=id-3", [MANY[3].title]),
        ("#status=suppressed", [KNOWN.title]),
        ("#severity=low&kind=connection&sort=-source&text=use", [MANY[8].title, MANY[4].title, MANY[0].title]),
    ],
)
def test_an_address_gives_the_view(shown, fragment, titles):
    assert shown(PAGE, fragment).alerts == titles


def test_the_address_follows_the_controls_and_gives_the_same_view_again(shown):
    page = shown(PAGE)
    page.one("#search").send_keys("use")
    page.button("critical").click()
    page.driver.find_element(By.XPATH, "//select[@data-facet='technique']/option[starts-with(., 'T1021.002')]").click()
    page.one("#alerts-table th[data-sort=source] button").click()
    view_of, fragment, count = page.alerts, page.fragment, page.count
    assert fragment == "#text=use&severity=critical&technique=T1021.002&sort=source"
    assert len(view_of) == 1
    again = shown(PAGE, fragment)
    assert (again.alerts, again.fragment, again.count) == (view_of, fragment, count)
    assert again.one("#search").get_property("value") == "use"
    assert again.button("critical").get_attribute("aria-pressed") == "true"
    assert again.button("low").get_attribute("aria-pressed") == "false"
    assert again.one("select[data-facet=technique]").get_property("value") == "T1021.002"
    assert again.one("th[data-sort=source]").get_attribute("aria-sort") == "ascending"


def test_columns_sort_both_ways(shown):
    page = shown(PAGE)
    assert page.one("th[data-sort=rare]").get_attribute("aria-sort") == "descending"
    sources = 'document.querySelectorAll("#alerts-table > tbody:not([hidden]) td[data-is=Source] code")'

    def order() -> list[str]:
        return page.js(f"[...{sources}].map((code) => code.textContent)")

    page.one("#alerts-table th[data-sort=source] button").click()
    assert order()[:4] == ["10.10.4.0", "10.10.4.1", "10.10.4.2", "10.10.4.3"]
    assert order()[9:12] == ["10.10.4.9", "10.10.4.10", "10.10.4.11"], "numbers, not letters"
    rising = order()
    page.one("#alerts-table th[data-sort=source] button").click()
    assert order() == rising[::-1]
    page.one("#alerts-table th[data-sort=severity] button").click()
    assert page.alerts[0] == CROSSING.title
    marked = page.js('[...document.querySelectorAll("#alerts-table th[aria-sort]")].map((head) => head.dataset.sort)')
    assert marked == ["severity"]
    page.one('table[data-written="-score"] th[data-sort=host] button').click()
    assert page.one('table[data-written="-score"] tbody td.host code').text == PATH[1].dst


def test_dragging_over_the_time_line_chooses_a_time(shown):
    page = shown(PAGE)
    area = page.one(".brush")
    width = area.size["width"]
    start = page.js("arguments[0].getBoundingClientRect().left", area)
    half = -width // 2  # of an area of 168 hours; the alerts are of the sixth day, from hour 120
    drag = ActionChains(page.driver, duration=50)
    drag.move_to_element_with_offset(area, half + round(width * 122.5 / 168), -60).click_and_hold()
    drag.move_by_offset(round(width * 3 / 168), 0).release().perform()
    assert start > 0
    assert page.fragment == "#since=2025-03-14T02%3A00&until=2025-03-14T06%3A00"
    assert page.alerts == [CROSSING.title, *(MANY[hour].title for hour in (2, 3, 4, 5))]
    assert page.one("input[data-name=since]").get_property("value") == "2025-03-14T02:00"
    heights = page.js(
        '[...document.querySelectorAll("#time .alerts .bar")].map((bar) => +bar.getAttribute("height") > 0)'
    )
    assert heights == [False] * 2 + [True] * 4 + [False] * 42
    chosen = page.js('document.querySelector(".chosen").getBoundingClientRect().width')
    assert chosen == pytest.approx(width * 4 / 168, abs=6)


def test_one_gets_from_hop_to_alert_to_host_to_incident(shown):
    page = shown(PAGE, "#text=no-such-word")
    page.js("document.querySelector('.move a').dispatchEvent(new MouseEvent('click', {bubbles: true}))")
    assert page.fragment == "#alert-14"
    assert page.alerts == [PATH[0].reasons[0]], "shown although the filter leaves it out"
    assert page.one("#alert-14 details").get_property("open")
    page.driver.back()
    assert page.fragment == "#text=no-such-word"
    page.js("location.hash = ''")
    assert page.count == "14 of 15 alerts"
    page.driver.get(page.driver.current_url.split("#")[0] + "#alert-1")
    page.one("#alert-1 a[href^='#host-']").click()
    assert page.fragment == "#host-1"
    assert page.one("#host-1").is_displayed()
    page.one("#host-1 table a[href='#alert-1']").click()
    page.one("#alert-1 a[href='#incident-1']").click()
    assert page.js("Math.abs(document.querySelector('#incident-1').getBoundingClientRect().top) < 100")


def test_a_cell_of_the_zones_chooses_them(shown):
    page = shown(PAGE)
    page.one('td[data-zone="office → industrial_dmz"] .count').click()
    assert page.alerts == [CROSSING.title]
    assert page.one('td[data-zone="office → office"] .count').text == "13", (
        "the table tells what another cell would show"
    )
    assert "selected" in page.one('td[data-zone="office → industrial_dmz"]').get_attribute("class")


def test_ids_can_be_copied(shown):
    page = shown(PAGE)
    page.driver.execute_cdp_cmd(
        "Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    )
    page.one("#alert-1 summary").click()
    WebDriverWait(page.driver, 10).until(lambda _: page.js("document.querySelector('#alert-1 .copy') !== null"))
    copies = page.driver.find_elements(By.CSS_SELECTOR, "#alert-1 .copy")
    assert [button.accessible_name for button in copies] == ["copy a2"]
    copies[0].click()
    assert page.js("getSelection().toString()") == "a2"


def test_keys_reach_everything(shown):
    page = shown(render(replace(FULL, alerts=FULL.alerts[:3], hosts=FULL.hosts[:1])))
    page.one("body").send_keys("/")
    assert page.js("document.activeElement.id") == "search"
    page.one("#search").send_keys("jk/")
    assert page.one("#search").get_property("value") == "jk/", "keys are letters where one types"
    page.one("#reset").click()
    title = "document.activeElement.textContent"
    for key, expected in (("j", 1), ("j", 2), ("j", 3), ("j", 3), ("k", 2)):
        page.js("document.activeElement").send_keys(key)
        assert page.js('document.activeElement.closest("tbody")?.id') == f"alert-{expected}", page.js(title)
    page.js("document.activeElement").send_keys(Keys.ENTER)
    assert page.one("#alert-2 details").get_property("open")
    wanted = page.js(
        '[...document.querySelectorAll("a[href], button, input, select, summary")]'
        ".filter((one) => one.checkVisibility()).map((one, place) => one.dataset.reached = `n${place}`)"
    )
    page.js("(document.activeElement.blur(), getSelection().removeAllRanges(), scrollTo(0, 0), location.hash = '')")
    reached = set()
    for _ in range(len(wanted) + 30):  # a field of date and time has several stops
        ActionChains(page.driver, duration=0).send_keys(Keys.TAB).perform()
        reached.add(page.js("document.activeElement.dataset.reached"))
    assert set(wanted) <= reached


def test_of_many_alerts_a_screenful_is_laid_out_and_all_are_found(shown):
    many = [described(number) for number in range(SCREEN + 60)]
    page = shown(render(view(alerts=many)))
    assert len(page.alerts) == SCREEN
    assert page.count == f"{SCREEN + 60} of {SCREEN + 60} alerts"
    page.one("#more").click()
    assert len(page.alerts) == SCREEN + 60
    assert not page.one("#more").is_displayed()
    page.one("#search").send_keys(f"id-{SCREEN + 55}")
    assert page.alerts == [many[-5].title]
    last = shown(render(view(alerts=many)), f"#alert-{SCREEN + 60}")
    assert last.alerts[-1] == many[-1].title
    assert last.one(f"#alert-{SCREEN + 60}").is_displayed()


WORDS = [*HOSTILE, "x" * 10_000, "</script><script>document.title = 'ran'</script>", "a → b", "&amp;#x3c;", "any"]


def test_log_strings_are_inert_wherever_the_script_puts_them(shown):
    views = [hostile_view(word) for word in WORDS]
    hosts = [replace(HOST, host=word, zone=word, why=word, reasons=(word,), techniques=(word,)) for word in WORDS]
    alerts = [
        replace(one.alerts[0], alert_id=f"{place}{WORDS[place]}", severity=SEVERITY[place % 4])
        for place, one in enumerate(views)
    ]
    incidents = [replace(one.incidents[0], severity="high") for one in views]
    bad = replace(views[0], alerts=alerts, incidents=incidents, hosts=hosts)
    page = shown(render(bad), "#status=any")
    assert page.js("document.querySelectorAll('script, img, iframe, object').length") == 1
    assert page.js("document.title").startswith("eastwest report")
    assert page.count == f"{len(WORDS)} of {len(WORDS)} alerts"
    page.js("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    options = page.js("[...document.querySelectorAll('#filters option')].map((option) => option.value)")
    assert "<script>alert(1)</script>" in options
    links = page.js("[...document.querySelectorAll('#host-pages + .card p > a[href^=\"#host=\"]')].map((a) => a.hash)")
    for link in dict.fromkeys(links):
        page.js("location.replace(arguments[0])", link)
        assert len(page.js("[...document.querySelectorAll('#alerts-table > tbody:not([hidden])')]")) >= 1, link
    assert page.js("document.querySelectorAll('script, img, iframe, object').length") == 1
    assert not page.js("document.documentElement.scrollWidth > innerWidth")


def test_without_scripts_everything_is_there_to_read(shown, driven):
    driven.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        many = [described(number) for number in range(SCREEN + 5)]
        page = shown(render(replace(FULL, alerts=[*many, KNOWN])))
        assert len(page.alerts) == SCREEN + 6
        assert not page.one("#filters").is_displayed()
        assert not page.driver.find_elements(By.CSS_SELECTOR, "th button")
        assert page.one("#alerts-table thead").text.startswith("Severity Time (UTC) Source")
    finally:
        driven.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_paper_gets_what_the_filter_leaves(shown, driven):
    page = shown(PAGE, "#text=ssh")
    driven.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        assert page.alerts == SERVICES
        assert not page.one("nav").is_displayed()
        assert not page.one("#filters").is_displayed()
        assert not page.one("details.page").is_displayed(), "host pages that are folded are left out"
        folded = page.js('document.querySelector("#alerts-table > tbody:not([hidden]) ul").checkVisibility()')
        assert folded, "reasons are unfolded"
        pdf = driven.execute_cdp_cmd("Page.printToPDF", {"landscape": True})["data"]
        assert len(pdf) > 20_000
    finally:
        driven.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


@pytest.mark.parametrize("width", [1280, 500])
def test_nothing_sticks_out_and_controls_stay_usable(shown, driven, width):
    driven.set_window_size(width, 900)
    page = shown(PAGE, "#host-1")
    assert not page.js("document.documentElement.scrollWidth > innerWidth")
    small = page.js(
        '[...document.querySelectorAll("#filters input, #filters select, #filters button, th button")]'
        ".filter((one) => one.checkVisibility() && one.getBoundingClientRect().width < 20).length"
    )
    assert small == 0


def test_a_page_without_alerts_or_rows_runs_too(shown):
    page = shown(render(view(alerts=[], incidents=[incident()])), "#incident-1")
    assert re.search(r"Incident 1", page.one("#incident-1").text)
