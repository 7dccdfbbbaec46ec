"""What people decided about acts: what is to be relabelled, by whom, why, from when and until when.

A file of decisions is input like the logs: they hold from and until a time of observation, never of a clock, so a
stream, a backtest and a replay relabel the same alerts. They change nothing that is learned, so the state goes on under
another file (`Decisions.adopt`); docs/decisions/2026-11-29-decisions-are-input.md says why.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    IPvAnyNetwork,
    ValidationError,
    field_validator,
    model_validator,
)

from detector.alerts.model import Alert, Asset, Decision, iso
from detector.errors import ConfigError

MAX_ENTRIES: Final = 10_000
STATUSES: Final = {"suppress": "suppressed", "learn": "learned"}
_ANY: Final = "*"
_FOREVER: Final = 1 << 62


def _time(value: object) -> object:
    """A bare number would be read as seconds, which nobody means; a day begins at midnight; UTC goes without saying."""
    if isinstance(value, int | float) or (isinstance(value, str) and value.strip().isdigit()):
        raise ValueError("is not a time such as 2026-03-02T07:00:00Z")
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    return value


def _zoned(value: datetime) -> datetime:
    return value if value.tzinfo else value.replace(tzinfo=UTC)


Time = Annotated[datetime, BeforeValidator(_time)]
Text = Annotated[str, Field(min_length=1, max_length=500)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Id = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Scope(_Section):
    """Which acts: all that is named must hold. ``host`` is either end; addresses may be networks; an ``operation`` that
    ends with ``*`` is a beginning; a technique covers its sub-techniques."""

    host: IPvAnyNetwork | None = None
    src: IPvAnyNetwork | None = None
    dst: IPvAnyNetwork | None = None
    src_role: Name | None = None
    dst_role: Name | None = None
    src_zone: Name | None = None
    dst_zone: Name | None = None
    service: Name | None = None
    operation: Name | None = None
    technique: Name | None = None
    user: Name | None = None

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.named:
            raise ValueError(f"names nothing; name at least one of {', '.join(Scope.model_fields)}")
        return self

    @property
    def named(self) -> dict[str, Any]:
        """What is set."""
        return {name: value for name in Scope.model_fields if (value := getattr(self, name)) is not None}

    def covers(self, found: Alert, src: Asset, dst: Asset) -> bool:
        """Whether an alert between two hosts is meant."""
        return all(_holds(name, wanted, found, src, dst) for name, wanted in self.named.items())


def _holds(name: str, wanted: Any, found: Alert, src: Asset, dst: Asset) -> bool:
    done = found.operation or ""
    held: dict[str, Callable[[], bool]] = {
        "host": lambda: _within(found.src, wanted) or _within(found.dst, wanted),
        "src": lambda: _within(found.src, wanted),
        "dst": lambda: _within(found.dst, wanted),
        "src_role": lambda: src.role == wanted,
        "dst_role": lambda: dst.role == wanted,
        "src_zone": lambda: found.src_zone == wanted,
        "dst_zone": lambda: found.dst_zone == wanted,
        "service": lambda: found.service == wanted,
        "operation": lambda: done.startswith(wanted[:-1]) if wanted.endswith(_ANY) else done == wanted,
        "technique": lambda: any(one == wanted or one.startswith(f"{wanted}.") for one in found.techniques),
        "user": lambda: (found.user or "").lower() == wanted.lower(),
    }
    return held[name]()


@lru_cache(1 << 14)
def _within(address: str, network: IPv4Network | IPv6Network) -> bool:
    place = ip_address(address)
    return place.version == network.version and place in network


class Entry(_Section):
    """One decision: relabel what is in the scope, from a time of observation on."""

    id: Id
    action: Literal["suppress", "learn"]
    by: Text
    why: Text
    begin: Time = Field(alias="from")
    until: Time | None = None
    scope: Scope

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.until is None and self.action == "suppress":
            raise ValueError("until is missing: what is suppressed must come back one day")
        if self.until is not None and _zoned(self.until) <= _zoned(self.begin):
            raise ValueError("until is not after from")
        return self


class End(_Section):
    """A decision holds no more, from a time of observation on."""

    id: Id
    action: Literal["end"]
    by: Text
    why: Text
    begin: Time = Field(alias="from")


class DecisionsFile(_Section):
    """The whole file."""

    decisions: tuple[Annotated[Entry | End, Field(discriminator="action")], ...] = Field(
        default=(), max_length=MAX_ENTRIES
    )

    @field_validator("decisions", mode="before")
    @classmethod
    def _none_yet(cls, entries: object) -> object:
        return () if entries is None else entries

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        known: set[str] = set()
        for entry in self.decisions:
            if isinstance(entry, End) and entry.id not in known:
                raise ValueError(f"{entry.id} ends, and no decision of that id stands before it")
            if isinstance(entry, Entry) and entry.id in known:
                raise ValueError(f"two decisions are called {entry.id}")
            known.add(entry.id)
        return self


@dataclass(slots=True)
class Held:
    """A decision, and when it holds, µs of observation time: as declared, and as it does."""

    entry: Entry
    declared: tuple[int, int]
    holds: tuple[int, int]

    @property
    def decision(self) -> Decision:
        """As an alert names it."""
        entry, until = self.entry, self.holds[1]
        return Decision(entry.id, entry.action, entry.by, entry.why, None if until == _FOREVER else iso(until))


@dataclass(slots=True)
class Decisions:
    """Decisions in the order of the file; the first that covers an act decides. ``hits``: findings by decision."""

    held: list[Held] = field(default_factory=list)
    hits: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, entries: Iterable[Entry | End]) -> "Decisions":
        """Of the entries of a file."""
        entries = list(entries)
        ends: dict[str, int] = {}
        for entry in entries:
            if isinstance(entry, End):
                ends[entry.id] = min(_micros(entry.begin), ends.get(entry.id, _FOREVER))
        held = []
        for entry in entries:
            if isinstance(entry, Entry):
                until = _FOREVER if entry.until is None else _micros(entry.until)
                times = _micros(entry.begin), min(until, ends.get(entry.id, _FOREVER))
                held.append(Held(entry, times, times))
        return cls(held)

    def find(self, found: Alert, src: Asset, dst: Asset, now: int) -> Decision | None:
        """What was decided about a finding observed at ``now`` (µs)."""
        for one in self.held:
            if one.holds[0] <= now < one.holds[1] and one.entry.scope.covers(found, src, dst):
                return one.decision
        return None

    def hit(self, decision: Decision) -> None:
        """One more finding was relabelled."""
        self.hits[decision.id] = self.hits.get(decision.id, 0) + 1

    def state(self) -> dict[str, Any]:
        """For a snapshot, JSON types only."""
        return {
            "held": {one.entry.id: [*one.declared, *one.holds] for one in self.held},
            "hits": dict(sorted(self.hits.items())),
        }

    def adopt(self, state: Mapping[str, Any], latest: int) -> list[Held]:
        """Go on under a state that saw rows up to ``latest`` (µs): what it did not know, or knew otherwise, holds from
        the next microsecond on at the earliest, so that nothing that was told is decided otherwise. Returns what
        therefore holds at other times than declared, and did not before."""
        self.hits = dict(state["hits"])
        moved = []
        for one in self.held:
            *declared, begin, until = state["held"].get(one.entry.id, (None, None, _FOREVER, _FOREVER))
            if tuple(declared) == one.declared:
                one.holds = begin, until
                continue
            known = declared[0] == one.declared[0] and until > latest
            begins = begin if known else max(one.declared[0], latest + 1)
            one.holds = begins, max(one.declared[1], latest + 1)
            if one.holds != one.declared:
                moved.append(one)
        return moved


def _micros(time: datetime) -> int:
    return round(_zoned(time).timestamp() * 1_000_000)


def load_decisions(path: Path) -> tuple[Entry | End, ...]:
    """Read a file of decisions.

    Raises:
        ConfigError: not readable, not YAML, or an entry is wrong; names file and key.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigError(str(path), "", f"cannot be read: {problem}") from problem
    return parse_decisions(text, str(path))


def parse_decisions(text: str, path: str) -> tuple[Entry | End, ...]:
    """The decisions of a text.

    Raises:
        ConfigError: as `load_decisions`.
    """
    try:
        content = yaml.safe_load(text)
        return DecisionsFile.model_validate({} if content is None else content).decisions
    except yaml.YAMLError as problem:
        raise ConfigError(path, "", f"cannot be read as YAML: {problem}") from problem
    except ValidationError as problem:
        first = problem.errors()[0]
        place = ".".join(str(part) for part in first["loc"] if part not in {"suppress", "learn"})
        raise ConfigError(path, place or "decisions", first["msg"].removeprefix("Value error, ")) from problem
