"""What people are told, and when: an alert and an incident at once when it opens, and again when it changed.

Changes are told when a minute of observation time begins, so what is told is a function of the rows and not of the
batches they came in. What grows is told again when it grew by a quarter (an incident in hops, an alert in findings),
when something else about it changed that decides what people do (severity, incident, techniques), or when an hour
passed: thousands of hops or repeats must not make thousands of copies. The last that was told of each equals how it
stands at the end.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass
from typing import Any, Final

from detector.alerts.model import Alert, Incident, Told, iso, to_json
from detector.correlate.chains import HOUR_US, Chains
from detector.correlate.incidents import incident

MINUTE_US: Final = 60_000_000
_GROWN: Final = 1.25  # as many hops or findings as when it was last told
_NEVER: Final = -(1 << 62)


@dataclass(slots=True)
class _Last:
    """What was last told of an incident."""

    id: str
    revision: int
    digest: str
    hops: int
    severity: str
    told: int  # minute, µs


@dataclass(slots=True)
class _LastAlert:
    """What was last told of an alert."""

    revision: int
    digest: str
    count: int
    weight: str  # digest of what decides what people do
    told: int  # minute, µs


class Telling:
    """Keeps what was told, and tells what changed.

    Args:
        chains: whose incidents are told.
        whole: makes of an alert and the id of its incident what people get.
    """

    def __init__(self, chains: Chains, whole: Callable[[Alert, str | None], Alert]) -> None:
        self._chains, self._whole = chains, whole
        self._now = _NEVER  # the minute that rows have come to, µs
        self._alerts: dict[int, _LastAlert] = {}  # by place
        self._pairs: dict[tuple[str, str], list[int]] = {}  # places of what was told of two hosts
        self._changed: dict[int, None] = {}  # places
        self._incidents: dict[int, _Last] = {}  # by name
        self._waiting: dict[int, None] = {}  # names of incidents that changed
        self._events: list[Told] = []

    def take(self) -> list[Told]:
        """What was told since the last call."""
        events, self._events = self._events, []
        return events

    def opened(self, place: int, found: Alert, ts: int, record: tuple[str, int]) -> None:
        """Tell a new alert, and which record (source and position) made it one."""
        self._pairs.setdefault((found.src, found.dst), []).append(place)
        incident_id = self._chains.places({(found.src, found.dst)}).incident(found.src, found.dst, ts)
        self._tell_alert(place, found, incident_id, record)

    def changed(self, place: int) -> None:
        """An alert changed."""
        self._changed[place] = None

    def began(self, name: int) -> None:
        """Tell an incident that was not told before."""
        if name in self._chains.incidents and name not in self._incidents:
            self._tell_incident(name)

    def tick(self, now: int, alert_at: Callable[[int], tuple[Alert, int]], *, everything: bool = False) -> None:
        """The minute of ``now`` begins: tell what changed before it; with ``everything`` what may wait, too."""
        self._now = now // MINUTE_US * MINUTE_US
        hops, stirred = self._chains.take_touched()
        self._waiting.update(dict.fromkeys(sorted(stirred)))
        for number, pair in hops.items():
            hop = self._chains.hops.get(number)
            if hop is not None and hop.incident >= 0:
                self._waiting[hop.incident] = None
            self._changed.update(dict.fromkeys(self._pairs.get(pair, ())))
        if hops or stirred:
            self._withdraw()
        for name in sorted(self._waiting):
            if everything or self._worth(name):
                del self._waiting[name]
                self._tell_incident(name)
        self._tell_alerts(alert_at, everything=everything)

    def forget(self, place: int, found: Alert, ts: int) -> None:
        """An alert is as it will stay."""
        if place in self._changed:
            del self._changed[place]
            incident_id = self._chains.places({(found.src, found.dst)}).incident(found.src, found.dst, ts)
            self._tell_alert(place, found, incident_id)
        self._alerts.pop(place, None)
        places = self._pairs[found.src, found.dst]
        places.remove(place)
        if not places:
            del self._pairs[found.src, found.dst]

    def _tell_alerts(self, alert_at: Callable[[int], tuple[Alert, int]], *, everything: bool) -> None:
        if not self._changed:
            return
        changed = [(place, *alert_at(place)) for place in sorted(self._changed)]
        places = self._chains.places({(found.src, found.dst) for _, found, _ in changed})
        for place, found, ts in changed:
            incident_id = places.incident(found.src, found.dst, ts)
            if everything or self._worth_telling(place, found, incident_id):
                del self._changed[place]
                self._tell_alert(place, found, incident_id)

    def _worth_telling(self, place: int, found: Alert, incident_id: str | None) -> bool:
        """Whether an alert that changed is told now, or waits for more."""
        last = self._alerts[place]
        grown = found.count >= _GROWN * last.count or self._now - last.told >= HOUR_US
        return grown or _weight(found, incident_id) != last.weight

    def _tell_alert(
        self, place: int, found: Alert, incident_id: str | None, made_by: tuple[str, int] | None = None
    ) -> None:
        last, record = self._alerts.get(place), self._whole(found, incident_id)
        revision, digest = 0 if last is None else last.revision + 1, _digest(record)
        if last is None or digest != last.digest:
            weight = _weight(found, incident_id)
            self._alerts[place] = _LastAlert(revision, digest, record.count, weight, self._now)
            self._events.append(Told("alert", record.alert_id, revision, record, made_by=made_by))

    def _worth(self, name: int) -> bool:
        """Whether an incident that changed is told now, or waits for more."""
        last = self._incidents.get(name)
        if last is None or self._now - last.told >= HOUR_US:
            return True
        hops = self._chains.incidents[name]
        return len(hops) >= _GROWN * last.hops or incident(self._chains, name).severity != last.severity

    def _tell_incident(self, name: int) -> None:
        record = incident(self._chains, name)
        last = self._incidents.get(name)
        digest = _digest(record)
        if last is None or last.digest != digest:
            revision = 0 if last is None else last.revision + 1
            hops = len(self._chains.incidents[name])
            self._incidents[name] = _Last(record.incident_id, revision, digest, hops, record.severity, self._now)
            self._events.append(Told("incident", record.incident_id, revision, record))

    def _withdraw(self) -> None:
        """Incidents that are no more: part of another one, or dropped."""
        gone = [name for name in self._incidents if name not in self._chains.incidents]
        for name in gone:
            last = self._incidents.pop(name)
            root = self._chains.hops.get(name)  # an incident has the name of its first hop
            into = self._chains.ids.get(root.incident) if root is not None else None
            self._events.append(Told("incident", last.id, last.revision + 1, None, into, ts=iso(self._now)))
        for name in [name for name in self._waiting if name not in self._chains.incidents]:
            del self._waiting[name]

    def state(self) -> dict[str, Any]:
        """For a snapshot, JSON types only. What was told must have been taken."""
        return {
            "now": self._now,
            "alerts": [[place, *astuple(last)] for place, last in self._alerts.items()],
            "pairs": [[*pair, places] for pair, places in self._pairs.items()],
            "changed": list(self._changed),
            "incidents": [[name, *astuple(last)] for name, last in self._incidents.items()],
            "waiting": list(self._waiting),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Replace everything by what `state` returned."""
        self._now = state["now"]
        self._alerts = {place: _LastAlert(*last) for place, *last in state["alerts"]}
        self._pairs = {(src, dst): places for src, dst, places in state["pairs"]}
        self._changed = dict.fromkeys(state["changed"])
        self._incidents = {name: _Last(*last) for name, *last in state["incidents"]}
        self._waiting = dict.fromkeys(state["waiting"])
        self._events = []


def _weight(found: Alert, incident_id: str | None) -> str:
    """Digest of what about an alert decides what people do."""
    parts = str(incident_id), found.severity, str(found.trust.verdict), *found.techniques
    return hashlib.sha256("|".join(parts).encode()).hexdigest()


def _digest(record: Alert | Incident) -> str:
    return hashlib.sha256(to_json(record)).hexdigest()
