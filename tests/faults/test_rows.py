"""F12 to F15, F25: rows that are broken, dressed otherwise, misdated, shuffled or sent again."""

import random
import time
from itertools import count
from unittest.mock import patch

import orjson
import pytest

from detector.sources.kafka_merge import Partition
from tests.faults.harness import broken
from tests.faults.stream import Row, rows_of, trailing
from tests.scenarios.world import _tsv

DAY_MS = 86_400_000
_CONN = {"ts": 1772409700.0, "uid": "Cpoison", "id.orig_h": "10.1.1.1", "id.orig_p": 1, "id.resp_h": "10.1.1.2",
         "id.resp_p": 2, "proto": "tcp", "conn_state": "SF"}  # fmt: skip


def _with(**values: object) -> bytes:
    return orjson.dumps(_CONN | {name.replace("__", "."): value for name, value in values.items()})


POISON = {
    "not JSON": b'{"ts":',
    "bad UTF-8": b'{"ts":1772409700.0,"uid":"\xff\xfe"}',
    "a megabyte": b'{"ts":"' + b"x" * (1 << 20) + b'"}',
    "deep": b'{"a":' * 100_000,
    "compressed": b"\x28\xb5\x2f\xfd" + bytes(range(128, 256)),
    "nulls": bytes(1000),
    "a list": b"[1,2]",
    "no time": orjson.dumps({key: value for key, value in _CONN.items() if key != "ts"}),
    "NaN": b'{"ts":NaN}',
    "infinite time": _with(ts=1e308),
    "time as text": _with(ts="yesterday"),
    "port as text": _with(id__resp_p="web"),
    "port too large": _with(id__resp_p=1 << 40),
    "address as a number": _with(id__orig_h=7),
}


def assert_same_told(golden, outcome) -> None:
    """The same alerts and incidents in the same order; evidence may name other offsets where rows have no uid."""
    assert outcome.told == golden.told
    assert outcome.metrics["eastwest_replay_mismatch_total"] == 0


@pytest.fixture(scope="session")
def plain(world) -> list[Row]:
    return rows_of(world)


def inserted(rows, values, every):
    """The values in turn behind every so many rows, in their topics and at their times."""
    timed, turn = [], count()
    for number, row in enumerate(rows):
        timed.append((row.time, row.partition, row.value))
        if number % every == every - 1:
            timed.append((row.time, row.partition, values[next(turn) % len(values)]))
    return renumbered(timed), next(turn)


def renumbered(timed) -> list[Row]:
    ends, rows = {}, []
    for moment, partition, value in timed:
        rows.append(Row(moment, partition, ends.get(partition, 0), value))
        ends[partition] = ends.get(partition, 0) + 1
    return rows


def test_poison_harms_no_neighbour(golden, plain, trial, results):
    """F12: every poisoned record is a dead letter, and alerts are those of a stream without it."""
    rows, poisoned = inserted(plain, list(POISON.values()), 100)
    subject = trial(of=rows)
    assert not subject.run()
    outcome = subject.outcome()
    results(fault="F12 poison", kills=0, mismatches=int(outcome.told != golden.told), duplicates=0)
    assert len(outcome.letters) == outcome.checkpoint.counters["rejected"] == poisoned
    assert_same_told(golden, outcome)


@pytest.mark.faults
def test_a_table_whose_header_changes_goes_on(golden, plain, trial, results):
    """F13: in the middle of the stream columns change their places, and one is added."""
    topic = "http"
    mine = [orjson.loads(row.value) for row in plain if row.partition.topic == topic]
    half = len(mine) // 2
    turned = [dict(reversed(row.items())) | {"added": 1} for row in mine[half:]]
    cells = iter(_tsv(topic, mine[:half]).splitlines()[:-1] + _tsv(topic, turned).splitlines()[:-1])
    timed = []
    for row in plain:
        if row.partition.topic != topic:
            timed.append((row.time, row.partition, row.value))
            continue
        line = next(cells)
        while line.startswith(b"#"):
            timed.append((row.time, row.partition, line))
            line = next(cells)
        timed.append((row.time, row.partition, line))
    subject = trial(of=renumbered(timed))
    assert subject.run(crash="committed:5")
    assert not subject.run()
    outcome = subject.outcome()
    results(fault="F13 table's header changes", kills=1, mismatches=int(outcome.told != golden.told), duplicates=0)
    assert outcome.letters == []
    assert_same_told(golden, outcome)


@pytest.mark.faults
def test_fields_that_change_cost_only_rows_that_lack_something(golden, plain, trial, results):
    """F13: from the middle on one log has more fields and numbers as text; another has lost the name of a field."""
    half, changed = len(plain) // 2, []
    for number, row in enumerate(plain):
        value = row.value
        if number >= half and row.partition.topic == "http":
            value = orjson.dumps({"added": {"by": "us"}} | _as_text(orjson.loads(value)))
        elif number >= half and row.partition.topic == "ntlm":
            value = value.replace(b'"id.orig_h"', b'"id.source"')
        changed.append(row._replace(value=value))
    renamed = sum(b'"id.source"' in row.value for row in changed)
    assert renamed
    subject = trial(of=changed)
    assert not subject.run()
    outcome = subject.outcome()
    assert len(outcome.letters) == outcome.checkpoint.counters["rejected"] == renamed
    assert all(b"orig_h" in letter for letter in outcome.letters)
    ours, theirs = outcome.checkpoint.counters, golden.checkpoint.counters
    assert ours["scored"] + ours["duplicate"] == theirs["scored"] + theirs["duplicate"] - renamed
    results(fault="F13 fields renamed, added, of another type", kills=0, mismatches=0, duplicates=0)


def _as_text(row):
    return {name: str(value) if type(value) is int else value for name, value in row.items()}


@pytest.mark.faults
def test_a_sensor_a_year_behind_is_late_and_moves_nothing(golden, plain, trial, results):
    """F14: its rows are scored and counted; what the others bring is judged as without them."""
    behind = [_with(ts=1772409700.0 - 31_536_000 + number, uid=f"Cbehind{number}") for number in range(20)]
    rows, late = inserted(plain, [b""], 300)
    turn = count()
    rows = renumbered(
        [(row.time, Partition("conn", 0) if row.value == b"" else row.partition,
          behind[next(turn) % 20] if row.value == b"" else row.value) for row in rows]
    )  # fmt: skip
    subject = trial(of=rows)
    assert not subject.run()
    counters = subject.outcome().checkpoint.counters
    assert counters["late"] + counters["duplicate"] - golden.checkpoint.counters["duplicate"] == late
    assert subject.outcome().checkpoint.watermark == golden.checkpoint.watermark
    results(fault="F14 a sensor a year behind", kills=0, mismatches=0, duplicates=0)


@pytest.mark.faults
def test_the_clock_of_the_host_has_no_say(golden, trial, results):
    """F14: it jumps a day forward and back with each look."""
    looks, real = count(), time.time
    subject = trial()
    assert not subject.run(patch.object(time, "time", lambda: real() + 86_400 * (next(looks) % 3 - 1)))
    problems = broken(golden, subject.outcome())
    results(fault="F14 host's clock jumps", kills=0, mismatches=len(problems), duplicates=0)
    assert problems == []


@pytest.mark.faults
def test_rows_of_the_future_do_not_move_time(golden, plain, trial, results):
    """F14: a sensor ten years ahead, on hosts of its own, makes nothing late and no alert go."""
    ahead = [_with(ts=1772409700.0 + 315_360_000 + number, uid=f"Cahead{number}") for number in range(20)]
    rows, _ = inserted(plain, [b""], 300)
    turn = count()
    rows = [row._replace(partition=Partition("conn", 0), value=ahead[next(turn) % 20]) if row.value == b"" else row
            for row in rows]  # fmt: skip
    rows = renumbered([(row.time, row.partition, row.value) for row in rows])
    subject = trial(of=rows)
    assert not subject.run()
    outcome = subject.outcome()
    assert outcome.checkpoint.counters["late"] == 0
    assert outcome.checkpoint.watermark == golden.checkpoint.watermark
    assert outcome.checkpoint.counters["scored"] + outcome.checkpoint.counters["duplicate"] == (
        golden.checkpoint.counters["scored"] + next(turn)
    )
    results(fault="F14 rows of the future", kills=0, mismatches=0, duplicates=0)


@pytest.mark.faults
def test_a_shuffle_within_lateness_changes_nothing(golden, plain, trial, results):
    """F15: rows come up to a second late, within the two that the buffer waits."""
    chance = random.Random(15)
    moved = sorted((row.time + chance.randint(0, 1000), number) for number, row in enumerate(plain))
    rows = renumbered([(moment, plain[number].partition, plain[number].value) for moment, number in moved])
    subject = trial(of=rows)
    assert not subject.run()
    outcome = subject.outcome()
    results(fault="F15 shuffled by a second", kills=0, mismatches=int(outcome.told != golden.told), duplicates=0)
    assert_same_told(golden, outcome)


@pytest.mark.faults
def test_what_is_sent_again_adds_nothing(golden, plain, trial, results):
    """F15: every tenth row comes twice, and in the end the whole of it again."""
    timed = []
    for number, row in enumerate(plain):
        timed += [(row.time, row.partition, row.value)] * (2 if number % 10 == 0 else 1)
    last = plain[-1].time
    timed += [(last + 1, row.partition, row.value) for row in plain]
    timed.append((last + 60_000, plain[-1].partition, trailing(last + 60_000)))
    subject = trial(of=renumbered(timed))
    assert not subject.run()
    outcome = subject.outcome()
    counters = outcome.checkpoint.counters
    results(fault="F15 all sent again", kills=0, mismatches=int(outcome.told != golden.told), duplicates=0)
    assert counters["duplicate"] + counters["late"] > len(plain)
    assert outcome.told == golden.told


@pytest.mark.parametrize("seed", [21, pytest.param(22, marks=pytest.mark.faults)])
def test_portions_have_no_say(seed, golden, trial, results):
    """F25: another seed cuts the stream elsewhere."""
    subject = trial(seed)
    assert not subject.run()
    problems = broken(golden, subject.outcome())
    results(fault="F25 other portions", kills=0, mismatches=len(problems), duplicates=0)
    assert problems == []
