"""What became of hosts since the inventory before: each change is told once.

::

    not there ──► new ──(somebody declares it)──► acknowledged ──► known ──(not seen)──► gone
        └────────(is declared already)───────────────────────────────┘        └─(seen)─► new, or known

What logs say never approves a host, however long it is seen: it stays new until a person names it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import orjson

from detector.errors import ConfigError
from detector.inventory.model import Asset, Service

NEW, ACKNOWLEDGED, KNOWN, GONE, UNSEEN = "new", "acknowledged", "known", "gone", "unseen"
_STATES: Final = (NEW, ACKNOWLEDGED, KNOWN, GONE, UNSEEN)


@dataclass(frozen=True, slots=True)
class Event:
    """A host that is in another state than before; ``ts`` is when it was first (or, gone, last) seen."""

    ts: str | None
    address: str
    event: str
    before: str | None
    role: str
    name: str | None


def advance(now: Sequence[Asset], before: Sequence[Asset]) -> tuple[list[Asset], list[Event]]:
    """The hosts of now in their new states, those that are gone behind them, and what changed."""
    past = {asset.address: asset for asset in before}
    here = [_moved(asset, past.get(asset.address)) for asset in now]
    seen = {asset.address for asset in here}
    gone = [replace(asset, state=GONE) for asset in before if asset.address not in seen and asset.state != UNSEEN]
    events = [
        Event(_when(asset), asset.address, asset.state, _state(past.get(asset.address)), asset.role, asset.name)
        for asset in [*here, *gone]
        if asset.state != UNSEEN and asset.state != _state(past.get(asset.address))
    ]
    return here + gone, events


def _moved(asset: Asset, past: Asset | None) -> Asset:
    state = _state(past)
    if asset.state == UNSEEN:
        return replace(asset, state=GONE if state not in (None, UNSEEN) else UNSEEN)
    times = (asset.first_seen, None if past is None else past.first_seen)
    first = min((time for time in times if time is not None), default=None)
    if state in (None, GONE, UNSEEN):
        return replace(asset, state=KNOWN if asset.approved else NEW, first_seen=first)
    if state == NEW:
        return replace(asset, state=ACKNOWLEDGED if asset.approved else NEW, first_seen=first)
    return replace(asset, state=KNOWN, first_seen=first)


def _state(asset: Asset | None) -> str | None:
    return None if asset is None else asset.state


def _when(asset: Asset) -> str | None:
    return asset.last_seen if asset.state == GONE else asset.first_seen


def load_inventory(path: Path) -> list[Asset]:
    """An ``inventory.ndjson`` of an earlier run.

    Raises:
        ConfigError: not readable, or a line is no asset; names the line.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as problem:
        raise ConfigError(str(path), "", f"cannot be read: {problem.strerror or problem}") from problem
    return [_read(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]


def _read(path: Path, number: int, line: bytes) -> Asset:
    try:
        row: dict[str, Any] = orjson.loads(line)
        for side in ("offers", "uses"):
            row[side] = tuple(Service(**{**item, "peers": tuple(item["peers"])}) for item in row[side])
        values: dict[str, Any] = {name: tuple(value) if type(value) is list else value for name, value in row.items()}
        asset = Asset(**values)
    except (orjson.JSONDecodeError, TypeError, KeyError) as problem:
        raise ConfigError(str(path), f"line {number}", f"no line of an inventory.ndjson: {problem}") from problem
    if asset.state not in _STATES:
        raise ConfigError(str(path), f"line {number}", f"no state of an asset: {asset.state!r}")
    return asset
