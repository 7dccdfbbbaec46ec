import os
import signal
import subprocess
import sys
from contextlib import suppress

import pytest

from detector.sinks.console import ConsoleSink
from detector.sinks.delivery import Retry
from detector.sinks.segments import Record


def records(first: int, end: int, size: int = 10) -> list[Record]:
    return [Record(number, "alert", b'{"n":%d,"fill":"%s"}' % (number, b"x" * size)) for number in range(first, end)]


def text(what: list[Record]) -> bytes:
    return b"".join(record.payload + b"\n" for record in what)


@pytest.fixture
def pipe():
    """The ends of a pipe: to read, to write."""
    ends = os.pipe()
    yield ends
    for end in ends:
        with suppress(OSError):  # a test closed it
            os.close(end)


def everything(end: int) -> bytes:
    os.set_blocking(end, False)
    content = b""
    try:
        while piece := os.read(end, 1 << 20):
            content += piece
    except BlockingIOError:
        pass
    return content


def test_records_are_lines(pipe):
    ConsoleSink(pipe[1]).send(records(0, 3))
    assert everything(pipe[0]) == text(records(0, 3))


def test_it_is_standard_output():
    program = (
        "from detector.sinks.console import ConsoleSink; from detector.sinks.segments import Record;"
        "sink = ConsoleSink(); sink.send([Record(0, 'alert', b'{}')]); sink.close(); print('still open')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, timeout=60)
    assert done.stdout == b"{}\nstill open\n"


def test_a_reader_that_is_gone_is_tried_again(pipe):
    assert signal.getsignal(signal.SIGPIPE) == signal.SIG_IGN  # as Python starts
    os.close(pipe[0])
    with pytest.raises(Retry, match="Broken pipe") as raised:
        ConsoleSink(pipe[1]).send(records(0, 3))
    assert raised.value.taken == 0


@pytest.mark.parametrize("blocking", [True, False])
@pytest.mark.parametrize("size", [100, 3000, 10_000, 100_000])
def test_a_reader_that_is_slow_gets_every_line_whole_and_once(pipe, blocking, size):
    os.set_blocking(pipe[1], blocking)
    sink = ConsoleSink(pipe[1], seconds=0.01)
    left = records(0, 200_000 // size + 2, size)
    expected, got, tries = text(left), b"", 0
    while left:
        try:
            sink.send(left)
            left = []
        except Retry as problem:
            left = left[problem.taken :]
            tries += 1
        got += everything(pipe[0])
    assert got == expected
    assert tries >= 2
