"""Whether campaigns are found by what they mean, or by how the simulator made them. All from the logs and labels."""

import csv
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from operator import itemgetter
from pathlib import Path

import numpy as np
import orjson
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from detector.simulate import simulate
from detector.simulate.stories_deeds import PACES

DAYS, HOSTS, CAMPAIGNS, DENSITY = 10, 200, 60, 0.05
SEEDS = (3, 4)
RPC = 49_152  # from here on a service's port is its own choice
POLLERS = ("10.62.", "10.60.1.10")  # panels and historian, whose links last for hours or seconds
CALLS = {"CreateServiceW", "ExecMethod", "SchRpcRegisterTask", "DRSGetNCChanges"}
S7 = {"Write Variable": "write", "PLC Stop": "program", "Request Download": "program"}


def seconds(text):
    return datetime.fromisoformat(text).timestamp()


def pair(conn):
    return conn["id.orig_h"], conn["id.resp_h"]


def service(conn):
    port = conn["id.resp_p"]
    return str(port) if port < RPC else "rpc"


@dataclass(frozen=True)
class Crowd:
    """A simulated plant with many campaigns, read back."""

    zeek: Path
    labels: list[dict[str, str]]
    clean_until: float

    def log(self, name):
        paths = sorted(self.zeek.glob(f"*/{name}.log"))
        return [orjson.loads(line) for path in paths for line in path.read_bytes().splitlines()]

    @cached_property
    def conns(self):
        return sorted(self.log("conn"), key=itemgetter("ts"))

    @cached_property
    def tokens(self):
        """For each uid its service and the operations that make a difference."""
        tokens = defaultdict(set)
        for conn in self.conns:
            tokens[conn["uid"]].add(service(conn))
        for record in self.log("dce_rpc"):
            if record["operation"] in CALLS:
                tokens[record["uid"]].add(record["operation"])
        for record in self.log("smb_mapping"):
            share = record["path"].rpartition("\\")[2]
            tokens[record["uid"]].add(share if share.endswith("$") or share == "SYSVOL" else "share")
        for record in self.log("kerberos"):
            tokens[record["uid"]].add(record["request_type"])
        for record in self.log("modbus"):
            tokens[record["uid"]].add("write" if "WRITE" in record["func"] else "read")
        for record in self.log("s7comm"):
            tokens[record["uid"]].add(S7.get(record["function_name"], "read"))
        return tokens

    @cached_property
    def hops(self):
        """Each label with the connections between its hosts in its time."""
        between = defaultdict(list)
        for conn in self.conns:
            between[pair(conn)].append(conn)
        found = []
        for hop in self.labels:
            start, end = seconds(hop["start"]) - 1e-6, seconds(hop["end"]) + 1e-6
            same = between[hop["src"], hop["dst"]]
            found.append((hop, [c for c in same if start <= c["ts"] and c["ts"] + c.get("duration", 0) <= end]))
        return found

    @cached_property
    def hostile(self):
        return {conn["uid"]: hop["campaign"] for hop, conns in self.hops for conn in conns}

    @cached_property
    def history(self):
        """Pairs and (pair, token) of the days without attacks."""
        early = [conn for conn in self.conns if conn["ts"] < self.clean_until]
        return {pair(c) for c in early}, {(pair(c), token) for c in early for token in self.tokens[c["uid"]]}

    def novelty(self, hop, conns):
        """What is new about a hop: its pair, something done on it, or nothing."""
        pairs, known = self.history
        edge = hop["src"], hop["dst"]
        if edge not in pairs:
            return "new"
        tokens = set().union(*(self.tokens[conn["uid"]] for conn in conns))
        return "quiet" if all((edge, token) in known for token in tokens) else "operation"


def crowd(folder, seed, pace):
    made = simulate(
        folder, days=DAYS, hosts=HOSTS, seed=seed, density=DENSITY, netflow=False, campaigns=CAMPAIGNS, pace=pace
    )
    labels = list(csv.DictReader(made.labels.read_text().splitlines()))
    return Crowd(made.zeek_dir, labels, seconds(made.train_until))


@pytest.fixture(scope="module")
def crowds(tmp_path_factory):
    base = tmp_path_factory.mktemp("crowds")
    return {pace: [crowd(base / f"{pace}{seed}", seed, pace) for seed in SEEDS] for pace in PACES}


@pytest.fixture(scope="module", params=PACES)
def paced(request, crowds):
    return crowds[request.param]


def test_every_hop_is_in_the_logs(paced):
    for plant in paced:
        assert len({hop["campaign"] for hop in plant.labels}) == CAMPAIGNS
        assert all(conns for _, conns in plant.hops)
        assert min(seconds(hop["start"]) for hop in plant.labels) >= plant.clean_until


def test_at_the_slow_pace_one_connection_carries_a_hop(crowds):
    """Ordinary traffic of the same hosts in the same seconds, and the endpoint mapper before RPC, do not count."""
    carried = [
        sum(service(conn) != "135" for conn in conns) or len(conns)
        for plant in crowds["hours"]
        for _, conns in plant.hops
    ]
    assert min(carried) == 1
    assert np.mean(np.array(carried) == 1) > 0.9


@pytest.mark.parametrize("group", ["new", "operation", "quiet"])
def test_hops_are_as_new_as_their_campaign_says(paced, group):
    told = [
        plant.novelty(hop, conns) for plant in paced for hop, conns in plant.hops if hop["campaign"].startswith(group)
    ]
    assert Counter(told)[group] / len(told) > 0.8


def test_most_hops_of_nearly_every_campaign_are_of_its_group(paced):
    shares = defaultdict(list)
    for number, plant in enumerate(paced):
        for hop, conns in plant.hops:
            name = hop["campaign"]
            shares[number, name].append(plant.novelty(hop, conns) == name.split("-")[0])
    assert np.mean([np.mean(hops) > 0.5 for hops in shares.values()]) > 0.9


def test_attacking_hosts_live_a_normal_life_before_and_after(paced):
    for plant in paced:
        ordinary = defaultdict(list)
        for conn in plant.conns:
            if conn["uid"] not in plant.hostile:
                ordinary[conn["id.orig_h"]].append(conn["ts"])
        both = []
        for hop, conns in plant.hops:
            life = ordinary[hop["src"]] or [np.inf]
            both.append(life[0] < conns[0]["ts"] and life[-1] > conns[-1]["ts"])
        assert np.mean(both) > 0.97


def test_an_account_betrays_campaigns_of_that_name(crowds):
    """In each, some account is seen where it has never been: on an edge, or in a ticket request of a host."""
    for plant in crowds["hours"]:
        seen = account_sightings(plant)
        strange = defaultdict(int)
        for hop, conns in plant.hops:
            if "credential" in hop["campaign"]:
                start, end = conns[0]["ts"] - 5, conns[-1]["ts"] + conns[-1].get("duration", 0)
                now = {
                    key for key, times in seen.items() if key[0] == hop["src"] and any(start <= t <= end for t in times)
                }
                strange[hop["campaign"]] += any(min(seen[key]) >= start for key in now)
        assert len(strange) == CAMPAIGNS // 12
        assert np.mean([count > 0 for count in strange.values()]) == 1


def account_sightings(plant):
    """When each account was seen from each host towards each other."""
    seen = defaultdict(list)
    for log, field in (("rdp", "cookie"), ("ntlm", "username"), ("kerberos", "client")):
        for record in plant.log(log):
            seen[record["id.orig_h"], record["id.resp_h"], record[field].partition("/")[0]].append(record["ts"])
    return seen


def test_no_inbound_session_explains_most_hops_of_provenance_campaigns(paced):
    unexplained = []
    for plant in paced:
        cookies = {record["uid"]: record["cookie"] for record in plant.log("rdp")}
        sessions = defaultdict(list)
        for conn in plant.conns:
            if service(conn) == "3389":
                sessions[conn["id.resp_h"]].append(conn)
        for hop, conns in plant.hops:
            if "provenance" in hop["campaign"]:
                now, account = conns[0]["ts"], cookies.get(conns[0]["uid"])  # none on a controller
                unexplained.append(
                    not any(
                        s["ts"] <= now <= s["ts"] + s.get("duration", 0) and account in (None, cookies.get(s["uid"]))
                        for s in sessions[hop["src"]]
                    )
                )
    print(f"{np.mean(unexplained):.2f} of {len(unexplained)}")
    assert np.mean(unexplained) > 0.7


# --- form ---


def features(conn):
    """What a connection looks like without its meaning: sizes, length, state, and the digits of all of them."""
    sizes = [conn.get("orig_bytes", 0), conn.get("resp_bytes", 0), conn["orig_pkts"], conn["resp_pkts"]]
    micros = [round(conn["ts"] * 1e6), round(conn.get("duration", 0) * 1e6)]
    digits = [value // place % 10 for value in (*sizes[:2], *micros) for place in (1, 10, 100)]
    letters = list(conn["uid"][1:].encode())
    return [
        *sizes,
        conn.get("duration", -1.0),
        conn["conn_state"] in ("S0", "REJ"),
        conn["id.orig_p"],
        *digits,
        *letters,
    ]


def alike(plants):
    """Connections by port, operations and, for controllers, whether their client polls; hostile ones marked.

    Volume campaigns are left out: that they move more than their like is what betrays them.
    """
    groups = defaultdict(list)
    for plant in plants:
        for conn in plant.conns:
            campaign = plant.hostile.get(conn["uid"], "")
            if "volume" not in campaign:
                polls = service(conn) in ("102", "502") and conn["id.orig_h"].startswith(POLLERS)
                groups[(*sorted(plant.tokens[conn["uid"]]), "polls" if polls else "")].append(
                    (features(conn), campaign != "")
                )
    return groups


def sampled(group, rng):
    """At most five ordinary connections for a hostile one, so that rarity itself says nothing."""
    hostile = [row for row, marked in group if marked]
    ordinary = [row for row, marked in group if not marked]
    ordinary = [ordinary[i] for i in rng.permutation(len(ordinary))[: 5 * len(hostile)]]
    return np.array(hostile + ordinary, dtype=float), np.arange(len(hostile) + len(ordinary)) < len(hostile)


def forest_auc(rows, marks):
    forest = RandomForestClassifier(40, min_samples_leaf=5, random_state=0)
    folds = StratifiedKFold(4, shuffle=True, random_state=0)
    return roc_auc_score(marks, cross_val_predict(forest, rows, marks, cv=folds, method="predict_proba")[:, 1])


def test_a_random_forest_cannot_tell_attacks_by_their_form(paced):
    rng = np.random.default_rng(0)
    measured = []
    for tokens, group in sorted(alike(paced).items()):
        rows, marks = sampled(group, rng)
        if marks.sum() >= 20 and (~marks).sum() >= 20:
            measured.append((forest_auc(rows, marks), int(marks.sum()), tokens))
    for auc, count, tokens in measured:
        print(f"{auc:.3f} {count:5d} {tokens}")
    total = sum(count for _, count, _ in measured)
    mean = sum(max(auc, 0.5) * count for auc, count, _ in measured) / total  # below is chance in small groups
    print(f"{mean:.3f} over {total}")
    assert total >= 300
    assert mean <= 0.6


# --- novelty as a detector ---


def first_meetings(plant):
    """Connections that are the first of their (pair, service) after the clean days."""
    known, found = set(), []
    for conn in plant.conns:
        key = pair(conn), service(conn)
        if key not in known and conn["ts"] >= plant.clean_until:
            found.append(conn)
        known.add(key)
    return found


def campaigns_found(plant, budget, rng):
    """Campaigns with a hop among ``budget`` alerts of a day, drawn blindly: all are as new as each other."""
    days = defaultdict(list)
    for conn in first_meetings(plant):
        days[int(conn["ts"] // 86_400)].append(plant.hostile.get(conn["uid"], ""))
    drawn = [names[i] for names in days.values() for i in rng.permutation(len(names))[:budget]]
    return set(drawn) - {""}, np.mean([len(names) for names in days.values()])


def test_never_seen_finds_new_campaigns_only_at_hundreds_of_alerts_a_day(crowds):
    """The plant is small: of 25 alerts a day that people of a thousand hosts read, it has its share."""
    budget = 25 * HOSTS // 1000
    rng = np.random.default_rng(0)
    plant = crowds["hours"][0]
    new = {hop["campaign"] for hop in plant.labels if hop["campaign"].startswith("new")}
    everything, volume = campaigns_found(plant, 1_000_000, rng)
    few = np.mean([len(new & campaigns_found(plant, budget, rng)[0]) / len(new) for _ in range(10)])
    print(f"{volume:.0f} alerts a day find {len(new & everything)} of {len(new)}, {budget} find {few:.2f}")
    assert volume > 100
    assert len(new & everything) >= 0.9 * len(new)
    assert few < 0.35
    quiet = {hop["campaign"] for hop in plant.labels if hop["campaign"].startswith("quiet")}
    assert len(quiet & everything) < 0.4 * len(quiet)
