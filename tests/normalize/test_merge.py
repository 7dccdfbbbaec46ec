"""Sorted files become one stream, whatever their number, and a merge goes on where another one was."""

import json

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.normalize import merge as module
from detector.normalize.merge import Merge, Run, Source, write_run
from detector.records import FLOW, OPERATION, Decoded

FILES = st.lists(
    st.tuples(st.booleans(), st.booleans(), st.lists(st.integers(0, 40), min_size=1, max_size=12)), max_size=12
)
"""Of each file: flows or operations, whether its first time is known before it is asked for, times."""


def sources(folder, files):
    """The files, asked for in the order of what is known of them; rows are told apart by their position."""
    folder.mkdir(exist_ok=True)
    made = []
    for number, (is_flow, known, times) in enumerate(files):
        kind, schema = ("flows", FLOW) if is_flow else ("operations", OPERATION)
        rows = [{"obs_ts": at, "position": 100 * number + n} for n, at in enumerate(sorted(times))]
        frame = pl.DataFrame([{**dict.fromkeys(schema), **row} for row in rows], schema=schema)
        name = f"{number:06d}.{kind}"
        made.append(
            Source(
                min(times) if known else None,
                lambda name=name, frame=frame: [write_run(folder, name, iter([frame]))],
            )
        )
    return sorted(made, key=lambda one: (one.lower is not None, one.lower or 0))


def told(batches):
    whole = [Decoded(), *batches]
    frames = pl.concat([part.flows for part in whole]), pl.concat([part.operations for part in whole])
    return [sorted(frame.select("obs_ts", "position").rows()) for frame in frames]


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(module, "BLOCK_ROWS", 3)


@settings(max_examples=25)
@given(FILES, st.integers(2, 5), st.integers(1, 7))
def test_all_rows_in_order_with_few_files_open(tmp_path_factory, files, most_open, batch_rows):
    folder = tmp_path_factory.mktemp("merge")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK_ROWS", 3)
        merged = Merge(folder, sources(folder, files), most_open)
        batches, latest = [], None
        for batch in merged.batches(batch_rows):
            assert len(merged._open) <= most_open
            times = [*batch.flows["obs_ts"], *batch.operations["obs_ts"]]
            assert len(times) <= batch_rows
            assert latest is None or latest <= min(times)
            latest = max(times)
            batches.append(batch)
    wanted = [[], []]
    for number, (is_flow, _, times) in enumerate(files):
        wanted[not is_flow] += [(at, 100 * number + n) for n, at in enumerate(sorted(times))]
    assert told(batches) == [sorted(rows) for rows in wanted]
    assert list(folder.iterdir()) == [], "what was handed out is removed"


@settings(max_examples=25)
@given(FILES, st.integers(0, 12))
def test_another_one_goes_on_from_its_state(tmp_path_factory, files, stop):
    """Whatever step it was stopped at; what it needs is not removed before it is told to forget."""
    folder = tmp_path_factory.mktemp("merge")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK_ROWS", 3)
        first, before = Merge(folder, sources(folder, files), 3), []
        state = first.state()
        for number, (flows, operations) in enumerate(first.steps()):
            if number == stop:
                break  # and what it did since is lost
            before.append(Decoded(flows, operations))
            state = json.loads(json.dumps(first.state()))
            first.forget()
        second = Merge(folder, sources(folder, files), 3)
        second.load_state(state)
        after = [Decoded(*step) for step in second.steps()]
        whole = [Decoded(*step) for step in Merge(folder, sources(folder, files), 3).steps()]
    assert told([*before, *after]) == told(whole)


def test_a_source_is_asked_when_its_time_has_come(tmp_path, small_blocks):
    files = [(True, True, [start, start + 1]) for start in (0, 10, 20)]
    merged = Merge(tmp_path, sources(tmp_path, files))
    assert [(merged.asked, flows["obs_ts"].to_list()) for flows, _ in merged.steps()] == [
        (1, [0, 1]), (2, [10, 11]), (3, [20, 21]),
    ]  # fmt: skip


def test_a_run_has_rows(tmp_path):
    with pytest.raises(ValueError, match="has rows"):
        write_run(tmp_path, "none.flows", iter([]))
    assert Run(0, "0-1.operations", 1).kind == "operations"
