"""Decisions into their file. What stands in it stays as it is, comments too; new ones go to its end."""

import hashlib
import os
import re
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import orjson
import yaml

from detector import journal
from detector.alerts.decisions import parse_decisions
from detector.alerts.model import Alert, content_id
from detector.errors import ConfigError

_DAYS: Final = re.compile(r"(\d{1,4})d")
_EMPTY: Final = "decisions:\n"
LIKENESS: Final = {
    "edge": ("src", "dst"),
    "operation": ("src", "dst", "service", "operation"),
    "roles": ("src_role", "dst_role", "service", "operation"),
    "zones": ("src_zone", "dst_zone", "service", "operation"),
}
"""What of an alert a decision may be about: these two hosts; this act of theirs; this act between hosts of such
roles, or of such zones."""


def scope_like(alert: Alert, likeness: str) -> dict[str, str]:
    """The scope of acts that are like an alert.

    Raises:
        ConfigError: roles of the hosts are not known.
    """
    values = {
        "src": alert.src, "dst": alert.dst, "service": alert.service, "operation": alert.operation,
        "src_role": alert.src_asset.role, "dst_role": alert.dst_asset.role,
        "src_zone": alert.src_zone, "dst_zone": alert.dst_zone,
    }  # fmt: skip
    if likeness == "roles" and None in {values["src_role"], values["dst_role"]}:
        raise ConfigError("--as roles", "", "the role of a host is not known; declare it in the plant file (assets)")
    return {name: text for name in LIKENESS[likeness] if (text := values[name]) is not None}


def time_of(text: str, begin: datetime) -> datetime:
    """A time, or days after another one: ``2026-03-01T08:00:00Z``, ``30d``.

    Raises:
        ConfigError: neither.
    """
    days = _DAYS.fullmatch(text)
    try:
        time = begin + timedelta(days=int(days[1])) if days else datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise ConfigError(text, "", "is neither a time (ISO 8601) nor days like 30d") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def name_of(entry: dict[str, Any]) -> str:
    """An id for a decision that has none, from what it says."""
    return f"{entry['action']}-{content_id(orjson.dumps(entry, default=str))[:8]}"


def add(path: Path, entry: dict[str, Any], now: datetime) -> None:
    """Append a decision to its file, and write the log.

    Args:
        path: the file; made if missing.
        entry: as the file has it.
        now: when it is written down; of the log, nothing else depends on it.

    Raises:
        ConfigError: the decision, or what stands in the file, is not valid; nothing is changed.
    """
    before = path.read_text("utf-8") if path.exists() else _EMPTY
    parse_decisions(before, str(path))
    text = before.rstrip("\n").removesuffix(" []") + "\n" + _item(entry)
    parse_decisions(text, f"{path} with the new decision")
    log = audit_path(path)
    journal.entries(log)
    _replace(path, text)
    said = {"at": now.isoformat(), "by": entry["by"], "what": entry["action"], "decision": _plain(entry)}
    journal.append(log, {**said, "file": digest(path)})


def audit_path(decisions: Path) -> Path:
    """The journal beside a file of decisions: ``decisions.audit.ndjson``."""
    return decisions.with_name(f"{decisions.stem}.audit.ndjson")


def digest(path: Path) -> str:
    """SHA-256 of a file of decisions, by which the log tells whether it was changed by hand since."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _plain(entry: dict[str, Any]) -> Any:
    return orjson.loads(orjson.dumps(entry))


def _item(entry: dict[str, Any]) -> str:
    """One item of the list, indented."""
    written = yaml.safe_dump([_plain(entry)], sort_keys=False, allow_unicode=False, width=10_000)
    return "".join(f"  {line}\n" for line in written.splitlines())


def _replace(path: Path, text: str) -> None:
    """The whole file or what was there before, whatever happens."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, delete=False) as file:
        file.write(text)
        file.flush()
        os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())
    Path(file.name).replace(path)
