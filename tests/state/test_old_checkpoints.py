"""A service that is updated goes on from what its predecessor left; the files are as that one wrote them."""

import shutil

import orjson
import pytest

from detector.engine import Engine
from detector.state import checkpoints, snapshot
from detector.state.checkpoints import Checkpoint, Checkpoints, Origin
from detector.state.stores import FolderStore
from tests.state.old_checkpoint import BEGIN, CLUSTER, FOLDER, HOURS, SETTINGS, TOPICS, conversation, decoded

FORMATS = sorted(path.name for path in FOLDER.parent.iterdir() if path.name.startswith("format-"))
LIMIT = 200_000  # bytes of a repository


def loaded(name: str, copy) -> Checkpoint:
    """It is told which configuration it was made with: how that is compared is another matter, see the engine."""
    shutil.copytree(FOLDER.parent / name, copy)
    (manifest,) = copy.rglob("*.manifest")
    fingerprint = orjson.loads(manifest.read_bytes().split(b"\n")[2])["fingerprint"]
    found = Checkpoints(FolderStore(copy), "golden").latest(Origin(CLUSTER, TOPICS, fingerprint))
    assert found.refused == []
    return found.checkpoint


def test_there_is_one_of_every_format():
    assert [f"format-{number}" for number in range(1, checkpoints.FORMAT + 1)] == FORMATS
    assert checkpoints.MIGRATIONS.keys() == set(range(1, checkpoints.FORMAT))
    for name in FORMATS:
        assert sum(path.stat().st_size for path in (FOLDER.parent / name).rglob("*.*")) < LIMIT


@pytest.mark.parametrize("name", FORMATS)
def test_an_old_one_is_gone_on_from(name, tmp_path):
    checkpoint = loaded(name, tmp_path / "copy")
    assert checkpoint.offsets == {"zeek": {0: 8 * HOURS}}
    assert checkpoint.state.startswith(b"eastwest state, format %d\n" % snapshot.FORMAT)
    engine = Engine(SETTINGS)
    engine.fingerprint = checkpoint.origin.fingerprint
    engine.restore(checkpoint.state)
    assert engine.accounting.rows == checkpoint.position == 8 * HOURS
    assert engine.accounting.scored == checkpoint.counters["scored"]
    now = BEGIN + 3600 * HOURS
    engine.push(decoded([conversation(now + 20, 20, 7), conversation(now + 21, 20, 5)], checkpoint.position))
    units = engine.finish().frame()
    mine = units.filter(orig_h="10.0.0.20")
    (known,), (new,) = (mine.filter(resp_h=host).rows(named=True) for host in ("10.0.0.7", "10.0.0.5"))
    assert known["seen"] > HOURS / 2  # but for what time let fade
    assert new["seen"] == 0
    assert new["fused"] > known["fused"]
    assert engine.accounting.rows == 8 * HOURS + 2
    assert engine.accounting.waiting == 0
