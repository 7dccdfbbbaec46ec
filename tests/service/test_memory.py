"""The service knows what its tables can take, and does not start where they cannot fit."""

import gc
from collections import Counter
from threading import Event
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pytest

from detector.config import Settings
from detector.engine import Engine
from detector.errors import ConfigError
from detector.service import logs, memory
from detector.service.settings import ServiceSettings
from detector.state.counts import Counts
from tests.service.conftest import SMALLEST


def wish(limit, **engine):
    return ServiceSettings.model_validate(SMALLEST | {"memory": {"limit_bytes": limit}, "engine": engine})


def test_the_tables_are_those_of_the_engine():
    engine = Engine(Settings(max_entries=1_234_567, max_seen=7_654_321))
    bounds = (1_234_567, 7_654_321, 1_234_567 // 4)
    found = Counter(
        (each.max_entries, each.cells.shape[1])
        for each in gc.get_objects()
        if isinstance(each, Counts) and each.max_entries in bounds
    )
    assert engine
    wanted = {(bounds[0], width): n for width, n in memory._WIDTHS.items()} | {(bounds[1], 2): memory._SEEN_TABLES}
    assert found == wanted | {(bounds[2], width): 1 for width in memory._HOST_WIDTHS}


def test_what_is_needed_is_full_tables_one_of_them_twice_and_a_copy_of_their_entries():
    """Counted on tables as they are: a table that evicts is there twice, a checkpoint holds what is in them."""
    wish = Settings(max_entries=40_000, max_seen=9_000)
    bounds = [(40_000, width) for width, n in {2: 15, 3: 1, 13: 1}.items() for _ in range(n)]
    bounds += [(10_000, 18), (10_000, 6), (10_000, 2), (9_000, 2), (9_000, 2)]
    tables = [Counts(entries, width=width) for entries, width in bounds]
    for table in tables:
        table.reserve(table.max_entries)
    sizes = [table.keys.nbytes + table.cells.nbytes + table.last.nbytes + table.since.nbytes for table in tables]
    slots = [table.keys.size for table in tables]
    copies = sum(size // slot * table.max_entries for size, slot, table in zip(sizes, slots, tables, strict=True))
    assert memory.needed(wish) == sum(sizes) + max(sizes) + copies + memory.REST


def test_a_full_table_takes_what_is_said():
    table = Counts(100_000)
    table.reserve(100_000)
    held = table.keys.nbytes + table.cells.nbytes + table.last.nbytes + table.since.nbytes
    assert held == memory._slots(100_000) * memory._bytes(2)
    arrays = table.arrays()
    assert sum(array.itemsize * max(1, np.prod(array.shape[1:])) for array in arrays.values()) - 8 == memory._bytes(2)


def test_without_a_limit_anything_goes():
    memory.require(wish(None, max_entries=10**12))
    assert not memory.short(None)


def test_what_cannot_fit_is_refused_with_what_would():
    with pytest.raises(ConfigError, match=r"set engine\.max_entries to") as problem:
        memory.require(wish(8 << 30))
    fitting = int(str(problem.value).split("max_entries to ")[1].split()[0])
    memory.require(wish(8 << 30, max_entries=fitting))
    assert 1_000_000 < fitting < 16_000_000


def test_memory_is_short_near_the_limit():
    here = memory.resident()
    assert 50 << 20 < here < 100 << 30
    assert memory.short(here)
    assert not memory.short(2 * here)


def test_without_proc_memory_is_never_short(tmp_path):
    with patch.object(memory, "_STATM", tmp_path / "none"):
        assert memory.resident() == 0


def test_reading_pauses_while_memory_is_short_and_a_checkpoint_is_written():
    from detector.service.loop import Loop

    calls = []
    source = SimpleNamespace(pause=lambda: calls.append("pause"), resume=lambda: calls.append("resume"))
    loop = Loop.__new__(Loop)
    loop._settings = SimpleNamespace(memory=SimpleNamespace(limit_bytes=1))
    loop._alerts = loop._dead_letters = SimpleNamespace(fill=0.0)
    loop._log = logs.get("test")
    loop._paused = False
    for writing in (None, object(), object(), None):
        loop._writing = writing
        loop._pause_or_not(source)
        calls.append("")
    assert calls == ["", "pause", "", "", "resume", ""]


def test_the_service_does_not_start_where_its_tables_cannot_fit(tmp_path, monkeypatch):
    """Before it touches anything."""
    from detector.service.loop import run

    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"memory\.limit_bytes"):
        run(wish(8 << 30), Event())
    assert not any(tmp_path.iterdir())
