"""The results of fault tests as a table for docs/reliability.md: ``python -m tests.faults.table [FILE]``."""

import sys
from collections import defaultdict
from pathlib import Path

import orjson

RESULTS = Path("out/faults.ndjson")


def table(lines: list[bytes]) -> str:
    """Sums by fault, in the order of their names; of mutations, which are to be seen, how many were."""
    groups: dict[str, list[dict]] = defaultdict(list)
    for row in map(orjson.loads, lines):
        groups[row["fault"]].append(row)
    out = ["| Fault | Runs | Kills | Mismatches | Sent twice | Longest until well, s |", "|---|---|---|---|---|---|"]
    for fault, rows in sorted(groups.items(), key=lambda item: (item[0][0], int(item[0].split()[0][1:]), item[0])):
        kills, mismatches, twice = (sum(row[name] for row in rows) for name in ("kills", "mismatches", "duplicates"))
        heal = max((row["heal"] for row in rows if row.get("heal") is not None), default="")
        seen = f"{mismatches}, as it must" if rows[0].get("wanted") else mismatches
        out.append(f"| {fault} | {len(rows)} | {kills} | {seen} | {twice} | {heal} |")
    return "\n".join(out)


if __name__ == "__main__":
    print(table(Path(*sys.argv[1:2] or [RESULTS]).read_bytes().splitlines()))
