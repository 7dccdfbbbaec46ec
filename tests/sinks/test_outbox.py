"""What the outbox says is stored is what was told, in order, after whatever happened."""

import errno
import os
import resource
import threading
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.errors import FolderInUse, StorageFailed
from detector.sinks import outbox as module
from detector.sinks.cursors import Cursor, cursors
from detector.sinks.outbox import Outbox
from detector.sinks.segments import BODY_LIMIT, HEADER, Record, frame
from tests.state.killed import die, dies_at, killed

SMALL = 200  # bytes of a segment: a few records


def told(number: int) -> tuple[str, bytes]:
    return ("alert", "incident", "dead_letter")[number % 3], b"%d " % number * (number % 9)


def tell(box: Outbox, count: int) -> None:
    for _ in range(count):
        box.append(*told(box.next))


def expected(first: int, end: int) -> list[Record]:
    return [Record(number, *told(number)) for number in range(first, end)]


def everything(box: Outbox) -> list[Record]:
    return box.read(0, 1 << 30)


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "outbox"


def filled(folder: Path, count: int, segment_bytes: int = SMALL) -> list[Path]:
    with Outbox(folder, segment_bytes) as box:
        tell(box, count)
        box.sync()
    return sorted(folder.glob("*.segment"))


# --- the sequence ---


def test_records_are_numbered_and_read_when_they_are_on_the_disk(folder):
    with Outbox(folder, SMALL, limit_bytes=1000) as box:
        assert (box.next, box.first, box.end, box.fill) == (0, 0, 0, 0)
        assert box.append("alert", b"one") == 0
        assert box.append("incident", b"") == 1
        assert everything(box) == []
        box.sync()
        assert everything(box) == [Record(0, "alert", b"one"), Record(1, "incident", b"")]
        assert box.read(1, 1) == [Record(1, "incident", b"")]
        assert box.read(2, 5) == box.read(0, 0)[:0] == []
        size = sum(path.stat().st_size for path in folder.glob("*.segment"))
        assert box.fill == size / 1000


@settings(max_examples=40)
@given(
    counts=st.lists(st.integers(0, 40), max_size=5),
    segment_bytes=st.sampled_from([1, 100, 1000, 100_000]),
    begin=st.integers(0, 120),
    limit=st.integers(1, 50),
)
def test_what_was_told_is_read(tmp_path_factory, counts, segment_bytes, begin, limit):
    folder = tmp_path_factory.mktemp("outbox")
    for count in counts:
        with Outbox(folder, segment_bytes) as box:
            tell(box, count)
            box.sync()
            assert box.read(begin, limit) == expected(begin, min(begin + limit, box.end))
    with Outbox(folder, segment_bytes) as box:
        assert everything(box) == expected(0, sum(counts))
        assert box.next == box.durable == sum(counts)
        assert box.counts == module.Counts()


def test_reading_from_marks_within_a_large_segment(folder):
    with Outbox(folder) as box:
        tell(box, 2000)
        box.sync()
        for begin in (0, 255, 256, 257, 511, 1023, 1999):
            for limit in (1, 255, 256, 257, 3000):
                assert box.read(begin, limit) == expected(begin, min(2000, begin + limit))


def test_reading_takes_only_so_many_bytes_at_once(folder, monkeypatch):
    monkeypatch.setattr(module, "READ_BYTES", 25)
    with Outbox(folder) as box:
        for _ in range(5):
            box.append("alert", b"0123456789")
        box.append("alert", b"x" * 99)
        box.sync()
        assert [record.sequence for record in box.read(0, 9)] == [0, 1]
        assert [record.sequence for record in box.read(5, 9)] == [5]


@pytest.mark.parametrize("kind", ["", "two words", "a\nb", "ä"])
def test_a_kind_is_a_word(folder, kind):
    with Outbox(folder) as box, pytest.raises(ValueError, match="no kind"):
        box.append(kind, b"")


def test_a_record_that_could_not_be_read_again_is_not_taken(folder):
    with Outbox(folder) as box:
        with pytest.raises(ValueError, match="longer than"):
            box.append("alert", b"x" * BODY_LIMIT)
        assert box.next == 0


def test_readers_beside_the_writer_see_a_prefix(folder):
    problems = []
    done = threading.Event()
    with Outbox(folder, 2000) as box:

        def reader():
            at = 0
            while not done.is_set() or at < 3000:
                found = box.read(at, 100)
                if found != expected(at, at + len(found)):
                    problems.append(at)
                at += len(found)

        threads = [threading.Thread(target=reader) for _ in range(2)]
        for thread in threads:
            thread.start()
        for _ in range(30):
            tell(box, 100)
            box.sync()
        done.set()
        for thread in threads:
            thread.join(60)
    assert problems == []


# --- one writer ---


def test_a_second_process_is_refused(folder):
    with Outbox(folder), pytest.raises(FolderInUse, match="another process writes to"):
        Outbox(folder)
    Outbox(folder).close()


def test_a_lock_ends_with_its_holder(folder):
    assert killed(lambda: (Outbox(folder), die()))
    Outbox(folder).close()


# --- after a crash ---


@settings(max_examples=80)  # each of some fsync(2)
@given(data=st.data())
def test_any_cut_gives_a_prefix_and_goes_on(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("outbox")
    paths = filled(folder, 12, data.draw(st.sampled_from([1, SMALL, 10_000]), "segment"))
    path = paths[-1]
    content = path.read_bytes()
    path.write_bytes(content[: data.draw(st.integers(0, len(content)), "cut")])
    with Outbox(folder, SMALL) as box:
        kept = box.end
        assert kept >= int(path.stem)
        assert everything(box) == expected(0, kept)
        assert box.counts.damaged_bytes == box.counts.lost == 0
        assert not (folder / "aside").exists()
        tell(box, 20)
        box.sync()
    with Outbox(folder) as box:
        assert everything(box) == expected(0, kept + 20)


@settings(max_examples=80)  # each of some fsync(2)
@given(data=st.data())
def test_any_change_of_a_byte_gives_a_prefix_and_keeps_the_rest_aside(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("outbox")
    paths = filled(folder, 12, data.draw(st.sampled_from([1, SMALL, 10_000]), "segment"))
    path = data.draw(st.sampled_from(paths), "path")
    before = sum(each.stat().st_size for each in paths)
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1), "at")
    content[at] ^= 1 << data.draw(st.integers(0, 7), "bit")
    path.write_bytes(content)
    with Outbox(folder, SMALL) as box:
        kept = box.end
        assert int(path.stem) <= kept < 12
        assert everything(box) == expected(0, kept)
        aside = sum(each.stat().st_size for each in folder.glob("aside/*"))
        left = sum(each.stat().st_size for each in folder.glob("*.segment"))
        assert aside == box.counts.damaged_bytes
        assert box.counts.damaged_bytes or box.counts.torn_bytes
        rewritten = len(HEADER) if at < len(HEADER) else 0
        assert left + aside + box.counts.torn_bytes == before + rewritten
        tell(box, 12 - kept)
        box.sync()
        assert everything(box) == expected(0, 12)
    with Outbox(folder) as box:
        assert box.counts == module.Counts()
        assert everything(box) == expected(0, 12)


def test_damage_in_the_middle_is_not_taken_for_a_torn_end(folder):
    """A length that reaches beyond the end, and whole records behind it."""
    (path,) = filled(folder, 10, 10_000)
    content = bytearray(path.read_bytes())
    third = sum(len(frame(record)) for record in expected(0, 3)) + len(HEADER)
    content[third + 6] = 1  # of the length: 65536 more
    path.write_bytes(content)
    with Outbox(folder) as box:
        assert box.end == 3
        assert box.counts.torn_bytes == 0
        assert box.counts.damaged_bytes == len(content) - third
    (rest,) = (folder / "aside").iterdir()
    assert rest.name == "00000000000000000003.rest"
    assert rest.read_bytes() == content[third:]


def test_zeros_at_the_end_are_torn(folder):
    *_, path = filled(folder, 3, 10_000)
    with path.open("ab") as file:
        file.write(b"\0" * 5000)
    with Outbox(folder) as box:
        assert box.end == 3
        assert box.counts.torn_bytes == 5000


def test_a_frame_counts_only_where_it_belongs(folder):
    """A record written twice, as by a copy of a block, is no new record."""
    *_, path = filled(folder, 3, 10_000)
    with path.open("ab") as file:
        file.write(frame(Record(2, *told(2))))
    with Outbox(folder) as box:
        assert box.end == 3
        assert box.counts.damaged_bytes > 0


STEPS = {
    "write half": lambda: patch.object(
        module, "_write_at", lambda fd, content, at: (os.pwrite(fd, content[: len(content) // 2], at), die())
    ),
    "before fsync": lambda: dies_at("os.fsync", 3),
    "new segment, before rename": lambda: dies_at("pathlib.Path.replace", 2),
    "new segment, after rename": lambda: dies_at("detector.state.stores.sync_folder", 2),
    "new segment, before it is opened": lambda: dies_at("os.open", 6),
    "release": lambda: dies_at("pathlib.Path.unlink", 2),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_killed_writer_goes_on_as_if_nothing_had_been(folder, step):
    filled(folder, 10)
    synced = 10

    def work():
        with Outbox(folder, SMALL) as box:
            tell(box, 20)
            box.sync()
            box.release(25)

    assert killed(work, STEPS[step]())
    with Outbox(folder, SMALL) as box:
        assert box.end >= synced
        assert everything(box) == expected(box.first, box.end)
        box.rewind(synced)
        tell(box, 40)
        box.sync()
        assert box.counts.mismatched == box.counts.unknown == box.counts.damaged_bytes == 0
        assert everything(box) == expected(box.first, 50)
    assert not list(folder.glob("*.tmp")) + list(folder.glob(".*.tmp"))


def test_many_kills_lose_and_change_nothing(folder):
    """The service's own loop: open, go on from the last checkpoint, tell, sync, take a checkpoint, be killed."""
    checkpoint = folder.parent / "checkpoint"
    checkpoint.write_text("0")

    def work():
        with Outbox(folder, SMALL) as box:
            box.rewind(int(checkpoint.read_text()))
            for _ in range(6):
                tell(box, 3)
                box.sync()
                checkpoint.write_text(str(box.next))
            assert not box.counts.mismatched + box.counts.unknown + box.counts.damaged_bytes

    kills = 0
    for turn in range(48):
        target = ("os.fsync", "os.pwrite", "os.open", "pathlib.Path.replace")[turn % 4]
        kills += killed(work, dies_at(target, 1 + turn // 4))
    assert kills >= 32
    with Outbox(folder) as box:
        assert box.end > 100
        assert everything(box) == expected(0, box.end)


# --- made again ---


def test_what_is_made_again_is_compared_and_the_stored_stays(folder):
    filled(folder, 10)
    with Outbox(folder, SMALL) as box:
        box.rewind(4)
        assert box.append(*told(4)) == 4
        assert box.append("alert", b"other") == 5
        assert box.append("alert", told(6)[1]) == 6  # of the same kind
        assert box.append("incident", told(7)[1] + b" ") == 7
        tell(box, 5)
        box.sync()
        assert everything(box) == expected(0, 13)
        assert box.next == 13
        counts = box.counts
        assert (counts.repeated, counts.mismatched, counts.unknown, counts.appended) == (4, 2, 0, 3)
        assert [(each.stored.sequence, each.made.payload) for each in box.mismatches] == [
            (5, b"other"),
            (7, told(7)[1] + b" "),
        ]
        assert box.mismatches[0].stored == expected(5, 6)[0]


def test_a_number_behind_the_end_is_a_gap(folder):
    filled(folder, 5)
    with Outbox(folder, SMALL) as box:
        box.rewind(8)
        assert box.counts.lost == 3
        tell(box, 2)
        box.sync()
        assert everything(box) == expected(0, 5) + expected(8, 10)
    with Outbox(folder, SMALL) as box:
        assert everything(box) == expected(0, 5) + expected(8, 10)
        assert box.read(6, 1) == expected(8, 9)
        box.rewind(4)
        tell(box, 7)
        assert (box.counts.repeated, box.counts.unknown, box.counts.appended) == (3, 3, 1)


def test_an_empty_folder_begins_where_the_checkpoint_stands(folder):
    with Outbox(folder) as box:
        box.rewind(1000)
        tell(box, 1)
        box.sync()
        assert box.counts.lost == 1000
    with Outbox(folder) as box:
        assert (box.first, box.end) == (1000, 1001)


# --- let go ---


def test_segments_go_when_nobody_needs_them(folder):
    with Outbox(folder, SMALL) as box:
        slow, fast = Cursor(folder, "slow"), Cursor(folder, "fast")
        tell(box, 50)
        box.sync()
        fast.advance(50)
        box.release(50)
        assert box.first == 0
        slow.advance(30)
        box.release(20)
        assert 10 < box.first <= 20
        assert everything(box) == expected(box.first, 50)
        box.release(50)
        assert 20 < box.first <= 30
        slow.remove()
        box.release(50)
        assert 30 < box.first < 50  # the last segment stays: its name is the number
        assert len(list(folder.glob("*.segment"))) == 1
        assert cursors(folder) == {"fast": 50}
    with Outbox(folder) as box:
        assert box.end == 50


def test_cursors_survive_and_a_damaged_one_begins_again(folder):
    assert Cursor(folder, "siem", start=7).done == 7
    cursor = Cursor(folder, "siem")
    cursor.advance(12)
    with pytest.raises(ValueError, match="cannot go back"):
        cursor.advance(11)
    again = Cursor(folder, "siem", start=99)
    assert (again.done, again.damaged) == (12, False)
    path = folder / "cursors" / "siem"
    content = path.read_bytes()
    for at in range(len(content)):
        for bit in range(8):
            flipped = bytearray(content)
            flipped[at] ^= 1 << bit
            path.write_bytes(flipped)
            assert cursors(folder) == {"siem": 0}
    damaged = Cursor(folder, "siem")
    assert (damaged.done, damaged.damaged) == (0, True)
    assert Cursor(folder, "siem").damaged is False


@pytest.mark.parametrize("step", ["pathlib.Path.replace", "detector.state.stores.sync_folder"])
def test_a_killed_cursor_is_the_old_or_the_new(folder, step):
    Cursor(folder, "siem").advance(3)
    assert killed(lambda: Cursor(folder, "siem").advance(9), dies_at(step))
    assert Cursor(folder, "siem").done == (3 if "replace" in step else 9)
    assert cursors(folder).keys() == {"siem"}


@pytest.mark.parametrize("name", ["", "../x", "A", "a b", ".x"])
def test_a_name_of_a_reader(folder, name):
    with pytest.raises(ValueError, match="no name"):
        Cursor(folder, name)


# --- broken disks ---


def test_a_full_disk_is_told_and_gone_on_with(folder):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Outbox(folder, 10_000) as box:
        tell(box, 5)
        box.sync()
        resource.setrlimit(resource.RLIMIT_FSIZE, (400, hard))
        try:
            with pytest.raises(StorageFailed, match=r"cannot write the outbox .*: File too large"):
                box.append("alert", b"x" * 1000)
            assert box.next == 5
            (path,) = folder.glob("*.segment")
            assert path.stat().st_size == len(HEADER) + sum(len(frame(each)) for each in expected(0, 5))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        tell(box, 5)
        box.sync()
        assert everything(box) == expected(0, 10)
    with Outbox(folder) as box:
        assert everything(box) == expected(0, 10)


def test_what_could_not_be_cut_back_is_written_over(folder):
    with Outbox(folder, 10_000) as box:
        tell(box, 5)
        with patch("os.ftruncate", side_effect=OSError(errno.EIO, "I/O error")), patch("os.pwrite", _half):
            for _ in range(2):
                with pytest.raises(StorageFailed, match="I/O error"):
                    box.append("alert", b"x" * 300)
        tell(box, 50)
        box.sync()
        assert everything(box) == expected(0, 55)
    with Outbox(folder) as box:
        assert everything(box) == expected(0, 55)
        assert box.counts.damaged_bytes == 0


def _half(descriptor, content, offset, real=os.pwrite):
    if len(content) < 100:
        raise OSError(errno.EIO, "I/O error")
    return real(descriptor, content[:99], offset)


def test_after_a_failed_fsync_all_is_written_again(folder):
    with Outbox(folder, 10_000) as box:
        tell(box, 5)
        with patch("os.fsync", side_effect=OSError(errno.EIO, "I/O error")):
            with pytest.raises(StorageFailed, match="I/O error"):
                box.sync()
            assert everything(box) == []
        written = []
        with patch("os.pwrite", lambda fd, content, at, real=os.pwrite: (written.append(at), real(fd, content, at))[1]):
            box.sync()
            box.sync()
        assert written == [0]
        assert everything(box) == expected(0, 5)


def test_damage_that_comes_later_is_told_and_mended_by_a_start(folder):
    with Outbox(folder, 10_000) as box:
        tell(box, 9)
        box.sync()
        (path,) = folder.glob("*.segment")
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        with pytest.raises(StorageFailed, match="record 8 is damaged"):
            box.read(0, 100)
        assert box.read(0, 8) == expected(0, 8)
    with Outbox(folder, 10_000) as box:
        assert box.end == 8
        assert box.counts.damaged_bytes == len(frame(expected(8, 9)[0]))
