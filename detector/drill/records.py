"""What the sensors of a network would have written of campaigns, by the writers of the simulated plant.

Sizes, durations and packets are those of the network's own connections of each service; where it has none, the
simulation's. Every Zeek uid begins with `UID_PREFIX` and every flow has the field `FLOW_MARK`, so that nobody takes
them for real.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from detector.alerts.model import iso
from detector.assets.services import token
from detector.backtest.labels import COLUMNS
from detector.drill.cast import Campaign, Hop
from detector.drill.network import FLOWS, Network
from detector.drill.techniques import PLAYABLE
from detector.simulate.acts import SURE, Acts
from detector.simulate.draw import below
from detector.simulate.netflow_writer import NetflowWriter
from detector.simulate.plant import Host, Plant, Role
from detector.simulate.rhythm import MINUTE, SECOND
from detector.simulate.services import MISTYPED, PROBED_PORTS, SERVICES, Kind
from detector.simulate.stories_deeds import Deed, conversations
from detector.simulate.wire import REJ, S0, Conns, connect
from detector.simulate.zeek_writer import LOGS, ZeekWriter

UID_PREFIX: Final = "CDRiLL"
FLOW_MARK: Final = "eastwest_drill"
_DOMAIN: Final = "drill.example"  # RFC 2606: never a real name
_SCANNED: Final = 24  # hosts of a scan; more than people try, far fewer than a worm does
_SCAN_SPAN: Final = 10 * MINUTE
_SPRAYED: Final = 12  # accounts of a spray: each once or twice, so that none is locked
_SPRAY_PAUSE: Final = 20 * SECOND
_EVER: Final = 1 << 62
_DRILL: Final = 3  # of the seed's streams, beside those of `cast`
_EXPORTER: Final = "192.0.2.1"  # RFC 5737; for a history whose flows name none


@dataclass(frozen=True, slots=True)
class Written:
    """What was written: connections, Zeek and flow records by log, and when each hop took place: start, end (µs)."""

    connections: int
    records: dict[str, int]
    spans: dict[int, tuple[int, int]]


class Stage:
    """The hosts and accounts of a network as the simulation's writers name them: by number."""

    def __init__(self, network: Network, hops: Sequence[Hop]) -> None:
        self.addresses = sorted(network.assets)
        self.number = {address: i for i, address in enumerate(self.addresses)}
        sprayed = [name for names in network.accounts.values() for name in names]
        self.accounts = sorted({hop.account for hop in hops} | set(sprayed))
        self.user = {name: i for i, name in enumerate(self.accounts)}
        self.plant = _plant(network, self.addresses, self.accounts)


def _plant(network: Network, addresses: Sequence[str], accounts: Sequence[str]) -> Plant:
    hosts = tuple(
        Host(_name(network.assets[address].name, number), _role(network, address), address)
        for number, address in enumerate(addresses)
    )
    nobody = np.zeros(len(hosts), dtype=np.int64)
    columns = ("owner", "machine", "home_dc", "home_files", "home_printer", "department", "uses_erp", "uses_mes")
    by_host: dict[str, Any] = dict.fromkeys((*columns, "engineer"), nobody)
    return Plant(
        hosts=hosts,
        zones=(),
        accounts=tuple(accounts),
        suppliers=(),
        roles=dict.fromkeys(Role, nobody[:0]),
        station=nobody[:0],
        s7=nobody[:0],
        domain=_DOMAIN,
        sites=0,
        **by_host,
    )


def _name(known: str | None, number: int) -> str:
    """A NetBIOS name out of what the host is called: names of logs are somebody else's, and go into records again."""
    label = (known or "").partition(".")[0].upper()
    good = "".join(char for char in label if char.isascii() and (char.isalnum() or char == "-"))[:15]
    return good or f"HOST{number:03d}"


def _role(network: Network, address: str) -> Role:
    return Role.FILES if network.assets[address].role == "file_server" else Role.WORKSTATION


def write(campaigns: Sequence[Campaign], network: Network, until: int, out: Path, labels: Path, seed: int) -> Written:
    """Write the records of campaigns below ``out``, and their labels.

    Args:
        until: what lasts longer is cut off (µs).
        out: folder; gets ``zeek`` and ``netflow``, as far as the network has such sensors.
    """
    hops = [hop for campaign in campaigns for hop in campaign.hops]
    paces = [campaign.pace for campaign in campaigns for _ in campaign.hops]
    stage = Stage(network, hops)
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, _DRILL])))
    acts = Acts()
    for position, (hop, pace) in enumerate(zip(hops, paces, strict=True)):
        _perform(position, hop, pace, network, stage, acts, rng)
    conns = _like(connect(acts.table(), until + 1, rng), network, until, rng)
    conns = replace(conns, uid=_marked(conns.uid))
    records = _written(conns, network, stage, out, rng)
    spans = _spans(conns)
    _write_labels(labels, hops, spans)
    return Written(len(conns), records, spans)


def _perform(
    position: int, hop: Hop, pace: str, network: Network, stage: Stage, acts: Acts, rng: np.random.Generator
) -> None:
    orig, resp, user = stage.number[hop.orig], stage.number[hop.resp], stage.user[hop.account]
    if hop.technique == "T1046":
        _scan(position, hop, stage, acts, rng)
        return
    if hop.technique == "T1110":
        _spray(position, hop, stage, acts, rng)
        return
    deed, _ = PLAYABLE[hop.technique].deed(network, hop.resp)
    for step in conversations(_whole(deed), user, resp, _speed(deed, pace), much=False, rng=rng):
        detail = resp * 64 + Kind.SMB_FILE if step.kind is Kind.KRB_TGS else step.detail
        detail = deed.detail if step.kind is deed.kinds[-1] and deed.detail != -1 else detail
        acts.add(step.kind, hop.at + step.after, orig, resp, step.user, detail, fate=SURE, hop=position)


def _whole(deed: Deed) -> Deed:
    """A deed as `conversations` takes it, whose own details begin at 0."""
    return replace(deed, detail=max(deed.detail, 0)) if deed.detail < -1 else deed


def _speed(deed: Deed, pace: str) -> str:
    """Who takes days leaves the one connection that matters; tickets come as a pair."""
    return "minutes" if pace == "minutes" or Kind.KRB_TGS in deed.kinds else "hours"


def _scan(position: int, hop: Hop, stage: Stage, acts: Acts, rng: np.random.Generator) -> None:
    others = np.array([stage.number[a] for a in stage.addresses if a not in (hop.orig, hop.resp)], dtype=np.int64)
    found = rng.permutation(others)[: _SCANNED - 1]
    targets = np.concatenate([[stage.number[hop.resp]], found])
    ports = np.array(PROBED_PORTS, dtype=np.int64)[below(rng, len(PROBED_PORTS), 3)]
    resp, detail = np.repeat(targets, len(ports)), np.tile(ports, len(targets))
    after = np.sort(below(rng, _SCAN_SPAN, len(resp)))
    orig, user = stage.number[hop.orig], stage.user[hop.account]
    acts.add(Kind.PROBE, hop.at + after, orig, resp, user, detail, hop=position)


def _spray(position: int, hop: Hop, stage: Stage, acts: Acts, rng: np.random.Generator) -> None:
    users = rng.permutation(np.arange(len(stage.accounts), dtype=np.int64))[:_SPRAYED]
    after = np.arange(len(users), dtype=np.int64) * _SPRAY_PAUSE + below(rng, SECOND, len(users))
    orig, resp = stage.number[hop.orig], stage.number[hop.resp]
    acts.add(Kind.KRB_AS, hop.at + after, orig, resp, users, MISTYPED, fate=SURE, hop=position)


# --- as this network has it ---


def _like(conns: Conns, network: Network, until: int, rng: np.random.Generator) -> Conns:
    """Sizes and durations of answered connections drawn from the network's own of the same service."""
    columns = {
        name: getattr(conns, name).copy() for name in ("duration", "orig_bytes", "resp_bytes", "orig_pkts", "resp_pkts")
    }
    services = [
        token(SERVICES[Kind(kind)].proto, int(port)) for kind, port in zip(conns.kind, conns.resp_p, strict=True)
    ]
    drawn = below(rng, 1 << 30, len(conns))
    for row, service in enumerate(services):
        sample = network.samples.get(service)
        quiet = conns.state[row] in (S0, REJ) or conns.kind[row] == Kind.PROBE
        if quiet or sample is None or not len(sample.duration):
            continue
        place = int(drawn[row]) % len(sample.duration)
        for name, column in columns.items():
            column[row] = getattr(sample, name)[place]
    columns["duration"] = np.clip(np.minimum(columns["duration"], until - conns.ts), 0, None)
    return replace(conns, **columns, end=conns.ts + columns["duration"])


def _marked(uids: np.ndarray[tuple[int], np.dtype[np.bytes_]]) -> np.ndarray[tuple[int], np.dtype[np.bytes_]]:
    prefix = UID_PREFIX.encode()
    return np.array([prefix + uid[len(prefix) :] for uid in uids.tolist()], dtype=uids.dtype)


def _written(conns: Conns, network: Network, stage: Stage, out: Path, rng: np.random.Generator) -> dict[str, int]:
    records: dict[str, int] = {}
    if network.logs & set(LOGS):
        zeek = ZeekWriter(out / "zeek", stage.plant, network.logs & set(LOGS))
        zeek.add(conns, stage.addresses, rng)
        zeek.write_until(_EVER)
        records |= {log: count for log, count in zeek.written.items() if count}
    if FLOWS in network.logs:
        exporter = network.exporter or _EXPORTER
        flows = NetflowWriter(out / "netflow", stage.plant, (exporter, exporter), f'"{FLOW_MARK}":true,')
        flows.add(_exported(conns, network, rng), stage.addresses, rng)
        flows.write_until(_EVER)
        records["netflow"] = flows.written
    return records


def _exported(conns: Conns, network: Network, rng: np.random.Generator) -> Conns:
    """What a router tells: one direction where it exports no other; of a connection of n packets, when it samples, with
    the chance that one of them is picked."""
    if not network.both_ways:
        conns = replace(conns, resp_pkts=np.zeros_like(conns.resp_pkts))
    if network.sampling == 1:
        return conns
    luck = below(rng, 1 << 30, len(conns)) / (1 << 30)
    packets = conns.orig_pkts + conns.resp_pkts
    return conns.take(luck < 1 - (1 - 1 / network.sampling) ** packets)


def _spans(conns: Conns) -> dict[int, tuple[int, int]]:
    spans: dict[int, tuple[int, int]] = {}
    for hop, start, end in zip(conns.hop.tolist(), conns.ts.tolist(), conns.end.tolist(), strict=True):
        first, last = spans.get(hop, (start, end))
        spans[hop] = min(first, start), max(last, end)
    return spans


def _write_labels(path: Path, hops: Sequence[Hop], spans: dict[int, tuple[int, int]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(COLUMNS)
        for position, hop in enumerate(hops):
            start, end = spans[position]
            anywhere = hop.technique == "T1046"
            rows.writerow((hop.campaign, iso(start), iso(end), hop.orig, "" if anywhere else hop.resp, hop.technique))
