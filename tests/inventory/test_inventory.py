import csv
import io
import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from detector.assets.makers import maker, trade
from detector.assets.roles import NAME_PARTS, ROLES, RULES, UNKNOWN, role_of, weigh
from detector.cli import app
from detector.errors import ConfigError
from detector.inventory import console
from detector.inventory.declared import load_declared
from detector.inventory.lifecycle import advance, load_inventory
from detector.inventory.written import CSV_COLUMNS, as_csv, as_cyclonedx, as_lines
from tests.inventory.logs import DAY, conn, row, take, write

SIEMENS, INTEL, ROUTER = "00:1b:1b:00:00:01", "00:1b:21:00:00:02", "00:00:0c:00:00:03"


# --- identity ---


def test_dhcp_tells_hardware_address_maker_and_name(tmp_path):
    lease = {"ts": DAY, "client_addr": "10.1.0.5", "server_addr": "10.1.0.1", "mac": SIEMENS, "host_name": "line7"}
    _, by = take(tmp_path, dhcp=[lease | {"assigned_addr": "10.1.0.5"}])
    asset = by["10.1.0.5"]
    assert (asset.macs, asset.maker, asset.name) == ((SIEMENS,), "Siemens AG", "line7")
    assert "gets its address from a DHCP server" not in by["10.1.0.1"].evidence
    assert by["10.1.0.1"].learned_role == "dhcp_server"


def test_hardware_addresses_of_conn_log_are_a_hosts_own_unless_many_share_them(tmp_path):
    near = [conn("10.1.0.5", "10.1.0.6", 80, orig_l2_addr=INTEL, resp_l2_addr=SIEMENS)]
    far = [conn(f"10.2.0.{n}", "10.1.0.6", 80, orig_l2_addr=ROUTER, resp_l2_addr=SIEMENS) for n in range(1, 9)]
    lease = {"ts": DAY, "assigned_addr": "10.1.0.254", "mac": ROUTER}
    _, by = take(tmp_path, conn=near + far, dhcp=[lease])
    assert by["10.1.0.5"].macs == (INTEL,)
    assert by["10.1.0.6"].macs == (SIEMENS,)
    assert all(not by[f"10.2.0.{n}"].macs for n in range(1, 9))
    assert by["10.1.0.254"].learned_role == "network_device"


def test_a_certificate_goes_to_the_host_that_showed_it(tmp_path):
    shown = row("10.1.0.5", "10.1.0.9", 443, server_name="erp.example", cert_chain_fps=["AB12"])
    _, by = take(
        tmp_path, ssl=[shown], x509=[{"ts": DAY, "fingerprint": "ab12", "certificate.subject": "CN=erp.example"}]
    )
    assert by["10.1.0.9"].certificates == ("CN=erp.example",)
    assert by["10.1.0.9"].names == ("erp.example",)


def test_names_of_answers_count_for_hosts_inside_only(tmp_path):
    said = row("10.1.0.5", "10.1.0.1", 53, query="fs1.example", qtype_name="A", answers=["10.1.0.7", "198.51.100.9"])
    back = row("10.1.0.5", "10.1.0.1", 53, query="8.0.1.10.in-addr.arpa", qtype_name="PTR", answers=["fs2.example"])
    _, by = take(tmp_path, dns=[said, back])
    assert by["10.1.0.7"].name == "fs1.example"
    assert by["10.1.0.8"].name == "fs2.example"
    assert "198.51.100.9" not in by


def test_who_was_only_tried_is_no_host(tmp_path):
    _, by = take(tmp_path, conn=[conn("10.1.0.5", "10.1.0.77", 80, conn_state="S0", resp_pkts=0, resp_bytes=0)])
    assert set(by) == {"10.1.0.5"}


def test_every_record_is_accounted_for(tmp_path):
    lines = [conn("10.1.0.5", "10.1.0.6", 80), conn("10.1.0.5", "10.1.0.6", 80), conn("not an address", "10.1.0.6", 80)]
    result, _ = take(
        tmp_path, conn=lines, dhcp=[{"ts": DAY, "assigned_addr": "10.1.0.5"}], weird=[{"ts": DAY, "name": "x"}]
    )
    rows = result.summary["rows"]
    assert rows.pop("in") == sum(rows.values()) == 5
    assert rows == {"conversations": 1, "acts": 0, "sighted": 1, "duplicate": 1, "rejected": 1, "filtered": 1}


def test_makers():
    assert maker(SIEMENS) == "Siemens AG"
    assert maker("02:1b:1b:00:00:01") is None  # set by software
    assert trade("Siemens AG") == "plants"
    assert trade("Nobody Ltd.") is None


# --- roles ---


def test_plant_roles_from_protocols(tmp_path):
    polls = [
        conn("10.1.2.10", f"10.1.1.{n}", 502, ts=DAY + hour * 3600, uid=f"C{n}-{hour}", duration=3590.0)
        for n in (1, 2)
        for hour in range(5)
    ]
    written = [row("10.1.2.10", "10.1.1.1", 502, func="WRITE_SINGLE_REGISTER", pdu_type="REQ")]
    loads = [
        row("10.1.3.5", "10.1.1.9", 102, function_code="0x1a", rosctr_name="Job-Request", is_orig=True),
        row("10.1.3.5", "10.1.1.9", 102, function_code="0x29", rosctr_name="Job-Request", is_orig=True),
    ]
    _, by = take(tmp_path, conn=[*polls, conn("10.1.3.5", "10.1.1.9", 102, ts=DAY + 9)], modbus=written, s7comm=loads)
    assert {address: by[address].role for address in by} == {
        "10.1.2.10": "hmi",
        "10.1.1.1": "plc",
        "10.1.1.2": "plc",
        "10.1.1.9": "plc",
        "10.1.3.5": "engineering_workstation",
    }
    assert by["10.1.1.1"].ot_roles == ("modbus server",)
    assert by["10.1.2.10"].ot_roles == ("modbus client",)
    assert (by["10.1.1.1"].level, by["10.1.1.1"].criticality) == (1, "critical")
    assert "where a controller" in by["10.1.1.1"].level_reason


def test_a_declared_role_wins_and_a_contradiction_is_shown(tmp_path):
    lines = [conn("10.1.0.5", "10.1.0.6", 9100), conn("10.1.0.5", "10.1.0.7", 502)]
    plant = {"assets": [{"hosts": ["10.1.0.6"], "role": "Domain Controller", "name": "DC1", "importance": "high"}]}
    _, by = take(tmp_path, plant=plant, conn=lines)
    asset = by["10.1.0.6"]
    assert (asset.role, asset.learned_role, asset.name, asset.criticality) == (
        "domain_controller",
        "printer",
        "DC1",
        "high",
    )
    assert "behaves like a printer" in asset.contradiction
    assert by["10.1.0.7"].contradiction is None


def test_the_level_of_a_zone_wins(tmp_path):
    plant = {"zones": [{"name": "cell", "purdue_level": 2, "cidrs": ["10.1.0.0/24"]}]}
    _, by = take(tmp_path, plant=plant, conn=[conn("10.1.0.5", "10.1.0.6", 9100)])
    assert (by["10.1.0.6"].level, by["10.1.0.6"].zone) == (2, "cell")


def test_the_rules_are_whole():
    assert all(set(rule.weights) <= set(ROLES) for rule in RULES.values())
    assert all(rule.source and rule.words for rule in RULES.values())
    assert set(NAME_PARTS) == set(ROLES)


@given(st.sets(st.sampled_from(sorted(RULES))))
def test_confidences_add_up_and_unknown_always_has_a_say(found):
    shares = weigh(found)
    assert sum(shares.values()) == pytest.approx(1)
    assert UNKNOWN in shares
    assert shares == weigh(sorted(found, reverse=True))


# --- order, batches, bounds ---


def many(count):
    """Logs of a small network with statements of each kind, out of order."""
    dice = random.Random(count)
    conns, leases, agents = [], [], []
    for n in range(count):
        orig, resp = (f"10.1.{dice.randrange(2)}.{dice.randrange(1, 9)}" for _ in range(2))
        when = DAY + dice.randrange(80_000)
        conns.append(conn(orig, resp, dice.choice([22, 80, 445, 502, 9100]), ts=when, uid=f"C{n}"))
        leases.append({"ts": when, "assigned_addr": orig, "mac": f"00:1b:21:00:00:{dice.randrange(40):02x}"})
        agents.append(row(orig, resp, ts=when, uid=f"C{n}", method="GET", user_agent=f"agent {dice.randrange(40)}"))
    return {"conn": conns, "dhcp": leases, "http": agents}


def test_neither_order_nor_files_nor_batches_matter(tmp_path):
    logs = many(400)
    _, first = take(tmp_path / "a", **logs)
    parts = {f"{name}.{n}": rows[::-1][n::3] for name, rows in logs.items() for n in range(3)}
    _, second = take(tmp_path / "b", batch_rows=7, **parts)
    assert len(first) == 16
    assert any("user_agent" in asset.more for asset in first.values())
    assert first == second


def test_many_names_fill_no_memory(tmp_path):
    lies = [row("10.1.0.5", "10.1.0.6", 445, hostname=f"H{n}", username="x", uid=f"C{n}") for n in range(500)]
    _, by = take(tmp_path, ntlm=lies)
    assert len(by["10.1.0.5"].names) == 16
    assert by["10.1.0.5"].more == ("hostname",)


# --- hostile strings ---

HOSTILE = ("=cmd|x!A0", "+1", "-2", "@sum", "\t=1", "\x1b[31mred", "[bold]x[/]", "\u202etxt", 'a",b', "\r\nx,y", "")


@settings(max_examples=25)
@given(st.lists(st.text(min_size=1, max_size=40) | st.sampled_from(HOSTILE), min_size=1, max_size=4))
def test_hostile_strings_stay_text(tmp_path_factory, texts):
    folder = tmp_path_factory.mktemp("hostile")
    said = [row("10.1.0.5", "10.1.0.6", hostname=text, user_agent=text, username="x", method="GET") for text in texts]
    result, by = take(folder, ntlm=said, http=said)
    cells = list(csv.reader(io.StringIO(as_csv(result.assets), newline=""), strict=True))
    assert [len(line) for line in cells] == [len(CSV_COLUMNS)] * (len(by) + 1)
    assert not any(text.lstrip().startswith(("=", "+", "-", "@")) for line in cells for text in line)
    assert not any(char < " " or char == "\u202e" for line in cells for text in line for char in text)
    assert [json.loads(line)["address"] for line in as_lines(result.assets).splitlines()] == list(by)
    assert len(json.loads(as_cyclonedx(result.assets))["components"]) == len(by)
    shown = io.StringIO()
    Console(file=shown, width=200, color_system=None).print(console.asset_table(result.assets, 10))
    assert "\x1b" not in shown.getvalue()
    assert "\u202e" not in shown.getvalue()


def test_markup_in_names_is_printed_as_it_is(tmp_path):
    result, _ = take(tmp_path, ntlm=[row("10.1.0.5", "10.1.0.6", hostname="[bold]x[/]", username="x")])
    shown = io.StringIO()
    Console(file=shown, width=200).print(console.asset_table(result.assets, 10))
    assert "[bold]x[/]" in shown.getvalue()


# --- declared tables ---


def test_tables_of_ones_own_and_of_netbox(tmp_path):
    path = tmp_path / "hosts.csv"
    path.write_text("address,name,role,importance,owner\n10.1.0.6,PR1,Printer,2,Ann\n", encoding="utf-8")
    (mine,) = load_declared(path)
    assert (mine.name, mine.role, mine.importance, mine.owner) == ("PR1", "Printer", "normal", "Ann")
    path.write_text(
        "\ufeffName,Status,Tenant,Site,Role,IP Address\nsw1,Active,IT,Hall 2,Switch,10.1.0.7/24\nsw2,Planned,,,,\n"
    )
    (device,) = load_declared(path)
    assert [str(network) for network in device.hosts] == ["10.1.0.7/32"]
    assert (device.name, role_of(device.role), device.owner) == ("sw1", "network_device", "IT")
    path.write_text("IP Address,VRF,Status,Role,Tenant,Assigned,DNS Name\n10.1.0.8/24,,Active,VIP,,True,web.example\n")
    (address,) = load_declared(path)
    assert (address.name, address.role) == ("web.example", None)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name,role\na,b\n", "no column of addresses"),
        ("address,importance\n10.1.0.5,huge\n", "line 2, importance"),
        ("address\nnot one\n", "line 2, hosts"),
    ],
)
def test_a_wrong_table_is_an_error_that_names_the_place(text, told, tmp_path):
    path = tmp_path / "hosts.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=told):
        load_declared(path)


# --- life cycle ---


def test_each_change_is_told_once_and_only_people_approve(tmp_path):
    one, two = conn("10.1.0.5", "10.1.0.6", 80), conn("10.1.0.5", "10.1.0.7", 80)
    first, _ = take(tmp_path / "1", conn=[one])
    assert first.events is None
    assert {asset.state for asset in first.assets} == {"new"}
    named = {"assets": [{"hosts": ["10.1.0.6"], "name": "web"}]}

    def told(result):
        return {event.address: event.event for event in result.events}

    past = load_inventory(tmp_path / "1" / "out" / "inventory.ndjson")
    assert past == first.assets
    second, by = take(tmp_path / "2", plant=named, known=past, conn=[one, two])
    assert told(second) == {"10.1.0.6": "acknowledged", "10.1.0.7": "new"}
    assert by["10.1.0.5"].state == "new"  # seen twice, named by nobody
    third, by = take(tmp_path / "3", plant=named, known=second.assets, conn=[two])
    assert told(third) == {"10.1.0.6": "gone"}
    fourth, by = take(tmp_path / "4", plant=named, known=third.assets, conn=[two])
    assert told(fourth) == {}
    assert by["10.1.0.6"].state == "gone"
    fifth, by = take(tmp_path / "5", plant=named, known=fourth.assets, conn=[one, two])
    assert told(fifth) == {"10.1.0.6": "known"}
    assert by["10.1.0.6"].first_seen == first.assets[1].first_seen


def test_declared_and_never_seen(tmp_path):
    plant = {"assets": [{"hosts": ["10.1.0.99"], "role": "plc"}, {"hosts": ["10.9.0.0/24"], "role": "printer"}]}
    result, by = take(tmp_path, plant=plant, known=[], conn=[conn("10.1.0.5", "10.1.0.6", 80)])
    assert (by["10.1.0.99"].state, by["10.1.0.99"].role) == ("unseen", "plc")
    assert {event.address for event in result.events} == {"10.1.0.5", "10.1.0.6"}
    again, events = advance(result.assets, result.assets)
    assert not events
    assert {asset.state for asset in again} == {"new", "unseen"}


def test_an_inventory_that_is_none_is_an_error(tmp_path):
    path = tmp_path / "inventory.ndjson"
    path.write_text('{"address": "10.1.0.5"}\n')
    with pytest.raises(ConfigError, match="line 1"):
        load_inventory(path)


# --- the command ---


def test_the_command(tmp_path):
    logs = write(tmp_path / "logs", conn=[conn("10.1.0.5", "10.1.0.6", 9100)])
    run = CliRunner().invoke(app, ["inventory", str(logs), "--out", str(tmp_path / "out")])
    assert run.exit_code == 0, run.output
    assert "printer" in run.output
    bom = json.loads((tmp_path / "out" / "inventory.cdx.json").read_text())
    assert (bom["bomFormat"], bom["specVersion"]) == ("CycloneDX", "1.6")
    assert {component["type"] for component in bom["components"]} == {"device"}
    before = (tmp_path / "out" / "inventory.cdx.json").read_bytes()
    known = ["--known", str(tmp_path / "out" / "inventory.ndjson")]
    run = CliRunner().invoke(app, ["inventory", str(logs), "--out", str(tmp_path / "out"), *known])
    assert "Nothing changed" in run.output
    assert (tmp_path / "out" / "inventory.cdx.json").read_bytes() == before


def test_no_logs_is_an_error(tmp_path):
    (tmp_path / "logs").mkdir()
    run = CliRunner().invoke(app, ["inventory", str(tmp_path / "logs"), "--out", str(tmp_path / "out")])
    assert run.exit_code != 0
