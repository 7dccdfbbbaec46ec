"""Golden data of the flow formats: every file under ``tests/golden/<log>/`` gives its expected frames.

A file's name tells which trap of real exporters it holds, by number:

5. one field in another unit, depending on where a document was taken (seconds or nanoseconds);
6. flow times in the future, reversed, zero, or zero as text;
7. one direction a record, or both;
8. one flow exported twice, which must survive parsing alike (a later stage removes it);
9. records that are no traffic;
10. numbers above 2**53, and one field in several types.

After a change that is meant, ``EASTWEST_GOLDEN=write`` writes the expected files anew: read the difference.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from detector.formats.batch import Context
from detector.records import Decoded
from tests.formats.lines import LOG_TYPES, decode_file

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
SUFFIXES = {".ndjson", ".csv", ".tsv", ".json", ".binetflow"}
CASES = [
    path
    for log in sorted(LOG_TYPES)
    for path in sorted((GOLDEN / log).glob("*"))
    if path.suffix in SUFFIXES and not path.name.endswith((".expected.json", ".context.json"))
]


def context_of(path: Path) -> Context:
    given = path.with_name(f"{path.stem}.context.json")
    return Context(**json.loads(given.read_text(encoding="utf-8"))) if given.exists() else Context()


def plain(decoded: Decoded) -> dict[str, Any]:
    """What is compared: every value that is not null, and where the other records went."""
    flows = decoded.flows.drop("log", "source").to_dicts()
    return {
        "flows": [{name: value for name, value in row.items() if value is not None} for row in flows],
        "rejects": [[reject.position, reject.reason, reject.detail] for reject in decoded.rejects],
        "filtered": {reason: count for (_, reason), count in sorted(decoded.filtered.items())},
        "notes": {note: count for (_, note), count in sorted(decoded.notes.items())},
    }


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_golden(path: Path) -> None:
    decoded = decode_file(path, context_of(path))
    expected = path.with_name(f"{path.stem}.expected.json")
    found = plain(decoded)
    if os.environ.get("EASTWEST_GOLDEN") == "write":
        text = json.dumps(found, indent=1)
        expected.write_text(text + "\n", encoding="utf-8")
    assert found == json.loads(expected.read_text(encoding="utf-8"))
    assert set(decoded.flows["log"]) <= {path.parent.name}
    assert decoded.flows["obs_ts"].null_count() == decoded.flows["ts"].null_count() == 0
    assert (decoded.flows["ts"] <= decoded.flows["obs_ts"]).all()


def test_every_netflow_trap_has_golden_data() -> None:
    traps = {path.stem.partition("_")[0] for path in CASES if path.stem.startswith("trap")}
    assert traps == {"trap05", "trap06", "trap07", "trap08", "trap09", "trap10"}


def test_every_log_type_has_golden_data() -> None:
    assert {path.parent.name for path in CASES} == set(LOG_TYPES)


def test_a_flow_exported_twice_parses_alike() -> None:
    """Trap 8: nothing but the position tells the two apart, so that they can be recognised."""
    path = GOLDEN / "netflow.goflow2" / "trap08_exported_twice.ndjson"
    decoded = decode_file(path, Context())
    first, second = decoded.flows.drop("position").to_dicts()
    assert first == second
