"""What to check next, by the kind of alert: what an analyst can do with logs, hosts and people he has anyway."""

from typing import Final

from detector.alerts.attack import TECHNIQUES
from detector.alerts.model import Alert

SWEEPS: Final = frozenset({"T1046", "T0846", "T1018"})
"""Techniques that are one act however many targets they have."""
_EXECUTION: Final = frozenset({"TA0002", "TA0003", "TA0005", "TA0040"})  # tactics of acts that change the target
_BY_MODEL: Final = {
    "credentials": "account", "provenance": "log-on", "vendors": "supplier", "volume": "volume", "timing": "time",
    "windows": "hour", "drip": "hour",
}  # fmt: skip

RUNBOOK: Final[dict[str, tuple[str, ...]]] = {
    "sweep": (
        "Find out whether the source is a scanner that somebody runs; if so, declare it in the plant file.",
        "Look which of its targets answered, and what the source did with them afterwards.",
        "Find the program on the source that makes these connections.",
    ),
    "controller": (
        "Ask the people of the plant whether work on this controller is going on, by whom and from which station.",
        "Compare program, mode and set points of the controller with what they should be.",
        "If nobody knows of it, treat the station as taken: keep it from the controllers before anything else.",
    ),
    "execution": (
        "Look at the target for a service, task or process that began at this time, and for the file behind it.",
        "Ask who used the account, and whether by a change that was announced.",
        "Look what the target did within the hour after it.",
    ),
    "account": (
        "Ask the owner of the account whether it was him, and from which host.",
        "Look where else the account was used that day, and for failed log-ons before it.",
        "If he does not know of it, lock the account and look at the host it came from.",
    ),
    "log-on": (
        "Find out who was logged on to the source at this time, at its keyboard or by a way the sensors do not see.",
        "If nobody was, find the program on the source that did it.",
    ),
    "supplier": (
        "Ask who let the supplier in, for which work, and compare with the agreement in the plant file.",
        "Look which hosts the session reached and what was done on them.",
        "If the window was moved by agreement, change the plant file.",
    ),
    "volume": (
        "Find out what was moved: files, shares or backups at this time.",
        "Look whether the data left the target again, and to where.",
    ),
    "time": (
        "Ask whether somebody worked, or a job ran, at this hour.",
        "Look what the source did before and after it.",
    ),
    "hour": (
        "Look which of the source's connections and acts of this hour are new to it.",
        "Find the program on the source that makes them.",
    ),
    "move": (
        "Ask the owner of the source whether somebody worked on the target from it.",
        "Look at the target for a session of this time, and under which account.",
        "Look what the target did within the hour after it: an intruder goes on from there.",
    ),
    "violation": (
        "Ask the owner of the target zone whether this way is meant to be open, and for whom.",
        "If it is, add a conduit to the plant file; if not, find out why the firewall lets it through, and close it.",
        "Look what the source did in the hour before: an intruder takes ways that nobody planned.",
    ),
    "attempt": (
        "Find the program on the source that tries this, and whether the target was ever meant to answer.",
        "Look for other targets of the same source.",
    ),
    "connection": (
        "Find out what the source is, and which program on it speaks to the target.",
        "Look what else was new about the source that day.",
    ),
    "incident": (
        "Read the path in order of time, and ask for the first hop how the intruder came there.",
        "Keep the hosts of the path apart from the rest, the last ones and those next to controllers first.",
        "Keep the evidence: raw records of the path, and memory and disks of its hosts.",
        "Look at all accounts that were used on it, and replace what they could reach.",
    ),
}
"""By kind of alert, in order."""

MEANT: Final = "If it is meant to be so, record that as a decision, so that it is not asked again."


def next_steps(found: Alert) -> tuple[str, ...]:
    """What to check for an alert."""
    kind = "violation" if found.kind == "violation" else _kind(found)
    return (*RUNBOOK[kind], MEANT)


def _kind(found: Alert) -> str:
    """By what it may be evidence of, then by what was strange about it."""
    techniques = [TECHNIQUES[technique] for technique in found.techniques if technique in TECHNIQUES]
    if SWEEPS.intersection(found.techniques):
        return "sweep"
    if any(technique.matrix == "ics" and technique.id != "T0886" for technique in techniques):
        return "controller"
    if any(technique.tactic in _EXECUTION for technique in techniques):
        return "execution"
    strangest = next(iter(found.bits), "")
    if strangest in _BY_MODEL:
        return _BY_MODEL[strangest]
    if any(technique.tactic in {"TA0008", "TA0109"} for technique in techniques):
        return "move"
    return "attempt" if found.kind == "attempt" else "connection"
