"""What goes with an alert when it is told: what is declared of its hosts, what to check, which incident it is in."""

from dataclasses import replace
from typing import Final

from detector.alerts.explain import summary
from detector.alerts.model import Alert, Asset
from detector.alerts.runbook import next_steps
from detector.assets.hosts import Hosts
from detector.assets.plant import Plant
from detector.correlate.entities import declared_importance, servers
from detector.correlate.incidents import chained

_ROLES: Final = {
    "certificate_authorities": "certificate authority",
    "domain_controllers": "domain controller",
    "hypervisors": "hypervisor",
    "jump_hosts": "jump host",
    "vulnerability_scanners": "vulnerability scanner",
}
"""Of one of several servers that are declared for a purpose; others have the purpose for a role."""
_MOST_KNOWN: Final = 1 << 16  # hosts looked up and kept; no result depends on it


class Context:
    """Looks up hosts in the plant file.

    Args:
        plant: what is declared of the network.
        model: short digest of the model the engine began with.
    """

    def __init__(self, plant: Plant, model: str | None = None) -> None:
        self._model = model
        self._plant, self._hosts, self._servers = plant, Hosts(plant), servers(plant)
        self._known: dict[str, Asset] = {}

    def asset(self, address: str) -> Asset:
        """What is declared of a host; nothing is an asset of normal importance."""
        known = self._known.get(address)
        if known is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            known = self._known[address] = self._look_up(address)
        return known

    def told(self, found: Alert, incident_id: str | None) -> Alert:
        """The alert as people get it."""
        whole = replace(
            chained(found, incident_id),
            src_asset=self.asset(found.src),
            dst_asset=self.asset(found.dst),
            next_steps=next_steps(found),
            model=self._model,
        )
        return replace(whole, summary=summary(whole))

    def _look_up(self, address: str) -> Asset:
        declared, level = self._plant.asset(address), self._hosts[address].level
        purposes = self._servers.get(address, [])
        importance = declared_importance(purposes, level) if declared.importance is None else declared.importance
        role = declared.role or (_ROLES.get(purposes[0], purposes[0].replace("_", " ")) if purposes else None)
        return Asset(declared.name, role, level, importance, declared.owner)
