import ipaddress
import json
import re
from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise

import pytest
import yaml

from detector.simulate import simulate, simulation
from detector.simulate.zeek_writer import ZeekWriter
from tests.simulate.conftest import Week, labels, seconds

PROTOCOLS = {
    "dce_rpc": ("endpoint", "operation", "named_pipe", "rtt"),
    "smb_files": ("action", "path", "name"),
    "smb_mapping": ("path", "share_type"),
    "ntlm": ("username", "hostname", "domainname", "success"),
    "kerberos": ("request_type", "client", "service", "success"),
    "rdp": ("cookie", "result"),
    "ssh": ("version", "auth_success", "client", "server"),
    "http": ("method", "host", "uri", "status_code"),
    "dns": ("query", "qtype_name", "rcode_name", "trans_id"),
    "modbus": ("func", "pdu_type", "tid", "unit"),
    "s7comm": ("is_orig", "source_h", "destination_h", "rosctr_name", "function_code", "function_name"),
}
ENDPOINTS = ("id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p")


def inside(address):
    return address.startswith("10.")


def contents(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def hostile(week):
    """The connections the labels speak of, with their hop."""
    return [
        (hop, conn)
        for hop in labels(week)
        for conn in week.logs["conn"]
        if (conn["id.orig_h"], conn["id.resp_h"]) == (hop["src"], hop["dst"])
        and seconds(hop["start"]) - 1e-6 <= conn["ts"]
        and conn["ts"] + conn.get("duration", 0) <= seconds(hop["end"]) + 1e-6
    ]


def netflow(week):
    for path in sorted(week.made.netflow_dir.glob("*.json")):
        yield from map(json.loads, path.read_text().splitlines())


def test_the_same_seed_gives_the_same_bytes(demo, tmp_path):
    again = simulate(tmp_path / "again", days=3, hosts=60, seed=7)
    assert contents(again.root) == contents(demo.made.root)
    assert again.counts == demo.made.counts


def test_another_seed_gives_another_plant(tmp_path):
    one, two = (simulate(tmp_path / str(seed), days=0.2, hosts=40, seed=seed) for seed in (1, 2))
    assert contents(one.root) != contents(two.root)


def test_demo_has_the_promised_size_and_times(demo):
    assert 30_000 <= len(demo.logs["conn"]) <= 80_000
    assert demo.made.train_until == "2026-03-04T00:00:00.000000Z"
    assert {hop["campaign"] for hop in labels(demo)} == {"phish", "supplier"}
    assert demo.made.counts["hops"] == len(labels(demo)) >= 8


def test_every_line_has_its_fields_and_its_connection(demo):
    conns = demo.conns
    assert len(conns) == len(demo.logs["conn"])
    for conn in conns.values():
        assert re.fullmatch("C[0-9A-Za-z]{17}", conn["uid"])
        assert {"ts", "proto", "conn_state", *ENDPOINTS} <= conn.keys()
        assert None not in conn.values()
    assert set(demo.logs) == {"conn", *PROTOCOLS}
    for log, needed in PROTOCOLS.items():
        for record in demo.logs[log]:
            conn = conns[record["uid"]]
            assert all(record[field] == conn[field] for field in ENDPOINTS)
            assert all(field in record for field in needed), (log, record)
            assert conn["ts"] <= record["ts"] <= conn["ts"] + conn.get("duration", 0) + 1e-6


def test_times_are_written_with_six_decimals(demo):
    for path in demo.made.zeek_dir.glob("*/*.log"):
        with path.open() as lines:
            assert re.match(r'\{"ts":\d{10}\.\d{6},"uid"', next(lines))


def test_records_stand_in_the_order_and_the_day_of_their_writing(demo):
    for path in demo.made.zeek_dir.glob("*/*.log"):
        records = [json.loads(line) for line in path.read_text().splitlines()]
        written = [r["ts"] + (r.get("duration", 0) if path.stem == "conn" else 0) for r in records]
        assert all(later >= earlier - 2e-6 for earlier, later in pairwise(written))
        dates = {datetime.fromtimestamp(moment, UTC).date().isoformat() for moment in written}
        assert dates == {path.parent.name}


def test_netflow_tells_of_the_same_edges(demo):
    def edge(a, b, proto):
        return *sorted((a, b)), proto

    zeek = Counter(
        edge((c["id.orig_h"], c["id.orig_p"]), (c["id.resp_h"], c["id.resp_p"]), c["proto"])
        for c in demo.logs["conn"]
        if c["proto"] != "icmp"
    )
    flows = Counter(
        edge((f["src_addr"], f["src_port"]), (f["dst_addr"], f["dst_port"]), f["proto"].lower())
        for f in netflow(demo)
        if f["proto"] != "ICMP"
    )
    assert set(zeek) == set(flows)


def test_netflow_has_replies_and_some_duplicates(demo):
    records = list(netflow(demo))
    content = Counter(
        tuple(r[k] for k in ("src_addr", "src_port", "dst_addr", "dst_port", "time_flow_start_ns", "bytes", "proto"))
        for r in records
    )
    twice = sum(count > 1 for count in content.values())
    assert 0.02 <= twice / len(content) <= 0.04
    answered = sum(conn["resp_pkts"] > 0 for conn in demo.logs["conn"])
    assert len(content) == len(demo.logs["conn"]) + answered
    received = [r["time_received_ns"] for r in records]
    assert received == sorted(received)
    assert all(r["time_flow_start_ns"] <= r["time_flow_end_ns"] < r["time_received_ns"] for r in records)


def test_labels_speak_of_connections_that_exist(demo):
    found = Counter((hop["campaign"], hop["start"]) for hop, _ in hostile(demo))
    for hop in labels(demo):
        assert found[hop["campaign"], hop["start"]] >= 1, hop
        assert re.fullmatch(r"T\d{4}(\.\d{3})?", hop["technique"])


def test_hops_chain_from_host_to_host_in_time(demo):
    for campaign in ("phish", "supplier"):
        hops = [hop for hop in labels(demo) if hop["campaign"] == campaign]
        reached = {hops[0]["src"]}
        for hop in hops:
            assert hop["src"] in reached
            reached.add(hop["dst"])
        assert [hop["start"] for hop in hops] == sorted(hop["start"] for hop in hops)


def test_each_hop_leaves_an_established_connection(demo):
    worked = {hop["start"] for hop, conn in hostile(demo) if conn["conn_state"] not in ("S0", "REJ")}
    assert worked == {hop["start"] for hop in labels(demo)}


def test_history_is_clean(demo):
    assert all(hop["start"] >= demo.made.train_until for hop in labels(demo))
    assert min(seconds(hop["start"]) for hop in labels(demo)) - seconds(demo.made.start) >= 2 * 86_400


def test_a_quiet_run_is_the_same_life_without_the_attack(demo, quiet):
    assert quiet.made.labels.read_text() == "campaign,start,end,src,dst,technique\n"
    shape = [(c["ts"], c["id.orig_h"], c["id.resp_h"], c["uid"]) for c in quiet.logs["conn"]]
    with_attack = {(c["ts"], c["id.orig_h"], c["id.resp_h"], c["uid"]) for c in demo.logs["conn"]}
    assert set(shape) <= with_attack
    assert len(with_attack) - len(shape) <= 60


def test_attack_connections_look_like_ordinary_ones_of_their_service(demo, quiet):
    """No rule on one size, length or digit finds an attack: each is within what the service does anyway."""
    ordinary: dict[int, list[dict]] = {}
    for conn in quiet.logs["conn"]:
        port = conn["id.resp_p"] if conn["id.resp_p"] < 49_152 else 135
        ordinary.setdefault(port, []).append(conn)
    for _, conn in hostile(demo):
        port = conn["id.resp_p"] if conn["id.resp_p"] < 49_152 else 135
        like = ordinary[port]
        for field in ("duration", "orig_bytes", "resp_bytes", "orig_pkts", "resp_pkts"):
            values = [other[field] for other in like if field in other]
            assert min(values) / 3 <= conn.get(field, min(values)) <= 3 * max(values), (port, field)
        assert conn["id.orig_p"] >= 49_152
        assert conn.get("service") in {other.get("service") for other in like}
        assert conn["ts"] % 1, "attacks do not begin on the full second"


def test_the_credential_changes_along_the_chain(demo):
    uids = {conn["uid"]: hop for hop, conn in hostile(demo) if hop["campaign"] == "phish"}
    users = {r["cookie"] for r in demo.logs["rdp"] if r["uid"] in uids}
    assert "administrator" in users


def test_controllers_are_reprogrammed_only_from_their_stations(demo):
    written = [r for r in demo.logs["s7comm"] if r["function_name"] == "Request Download"]
    assert written
    assert all(r["id.orig_h"].startswith("10.60.1.") for r in written)


def test_faults_are_rare_and_of_every_kind(quiet):
    states = Counter(conn["conn_state"] for conn in quiet.logs["conn"])
    for state in ("S0", "REJ", "RSTO", "RSTR"):
        assert 0.0005 <= states[state] / states.total() <= 0.05, state


def test_nights_and_weekends_are_quiet(tmp_path):
    made = simulate(tmp_path / "out", days=2, hosts=60, seed=3, start=datetime(2026, 6, 5, tzinfo=UTC), campaigns=False)
    hours: Counter[tuple[int, int]] = Counter()
    for path in made.zeek_dir.glob("*/conn.log"):
        for conn in map(json.loads, path.read_text().splitlines()):
            if conn["id.orig_h"].startswith("10.10."):
                moment = datetime.fromtimestamp(conn["ts"], UTC)
                hours[moment.weekday(), moment.hour] += 1
    friday = sum(count for (day, _), count in hours.items() if day == 4)
    saturday = sum(count for (day, _), count in hours.items() if day == 5)
    assert saturday < friday / 5
    assert sum(hours[4, hour] for hour in range(5)) < friday / 100
    assert hours[4, 8] > 3 * hours[4, 18]  # British summer: nine and nineteen o'clock on the wall


def test_plant_file_covers_every_inside_address(demo):
    plant = yaml.safe_load(demo.made.plant.read_text())
    assert plant["timezone"] == "Europe/London"
    nets = [ipaddress.ip_network(cidr) for zone in plant["zones"] for cidr in zone["cidrs"]]
    for address in {conn[end] for conn in demo.logs["conn"] for end in ("id.orig_h", "id.resp_h")}:
        assert inside(address) == any(ipaddress.ip_address(address) in net for net in nets), address
    names = {zone["name"] for zone in plant["zones"]}
    ends = {conduit[end] for conduit in plant["conduits"] for end in ("from", "to")}
    assert ends <= names | {"external", "office*"}
    assert all(window["zone"] in names for window in plant["maintenance_windows"])
    assert {1, 2, 3, 3.5, 4} == {zone["purdue_level"] for zone in plant["zones"]}


def test_suppliers_keep_to_their_windows_unless_they_attack(quiet):
    plant = yaml.safe_load(quiet.made.plant.read_text())
    days = {host: {w["day"] for w in v["windows"]} for v in plant["vendors"] for host in v["hosts"]}
    visits = [conn for conn in quiet.logs["conn"] if conn["id.orig_h"] in days]
    assert visits
    for conn in visits:
        moment = datetime.fromtimestamp(conn["ts"], UTC)
        assert moment.strftime("%a").lower() in days[conn["id.orig_h"]]
        assert 10 <= moment.hour < 14


@pytest.mark.parametrize("hosts", [40, 150, 400])
def test_the_plant_grows_with_its_hosts(tmp_path, hosts):
    made = simulate(tmp_path / "out", days=0.05, hosts=hosts, seed=1)
    assert abs(made.counts["hosts"] - hosts) <= hosts * 0.1
    cells = len(yaml.safe_load(made.plant.read_text())["maintenance_windows"])
    assert cells == max(2, hosts // 40)
    assert len(labels(Week(made, {}))) == made.counts["hops"]


def test_progress_is_told_day_by_day(tmp_path):
    told = []
    simulate(tmp_path / "out", days=1.2, hosts=40, campaigns=False, progress=lambda *step: told.append(step))
    assert told == [("2026-03-02", 0.5), ("2026-03-03", 1.0)]


def test_no_connection_outlasts_the_simulation(demo):
    last = max(conn["ts"] + conn.get("duration", 0) for conn in demo.logs["conn"])
    assert last <= seconds(demo.made.end)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"hosts": 10}, "hosts"),
        ({"days": 0}, "days"),
        ({"seed": -1}, "seed"),
        ({"density": 0}, "density"),
        ({"density": 1.01}, "density"),
        ({"campaigns": -1}, "campaigns"),
        ({"pace": "years"}, "pace"),
    ],
)
def test_values_out_of_range_are_refused(tmp_path, wrong, error):
    with pytest.raises(ValueError, match=error):
        simulate(tmp_path / "out", **wrong)


def test_an_existing_simulation_is_not_mixed_with_another(tmp_path):
    simulate(tmp_path, days=0.05, hosts=40)
    with pytest.raises(FileExistsError):
        simulate(tmp_path, days=0.05, hosts=40)


def test_zeek_alone_is_the_same_zeek(tmp_path):
    both, alone = (simulate(tmp_path / str(n), days=0.1, hosts=40, seed=1, netflow=n) for n in (True, False))
    assert contents(alone.zeek_dir) == contents(both.zeek_dir)
    assert alone.netflow_dir is None
    assert not (alone.root / "netflow").exists()
    assert alone.counts == both.counts | {"netflow": 0}


def test_text_in_memory_is_bounded_whatever_the_days(tmp_path, monkeypatch):
    """Blocks of a size, and of earlier ones only what has not ended: the last days hold no more than the first."""
    blocks, held = [], []

    class Watched(ZeekWriter):
        def add(self, conns, addresses, rng):
            blocks.append(len(conns))
            super().add(conns, addresses, rng)
            held.append(sum(log.held for log in self._logs.values()))

    monkeypatch.setattr(simulation, "ZeekWriter", Watched)
    monkeypatch.setattr(simulation, "_BLOCK", 500)
    made = simulate(tmp_path / "out", days=8, hosts=60, seed=1, density=0.05, netflow=False)
    assert max(blocks) == 500
    assert sum(blocks) == made.counts["conn"] > 5000
    half = len(held) // 2
    assert max(held[half:]) <= 1.5 * max(held[:half])
    assert max(held) < sum(made.counts.values()) / 10


def test_a_wish_for_campaigns_is_a_number(tmp_path):
    """One story, both, or many; many leave only the first third clean."""
    wish = {"days": 6, "hosts": 60, "seed": 3, "density": 0.02, "netflow": False}
    made = {n: simulate(tmp_path / str(n), campaigns=n, **wish) for n in (1, 2, 12)}
    assert {n: plant.counts["campaigns"] for n, plant in made.items()} == {1: 1, 2: 2, 12: 12}
    assert made[2].train_until == "2026-03-06T00:00:00.000000Z"
    assert made[12].train_until == "2026-03-04T00:00:00.000000Z"
    for plant in made.values():
        hops = labels(Week(plant, {}))
        assert len(hops) == plant.counts["hops"]
        assert all(hop["start"] >= plant.train_until for hop in hops)
