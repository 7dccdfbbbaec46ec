"""States of an incident, the moves between them, and what a journal says of each. No file and no clock here."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

from detector.errors import ConfigError

STATES: Final = ("opened", "acknowledged", "contained", "recovered", "closed")
"""In their order; a state may be left out."""
MERGED: Final = "merged"
"""Became part of another incident: the engine found out that both are one."""
MOVES: Final = {
    "acknowledge": "acknowledged",
    "contain": "contained",
    "recover": "recovered",
    "close": "closed",
    "reopen": "opened",
}
OUTCOMES: Final = ("resolved", "false_positive", "benign")
"""What a closed incident turned out to be."""
SYSTEM: Final = "eastwest"
"""Who opens and merges."""
LONGEST: Final = 1000  # characters of who and why


@dataclass(frozen=True, slots=True)
class Case:
    """An incident as people work on it.

    Args:
        begun: first time of its evidence, ISO 8601 UTC.
        times: when it reached each state; after it was reopened, in its present life.
        outcome: of `OUTCOMES`, once it is closed.
        history: what happened, in order: ``at`` (written), ``when`` (it was so), ``by``, ``what``, ``why``.
    """

    incident_id: str
    state: str
    begun: str
    severity: str
    title: str
    times: dict[str, str]
    outcome: str | None = None
    merged_into: str | None = None
    reopened: int = 0
    history: tuple[dict[str, Any], ...] = field(default=())

    def seconds(self) -> dict[str, float | None]:
        """How long it took: to ``detect`` (begun to opened), and from opened to ``acknowledge``, ``contain`` and
        ``recover``. Who contains without a word has acknowledged by then. None = not yet, or of no intruder."""
        if self.state == MERGED:
            return dict.fromkeys(("detect", "acknowledge", "contain", "recover"))
        opened = moment(self.times["opened"])
        seen = [moment(self.times[state]) for state in STATES[1:] if state in self.times]
        real = self.outcome in (None, "resolved")
        found = {"detect": max((opened - moment(self.begun)).total_seconds(), 0.0) if real else None}
        found["acknowledge"] = (min(seen) - opened).total_seconds() if seen else None
        for step, state in (("contain", "contained"), ("recover", "recovered")):
            there = real and state in self.times
            found[step] = (moment(self.times[state]) - opened).total_seconds() if there else None
        return found


def cases(entries: Iterable[Mapping[str, Any]]) -> dict[str, Case]:
    """What the lines of a journal add up to, by incident, in the order they were opened."""
    found: dict[str, Case] = {}
    for entry in entries:
        known = found.get(entry["incident_id"])
        found[entry["incident_id"]] = _opened(entry) if known is None else _moved(known, entry)
    return found


def _opened(entry: Mapping[str, Any]) -> Case:
    return Case(
        incident_id=entry["incident_id"],
        state="opened",
        begun=entry["begun"],
        severity=entry["severity"],
        title=entry["title"],
        times={"opened": entry["when"]},
        history=(_line(entry),),
    )


def _moved(case: Case, entry: Mapping[str, Any]) -> Case:
    what, times = entry["what"], dict(case.times)
    history = (*case.history, _line(entry))
    if what == MERGED:
        return replace(case, state=MERGED, merged_into=entry["into"], history=history)
    if what == "reopened":
        kept: dict[str, str] = {state: times[state] for state in STATES[:2] if state in times}
        return replace(
            case, state="opened", times=kept, outcome=None, reopened=case.reopened + 1, history=history
        )  # fmt: skip
    times[what] = entry["when"]
    return replace(case, state=what, times=times, outcome=entry.get("outcome"), history=history)


def _line(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {name: entry.get(name) for name in ("at", "when", "by", "what", "why")}


def moment(text: str) -> datetime:
    """An ISO 8601 time as the journal has it."""
    return datetime.fromisoformat(text)


def entry_for(
    case: Case, move: str, by: str, why: str, outcome: str | None, when: datetime | None, now: datetime
) -> dict[str, Any]:
    """The line for a move.

    Args:
        move: of `MOVES`.
        when: it happened; None = now.
        now: it is written down.

    Raises:
        ConfigError: the move cannot be made from where the incident is; says why.
    """
    name, state = case.incident_id, MOVES.get(move)
    if state is None:
        raise ConfigError(name, "", f"{move!r} is no move; they are {', '.join(MOVES)}")
    _require_words(name, by, why, needs_why=move == "reopen")
    when = when or now
    _require_order(case, move, state)
    last = moment(case.times[case.state]) if case.state in case.times else when
    if when > now:
        raise ConfigError(name, "", f"{when.isoformat()} has not come yet")
    if when < last:
        raise ConfigError(name, "", f"was {case.state} at {last.isoformat()}; it cannot be {state} before")
    if (move == "close") != (outcome is not None) or outcome not in (None, *OUTCOMES):
        raise ConfigError(name, "", f"close, and nothing else, wants one of {', '.join(OUTCOMES)}")
    what = "reopened" if move == "reopen" else state
    entry = {"at": stamp(now), "when": stamp(when), "by": by, "what": what, "incident_id": name, "why": why}
    return entry | ({"outcome": outcome} if outcome else {})


def _require_words(name: str, by: str, why: str, *, needs_why: bool) -> None:
    if not by.strip():
        raise ConfigError(name, "", "who does it? by is empty")
    if needs_why and not why.strip():
        raise ConfigError(name, "", "is reopened for a reason only: why is empty")
    if len(by) > LONGEST or len(why) > LONGEST:
        raise ConfigError(name, "", f"by and why have {LONGEST} characters at most")


def _require_order(case: Case, move: str, state: str) -> None:
    name = case.incident_id
    if case.state == MERGED:
        raise ConfigError(name, "", f"became part of {case.merged_into}; that one can be moved")
    if move == "reopen":
        if case.state not in ("contained", "recovered", "closed"):
            raise ConfigError(name, "", f"is {case.state}: what is open cannot be reopened")
    elif STATES.index(state) <= STATES.index(case.state):
        said = f"is {case.state} already" if state == case.state else f"is {case.state}: {state} comes before that"
        raise ConfigError(name, "", f"{said}; an incident only moves forwards, or is reopened")


def stamp(time: datetime) -> str:
    """A time as the journal has it: ISO 8601 UTC with microseconds."""
    return time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def time_of(text: str) -> datetime:
    """A time that people typed; UTC when it has no offset.

    Raises:
        ConfigError: it is none.
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError("at", "", f"{text!r} is not a time (ISO 8601)") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
