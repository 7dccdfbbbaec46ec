"""`eastwest reach`: read, sum up, walk, compare, write. See docs/reach.md for the files."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson

from detector.assets.hosts import OUTSIDE, Hosts
from detector.assets.plant import Plant
from detector.config import Settings
from detector.errors import ConfigError
from detector.history import History, read_summary
from detector.metrics import reach_textfile
from detector.reach import HOPS
from detector.reach.contacts import Collector
from detector.reach.model import Choke, HostReach, Network, Place, Reach, Step, zone_metrics
from detector.reach.policy import Policy
from detector.reach.report import Picture, View, render
from detector.reach.temporal import Contacts
from detector.reach.written import as_csv, as_lines
from detector.reading import Progress

_PATHS: Final = 1_000_000  # hosts of one host's paths that are written


@dataclass(frozen=True, slots=True)
class Result:
    """What was found; the files are written. ``hosts`` come in order of how much they reach, those that reach most
    first."""

    hosts: list[HostReach]
    chokes: list[Choke]
    pictures: list[Picture]
    summary: dict[str, Any]
    out: Path


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked for.

    Attributes:
        everything: whether any answered conversation carries an intruder.
        since, until: µs; contacts before and from then on do not count.
        host: whose paths are told; None = the one that reaches most.
    """

    hops: int = HOPS
    everything: bool = False
    since: int | None = None
    until: int | None = None
    host: str | None = None


def reach(
    paths: Sequence[str | Path],
    out: Path,
    settings: Settings,
    asked: Asked,
    *,
    plant: Plant | None = None,
    proposal: Plant | None = None,
    log_format: str = "auto",
    progress: Progress = lambda stage, done, total, rows: None,
) -> Result:
    """Tell how far an intruder gets from each host of a network, out of its logs, into ``out``.

    Args:
        paths: files or folders.
        out: folder, made if missing; files of an earlier run are replaced.
        proposal: another plant file, to tell what it would leave of today's use.
        log_format: a name of the format registry for all records, or ``auto``.

    Raises:
        UnreadableInput: a path is missing, or no record could be read.
        ConfigError: unknown format; the host asked for was not seen.
    """
    plant = plant or proposal or Plant()
    out.mkdir(parents=True, exist_ok=True)
    collector = Collector(Hosts(plant), everything=asked.everything, since=asked.since, until=asked.until)
    with (out / "rejected.ndjson").open("wb") as dead_letters:
        history = History(settings, log_format, dead_letters, progress)
        files = history.read(paths, collector.add)
    network = Network(collector.collected(), plant)
    if asked.host is not None and asked.host not in network.number:
        raise ConfigError("--host", "", f"{asked.host} was not seen in these logs")
    found = _found(network, asked, plant, proposal)
    summary = {
        **read_summary(history.rows, files),
        **found.summary,
    }
    (out / "reach.csv").write_text(as_csv(found.hosts, asked.hops), encoding="utf-8", newline="")
    (out / "reach.ndjson").write_bytes(as_lines(found.hosts))
    (out / "paths.ndjson").write_bytes(found.paths)
    (out / "reach.prom").write_bytes(reach_textfile(summary["zones"], asked.hops))
    (out / "summary.json").write_bytes(orjson.dumps(summary, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    view = View(summary, found.hosts, found.chokes, found.pictures, network.zones)
    (out / "report.html").write_text(render(view), encoding="utf-8")
    return Result(found.hosts, found.chokes, found.pictures, summary, out)


@dataclass(frozen=True, slots=True)
class _Found:
    hosts: list[HostReach]
    chokes: list[Choke]
    pictures: list[Picture]
    paths: bytes
    summary: dict[str, Any]


def _found(network: Network, asked: Asked, plant: Plant, proposal: Plant | None) -> _Found:
    """Everything that follows from the network."""
    hops, contacts = asked.hops, network.contacts
    used, sources = network.reach(contacts, hops)
    chokes = network.chokes(used, sources, hops)
    policy = Policy(plant, everything=asked.everything)
    allowed = _allowed(network, policy, Hosts(plant), hops)
    counts = network.permitted(plant, policy)[1]
    after: Sequence[Reach | None] = [None] * len(used)
    allowed_after: Sequence[tuple[int, ...] | None] = [None] * len(used)
    proposed, kept = None, None
    if proposal is not None:
        wanted = Policy(proposal, everything=asked.everything)
        kept, proposed = network.permitted(proposal, wanted)
        after = network.reach(contacts.only(kept), hops)[0]
        allowed_after = _allowed(network, wanted, Hosts(proposal), hops)
    told = zip(network.places, used, allowed, after, allowed_after, strict=True)
    hosts = sorted((HostReach(*one) for one in told), key=_rank)
    summary = {
        "hops": hops,
        "services": "all" if asked.everything else "entry",
        "slot_seconds": network.collected.slot_us // 1_000_000,
        "hosts": network.totals.hosts,
        "ot_hosts": network.totals.ot,
        "controllers": network.totals.controllers,
        "edges": network.collected.edges.height,
        "contacts": network.collected.contacts.height,
        "kept": network.collected.kept,
        "not_covered": sum(one is None for one in allowed),
        "conduits": counts,
        "proposal": proposed,
        "zones": zone_metrics(hosts, network.totals),
        "choke_points": [{**one.place._asdict(), "pairs": one.pairs, "share": one.share} for one in chokes],
    }
    pictures, paths = _pictures(network, hosts, asked, kept)
    return _Found(hosts, chokes, pictures, paths, summary)


def _rank(one: HostReach) -> tuple[int, int, int, str]:
    """Who reaches most controllers, then OT hosts, then hosts, comes first."""
    return -one.used.controllers, -one.used.ot, -one.used.hops[-1], one.place.host


def _allowed(network: Network, policy: Policy, hosts: Hosts, hops: int) -> list[tuple[int, ...] | None]:
    """What conduits allow each host; asked once a zone."""
    zones = [OUTSIDE if place.zone == OUTSIDE else hosts[place.host].zone for place in network.places]
    inside = Counter(zone for zone in zones if zone != OUTSIDE)
    of_zone = {zone: policy.counts(zone, inside, hops) for zone in dict.fromkeys(zones)}
    return [of_zone[zone] for zone in zones]


def _pictures(network: Network, hosts: Sequence[HostReach], asked: Asked, kept: Any) -> tuple[list[Picture], bytes]:
    """One host's reach by hop and zone, today and with the proposal; its paths of today as lines."""
    chosen = asked.host or (hosts[0].place.host if hosts else None)
    if chosen is None:
        return [], b""
    everything = np.arange(network.edge.size)
    pictures = [_picture("today", chosen, network, network.contacts, asked.hops)]
    if kept is not None:
        pictures.append(_picture("with the proposal", chosen, network, network.contacts.only(kept), asked.hops))
    found = network.spread(chosen, network.contacts, asked.hops)
    lines = []
    for number in np.flatnonzero(found.hop > 0).tolist()[:_PATHS]:
        place = network.places[number]
        steps = network.path(found, number, everything)
        lines.append(_line(chosen, place, steps))
    return pictures, b"".join(lines)


def _picture(name: str, host: str, network: Network, contacts: Contacts, hops: int) -> Picture:
    found = network.spread(host, contacts, hops)
    cells: Counter[tuple[str, int]] = Counter()
    for number in np.flatnonzero(found.hop > 0).tolist():
        cells[network.places[number].zone, int(found.hop[number])] += 1
    return Picture(name, network.places[network.number[host]], dict(cells))


def _line(host: str, place: Place, steps: Sequence[Step]) -> bytes:
    told = {"host": host, "reached": place.host, "zone": place.zone, "kind": place.kind, "hops": len(steps)}
    return orjson.dumps(told | {"path": [step._asdict() for step in steps]}) + b"\n"
