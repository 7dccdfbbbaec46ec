"""`eastwest zones propose`: zones and conduits out of history, and what they would have done to the rest of it.

Logs are read twice: for what hosts are, then for which ways they go between the zones found. Zones are made of all of
the history, conduits of its first part only; the rest says how much they cover.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import orjson

import detector
from detector.alerts.model import iso
from detector.assets.hosts import Hosts, of_the_link
from detector.assets.plant import PORTS, Conduit, Plant, load_plant, words
from detector.config import Settings
from detector.history import History
from detector.profiles.collect import Collected, collect
from detector.profiles.facts import Profile, profiles
from detector.reading import Progress
from detector.zones.alerted import alerted
from detector.zones.grouping import Group, groups, learned_roles
from detector.zones.model import Proposed, Seen
from detector.zones.rules import added, as_nftables, as_plant, as_table
from detector.zones.settled import settled
from detector.zones.support import DAYS, Alerted, Learning, doubt
from detector.zones.ways import BIN_US, DAY, Gone, Key, Ways, hours_in, span
from detector.zones.written import as_csv

LEARN_SHARE: Final = 0.7
_HOSTS: Final = 8  # that are named
_FEW: Final = 4  # pairs of hosts of a conduit that whoever reviews it can look at one by one


@dataclass(frozen=True, slots=True)
class Basis:
    """What a proposal is made from beside logs.

    Attributes:
        learn_share: the part of the time that conduits are learned from.
        result: folder of a backtest of the same logs; what it tells of speaks for no conduit.
        plant: plant file that is in force: what it says stays, and only what is missing is proposed.
    """

    learn_share: float = LEARN_SHARE
    result: Path | None = None
    plant: Path | None = None


@dataclass(frozen=True, slots=True)
class Proposal:
    """What is proposed; the files are written."""

    groups: list[Group]
    conduits: list[Proposed]
    rare: list[Seen]
    blocked: list[Seen]
    summary: dict[str, Any]


def propose(
    paths: Sequence[str | Path],
    out: Path,
    settings: Settings,
    basis: Basis = Basis(),
    *,
    log_format: str = "auto",
    progress: Progress = lambda stage, done, total, rows: None,
) -> Proposal:
    """Propose zones and conduits into ``out``.

    Args:
        paths: files or folders.
        out: folder, made if missing; files of an earlier run are replaced.
        log_format: a name of the format registry for all records, or ``auto``.

    Raises:
        UnreadableInput: a path or the result is missing, or no record could be read.
        ConfigError: unknown format.
    """
    told = {} if basis.result is None else alerted(basis.result)
    known = Plant() if basis.plant is None else load_plant(basis.plant)
    out.mkdir(parents=True, exist_ok=True)
    hosts = Hosts(known)
    with (out / "rejected.ndjson").open("wb") as dead_letters:
        inside = _inside(collect(paths, settings, hosts, log_format, dead_letters, progress), hosts)
    names = {zone.name for zone in known.zones}
    zoned = {address: hosts[address].zone for address in inside if hosts[address].zone in names}
    spoken = names | {str(end) for one in known.conduits for end in (one.from_zone, one.to_zone)}
    found = groups(inside, learned_roles(inside), zoned, spoken)
    ways = Ways(zoned | {host: group.name for group in found for host in group.members}, hosts)
    History(settings, log_format, BytesIO(), progress).read(paths, ways.add)
    proposal = _concluded(found, ways.gone(), basis.learn_share, told, known)
    _write(proposal, out, basis.plant)
    return proposal


def _inside(collected: Collected, hosts: Hosts) -> dict[str, Profile]:
    """What hosts inside do from day to day; of those that were there for a day only, what they did then."""
    steady = {address: profile for address, profile in profiles(settled(collected)).items() if profile.others()}
    return {
        address: steady.get(address, profile)
        for address, profile in profiles(collected).items()
        if hosts[address].inside and not of_the_link(address)
    }


def _concluded(
    found: list[Group], gone: Mapping[Key, Gone], learn_share: float, told: Alerted, plant: Plant
) -> Proposal:
    begin, end = span(gone)
    learning = Learning(begin, begin + max(round((end - begin) * learn_share), 1))
    doubts = _doubts(gone, learning, told) | _decided(gone, plant)
    kept = {key: gone[key] for key, why in doubts.items() if why is None}
    rare, blocked = [], []
    for key, why in doubts.items():
        hours, later = hours_in(gone[key], begin, learning.cut), hours_in(gone[key], learning.cut, end)
        if why is not None and hours:
            rare.append(_seen(key, gone[key], hours, why))
        if why is not None and later:
            blocked.append(_seen(key, gone[key], later, why))
    rows = {key: sum(way.hours[hour] for hour in hours_in(way, learning.cut, end)) for key, way in gone.items()}
    total, covered = sum(rows.values()), sum(rows[key] for key in kept)
    conduits = _conduits({key: way for key, way in kept.items() if not _named(plant, key)}, begin, learning.cut)
    summary = {
        "version": detector.__version__,
        "zones": len(found),
        "hosts": sum(len(group.members) for group in found),
        "conduits": len(conduits),
        "learned": {
            "from": iso(begin * BIN_US),
            "until": iso(learning.cut * BIN_US),
            "days_needed": learning.days,
            "short": learning.days < DAYS,
        },
        "checked": {
            "until": iso(end * BIN_US),
            "rows": total,
            "rows_permitted": covered,
            "share_permitted": round(covered / total, 4) if total else None,
            "ways_blocked": len(blocked),
        },
        "not_proposed": len(rare),
    }
    return Proposal(found, conduits, rare, blocked, summary)


def _named(plant: Plant, key: Key) -> list[Conduit]:
    """Conduits of the plant file that name this service this way: what may be done over it is decided."""
    ports = PORTS.fullmatch(key[2])
    port = int(ports[2]) if ports else None
    return [one for one in plant.conduits if one.leads(*key[:2]) and one.carried_as(key[2], port) is not None]


def _decided(gone: Mapping[Key, Gone], plant: Plant) -> dict[Key, str | None]:
    """Ways that the plant file names -> None, or that it does not permit this act."""
    found: dict[Key, str | None] = {}
    for key in gone:
        spoken = [word for one in _named(plant, key) for word in words(one.operations)]
        if spoken:
            permitted = not key[3] or not {key[3], "any"}.isdisjoint(spoken)
            found[key] = None if permitted else "the plant file names the service and not this act"
    return found


def _doubts(gone: Mapping[Key, Gone], learning: Learning, told: Alerted) -> dict[Key, str | None]:
    """Way -> why it is not proposed. A connection over which acts were seen is as good as the best of them: without
    any of them a conduit would permit all."""
    found = {key: doubt(key, way, learning, told) for key, way in sorted(gone.items())}
    acts: dict[tuple[str, str, str], list[str | None]] = defaultdict(list)
    for key, why in found.items():
        if key[3]:
            acts[key[:3]].append(why)
    for key, why in found.items():
        done = acts.get(key[:3], []) if not key[3] else []
        if why is None and done and None not in done:
            found[key] = done[0]
    return found


def _seen(key: Key, way: Gone, hours: list[int], why: str) -> Seen:
    hosts = [f"{orig} > {resp}" for orig, resp in sorted(way.pairs, key=lambda pair: (way.first(pair), pair))][:_HOSTS]
    count = sum(way.hours[hour] for hour in hours)
    return Seen(*key, count, len(hours), len(way.pairs), tuple(hosts), iso(hours[0] * BIN_US), why)


def _conduits(kept: Mapping[Key, Gone], begin: int, cut: int) -> list[Proposed]:
    """One for all services between two zones; where plant equipment was acted on, one for each set of classes."""
    acts: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for begin_zone, end_zone, service, operation in kept:
        acts[begin_zone, end_zone, service] += [operation] if operation else []
    together: dict[tuple[str, str, tuple[str, ...]], list[Key]] = defaultdict(list)
    for key in kept:
        together[key[0], key[1], tuple(acts[key[:3]])].append(key)
    found = []
    for (begin_zone, end_zone, operations), keys in sorted(together.items()):
        ways = [kept[key] for key in keys]
        hours = {hour for way in ways for hour in hours_in(way, begin, cut)}
        count = sum(way.hours[hour] for way in ways for hour in hours_in(way, begin, cut))
        pairs = sorted({pair for way in ways for pair, days in way.pairs.items() if min(days) * DAY < cut})
        hosts = tuple(f"{orig} > {resp}" for orig, resp in pairs) if len(pairs) <= _FEW else ()
        services = tuple(dict.fromkeys(key[2] for key in keys))
        found.append(Proposed(begin_zone, end_zone, services, operations, len(pairs), count, len(hours), hosts))
    return found


def _write(proposal: Proposal, out: Path, plant: Path | None) -> None:
    """With a plant file, no rules: those of what is in force are its owner's, and rules for the rest alone would block
    all of that."""
    found, conduits = proposal.groups, proposal.conduits
    (out / "rules.nft").unlink(missing_ok=True)
    (out / "rules.csv").unlink(missing_ok=True)
    texts = (
        {
            "plant.yaml": as_plant(found, conduits),
            "rules.nft": as_nftables(found, conduits),
            "rules.csv": as_table(found, conduits),
        }
        if plant is None
        else {"plant.yaml": added(plant.read_text("utf-8"), found, conduits)}
    )
    texts |= {
        "not_proposed.csv": as_csv(Seen, proposal.rare),
        "blocked.csv": as_csv(Seen, proposal.blocked),
    }
    for name, text in texts.items():
        (out / name).write_text(text, encoding="utf-8", newline="")
    summary = orjson.dumps(proposal.summary, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    (out / "summary.json").write_bytes(summary)
