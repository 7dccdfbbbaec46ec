"""Golden data of the Zeek logs: every file under ``tests/golden/zeek.<log>/`` gives its expected frames.

A file's name tells which trap of real sensors it holds, by number:

1. no log type in the message, nor in the topic or file name;
2. tags beside other keys, numbered (``conn-2``), or of the site's own making;
3. ``path`` is a field of the SMB logs, only ``_path`` is the log type;
4. three encodings of times, and the two mistakes of Zeek's ISO writer;
10. integers above 2**53, mixed types, addresses in other spellings.

After a change that is meant, ``EASTWEST_GOLDEN=write`` writes the expected files anew: read the difference.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from detector.formats import zeek, zeek_industrial, zeek_services, zeek_windows
from detector.formats.batch import Context
from detector.records import Decoded
from tests.formats.lines import decode_file

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
ELSEWHERE = {"zeek.ecs_conn"}  # a flow document of a shipper, with the flow formats
CASES = [
    path
    for folder in sorted(GOLDEN.glob("zeek.*"))
    if folder.name not in ELSEWHERE
    for path in sorted(folder.iterdir())
    if path.suffix in {".log", ".ndjson"}
]
READ = {
    log_type.name for module in (zeek, zeek_windows, zeek_services, zeek_industrial) for log_type in module.LOG_TYPES
}


def plain(decoded: Decoded) -> dict[str, Any]:
    """What is compared: every value that is not null, and where the other records went."""
    return {
        "flows": [present(row) for row in decoded.flows.drop("source").to_dicts()],
        "operations": [present(row) for row in decoded.operations.drop("source").to_dicts()],
        "rejects": [[reject.position, reject.reason, reject.detail] for reject in decoded.rejects],
        "filtered": [[log, reason, count] for (log, reason), count in sorted(decoded.filtered.items())],
    }


def present(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value is not None}


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_golden(path: Path) -> None:
    decoded = decode_file(path, Context())
    expected = path.with_name(f"{path.stem}.expected.json")
    found = plain(decoded)
    if os.environ.get("EASTWEST_GOLDEN") == "write":
        expected.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    assert found == json.loads(expected.read_text(encoding="utf-8"))
    logs = {*decoded.flows["log"], *decoded.operations["log"], *(log for log, _ in decoded.filtered)}
    assert logs <= {path.parent.name}


def test_every_zeek_trap_has_golden_data() -> None:
    traps = {path.stem.partition("_")[0] for path in CASES if path.stem.startswith("trap")}
    assert traps == {"trap01", "trap02", "trap03", "trap04", "trap10"}


def test_every_log_that_is_read_has_golden_data() -> None:
    assert not READ - {path.parent.name for path in CASES}
