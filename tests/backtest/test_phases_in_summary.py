"""A run tells of its hosts and zones: `entities.ndjson`, the summary, the page and the terminal say the same."""

import re
from dataclasses import asdict, fields

import orjson
import pytest

from detector.backtest.console import phase_table
from detector.backtest.labels import parse_time
from detector.backtest.report import MAX_ZONES, render
from detector.config import Settings
from detector.correlate.entities import IMPORTANT
from detector.score.zones import ZonePhases
from tests.backtest.test_console import obeyed, plain, shown
from tests.backtest.test_entities_in_report import DOCS
from tests.backtest.test_report import HOSTILE, Page, view
from tests.scenarios.world import plant_of, run, simulated


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return simulated(tmp_path_factory, days=2, hosts=40, seed=3)


@pytest.fixture(scope="module")
def done(world, tmp_path_factory):
    until = parse_time(world.train_until)
    return run([world.zeek_dir], tmp_path_factory.mktemp("done"), plant=plant_of(world), train_until=until)


def entities(result):
    return [orjson.loads(line) for line in (result.out / "entities.ndjson").read_bytes().splitlines()]


def zone(name="office", **changes):
    made = {"zone": name, "phase": "shadow", "progress": 0.625, "protected": 0.25, "hosts": 8}
    return ZonePhases(**(made | {"learning": 2, "shadow": 4, "protecting": 2, "idle": 3} | changes))


# --- a run ---


def test_hosts_are_written_by_rank_with_what_alerts_and_incidents_say(done):
    written = entities(done)
    assert written == [orjson.loads(orjson.dumps(asdict(host))) for host in done.hosts]
    scores = [host["score"] for host in written]
    assert scores == sorted(scores, reverse=True)
    told = {alert.src for alert in done.alerts} | {alert.dst for alert in done.alerts}
    assert told
    assert told == {host["host"] for host in written if host["alerts"]}
    for host in written:
        assert host["score"] == pytest.approx(host["evidence"] * host["importance"], abs=1e-3)
        assert host["findings"] >= 1
        assert host["first_ts"] <= host["last_ts"]
        chained = {one.incident_id for one in done.incidents if host["host"] in one.hosts}
        assert set(host["incident_ids"]) <= chained
        assert bool(host["incident_ids"]) == bool(chained)


def test_declared_servers_and_levels_make_importance(done, world):
    plant = plant_of(world)
    controllers = {str(address) for address in plant.known_servers["domain_controllers"]}
    levels = {declared.name: declared.purdue_level for declared in plant.zones}
    for host in done.hosts:
        if host.host in controllers or (levels.get(host.zone) or 9.0) <= 1:
            assert host.importance == 4
        assert host.importance == 1 or host.why != "nothing sets it apart"


def test_the_summary_counts_hosts_and_zones(done):
    summary = orjson.loads((done.out / "summary.json").read_bytes())
    written = entities(done)
    important = sum(host["importance"] >= IMPORTANT for host in written)
    assert summary["entities"] == {"count": len(written), "important": important, "forgotten": 0}
    zones = summary["phases"]["zones"]
    assert zones == [asdict(one) for one in done.phases]
    assert [one["zone"] for one in zones] == sorted(one["zone"] for one in zones)
    for phase in ("learning", "shadow", "protecting", "idle"):
        assert summary["phases"][phase] == sum(one[phase] for one in zones)
    for one in zones:
        assert one["hosts"] == one["learning"] + one["shadow"] + one["protecting"] > 0
        assert 0 <= one["progress"] <= 1
        assert one["protected"] == pytest.approx(one["protecting"] / one["hosts"], abs=1e-3)


def test_zones_of_the_plant_are_known_after_its_first_days(done, world):
    names = {one.zone for one in done.phases}
    assert names <= {declared.name for declared in plant_of(world).zones} | {"external"}
    assert "external" not in names
    assert {"servers", "site_operations"} <= {one.zone for one in done.phases if one.phase == "protecting"}


def test_the_report_shows_the_first_hosts_and_the_zones(done):
    text = Page((done.out / "report.html").read_text("utf-8")).text
    assert done.hosts[0].host in text
    assert done.hosts[0].reasons[0] in text
    assert "How well the zones are known" in text
    assert all(one.zone in text for one in done.phases)


def test_the_size_of_batches_changes_nothing(done, world, tmp_path):
    settings = Settings(batch_rows=3_333)
    until = parse_time(world.train_until)
    again = run([world.zeek_dir], tmp_path / "out", settings, plant=plant_of(world), train_until=until)
    assert (again.out / "entities.ndjson").read_bytes() == (done.out / "entities.ndjson").read_bytes()
    assert again.phases == done.phases


# --- shown ---


def test_the_page_and_the_terminal_show_phases_and_progress():
    zones = [zone("servers", phase="protecting", progress=1.0), zone("office")]
    html, text = render(view(phases=zones)), plain(shown(phase_table(zones)))
    table = html[html.index('id="phases"') : html.index('id="rows"')]
    assert re.findall(r"width:([\d.]+)%\"></span> <span class=\"soft\">(\d+) %", table) == [
        ("37.5", "62"),
        ("60.0", "100"),
    ]
    assert table.index("office") < table.index("servers"), "the least known first"
    assert "██████████░░░░░░  62%" in text
    assert text.index("office") < text.index("servers")
    assert 'id="phases"' not in render(view())
    assert "no learning phases" in shown(phase_table([]))


def test_long_lists_of_zones_are_cut_and_say_so():
    zones = [zone(f"10.{n}.0.0/24", progress=n / 100) for n in range(70)]
    assert f"{70 - MAX_ZONES} zones that are further" in Page(render(view(phases=zones))).text
    assert "and 50 zones that are further" in plain(shown(phase_table(zones)))


@pytest.mark.parametrize("word", HOSTILE)
def test_hostile_names_of_zones_are_only_text(word):
    page = Page(html := render(view(phases=[zone(word)])))
    assert page.tags <= Page(render(view(phases=[zone("a_b")]))).tags
    assert html.count("<script") == 1
    assert {char for char in html if not char.isprintable()} <= {"\n"}
    assert {char for char in plain(shown(phase_table([zone(word)]))) if obeyed(char)} <= {"\n"}


def test_every_key_of_a_zone_is_documented():
    text = (DOCS / "backtest.md").read_text("utf-8")
    (told,) = re.findall(r"^\| `phases.zones` \|(.*)\|$", text, re.MULTILINE)
    assert re.findall(r"`(\w+)`", told) == [field.name for field in fields(ZonePhases)]
