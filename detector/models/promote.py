"""A candidate becomes the live model: the file is replaced whole, and a journal says who did it and why."""

import os
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from detector import journal
from detector.errors import ConfigError
from detector.state.bundle import Bundle, load, read_bundle

JOURNAL: Final = ".journal"  # beside the live file
_LONGEST: Final = 1000  # characters of who and why
_MODE: Final = 0o644  # a service of another user reads it


def promote(candidate: Path, live: Path, key: Path | None, by: str, why: str, when: datetime) -> Bundle:
    """Put a candidate in the place of the live model. The record is on the disk before: there may be a record of a
    promotion that a crash prevented, never a promotion without one.

    Args:
        candidate: is verified first.
        live: the file that the setting ``model.file`` names; may be missing.
        key: public; the candidate must be signed with its other half.
        by, why: for the journal, ``live`` with `JOURNAL` behind it.

    Raises:
        ConfigError: the candidate is not to be used, somebody is not named, or the journal is damaged.
    """
    for name, text in (("--by", by), ("--why", why)):
        if not text.strip() or len(text) > _LONGEST:
            raise ConfigError(name, "", f"wants 1 to {_LONGEST} characters")
    bundle, content = load(candidate, key)
    live.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=live.parent, prefix=f".{live.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(_MODE)
        journal.append(
            journal_of(live),
            {
                "what": "promote",
                "model": bundle.manifest.name,
                "sha256": bundle.sha256,
                "signature": bundle.signature,
                "replaces": _digest_of(live),
                "by": by,
                "why": why,
                "when": when.isoformat(timespec="seconds"),
            },
        )
        Path(name).replace(live)
    finally:
        Path(name).unlink(missing_ok=True)
    return bundle


def journal_of(live: Path) -> Path:
    """Where promotions to a live model are written down."""
    return live.with_name(live.name + JOURNAL)


def history(live: Path) -> list[dict[str, Any]]:
    """All promotions, oldest first.

    Raises:
        ConfigError: the journal is damaged.
    """
    return journal.entries(journal_of(live))


def _digest_of(live: Path) -> str | None:
    """Of what is live so far; a file that is damaged is replaced all the same."""
    try:
        return read_bundle(live).sha256
    except ConfigError:
        return None
