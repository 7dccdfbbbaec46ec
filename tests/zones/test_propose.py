"""`eastwest zones propose`: the true zones of simulated plants, wherever their addresses lie; and conduits."""

import random
import subprocess
from collections import Counter
from ipaddress import ip_address, ip_network
from math import comb
from pathlib import Path

import orjson
import pytest
import yaml
from typer.testing import CliRunner

from detector.assets.plant import load_plant
from detector.cli import app
from detector.config import Settings
from detector.simulate.plant import build_plant
from detector.zones.check import check
from detector.zones.propose import propose
from tests.scenarios.world import simulated


def rand_index(one, other):
    """Adjusted for chance (Hubert and Arabie 1985)."""
    pairs = sum(comb(count, 2) for count in Counter(zip(one, other, strict=True)).values())
    left, right = (sum(comb(count, 2) for count in Counter(side).values()) for side in (one, other))
    expected = left * right / comb(len(one), 2)
    return (pairs - expected) / ((left + right) / 2 - expected)


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    """Logs under attack, and the true zone of each host."""
    made = simulated(tmp_path_factory, days=3, hosts=80, seed=21, netflow=False)
    zones = [(ip_network(zone.cidr), zone.name) for zone in build_plant(80, 21).zones]

    def truth(address):
        return next((name for network, name in zones if ip_address(address) in network), None)

    return made, truth


def proposed(folder, out, truth):
    """The proposal, and how well it agrees."""
    result = propose([folder], out, Settings())
    found = {host: group.name for group in result.groups for host in group.members if truth(host)}
    return result, rand_index([truth(host) for host in found], list(found.values()))


def moved(logs: Path, out: Path, where: dict[str, str]) -> Path:
    """The logs with other addresses."""
    for path in logs.rglob("*.log"):
        lines = []
        for line in path.read_bytes().splitlines():
            record = orjson.loads(line)
            told = {k: where.get(v, v) if isinstance(v, str) else v for k, v in record.items()}
            lines.append(orjson.dumps(told))
        target = out / path.relative_to(logs)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(b"\n".join(lines) + b"\n")
    return out


def test_the_true_zones_and_no_attack_for_a_conduit(plant, tmp_path):
    made, truth = plant
    result, agreement = proposed(made.zeek_dir, tmp_path / "out", truth)
    assert agreement >= 0.9
    assert result.summary["checked"]["share_permitted"] > 0.95
    declared = load_plant(tmp_path / "out" / "plant.yaml")
    assert not any("program" in conduit.operations for conduit in declared.conduits)
    found = check([made.zeek_dir], tmp_path / "check", Settings(), declared).violations
    rare = {(one.from_zone, one.to_zone, one.service) for one in (*result.rare, *result.blocked)}
    told = {(one.from_zone, one.to_zone, one.service) for one in found if not one.attempt and one.operation == ""}
    assert {way[:2] for way in told} <= {way[:2] for way in rare}


@pytest.mark.parametrize("plan", [pytest.param("flat", marks=pytest.mark.long), "shared", "wide"])
def test_zones_are_not_always_subnets(plant, tmp_path, plan):
    """Roles mixed in one /16; zones that share /24s; zones of several /24s. One office, as nothing else tells them."""
    made, truth = plant
    hosts = sorted((host.address for host in build_plant(80, 21).hosts if truth(host.address)), key=ip_address)
    dice = random.Random(5)
    places = {
        "flat": [f"10.0.{n}.{1 + dice.randrange(250)}" for n in dice.sample(range(256), len(hosts))],
        "shared": [f"10.0.{place // 60}.{1 + place % 60}" for place in dice.sample(range(120), len(hosts))],
        "wide": [f"10.{ip_address(host).packed[1]}.{place}.7" for place, host in enumerate(hosts)],
    }[plan]
    where = dict(zip(hosts, places, strict=True))
    back = {new: old for old, new in where.items()}

    def kind(address):
        name = truth(back[address]) if address in back else None
        return "office" if name == "it_admin" or (name or "").startswith("office") else name

    _, agreement = proposed(moved(Path(made.zeek_dir), tmp_path / "logs", where), tmp_path / "out", kind)
    assert agreement >= 0.85


RECORDED = {
    # On one day an attacker who asks is a station like any other; his restarts and writes wait for people.
    "qut-dnp3/attacks_training_frequent": (
        {"operations": {"192.168.10.66", "192.168.10.221"}, "control": {"192.168.10.222"}},
        {("operations", "control", "dnp3", "read")},
        {("operations", "control", "dnp3", "mode"), ("operations", "control", "dnp3", "write")},
    ),
    # A minute with one write.
    "zeek-btest/modbus/4SICS-GeekLounge-151022-min": (
        {"supervision": {"192.168.2.166"}, "control": {"192.168.88.95"}},
        set(),
        {("supervision", "control", "modbus", ""), ("supervision", "control", "modbus", "write")},
    ),
    "lemay-modbus/send_a_fake_command_modbus_6RTU_with_operate": (
        {"supervision": {"192.168.1.100"}, "control": {f"192.168.1.{n}" for n in range(101, 107)}},
        {("supervision", "control", "modbus", "read")},
        {("supervision", "control", "modbus", "write")},
    ),
}


@pytest.mark.parametrize("capture", RECORDED)
def test_recorded_plants(shared_data, tmp_path, capture):
    zones, permitted, left = RECORDED[capture]
    result = propose([shared_data / "zeek-from-pcap" / capture], tmp_path / "out", Settings())
    found = {group.name: set(group.members) for group in result.groups}
    assert found.items() >= zones.items()
    ways = {(one.from_zone, one.to_zone, name, act) for one in result.conduits for name in one.services
            for act in one.operations or ("",)}  # fmt: skip
    assert {way for way in ways if way[1] == "control"} == permitted
    assert {(one.from_zone, one.to_zone, one.service, one.operation) for one in result.rare} >= left
    assert result.summary["learned"]["short"]
    # Nothing of it is blocked but what was left to people.
    checked = check([shared_data / "zeek-from-pcap" / capture], tmp_path / "check", Settings(),
                    load_plant(tmp_path / "out" / "plant.yaml"))  # fmt: skip
    told = {(one.from_zone, one.to_zone, one.service) for one in checked.violations if not one.attempt}
    assert told <= {(one.from_zone, one.to_zone, one.service) for one in (*result.rare, *result.blocked)}


@pytest.fixture(scope="module")
def rules(plant, tmp_path_factory):
    """The folder that the command wrote."""
    out = tmp_path_factory.mktemp("proposal")
    shown = CliRunner().invoke(app, ["zones", "propose", str(plant[0].zeek_dir), "--out", str(out)])
    assert shown.exit_code == 0, shown.output
    return out


def test_rules_say_the_same_in_every_form(rules):
    said = yaml.safe_load((rules / "plant.yaml").read_text())
    nft = (rules / "rules.nft").read_text()
    table = (rules / "rules.csv").read_text()
    for conduit in said["conduits"]:
        assert f"\n{conduit['from']},{conduit['to']}," in table
        if "external" not in (conduit["from"], conduit["to"]):
            assert f"ip saddr @{conduit['from']}_ipv4 ip daddr @{conduit['to']}_ipv4 " in nft
    assert nft.count("{") == nft.count("}")
    assert CliRunner().invoke(app, ["zones", "diff", *[str(rules / "plant.yaml")] * 2]).exit_code == 0


def test_nftables_takes_the_rules(rules, require_tool):
    """In a network namespace of its own: even a check asks the kernel for its tables."""
    command = [
        require_tool("unshare"),
        "--map-root-user",
        "--net",
        require_tool("nft"),
        "-c",
        "-f",
        rules / "rules.nft",
    ]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
