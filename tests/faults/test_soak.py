"""F24: a long run, in which memory, files and threads stay as they were."""

import os
import time
from pathlib import Path

import orjson
import pytest

from tests.faults.fed import Fed
from tests.faults.process import create, named_for

pytestmark = [pytest.mark.kafka, pytest.mark.faults]
SECONDS = float(os.environ.get("EASTWEST_SOAK_SECONDS") or 1200)
TURNS = 6  # at least: fewer say nothing
GROWTH = 0.05  # of memory, over the second half of the run
TURN_MS = 2 * 86_400_000  # the rows are of two days


def used(process) -> tuple[int, int, int]:
    """Memory in kB, open files, threads."""
    folder = Path(f"/proc/{process.pid}")
    [line] = (line for line in (folder / "status").read_text().splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]), len(list((folder / "fd").iterdir())), len(list((folder / "task").iterdir()))


def later(rows, turn):
    """The rows, two days later for each turn."""
    out = []
    for row in rows:
        value = row.value
        if value is not None and value.startswith(b'{"_path"'):
            plain = orjson.loads(value)
            value = orjson.dumps(
                plain | {"ts": plain["ts"] + turn * TURN_MS / 1000, "uid": f"{plain.get('uid')}.{turn}"}
            )
        out.append(row._replace(time=row.time + turn * TURN_MS, value=value))
    return out


@pytest.mark.timeout(SECONDS + 600)
def test_a_long_run_keeps_its_size(rows, world, kafka, tmp_path, results):
    mine = named_for(rows, kafka.prefix)
    create(kafka, mine)
    with Fed(kafka, mine, world, tmp_path) as service:
        service.start()
        end, turn, sizes, records = time.monotonic() + SECONDS, 0, [], 0
        while time.monotonic() < end or turn < TURNS:
            service.rows, service.sent = later(mine, turn), 0
            service.publish_until(1)
            turn, records = turn + 1, records + len(mine)
            service.wait(service.done(records))
            sizes.append(used(service.process))
        assert service.stop()[0] == 0
    warm = sizes[turn // 2 :]
    memory, files, threads = (list(column) for column in zip(*warm, strict=True))
    growth = sum(memory[-2:]) / sum(memory[:2]) - 1
    print(f"{turn} turns of two days, {records} records; memory {memory} kB, files {files}, threads {threads}")
    results(fault=f"F24 soak, {2 * turn} days", kills=0, mismatches=int(growth > GROWTH), duplicates=0)
    assert growth < GROWTH
    assert max(threads) - min(threads) <= 1
    assert max(files) - min(files) <= 3  # a segment, a checkpoint, a connection may be open or not
