"""The page of each host in the report: what is known of it, and what it did and suffered over time."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from detector.alerts.model import Alert, Asset
from detector.backtest.timeline import Bar, Timeline, bars, place
from detector.correlate.entities import RankedHost

MAX_ROWS: Final = 40  # alerts of one host
MAX_PEERS: Final = 12


@dataclass(frozen=True, slots=True)
class Act:
    """An alert as its host sees it."""

    number: int  # of the alert in the report
    alert: Alert
    began: bool  # whether the host is the one it came from
    peer: str
    peer_zone: str


@dataclass(frozen=True, slots=True)
class HostPage:
    """All that the report says of one host.

    Attributes:
        asset: what was declared of it, from its latest alert.
        acts: of its alerts the strongest `MAX_ROWS`, in order of time.
        total: how many of the report's alerts there are.
        peers: who else is in them, and in how many.
        incidents: their numbers.
        began, suffered: its alerts over time, as source and as target.
    """

    number: int
    host: RankedHost
    asset: Asset
    acts: tuple[Act, ...]
    total: int
    peers: tuple[tuple[str, int], ...]
    incidents: tuple[int, ...]
    began: tuple[Bar, ...]
    suffered: tuple[Bar, ...]


def host_pages(
    hosts: Sequence[RankedHost], alerts: Sequence[Alert], incidents: Mapping[str, int], timeline: Timeline
) -> list[HostPage]:
    """One page a host, numbered from 1.

    Args:
        alerts: as the report numbers them, strongest first.
        incidents: the number of each that the report draws.
    """
    acts: dict[str, list[Act]] = {host.host: [] for host in hosts}
    for number, alert in enumerate(alerts, 1):
        if alert.src in acts:
            acts[alert.src].append(Act(number, alert, True, alert.dst, alert.dst_zone))
        if alert.dst in acts and alert.dst != alert.src:
            acts[alert.dst].append(Act(number, alert, False, alert.src, alert.src_zone))
    return [_page(number, host, acts[host.host], incidents, timeline) for number, host in enumerate(hosts, 1)]


def _page(
    number: int, host: RankedHost, acts: Sequence[Act], incidents: Mapping[str, int], timeline: Timeline
) -> HostPage:
    shown = sorted(acts[:MAX_ROWS], key=lambda act: (act.alert.ts, act.number))
    latest = max(acts, key=lambda act: (act.alert.ts, act.number), default=None)
    asset = Asset() if latest is None else latest.alert.src_asset if latest.began else latest.alert.dst_asset
    peers = Counter(act.peer for act in acts)
    return HostPage(
        number,
        host,
        asset,
        tuple(shown),
        len(acts),
        tuple(sorted(peers.items(), key=lambda peer: (-peer[1], peer[0]))[:MAX_PEERS]),
        tuple(incidents[one] for one in host.incident_ids if one in incidents),
        _over_time([act for act in acts if act.began], timeline),
        _over_time([act for act in acts if not act.began], timeline),
    )


def _over_time(acts: Sequence[Act], timeline: Timeline) -> tuple[Bar, ...]:
    counts = Counter(place(timeline, act.alert.ts) for act in acts)
    return bars(timeline, counts, "alert")


def numbers_of(pages: Sequence[HostPage]) -> Mapping[str, int]:
    """The number of each host's page."""
    return {page.host.host: page.number for page in pages}
