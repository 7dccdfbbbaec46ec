"""A snapshot is all of the engine's state: going on from it is as if nothing had happened, or it is refused."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.assets.plant import Plant, Zone
from detector.config import Settings
from detector.engine import Engine
from detector.errors import StateMismatch
from detector.formats.batch import Context
from detector.formats.decode import Decoder
from detector.normalize.direction import MAX_ENDPOINTS
from detector.records import FLOW, Block, Decoded
from detector.state import snapshot
from detector.state.snapshot import Capture
from tests.scenarios.world import cut, decoded, in_order, plant_of, simulated, told

HOUR = 3_600_000_000
LENIENT = Settings(false_incidents_per_day=100)  # a day is too young for sure incidents, and some must be compared


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    return simulated(tmp_path_factory, days=2, hosts=40, seed=3)


@pytest.fixture(scope="session")
def parts(world) -> list[Decoded]:
    """A day with two attacks in parts of two hours, with rubbish and rows of a known kind that no model reads."""
    whole = in_order(decoded(sorted((world.zeek_dir / "2026-03-03").glob("*.log"))))
    begin = int(whole.flows["obs_ts"].min()) // HOUR * HOUR  # type: ignore[arg-type]
    found = [Decoded(part.flows, part.operations) for part in cut(whole, [begin + 2 * n * HOUR for n in range(1, 13)])]
    odd = Decoder("odd", Context("UTC", None)).decode(
        Block("odd", 1, [b"{", b'{"_path":"stats","ts":1.0}', b'{"_path":"stats","ts":2.0}', b'{"a":1}'])
    )
    return [*found[:3], odd, *found[3:]]


@pytest.fixture(scope="session")
def story(world, parts) -> tuple[list[bytes], tuple[bytes, bytes]]:
    """Snapshots before each part and after the end, and what was told at the end, all by one engine."""
    engine = Engine(LENIENT, plant_of(world))
    snapshots = []
    for part in parts:
        snapshots.append(engine.snapshot())
        engine.push(part)
    engine.finish()
    return [*snapshots, engine.snapshot()], told(engine)


@pytest.mark.parametrize("place", [0, 1, 4, 6, 9, 12, 13])
def test_going_on_from_any_cut_is_as_if_there_had_been_none(place, world, parts, story):
    snapshots, expected = story
    assert expected[0].count(b"\n") >= 10
    assert expected[1].count(b"\n") >= 1
    engine = Engine(LENIENT, plant_of(world))
    engine.restore(snapshots[place])
    assert engine.snapshot() == snapshots[place]
    for number, part in enumerate(parts[place:], place):
        assert engine.snapshot() == snapshots[number]
        engine.push(part)
    engine.finish()
    assert told(engine) == expected
    assert engine.snapshot() == snapshots[-1]
    assert engine.accounting.waiting == 0
    assert engine.accounting.rejected.total() == 2
    assert engine.accounting.filtered.total() == 2


def test_taking_a_snapshot_changes_nothing(world, parts, story):
    engine = Engine(LENIENT, plant_of(world))
    for part in parts:
        engine.push(part)
    engine.finish()
    assert told(engine) == story[1]
    assert engine.snapshot() == story[0][-1]


def test_restoring_forgets_what_the_engine_had(world, parts, story):
    """A used engine becomes the one of the snapshot, not a mixture."""
    engine = Engine(LENIENT, plant_of(world))
    for part in parts[6:]:
        engine.push(part)
    engine.restore(story[0][2])
    assert engine.snapshot() == story[0][2]


def test_halves_of_conversations_wait_in_it(world):
    """Cut between the two halves of every conversation that stands at the cut."""
    day = sorted(world.netflow_dir.glob("*.json"))[-2]
    decoder, lines = Decoder("flows", Context("UTC", None)), day.read_bytes().splitlines()[9000:11000]
    blocks = [decoder.decode(Block("flows", start + 1, lines[start : start + 101])) for start in range(0, 2000, 101)]
    whole = Engine(Settings(reorder_seconds=30))
    engine = whole
    for block in blocks:
        whole.push(block)
    whole.finish()
    engine = Engine(Settings(reorder_seconds=30))
    for block in blocks:
        engine.push(block)
        following = Engine(Settings(reorder_seconds=30))
        following.restore(engine.snapshot())
        engine = following
    engine.finish()
    assert engine.accounting == whole.accounting
    assert engine.accounting.paired > 500
    assert engine.snapshot() == whole.snapshot()


# --- what is refused ---


@pytest.fixture(scope="session")
def small() -> bytes:
    """The snapshot of an engine that saw a hundred rows."""
    engine = Engine(Settings())
    engine.push(Decoded(_flows(100)))
    return engine.snapshot()


def _flows(count: int, first: int = 0) -> pl.DataFrame:
    """Connections of ever new pairs, one a second."""
    rows: list[dict[str, Any]] = [
        {
            "ts": (number + 1) * 1_000_000, "obs_ts": (number + 1) * 1_000_000, "uid": f"C{number}",
            "orig_h": f"10.0.{number // 200 % 200}.{number % 200}", "orig_p": 1024 + number % 60_000,
            "resp_h": f"10.1.{number // 200 % 200}.{number % 200}", "resp_p": 445, "proto": "tcp", "conn_state": "SF",
            "oriented": True, "sampling": 1, "log": "zeek.conn", "source": "x", "position": number,
        }
        for number in range(first, first + count)
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=FLOW)


def refused(content: bytes, engine: Engine | None = None) -> str:
    """The message; the engine must be as it was."""
    engine = engine or Engine(Settings())
    before = engine.snapshot()
    with pytest.raises(StateMismatch) as caught:
        engine.restore(content)
    assert engine.snapshot() == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


@given(place=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
@settings(max_examples=30)
def test_a_flipped_byte_is_found(place, flip, small):
    changed = bytearray(small)
    changed[int(place * len(small))] ^= flip
    assert "start without it" in refused(bytes(changed))


def test_a_flipped_bit_in_any_of_the_first_and_last_bytes_is_found(small):
    """Where the lengths and offsets are that a reader would trust."""
    engine = Engine(Settings())
    for place in [*range(1500), *range(len(small) - 300, len(small))]:
        changed = bytearray(small)
        changed[place] ^= 0x80
        with pytest.raises(StateMismatch):
            engine.restore(bytes(changed))


@pytest.mark.parametrize("kept", [0, 1, 10, 60, 1000, -1000, -1])
def test_a_cut_off_snapshot_is_refused(kept, small):
    assert refused(small[:kept])


def test_what_is_no_snapshot_is_refused(small):
    for content in (
        b"",
        b"PK\x03\x04",
        b"ARROW1\x00\x00",
        b"\x80\x04\x95",
        b"\n",
        b"x" * 100_000,
        small + b"x",
        b"x" + small,
    ):
        assert refused(content)


def test_another_format_is_named(small):
    changed = small.replace(b"format 4\n", b"format 1\n", 1)
    assert changed != small
    assert "format 1, this version reads 4" in refused(changed)
    assert "format 10, this version reads 4" in refused(small.replace(b"format 4\n", b"format 10\n", 1))


@pytest.mark.parametrize(
    "other",
    [
        Engine(Settings(alerts_per_day=26)),
        Engine(Settings(half_life_days=31)),
        Engine(Settings(timezone="Europe/London")),
        Engine(Settings(), Plant(zones=(Zone(name="office", cidrs=["10.0.0.0/8"]),))),
    ],
    ids=["alerts_per_day", "half_life_days", "timezone", "plant"],
)
def test_another_configuration_is_refused(other, small):
    assert "other settings, another plant file or another model" in refused(small, other)


def test_settings_that_are_the_defaults_are_no_part_of_the_configuration():
    """Or each new setting would make all older snapshots useless."""
    assert Engine(Settings(alerts_per_day=25.0)).fingerprint == Engine(Settings()).fingerprint
    assert Engine(Settings(alerts_per_day=24.0)).fingerprint != Engine(Settings()).fingerprint


def test_the_size_of_batches_is_no_part_of_the_configuration(small):
    engine = Engine(Settings(batch_rows=7))
    engine.restore(small)
    assert engine.snapshot() == small


def test_nothing_in_it_can_run(small):
    """Arrays of numbers and JSON: a type that no state has is refused, even with a right digest."""
    content = Capture.of({"table": np.array(["text"])}, {}, "print").write()
    with pytest.raises(StateMismatch, match="no state has"):
        snapshot.read(content, "print")


# --- captured now, written later ---


@pytest.mark.parametrize("dtype", ["uint64", "int64", "int32", "float64", "float32", "bool", "uint8"])
@pytest.mark.parametrize("shape", [(), (0,), (1,), (6,), (2, 3), (0, 3)])
def test_what_is_written_is_read(dtype, shape):
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    turned = array.T  # not in one piece, in C order
    written = Capture.of({"b": array, "a": turned}, {"c": [1, None]}, "print", lambda: {"d": array}).write()
    arrays, facts = snapshot.read(written, "print")
    assert facts == {"c": [1, None]}
    assert sorted(arrays) == ["a", "b", "d"]
    for name, expected in (("a", turned), ("b", array), ("d", array)):
        assert arrays[name].dtype == expected.dtype
        assert arrays[name].shape == expected.shape
        assert arrays[name].tolist() == expected.tolist()
        assert not arrays[name].flags.writeable  # who keeps one must copy it


def test_what_changes_afterwards_is_not_in_it():
    """Of arrays that somebody may write to there is a copy; of the others there is none."""
    open_, closed, facts = np.arange(3), np.arange(3), {"a": [1]}
    closed.flags.writeable = False
    captured = Capture.of({"open": open_, "closed": closed}, facts, "print")
    expected = captured.write()
    open_[0] = 9
    facts["a"].append(2)
    assert captured.write() == expected
    assert captured.arrays["closed"] is closed


def test_an_engine_goes_on_while_its_state_is_written(world, parts, story):
    """In another thread, as a service does it; and what waits to be put in order is part of it."""
    engine, captured = Engine(LENIENT, plant_of(world)), []
    with ThreadPoolExecutor(1) as writer:
        for part in parts:
            captured.append(writer.submit(engine.capture().write))
            engine.push(part)
        engine.finish()
    assert [written.result() for written in captured] == story[0][:-1]
    assert told(engine) == story[1]


def test_a_capture_is_of_its_moment_however_late_it_is_written(world, parts, story):
    engine = Engine(LENIENT, plant_of(world))
    captured = []
    for part in parts:
        captured.append(engine.capture())
        engine.push(part)
    assert [late.write() for late in captured] == story[0][:-1]


# --- size ---


def test_its_size_is_bounded():
    """As many entries as are set in each table, and a fixed part; more history does not make it grow."""
    bounds = Settings(max_entries=5000, max_seen=2000, alerts_per_day=10)
    engine = Engine(bounds)
    sizes, fixed = [], []
    for turn in range(8):
        engine.push(Decoded(_flows(5000, turn * 5000)))
        arrays, _ = snapshot.read(engine.snapshot(), engine.fingerprint)
        tables = {name.removesuffix("keys"): array.size for name, array in arrays.items() if name.endswith(".keys")}
        for name, entries in tables.items():
            bound = {"endpoints.": MAX_ENDPOINTS, "flow_twins.": bounds.max_seen, "operation_twins.": bounds.max_seen}
            assert entries <= bound.get(name, bounds.max_entries) + 100, name
        rest = [array for name, array in arrays.items() if not name.startswith(tuple(tables))]
        sizes.append(sum(entries for name, entries in tables.items() if name != "endpoints."))
        fixed.append(sum(array.nbytes for array in rest))
    assert engine.scorer.structure.memory.counts.evicted > 0
    assert engine.flow_twins.seen.evicted > 0
    assert max(sizes[4:]) <= max(sizes[:4]) * 1.1
    assert max(fixed[4:]) <= max(fixed[:4]) * 1.1
    assert max(fixed) < 50_000_000
