"""A checkpoint is used whole or not at all, by whom it belongs to."""

import hashlib
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.errors import ConfigError, ForeignCheckpoint, NoValidCheckpoint, StateMismatch, StorageFailed
from detector.state import checkpoints as module
from detector.state.checkpoints import Checkpoint, Checkpoints, Migration, Origin, read_key
from detector.state.stores import FolderStore, store_of
from tests.state.killed import dies_at, half_written, killed
from tests.state.test_stores import access, s3  # noqa: F401 (fixtures)

OURS = Origin("cluster-1", {"zeek": "id-zeek", "netflow": "id-netflow"}, "fingerprint")
KEY = b"k" * 32


def at(position: int, outbox: int | None = None) -> Checkpoint:
    """What the service has at a position: a pure function of it."""
    return Checkpoint(
        state=b"state %d " % position * 20,
        origin=OURS,
        position=position,
        offsets={"zeek": {0: position, 11: 2**62}, "netflow": {2: position // 2}},
        outbox=position // 10 if outbox is None else outbox,
        counters={"scored": position},
        watermark=None if position == 0 else position * 1_000_000,
    )


def opened(store, **options) -> Checkpoints:
    found = Checkpoints(store, "shard-0", **options)
    found.latest(OURS)
    return found


def written(store, *positions: int, **options) -> Checkpoints:
    found = opened(store, **options)
    for position in positions:
        found.write(at(position))
    return found


def files(store: FolderStore, suffix: str) -> list[Path]:
    """Oldest first."""
    return sorted(store.root.rglob(f"*.{suffix}"))


@pytest.fixture
def store(tmp_path) -> FolderStore:
    return FolderStore(tmp_path / "store")


# --- what was written is loaded ---


def test_nothing_is_no_mistake(store):
    loaded = Checkpoints(store, "shard-0").latest(OURS)
    assert (loaded.checkpoint, loaded.refused, loaded.outbox_lost) == (None, [], 0)


@pytest.mark.parametrize("key", [None, KEY])
def test_the_newest_is_loaded_as_it_was(store, key):
    written(store, 0, 5, 100, 7_000, key=key)
    loaded = Checkpoints(store, "shard-0", key=key).latest(OURS)
    assert loaded.checkpoint == at(7_000)
    assert loaded.refused == []


def test_a_bucket_does_as_well(access, tmp_path):  # noqa: F811
    bucket = store_of(f"s3://bucket/{tmp_path.name}", access)
    ours = written(bucket, 1, 2, 3, 4, 5)
    assert len(bucket.entries("shard-0")) == 10
    ours.collect()
    assert len(bucket.entries("shard-0")) == 6
    assert opened(bucket).outbox_floor == at(3).outbox
    assert Checkpoints(bucket, "shard-0").latest(OURS).checkpoint == at(5)
    (newest,) = [each.name for each in bucket.entries("shard-0") if "0005-" in each.name and "state" in each.name]
    bucket.put(newest, b"?")
    loaded = Checkpoints(bucket, "shard-0").latest(OURS)
    assert loaded.checkpoint == at(4)
    assert len(loaded.refused) == 1


def test_a_manifest_is_for_people_too(store):
    written(store, 12)
    (path,) = files(store, "manifest")
    first, digest, body = path.read_bytes().split(b"\n")
    assert first == b"eastwest checkpoint, format 1"
    assert digest == b"sha256 " + hashlib.sha256(first + b"\n" + body).hexdigest().encode()
    told = orjson.loads(body)
    assert told["offsets"] == {"zeek": {"0": 12, "11": 2**62}, "netflow": {"2": 6}}
    assert told["scope"] == "shard-0"
    assert told["state_bytes"] == len(at(12).state)


def test_checkpoints_come_in_order(store):
    ours = Checkpoints(store, "shard-0")
    with pytest.raises(ValueError, match="cannot come after None"):
        ours.write(at(1))
    ours.latest(OURS)
    ours.write(at(5))
    ours.write(at(5))
    with pytest.raises(ValueError, match="at 4 cannot come after"):
        ours.write(at(4))
    with pytest.raises(ValueError, match="at 4 cannot come after"):
        opened(store).write(at(4))


def test_scopes_do_not_see_each_other(store):
    written(store, 5)
    assert Checkpoints(store, "shard-1").latest(OURS).checkpoint is None
    with pytest.raises(ValueError, match="no name"):
        Checkpoints(store, "../shard-0")


# --- damage ---


def spoil(path: Path, kind: str) -> None:
    content = path.read_bytes()
    changes = {
        "first byte": bytes([content[0] ^ 1]) + content[1:],
        "middle byte": content[: len(content) // 2]
        + bytes([content[len(content) // 2] ^ 64])
        + content[len(content) // 2 + 1 :],
        "last byte": content[:-1] + bytes([content[-1] ^ 1]),
        "cut": content[: len(content) // 3],
        "empty": b"",
        "longer": content + b"\0",
    }
    path.write_bytes(changes[kind])


@pytest.mark.parametrize("suffix", ["state", "manifest"])
@pytest.mark.parametrize("kind", ["first byte", "middle byte", "last byte", "cut", "empty", "longer", "missing"])
def test_a_damaged_one_is_told_and_the_previous_used(store, suffix, kind):
    written(store, 100, 200, 300)
    newest = files(store, suffix)[-1]
    if kind != "missing":
        spoil(newest, kind)
    elif suffix == "state":
        newest.unlink()
    else:
        return  # without a manifest it is none: see the killed writers
    loaded = Checkpoints(store, "shard-0").latest(OURS)
    assert loaded.checkpoint == at(200)
    (reason,) = loaded.refused
    assert "00000000000000000300-" in reason


@settings(max_examples=100)
@given(data=st.data())
def test_any_flipped_bit_of_a_manifest_is_seen(tmp_path_factory, data):
    store = FolderStore(tmp_path_factory.mktemp("store"))
    written(store, 100, key=data.draw(st.sampled_from([None, KEY]), "key"))
    (path,) = files(store, "manifest")
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1), "at")] ^= 1 << data.draw(st.integers(0, 7), "bit")
    path.write_bytes(content)
    with pytest.raises(NoValidCheckpoint):
        Checkpoints(store, "shard-0").latest(OURS)


def test_none_valid_is_refused_but_for_a_cold_start(store):
    ours = written(store, 100, 200)
    for path in files(store, "state"):
        spoil(path, "cut")
    with pytest.raises(NoValidCheckpoint, match=r"none of 2 .*does not match its SHA-256.* or allow a cold start"):
        Checkpoints(store, "shard-0").latest(OURS)
    cold = Checkpoints(store, "shard-0")
    loaded = cold.latest(OURS, allow_cold_start=True)
    assert loaded.checkpoint is None
    assert len(loaded.refused) == 3
    cold.write(at(7))  # fewer rows than those before, and newer all the same
    assert Checkpoints(store, "shard-0").latest(OURS).checkpoint == at(7)
    cold.write(at(8))
    cold.write(at(9))
    cold.collect()
    assert len(files(store, "state")) == len(files(store, "manifest")) == 3
    ours.write(at(999))  # one who was not told that there is a new generation
    assert Checkpoints(store, "shard-0").latest(OURS).checkpoint == at(9)


def test_nothing_is_parsed_before_its_digest_was_compared(store, monkeypatch):
    written(store, 100)
    (path,) = files(store, "manifest")
    path.write_bytes(path.read_bytes().replace(b'"scope"', b'"scopf"'))
    monkeypatch.setattr(module.orjson, "loads", lambda _: pytest.fail("parsed"))
    with pytest.raises(NoValidCheckpoint, match="the manifest is damaged"):
        Checkpoints(store, "shard-0").latest(OURS)


def resigned(path: Path, change, key: bytes | None = None) -> None:
    """A manifest changed by somebody who knows how it is made."""
    first, _, body = path.read_bytes().split(b"\n")
    body = change(body)
    digest = b"sha256 " + hashlib.sha256(first + b"\n" + body).hexdigest().encode()
    path.write_bytes(b"\n".join([first, digest, body]))


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body.replace(b'"outbox":10', b'"outbox":-10'),
        lambda body: body.replace(b'"outbox":10', b'"outbox":"10"'),
        lambda body: body.replace(b'"outbox":10', b'"outbox":10.0'),
        lambda body: body.replace(b'"outbox":10', b'"outbox":10,"more":1'),
        lambda body: body.replace(b'"outbox":10,', b""),
        lambda body: body.replace(b'"0":100', b'"-1":100'),
        lambda body: body.replace(b'"position":100', b'"position":101'),
    ],
)
def test_a_manifest_that_is_not_as_it_should_be(store, change):
    written(store, 100)
    resigned(files(store, "manifest")[0], change)
    with pytest.raises(NoValidCheckpoint, match=r"the manifest (is not as it should be|stands under)"):
        Checkpoints(store, "shard-0").latest(OURS)


def test_sizes_are_bounded(store, monkeypatch):
    written(store, 100)
    with pytest.raises(NoValidCheckpoint, match="more than the limit of 50"):
        Checkpoints(store, "shard-0", state_limit=50).latest(OURS)
    monkeypatch.setattr(module, "MANIFEST_LIMIT", 300)
    with pytest.raises(NoValidCheckpoint, match="longer than 300 bytes"):
        Checkpoints(store, "shard-0").latest(OURS)
    with pytest.raises(ValueError, match="could not be read again"):
        opened(FolderStore(store.root / "other")).write(at(1))


def test_a_store_that_is_away_is_not_taken_for_damage(store, monkeypatch):
    written(store, 100, 200)

    def away(*_):
        raise StorageFailed("away")

    monkeypatch.setattr(FolderStore, "get", away)
    with pytest.raises(StorageFailed):
        Checkpoints(store, "shard-0").latest(OURS, allow_cold_start=True)


# --- whose it is ---


@pytest.mark.parametrize(
    ("expected", "match", "way"),
    [
        (replace(OURS, cluster="cluster-2"), "the cluster was 'cluster-1' and is 'cluster-2'", "new topics"),
        (
            replace(OURS, topics={"zeek": "new"}),
            r"topic zeek \(deleted and made again\?\) was 'id-zeek' and is 'new'",
            "new topics",
        ),
        (replace(OURS, fingerprint="f"), "the configuration or version was 'fingerprint' and is 'f'", "a cold start"),
        (replace(OURS, model="m"), "the model was '' and is 'm'", "a cold start"),
    ],
)
def test_a_foreign_one_is_refused_and_none_before_it_is_tried(store, expected, match, way):
    written(store, 100)
    other = Checkpoints(store, "shard-0")
    with pytest.raises(ForeignCheckpoint, match=match) as caught:
        other.latest(expected)
    assert f"or allow {way}" in str(caught.value)
    if way == "new topics":
        assert Checkpoints(store, "shard-0").latest(expected, allow_new_topics=True).checkpoint == at(100)
    else:
        with pytest.raises(ForeignCheckpoint, match=match):
            Checkpoints(store, "shard-0").latest(expected, allow_new_topics=True)
    assert isinstance(caught.value, StateMismatch)
    assert other.latest(expected, allow_cold_start=True).checkpoint is None
    other.write(replace(at(3), origin=expected))
    assert Checkpoints(store, "shard-0").latest(expected).checkpoint.position == 3
    with pytest.raises(ForeignCheckpoint):  # and back again
        Checkpoints(store, "shard-0").latest(OURS)


def test_topics_may_come_and_go(store):
    written(store, 100)
    expected = replace(OURS, topics={"zeek": "id-zeek", "more": "id-more"})
    assert Checkpoints(store, "shard-0").latest(expected).checkpoint == at(100)


def test_one_copied_from_another_service_is_foreign(store):
    written(store, 100)
    (store.root / "shard-0").rename(store.root / "shard-1")
    with pytest.raises(ForeignCheckpoint, match="the service was 'shard-0' and is 'shard-1'"):
        Checkpoints(store, "shard-1").latest(OURS)


@pytest.mark.parametrize(
    ("written_with", "read_with", "match"),
    [
        (KEY, None, "it is signed, and no key is set"),
        (None, KEY, "it is not signed, and a key is set"),
        (KEY, b"x" * 32, "was signed with another key"),
    ],
)
def test_signatures(store, written_with, read_with, match):
    written(store, 100, key=written_with)
    with pytest.raises(NoValidCheckpoint, match=match):
        Checkpoints(store, "shard-0", key=read_with).latest(OURS)


def test_who_has_no_key_cannot_change_a_state(store):
    written(store, 100, key=KEY)
    (state,) = files(store, "state")
    content = b"another state".ljust(len(at(100).state))
    digest = hashlib.sha256(content).hexdigest()
    state.with_name(f"{state.name[:28]}{digest[:16]}.state").write_bytes(content)
    old = hashlib.sha256(at(100).state).hexdigest().encode()
    resigned(files(store, "manifest")[0], lambda body: body.replace(old, digest.encode()))
    assert Checkpoints(store, "shard-0").latest(OURS).checkpoint.state == content  # without a key he can
    with pytest.raises(NoValidCheckpoint):
        Checkpoints(store, "shard-0", key=KEY).latest(OURS)


def test_a_key_comes_from_a_file(tmp_path):
    file = tmp_path / "key"
    with pytest.raises(ConfigError, match="cannot read the key of checkpoints: No such file"):
        read_key(file)
    file.write_bytes(b"short\n")
    with pytest.raises(ConfigError, match="has 32 bytes or more, this has 5") as caught:
        read_key(file)
    assert "short" not in str(caught.value)
    file.write_bytes(KEY + b"\n")
    assert read_key(file) == KEY
    assert KEY.decode() not in repr(Checkpoints(FolderStore(tmp_path), "a", key=KEY))


# --- the outbox ---


def test_one_that_the_outbox_reaches_comes_first(store):
    written(store, 100, 200, 300)  # 10, 20, 30 records
    for end, position, lost in ((None, 300, 0), (30, 300, 0), (29, 200, 0), (10, 100, 0), (9, 300, 21), (0, 300, 30)):
        loaded = Checkpoints(store, "shard-0").latest(OURS, outbox_end=end)
        assert loaded.checkpoint == at(position)
        assert loaded.outbox_lost == lost
        assert loaded.refused == []


def test_one_of_an_earlier_generation_is_not_gone_back_to(store):
    written(store, 100, 200)
    cold = Checkpoints(store, "shard-0")
    other = replace(OURS, fingerprint="f")
    cold.latest(other, allow_cold_start=True)
    cold.write(replace(at(50, outbox=40), origin=other))
    loaded = Checkpoints(store, "shard-0").latest(other, outbox_end=15)
    assert loaded.checkpoint.position == 50
    assert loaded.outbox_lost == 25


def test_the_floor_is_the_oldest_that_is_kept(store):
    ours = written(store)
    assert ours.outbox_floor == 0
    for position in range(100, 600, 100):
        ours.write(at(position))
        ours.collect()
    assert ours.outbox_floor == 30
    assert opened(store).outbox_floor == 30


# --- what is kept ---


def test_the_newest_are_kept(store):
    ours = opened(store, keep=2)
    for position in range(10):
        ours.write(at(position))
        ours.collect()
    assert [int(path.name[7:27]) for path in files(store, "manifest")] == [8, 9]
    assert [int(path.name[7:27]) for path in files(store, "state")] == [8, 9]
    (store.root / "shard-0" / "notes.txt").write_text("not ours")
    ours.collect()
    assert (store.root / "shard-0" / "notes.txt").exists()
    with pytest.raises(ValueError, match="at least one"):
        Checkpoints(store, "shard-0", keep=0)


def test_damaged_ones_do_not_count_and_halves_that_are_newer_stay(store):
    written(store, 100, 200, 300, 400)
    for path in files(store, "manifest")[-2:]:
        spoil(path, "cut")
    ours = opened(store)
    ours.write(at(250))
    ours.collect()
    assert len(files(store, "manifest")) == 5
    ours.write(at(300))  # the same again: it is mended
    ours.collect()
    assert [int(path.name[7:27]) for path in files(store, "manifest")] == [200, 250, 300, 400]
    half = store.root / "shard-0" / f"{0:06d}-{500:020d}-{'0' * 16}.state"
    half.write_bytes(b"another is writing")
    ours.write(at(450))
    ours.write(at(460))
    ours.write(at(470))
    ours.collect()
    assert [int(path.name[7:27]) for path in files(store, "manifest")] == [450, 460, 470]
    assert half.exists()


# --- killed ---


STEPS = {
    "state, half": (half_written, 100),
    "state, before fsync": (lambda: dies_at("os.fsync", 1), 100),
    "state, before rename": (lambda: dies_at("pathlib.Path.replace", 1), 100),
    "state, after rename": (lambda: dies_at("detector.state.stores.sync_folder", 1), 100),
    "between": (lambda: dies_at("detector.state.checkpoints.Checkpoints._put_manifest"), 100),
    "manifest, before fsync": (lambda: dies_at("os.fsync", 3), 100),
    "manifest, before rename": (lambda: dies_at("pathlib.Path.replace", 2), 100),
    "manifest, after rename": (lambda: dies_at("detector.state.stores.sync_folder", 2), 200),
    "before collection": (lambda: dies_at("detector.state.checkpoints.Checkpoints.collect"), 200),
    "in collection": (lambda: dies_at("pathlib.Path.unlink", 1), 200),
    "in collection, later": (lambda: dies_at("pathlib.Path.unlink", 2), 200),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_killed_writer_leaves_a_whole_one(store, step):
    make, expected = STEPS[step]
    written(store, 50, 100)

    def work():
        ours = opened(store, keep=1)
        ours.write(at(200))
        ours.collect()

    assert killed(work, make())
    again = Checkpoints(FolderStore(store.root), "shard-0", keep=1)
    loaded = again.latest(OURS)
    assert loaded.checkpoint == at(expected)
    assert loaded.refused == []
    again.write(at(200))
    again.write(at(300))
    again.collect()
    assert len([path for path in store.root.rglob("*") if path.is_file()]) == 2
    assert Checkpoints(store, "shard-0").latest(OURS).checkpoint == at(300)


def test_many_kills_go_forward_only(store):
    def work():
        ours = Checkpoints(FolderStore(store.root), "shard-0")
        loaded = ours.latest(OURS)
        assert not loaded.refused
        begin = loaded.checkpoint.position if loaded.checkpoint else 0
        for position in range(begin + 1, begin + 5):
            ours.write(at(position))
            ours.collect()

    seen = kills = 0
    targets = (
        "os.fsync",
        "os.write",
        "pathlib.Path.replace",
        "pathlib.Path.unlink",
        "detector.state.stores.sync_folder",
    )
    for turn in range(40):
        kills += killed(work, dies_at(targets[turn % 5], 1 + turn // 5))
        loaded = Checkpoints(store, "shard-0").latest(OURS)
        assert loaded.refused == []
        position = loaded.checkpoint.position if loaded.checkpoint else 0
        assert position >= seen
        assert loaded.checkpoint == (at(position) if position else None)
        seen = position
    assert kills >= 27
    assert seen > 40
    assert len(files(store, "state")) <= module.KEEP + 2


def test_two_writers_at_the_same_position_are_harmless(store):
    """A process that was taken for dead writes what its successor writes, step by step between its steps."""
    zombie, successor = written(store, 100), opened(store)
    real = zombie._put_manifest

    def meanwhile(place, checkpoint, digest):
        successor.write(checkpoint)
        successor.collect()
        real(place, checkpoint, digest)

    zombie._put_manifest = meanwhile
    zombie.write(at(200))
    loaded = Checkpoints(store, "shard-0").latest(OURS)
    assert (loaded.checkpoint, loaded.refused) == (at(200), [])
    assert len(files(store, "state")) == 2


def test_a_zombie_with_something_else_spoils_nothing(store):
    zombie, successor = written(store, 100), opened(store)
    zombie._put_state(module._Place(0, 200), b"half of something else")
    successor.write(at(200))
    zombie._put_state(module._Place(0, 200), b"more of it")
    loaded = Checkpoints(store, "shard-0").latest(OURS)
    assert (loaded.checkpoint, loaded.refused) == (at(200), [])


# --- formats ---


def test_an_older_format_is_brought_up_to_date(store, monkeypatch):
    """As if format 1 had been succeeded by 2, which tells the outbox' number in another place and doubles states."""
    written(store, 100)
    monkeypatch.setattr(module, "FORMAT", 2)
    with pytest.raises(ForeignCheckpoint, match=r"has format 1, this version reads \[2\]: run the version"):
        Checkpoints(store, "shard-0").latest(OURS)
    migration = Migration(
        manifest=lambda facts: facts | {"outbox": facts["outbox"] + 1},
        state=lambda state: state * 2,
    )
    monkeypatch.setitem(module.MIGRATIONS, 1, migration)
    ours = Checkpoints(store, "shard-0")
    assert ours.latest(OURS).checkpoint == replace(at(100, outbox=11), state=at(100).state * 2)
    ours.write(at(200))
    assert Checkpoints(store, "shard-0").latest(OURS).checkpoint == at(200)


def test_a_newer_format_is_refused_and_not_gone_behind(store, monkeypatch):
    written(store, 100)
    monkeypatch.setattr(module, "FORMAT", 2)
    opened_by_newer = Checkpoints(store, "shard-0")
    opened_by_newer.latest(OURS, allow_cold_start=True)
    opened_by_newer.write(at(200))
    monkeypatch.setattr(module, "FORMAT", 1)
    ours = Checkpoints(store, "shard-0")
    with pytest.raises(ForeignCheckpoint, match="has format 2, this version reads"):
        ours.latest(OURS)
    assert ours.latest(OURS, allow_cold_start=True).checkpoint is None
    ours.write(at(5))
    assert Checkpoints(store, "shard-0").latest(OURS).checkpoint == at(5)
