"""Small logs, and who reaches whom in them."""

import csv
import io
import json
import random

import numpy as np
import polars as pl
import pytest
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from detector.assets.plant import Plant
from detector.cli import app
from detector.config import Settings
from detector.errors import ConfigError
from detector.reach import contacts
from detector.reach.contacts import Slots, moments
from detector.reach.policy import Policy
from detector.reach.run import Asked, reach
from tests.inventory.logs import DAY, conn, row, write

OFFICE, JUMP, HMI, PLC, OTHER_PLC = "10.1.0.5", "10.2.0.1", "10.3.0.2", "10.4.0.3", "10.4.0.4"
ZONES = [
    {"name": "office", "purdue_level": 4, "cidrs": ["10.1.0.0/24"]},
    {"name": "dmz", "purdue_level": 3.5, "cidrs": ["10.2.0.0/24"]},
    {"name": "cell", "purdue_level": 2, "cidrs": ["10.3.0.0/24"]},
    {"name": "control", "purdue_level": 1, "cidrs": ["10.4.0.0/24"]},
]
WAYS = [
    {"from": "office", "to": "dmz", "services": ["rdp"]},
    {"from": "dmz", "to": "cell", "services": ["tcp/5900-5901"]},
    {"from": "cell", "to": "control", "services": ["modbus"]},
]
LOGS = [
    conn(OFFICE, JUMP, 3389, ts=DAY, uid="A"),
    conn(JUMP, HMI, 5900, ts=DAY + 60, uid="B"),
    conn(HMI, PLC, 502, ts=DAY + 120, uid="C"),
    conn(HMI, OTHER_PLC, 502, ts=DAY + 30, uid="D"),
    conn(OFFICE, OTHER_PLC, 502, ts=DAY + 300, uid="E"),
    conn(OFFICE, "10.1.0.6", 443, ts=DAY + 1, uid="F"),
    conn("203.0.113.9", JUMP, 3389, ts=DAY - 60, uid="G"),
    conn(PLC, "203.0.113.9", 22, ts=DAY + 400, uid="H"),
]


def take(folder, asked=None, plant=None, proposal=None, batch_rows=50_000, **logs):
    write(folder / "logs", **(logs or {"conn": LOGS}))
    made = [None if one is None else Plant.model_validate(one) for one in (plant, proposal)]
    settings = Settings(batch_rows=batch_rows)
    result = reach([folder / "logs"], folder / "out", settings, asked or Asked(), plant=made[0], proposal=made[1])
    return result, {one.place.host: one for one in result.hosts}


def test_each_hop_is_later_than_the_one_before(tmp_path):
    _, by = take(tmp_path, plant={"zones": ZONES})
    assert by[OFFICE].used.hops == (2, 3, 4)
    assert by[JUMP].used.hops == (1, 2, 2)  # the second controller was polled before anybody was there
    assert (by[OFFICE].used.ot, by[OFFICE].used.controllers) == (3, 2)
    assert by[OFFICE].used.zones == {"dmz": 1, "cell": 1, "control": 2}
    assert by[PLC].used.hops == (0, 0, 0)
    assert by["external"].used.hops == (1, 2, 3)
    kinds = {host: one.place.kind for host, one in by.items() if one.place.kind != "it"}
    assert kinds == {HMI: "ot", PLC: "controller", OTHER_PLC: "controller"}


def test_all_services_and_a_stretch_of_time(tmp_path):
    _, by = take(tmp_path / "a", Asked(everything=True))
    assert by[OFFICE].used.hops == (3, 4, 5)
    since = round((DAY + 100) * 1e6)
    _, by = take(tmp_path / "b", Asked(since=since, until=round((DAY + 200) * 1e6)))
    assert {host: one.used.hops[-1] for host, one in by.items() if one.used.hops[-1]} == {HMI: 1}


def test_without_levels_protocols_tell_what_hosts_are(tmp_path):
    acts = [row(HMI, PLC, 5020, func="READ_COILS", pdu_type="REQ"), row(OFFICE, JUMP, 2223, auth_success=True)]
    _, by = take(tmp_path, conn=[conn(OFFICE, JUMP, 2223)], modbus=acts[:1], ssh=acts[1:])
    assert [by[host].place.kind for host in (HMI, PLC, OFFICE)] == ["ot", "controller", "it"]
    assert by[OFFICE].used.hops[0] == by[HMI].used.hops[0] == 1


def test_what_nobody_answered_leads_nowhere(tmp_path):
    _, by = take(tmp_path, conn=[conn(OFFICE, JUMP, 22, conn_state="S0", resp_pkts=0, resp_bytes=0), LOGS[1]])
    assert set(by) == {JUMP, HMI}


def test_what_conduits_allow_and_what_a_proposal_leaves(tmp_path):
    plant, proposal = {"zones": ZONES}, {"zones": ZONES, "conduits": WAYS}
    result, by = take(tmp_path, plant=plant, proposal=proposal)
    assert {one.allowed for one in by.values()} == {None}
    assert by[OFFICE].allowed_after == (2, 3, 5)
    assert by[HMI].allowed_after == (2, 2, 2)
    assert by["external"].allowed_after is None
    assert by[OFFICE].after.hops == (1, 2, 3)  # the direct way to the controller is gone
    assert result.summary["proposal"] == {"denied": 1, "permitted": 4, "not_covered": 1}
    zones = {zone["zone"]: zone for zone in result.summary["zones"]}
    assert zones["dmz"]["used"]["controllers"] == {"median": 0.5, "max": 0.5}
    assert zones["control"]["after"]["hosts"] == {"median": 0.0, "max": 0.0}
    before, after = result.pictures
    assert before.cells == {("dmz", 1): 1, ("control", 1): 1, ("cell", 2): 1, ("control", 3): 1}
    assert after.cells == {("dmz", 1): 1, ("cell", 2): 1, ("control", 3): 1}


def test_choke_points_are_those_without_which_most_is_gone(tmp_path):
    result, _ = take(tmp_path)
    told = {choke.place.host: choke.pairs for choke in result.chokes}
    # Without the jump host, office and outside lose the panel and the controller behind it.
    assert told == {JUMP: 4, HMI: 3}
    assert result.chokes[0].place.host == JUMP


def test_paths_are_told(tmp_path):
    take(tmp_path, Asked(host=OFFICE))
    lines = [json.loads(line) for line in (tmp_path / "out" / "paths.ndjson").read_bytes().splitlines()]
    told = {line["reached"]: [(step["resp_h"], step["service"]) for step in line["path"]] for line in lines}
    assert told[PLC] == [(JUMP, "rdp"), (HMI, "vnc"), (PLC, "modbus")]
    assert told[OTHER_PLC] == [(OTHER_PLC, "modbus")]
    times = [step["ts"] for line in lines for step in line["path"] if line["reached"] == PLC]
    assert times == sorted(times)
    with pytest.raises(ConfigError, match="was not seen"):
        take(tmp_path / "b", Asked(host="10.9.9.9"))


def many(count):
    dice = random.Random(count)
    hosts = [f"10.{n % 4}.0.{n}" for n in range(1, 25)]
    rows = []
    for n in range(count):
        orig, resp = dice.sample(hosts, 2)
        port = dice.choice([22, 80, 445, 502, 3389])
        rows.append(
            conn(orig, resp, port, ts=DAY + dice.randrange(80_000), uid=f"C{n}", duration=dice.random() * 5_000)
        )
    return rows


def test_neither_order_nor_files_nor_batches_matter(tmp_path):
    rows = many(400)
    plant = {"zones": ZONES, "conduits": WAYS}
    take(tmp_path / "a", plant=plant, proposal=plant, conn=rows)
    parts = {f"conn.{n}": rows[::-1][n::3] for n in range(3)}
    take(tmp_path / "b", plant=plant, proposal=plant, batch_rows=7, **parts)
    for name in ("reach.csv", "reach.ndjson", "paths.ndjson", "reach.prom"):
        assert (tmp_path / "a/out" / name).read_bytes() == (tmp_path / "b/out" / name).read_bytes()


def test_slots_double_until_contacts_fit_whatever_their_order(monkeypatch):
    monkeypatch.setattr(contacts, "MAX_CONTACTS", 100)
    monkeypatch.setattr(contacts, "_COMPACT_ROWS", 50)
    dice = np.random.default_rng(3)
    keys, times = dice.integers(0, 5, 900).astype(np.uint64), dice.integers(0, 10**9, 900)
    found = []
    for order in (np.arange(900), dice.permutation(900)):
        slots = Slots()
        for part in np.array_split(order, 60):
            slots.add(keys[part], times[part])
        found.append((slots.width, slots.frame().sort("key", "slot").rows()))
    assert found[0] == found[1]
    width, rows = found[0]
    assert width == 64_000_000
    assert len(rows) <= 100 < pl.DataFrame({"key": keys, "slot": times // (width // 2)}).n_unique()
    assert set(rows) == {(int(key), int(time) // width) for key, time in zip(keys, times, strict=True)}


def test_conversations_that_last_are_seen_again():
    quarter = contacts.AGAIN_US
    places, times = moments(np.array([0, 7]), np.array([quarter // 2, 7 + 10_000 * quarter]))
    assert times[places == 0].tolist() == [0, quarter // 2]
    long = times[places == 1]
    assert (long[0], long[-1], long.size) == (7, 7 + 10_000 * quarter, contacts.MOST_AGAIN + 1)
    assert np.ptp(np.diff(long)) <= 1


def test_a_policy_says_nothing_of_what_is_not_declared():
    policy = Policy(Plant.model_validate({"zones": ZONES, "conduits": WAYS}), everything=False)
    assert policy.permits("dmz", "cell", "vnc") is True
    assert policy.permits("dmz", "cell", "ssh") is False
    assert policy.permits("cell", "dmz", "vnc") is False
    assert policy.permits("cell", "cell", "ssh") is True
    assert policy.permits("dmz", "10.9.0.0/24", "vnc") is None
    assert policy.permits("external", "dmz", "rdp") is None
    inwards = [*WAYS, {"from": "external", "to": "dmz", "services": ["https"]}]
    policy = Policy(Plant.model_validate({"zones": ZONES, "conduits": inwards}), everything=False)
    assert policy.permits("external", "dmz", "rdp") is False
    assert policy.reached("external", ["office", "dmz"], 3) == {}
    assert Policy(Plant.model_validate({"zones": ZONES, "conduits": inwards}), everything=True).leads("external", "dmz")


# --- what is written ---


@pytest.mark.parametrize(
    "word", ["<script>alert(1)</script>", "=1+1", "\x1b[31m", "\u202eabc", '"><img src=x>', "[b]x"]
)
def test_hostile_names_stay_text(tmp_path, word):
    zones = [{"name": word, "purdue_level": 4, "cidrs": ["10.1.0.0/24"]}, *ZONES[1:]]
    result, _ = take(tmp_path, plant={"zones": zones}, proposal={"zones": zones, "conduits": WAYS[1:]})
    page = (result.out / "report.html").read_text("utf-8")
    assert "<script" not in page
    assert "<img" not in page
    assert {char for char in page if not char.isprintable()} <= {"\n"}
    text = (result.out / "reach.csv").read_text("utf-8")
    cells = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    assert {len(line) for line in cells} == {len(cells[0])}
    assert not any(cell.startswith("=") or "\x1b" in cell or "\u202e" in cell for line in cells for cell in line)
    families = list(text_string_to_metric_families((result.out / "reach.prom").read_text("utf-8")))
    assert [family.name for family in families] == ["eastwest_reach_ratio"]
    assert word in {sample.labels["zone"] for sample in families[0].samples}


@pytest.mark.browser
def test_a_browser_shows_both_pictures_and_obeys_no_name(tmp_path, browse):
    word = '"><script>document.title="taken"</script><img src=x onerror=alert(1)>'
    zones = [ZONES[0] | {"name": word}, *ZONES[1:]]
    result, _ = take(tmp_path, plant={"zones": zones}, proposal={"zones": zones, "conduits": WAYS[1:]})
    dom = browse((result.out / "report.html").read_text("utf-8"), "--dump-dom")
    assert "<title>eastwest reach</title>" in dom
    assert "<img" not in dom
    assert dom.count('class="card picture"') == 2
    assert dom.count('class="bar"') == sum(len(picture_bars) for picture_bars in _bars(result))
    assert "with the proposal" in dom


def _bars(result):
    """Cells that each picture draws: what a zone has once the first of it is reached, at every number of hops."""
    for picture in result.pictures:
        firsts = {}
        for zone, hop in picture.cells:
            firsts[zone] = min(hop, firsts.get(zone, hop))
        yield [(zone, hop) for zone, first in firsts.items() for hop in range(first, result.summary["hops"] + 1)]


def test_the_command(tmp_path):
    logs = write(tmp_path / "logs", conn=LOGS)
    plant = tmp_path / "plant.yaml"
    plant.write_text(json.dumps({"zones": ZONES, "conduits": WAYS}))
    options = [
        "--plant",
        str(plant),
        "--proposal",
        str(plant),
        "--since",
        "2025-01-01",
        "--until",
        "2027-01-01T00:00:00Z",
    ]
    run = CliRunner().invoke(app, ["reach", str(logs), "--out", str(tmp_path / "out"), *options])
    assert run.exit_code == 0, run.output
    assert "Choke point" in run.output
    assert "4 permitted, 1 denied, 1 not covered" in " ".join(run.output.split())
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        "reach.csv", "reach.ndjson", "paths.ndjson", "reach.prom", "summary.json", "report.html", "rejected.ndjson",
    }  # fmt: skip
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["rows"]["in"] == sum(count for name, count in summary["rows"].items() if name != "in") == 8


def test_logs_without_a_host_inside(tmp_path):
    result, by = take(tmp_path, conn=[conn("203.0.113.1", "203.0.113.2", 22)])
    assert by == {}
    assert result.summary["hosts"] == 0
