import errno
import os
import random
from pathlib import Path
from unittest.mock import patch

import pytest

from detector.sinks import lines as module
from detector.sinks.delivery import Retry
from detector.sinks.file import FileSink
from detector.sinks.segments import Record


def records(*numbers: int) -> list[Record]:
    return [Record(number, "alert", b'{"n":%d}' % number) for number in numbers]


def lines(*numbers: int) -> bytes:
    return b"".join(b'{"n":%d}\n' % number for number in numbers)


def open_under(folder: Path) -> int:
    """Descriptors of this process that lead into `folder`; those of other tests come and go as they are collected."""
    return sum(os.path.realpath(entry).startswith(f"{folder}/") for entry in Path("/proc/self/fd").iterdir())


@pytest.fixture
def path(tmp_path):
    return tmp_path / "alerts.ndjson"


@pytest.fixture
def sink(path):
    sink = FileSink(path)
    yield sink
    sink.close()


def test_records_are_lines_that_only_the_owner_reads(sink, path):
    umask = os.umask(0)
    try:
        sink.send(records(0, 1))
    finally:
        os.umask(umask)
    sink.send(records(2))
    assert path.read_bytes() == lines(0, 1, 2)
    assert path.stat().st_mode & 0o777 == 0o600


def test_lines_are_on_the_disk_before_it_returns(sink, path):
    synced = []
    real = os.fsync

    def fsync(file):
        synced.append(Path(f"/proc/self/fd/{file}").readlink())
        real(file)

    with patch.object(module.os, "fsync", fsync):
        sink.send(records(0))
        assert synced == [path.parent, path]  # the folder too, since the file is new
        sink.send(records(1, 2))
    assert synced == [path.parent, path, path]


def test_what_was_there_stays(path):
    path.write_bytes(b"another's line\n")
    path.chmod(0o644)
    FileSink(path).send(records(0))
    assert path.read_bytes() == b"another's line\n" + lines(0)
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_rotated_file_is_made_again(sink, path):
    sink.send(records(0))
    path.rename(path.with_suffix(".1"))
    sink.send(records(1))
    path.unlink()
    sink.send(records(2))
    sink.send(records(3))
    assert path.with_suffix(".1").read_bytes() == lines(0)
    assert path.read_bytes() == lines(2, 3)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_was_replaced_is_followed(sink, path):
    sink.send(records(0))
    path.rename(path.with_suffix(".1"))
    path.write_bytes(b"")
    sink.send(records(1))
    assert path.read_bytes() == lines(1)


def test_a_file_that_was_emptied_is_gone_on_with(sink, path):
    """logrotate's copytruncate."""
    sink.send(records(0, 1))
    os.truncate(path, 0)
    sink.send(records(2))
    assert path.read_bytes() == lines(2)


def test_no_descriptor_is_left_open(sink, path):
    sink.send(records(0))
    before = open_under(path.parent)
    for number in range(20):
        path.rename(path.with_suffix(f".{number}"))
        sink.send(records(number))
    assert open_under(path.parent) == before


@pytest.mark.parametrize(
    ("there", "mended"),
    [
        (b"", b""),
        (lines(0), lines(0)),
        (lines(0) + b'{"n":', lines(0)),
        (b'{"n":', b""),
        (lines(0) + b"CEF:0|eastw", lines(0)),
        (b"LEEF:2.0|", b""),
        (lines(0) + b"{" + b"x" * 200_000, lines(0)),
        (lines(0) + bytes(100), lines(0)),  # its length came to the disk, its content not
        (b"another's", b"another's\n"),
        (lines(0) + b"another's", lines(0) + b"another's\n"),
    ],
)
def test_the_beginning_of_a_line_is_cut_off(sink, path, there, mended):
    path.write_bytes(there)
    sink.send(records(7))
    assert path.read_bytes() == mended + lines(7)


def test_a_full_disk_is_tried_again_and_leaves_no_part(sink, path):
    sink.send(records(0))

    def full(file, content):
        os.write(file, content[:12])
        raise OSError(errno.ENOSPC, "No space left on device")

    with patch.object(module, "write_all", full), pytest.raises(Retry, match="No space left") as raised:
        sink.send(records(1, 2))
    assert raised.value.taken == 0
    assert path.read_bytes() == lines(0)
    sink.send(records(1, 2))
    assert path.read_bytes() == lines(0, 1, 2)


def test_after_an_fsync_that_failed_lines_are_written_anew(sink, path):
    with (
        patch.object(module.os, "fsync", side_effect=OSError(errno.EIO, "Input/output error")),
        pytest.raises(Retry, match="Input/output"),
    ):
        sink.send(records(0))
    assert path.read_bytes() == b""
    sink.send(records(0))
    assert path.read_bytes() == lines(0)


def test_a_failure_after_the_file_was_emptied_adds_nothing(sink, path):
    sink.send(records(0, 1))

    def emptied(file, content):
        os.truncate(path, 0)
        raise OSError(errno.ENOSPC, "No space left on device")

    with patch.object(module, "write_all", emptied), pytest.raises(Retry):
        sink.send(records(2))
    assert path.read_bytes() == b""


def test_a_folder_that_is_missing_is_tried_again(tmp_path):
    sink = FileSink(tmp_path / "later" / "alerts.ndjson")
    with pytest.raises(Retry, match=r"alerts\.ndjson: No such file"):
        sink.send(records(0))
    (tmp_path / "later").mkdir()
    sink.send(records(0))
    assert (tmp_path / "later" / "alerts.ndjson").read_bytes() == lines(0)


def test_what_is_no_file_is_not_written_to(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Retry, match="is no regular file"):
        FileSink(tmp_path / "pipe").send(records(0))


@pytest.mark.parametrize("count", [2_000, pytest.param(100_000, marks=pytest.mark.faults)])
def test_none_is_lost_and_none_changed_on_a_bad_disk(path, count):
    """Every seventh write finds no room after a part, every eleventh fsync fails, the file is rotated now and then, and
    the process dies within a line."""
    chance, sink, done = random.Random(6), FileSink(path), 0
    write_all, fsync = module.write_all, os.fsync

    def full(file, content):
        if chance.random() < 1 / 7:
            write_all(file, content[: chance.randrange(len(content))])
            raise OSError(errno.ENOSPC, "No space left on device")
        write_all(file, content)

    def failing(file):
        if chance.random() < 1 / 11:
            raise OSError(errno.EIO, "Input/output error")
        fsync(file)

    faults = 0
    with patch.object(module, "write_all", full), patch.object(module.os, "fsync", failing):
        while done < count:
            some = range(done, min(done + chance.randint(1, 60), count))
            try:
                sink.send(records(*some))
            except Retry:
                faults += 1
                continue
            done = some.stop
            if chance.random() < 0.1:
                path.rename(path.with_suffix(f".{done:07d}"))
            elif chance.random() < 0.1:
                sink = died_within(path, sink, b'{"n":%d' % done)
    sink.close()
    parts = [*sorted(path.parent.glob("alerts.0*")), path]
    found = b"".join(part.read_bytes() for part in parts if part.exists())
    print(f"| file | {faults} failed writes, {len(parts) - 1} rotations | {count} | {found.count(10)} |")
    assert faults > 0
    assert len(parts) > 1
    assert found == lines(*range(count))


def died_within(path, sink, part):
    """What is there after a crash in the middle of a line, and the next process's sink."""
    sink.close()
    with path.open("ab") as file:
        file.write(part)
    return FileSink(path)
