import json
import re
import threading
import time

import pytest

from detector.errors import StorageFailed
from detector.renderings.kinds import RENDERINGS
from detector.sinks import delivery as module
from detector.sinks.cursors import Cursor, cursors
from detector.sinks.delivery import (
    FIRST_SECONDS,
    GRACE_SECONDS,
    MOST_AFTER_SECONDS,
    MOST_SECONDS,
    Aside,
    Delivery,
    Refused,
    Retry,
    retire,
    stop_all,
)
from detector.sinks.messages import Message, as_stored, rendering
from detector.sinks.outbox import Outbox
from detector.sinks.segments import Record
from tests.sinks.conftest import alert_line, payload, told_alert


class Other:
    """The other side: takes all, or does first what it is told."""

    def __init__(self, *does):
        self.does, self.calls, self.got, self.closed = list(does), [], [], False

    def send(self, records):
        self.calls.append(len(records))
        act = self.does.pop(0) if self.does else None
        if isinstance(act, Retry):
            self.got += records[: act.taken]
        elif isinstance(act, Refused):
            self.got += records[: act.index]
        if act is not None:
            raise act
        self.got += records

    def close(self):
        self.closed = True

    @property
    def numbers(self):
        return [record.sequence for record in self.got]


class Slow(Other):
    """It is stuck until it is let go."""

    def __init__(self):
        super().__init__()
        self.stuck, self.go = threading.Event(), threading.Event()

    def send(self, records):
        self.stuck.set()
        assert self.go.wait(20)
        super().send(records)


@pytest.fixture
def problems():
    return []


@pytest.fixture
def deliver(outbox, problems):
    """A delivery of which tests make the steps; its clock stands, and its jitter is the most there can be."""

    def make(sink, name="siem", **how):
        told = {"now": lambda: 1000.0, "spread": lambda: 1.0} | how
        return Delivery(name, sink, outbox, lambda *problem: problems.append(problem), **told)

    return make


def until(true):
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.002)


# --- one try after the other ---


def test_all_records_arrive_in_order_and_the_cursor_follows(deliver, fill, outbox, problems):
    fill(25)
    sink = Other()
    delivery = deliver(sink, batch=10)
    assert [delivery.step() for _ in range(4)] == [0, 0, 0, None]
    assert sink.calls == [10, 10, 5]
    assert sink.got == [as_stored(record) for record in outbox.read(0, 100)]
    assert cursors(outbox.folder) == {"siem": 25}
    assert (delivery.progress.waiting, delivery.progress.delivered, delivery.progress.last_success) == (0, 25, 1000)
    fill(1)
    assert delivery.progress.waiting == 1
    assert (delivery.step(), sink.numbers[-1]) == (0, 25)
    assert problems == []


def test_what_is_not_durable_is_not_sent(deliver, outbox):
    outbox.append("alert", b"{}")
    sink = Other()
    assert deliver(sink).step() is None
    assert sink.calls == []


def test_pauses_double_up_to_a_minute_and_begin_anew_after_a_success(deliver, fill):
    fill(1)
    sink = Other(*(Retry("down") for _ in range(10)))
    delivery = deliver(sink)
    pauses = [delivery.step() for _ in range(10)]
    assert pauses[:4] == [FIRST_SECONDS, 2 * FIRST_SECONDS, 4 * FIRST_SECONDS, 8 * FIRST_SECONDS]
    assert pauses[-2:] == [MOST_SECONDS, MOST_SECONDS]
    assert (delivery.progress.retries, delivery.progress.failing_since, delivery.progress.problem) == (10, 1000, "down")
    assert delivery.step() == 0
    assert delivery.progress.failing_since is None
    fill(1)
    sink.does = [Retry("down")]
    assert delivery.step() == FIRST_SECONDS


def test_a_thousand_failures_are_no_overflow(deliver, fill):
    fill(1)
    delivery = deliver(Other(*(Retry("down") for _ in range(1100))))
    assert max(delivery.step() for _ in range(1100)) == MOST_SECONDS


def test_jitter_is_anywhere_below_the_longest_pause(deliver, fill):
    fill(1)
    spread = iter([0.0, 0.5, 0.25])
    delivery = deliver(Other(*(Retry("down") for _ in range(3))), spread=lambda: next(spread))
    assert [delivery.step() for _ in range(3)] == [0, 0.5 * 2 * FIRST_SECONDS, 0.25 * 4 * FIRST_SECONDS]


def test_the_other_side_may_ask_for_a_longer_pause_within_reason(deliver, fill):
    fill(1)
    delivery = deliver(Other(Retry("429", after=90), Retry("429", after=0.1), Retry("429", after=1e9)))
    assert [delivery.step() for _ in range(3)] == [90, 2 * FIRST_SECONDS, MOST_AFTER_SECONDS]


def test_a_part_that_was_taken_is_not_sent_again(deliver, fill, outbox):
    fill(5)
    sink = Other(Retry("full", taken=3))
    delivery = deliver(sink)
    assert delivery.step() == FIRST_SECONDS
    assert cursors(outbox.folder) == {"siem": 3}
    delivery.step()
    assert sink.numbers == [0, 1, 2, 3, 4]
    assert (delivery.progress.delivered, delivery.progress.retries) == (5, 1)


def test_a_refused_record_is_set_aside_and_the_others_go_on(deliver, fill, outbox, problems):
    fill(5)
    sink = Other(Refused(2, "too large"))
    delivery = deliver(sink)
    assert [delivery.step(), delivery.step(), delivery.step()] == [0, 0, None]
    assert sink.numbers == [0, 1, 3, 4]
    aside = (outbox.folder / "refused" / "siem.ndjson").read_text().splitlines()
    assert [json.loads(line) for line in aside] == [
        {"sequence": 2, "kind": "alert", "reason": "too large", "record": '{"alert_id":"id-2","revision":0}'}
    ]
    progress = delivery.progress
    assert (progress.delivered, progress.refused, progress.retries, progress.waiting) == (4, 1, 0, 0)
    assert problems == [("siem", "refused record 2: too large")]


def test_a_record_is_not_given_up_before_it_is_set_aside(deliver, fill, outbox, problems):
    fill(1)
    (outbox.folder / "refused").write_text("in the way")
    delivery = deliver(Other(Refused(0, "never"), Refused(0, "never")))
    assert delivery.step() == FIRST_SECONDS
    assert (delivery.progress.waiting, delivery.progress.refused) == (1, 0)
    assert "refused" in problems[0][1]
    (outbox.folder / "refused").unlink()
    assert delivery.step() == 0
    assert (delivery.progress.waiting, delivery.progress.refused) == (0, 1)


def test_the_file_of_refused_records_is_bounded(tmp_path):
    aside = Aside(tmp_path / "siem.ndjson", limit_bytes=1000)
    for number in range(100):
        aside.add(Record(number, "alert", b'{"a":"\xff"}'), "never")
    aside.close()
    kept = [*tmp_path.iterdir()]
    assert sorted(path.name for path in kept) == ["siem.ndjson", "siem.ndjson.1"]
    assert all(path.stat().st_size < 1200 for path in kept)
    assert json.loads((tmp_path / "siem.ndjson").read_text().splitlines()[-1])["sequence"] == 99


def test_a_mistake_in_a_sink_is_a_try_that_failed_and_is_told(deliver, fill, problems):
    fill(1)
    sink = Other(ZeroDivisionError("oops"))
    delivery = deliver(sink)
    assert delivery.step() == FIRST_SECONDS
    assert problems == [("siem", "ZeroDivisionError: oops")]
    assert delivery.step() == 0
    assert sink.numbers == [0]


def test_a_mistake_of_who_is_told_does_no_harm(outbox, fill):
    fill(1)

    def fail(*problem):
        raise ZeroDivisionError

    assert Delivery("siem", Other(Retry("down")), outbox, fail, spread=lambda: 1.0).step() == FIRST_SECONDS


def test_while_its_cursor_cannot_be_written_nothing_more_is_sent_and_nothing_twice(
    deliver, fill, monkeypatch, problems
):
    fill(3)
    sink = Other()
    delivery = deliver(sink, batch=2)
    with monkeypatch.context() as patch:
        patch.setattr(Cursor, "_write", lambda *_: (_ for _ in ()).throw(StorageFailed("disk full")))
        assert delivery.step() == FIRST_SECONDS
        assert delivery.step() == 2 * FIRST_SECONDS
        assert (sink.numbers, delivery.progress.waiting) == ([0, 1], 3)
    assert [delivery.step(), delivery.step()] == [0, None]
    assert (sink.numbers, delivery.progress.waiting) == ([0, 1, 2], 0)
    assert [reason for _, reason in problems] == ["disk full", "disk full"]


def test_numbers_that_are_gone_are_not_waited_for(deliver, outbox, fill):
    fill(3)
    sink = Other()
    delivery = deliver(sink)
    delivery.step()
    outbox.rewind(10)
    assert delivery.step() is None
    assert delivery.progress.waiting == 0
    fill(2)
    delivery.step()
    assert sink.numbers == [0, 1, 2, 10, 11]


def test_a_new_sink_begins_with_the_oldest_record_that_is_stored(deliver, outbox, fill):
    outbox.rewind(7)
    fill(2)
    sink = Other()
    delivery = deliver(sink)
    assert delivery.progress.waiting == 2
    delivery.step()
    assert sink.numbers == [7, 8]


def test_a_damaged_cursor_is_told_and_sends_all_again(deliver, outbox, fill, problems):
    fill(2)
    deliver(Other()).step()
    (outbox.folder / "cursors" / "siem").write_text("rubbish")
    sink = Other()
    delivery = deliver(sink)
    delivery.step()
    assert sink.numbers == [0, 1]
    assert re.search("damaged", problems[0][1])


def test_cursors_of_sinks_that_are_no_more_are_forgotten(deliver, outbox, fill):
    fill(3)
    deliver(Other(), "old", batch=1).step()
    deliver(Other(), "new").step()
    assert retire(outbox, ["new"]) == {"old": 2}
    assert cursors(outbox.folder) == {"new": 3}


# --- renderings ---


def test_what_is_sent_is_rendered_and_what_is_kept_is_not(deliver, fill, outbox):
    fill(3)
    sink = Other()
    delivery = deliver(sink, render=lambda record: Message(record.sequence, record.kind, b"<%d>" % record.sequence))
    delivery.step()
    assert [record.payload for record in sink.got] == [b"<0>", b"<1>", b"<2>"]
    assert outbox.read(0, 1)[0].payload == payload(0)


def test_a_record_that_cannot_be_rendered_is_set_aside_and_holds_up_nothing(deliver, fill, outbox, problems):
    def render(record):
        if record.sequence in {0, 3}:
            raise KeyError("severity")
        return as_stored(record)

    fill(5)
    sink = Other()
    delivery = deliver(sink, render=render)
    assert [delivery.step() for _ in range(5)] == [0, 0, 0, 0, None]
    assert sink.numbers == [1, 2, 4]
    aside = (outbox.folder / "refused" / "siem.ndjson").read_text().splitlines()
    assert [json.loads(line)["sequence"] for line in aside] == [0, 3]
    assert problems[0] == ("siem", "refused record 0: cannot be rendered: KeyError: 'severity'")
    assert (delivery.progress.delivered, delivery.progress.refused, delivery.progress.retries) == (3, 2, 0)


def test_no_more_bytes_go_out_at_once_than_are_wanted_but_one_record_always_does(deliver, fill):
    fill(5)
    sink = Other()
    delivery = deliver(sink, batch_bytes=2 * len(payload(0)))
    assert [delivery.step() for _ in range(4)] == [0, 0, 0, None]
    assert (sink.calls, sink.numbers) == ([2, 2, 1], [0, 1, 2, 3, 4])
    fill(2)
    sink.calls.clear()
    small = deliver(sink, "small", batch_bytes=1)
    assert [small.step() for _ in range(7)] == [0] * 7
    assert sink.calls == [1] * 7


@pytest.mark.parametrize("name", RENDERINGS)
def test_each_rendering_makes_a_line_that_tells_what_it_is_about(name):
    told = told_alert(7)
    made = rendering(name)(Record(3, "alert", alert_line(7)))
    assert (made.sequence, made.kind, made.told) == (3, "alert", told)
    assert made.payload == RENDERINGS[name](told)
    assert b"\n" not in made.payload


# --- threads ---


def test_news_wake_it_at_once_and_it_does_not_turn_without(deliver, fill, monkeypatch):
    sink = Other()
    delivery = deliver(sink)
    steps = []
    step = delivery.step
    monkeypatch.setattr(delivery, "step", lambda: steps.append(1) or step())
    delivery.start()
    until(lambda: steps)
    time.sleep(0.05)
    assert len(steps) == 1
    fill(3)
    delivery.wake()
    until(lambda: sink.numbers == [0, 1, 2])
    delivery.wake()
    time.sleep(0.05)
    assert len(steps) <= 3  # the first, one that sent, one that found no more
    assert delivery.stop(5)


def test_a_sink_that_watches_does_so_while_there_is_nothing_to_send(deliver, fill, monkeypatch):
    class Watching(Other):
        looks = 0

        def watch(self):
            self.looks += 1
            if self.looks == 2:
                raise Retry("the other side left")

    monkeypatch.setattr(module, "WATCH_SECONDS", 0.01)
    fill(2)
    sink = Watching()
    feed = deliver(sink)
    feed.start()
    until(lambda: sink.looks > 3)
    assert feed.stop(5)
    assert (feed.progress.retries, feed.progress.failing_since) == (1, None)
    assert sink.numbers == [0, 1]


def test_stop_delivers_what_is_stored_then_closes(deliver, fill):
    fill(50)
    sink = Other()
    delivery = deliver(sink, batch=7)
    delivery.start()
    assert delivery.stop(10)
    assert sink.numbers == [*range(50)]
    assert sink.closed


def test_stop_cuts_a_pause_short_and_tries_once_more(deliver, fill):
    fill(1)
    sink = Other(Retry("down", after=500))
    delivery = deliver(sink)
    delivery.start()
    until(lambda: delivery.progress.retries)
    delivery.wake()  # news do not
    time.sleep(0.02)
    assert sink.calls == [1]
    assert delivery.stop(10)
    assert sink.numbers == [0]


def test_stop_ends_in_time_when_the_other_side_is_down(deliver, fill, outbox):
    fill(1)
    delivery = deliver(Other(*(Retry("down") for _ in range(10_000))), spread=lambda: 0.01)
    delivery.start()
    begun = time.monotonic()
    assert not delivery.stop(0.2)
    assert time.monotonic() - begun < 0.2 + GRACE_SECONDS
    assert cursors(outbox.folder) == {"siem": 0}


def test_a_sink_that_hangs_is_left_behind_and_moves_its_cursor_no_more(deliver, fill, outbox, monkeypatch):
    monkeypatch.setattr(module, "GRACE_SECONDS", 0.05)
    fill(2)
    sink = Slow()
    delivery = deliver(sink)
    delivery.start()
    assert sink.stuck.wait(20)
    assert not delivery.stop(0.05)
    sink.go.set()
    until(lambda: sink.closed)
    assert sink.numbers == [0, 1]
    assert cursors(outbox.folder) == {"siem": 0}


def test_stop_without_a_start_closes_the_sink(deliver, fill):
    fill(1)
    sink = Other()
    assert not deliver(sink).stop(1)
    assert sink.closed


def test_a_slow_sink_does_not_slow_another(deliver, fill):
    slow, quick = Slow(), Other()
    deliveries = [deliver(slow, "slow"), deliver(quick, "quick")]
    for delivery in deliveries:
        delivery.start()
    fill(100)
    for delivery in deliveries:
        delivery.wake()
    until(lambda: len(quick.got) == 100)
    assert slow.got == []
    assert deliveries[0].progress.waiting == 100
    slow.go.set()
    assert stop_all(deliveries, 10) == {"slow": True, "quick": True}
    assert slow.numbers == [*range(100)]


def test_it_reads_while_records_are_appended_and_let_go(tmp_path, problems):
    with Outbox(tmp_path / "outbox", segment_bytes=500) as box:
        sinks = {"one": Other(), "two": Other()}
        deliveries = [
            Delivery(name, sink, box, lambda *problem: problems.append(problem), batch=7)
            for name, sink in sinks.items()
        ]
        for delivery in deliveries:
            delivery.start()
        for number in range(300):
            box.append("alert", b"%d" % number)
            if number % 5 == 0:
                box.sync()
                box.release(number)
                for delivery in deliveries:
                    delivery.wake()
        box.sync()
        assert stop_all(deliveries, 20) == {"one": True, "two": True}
        assert [sink.numbers for sink in sinks.values()] == [[*range(300)]] * 2
        box.release(300)
        assert box.first > 250
    assert problems == []


def test_a_sink_that_cannot_be_closed_is_told(deliver, problems):
    class Bad(Other):
        def close(self):
            raise ZeroDivisionError("oops")

    delivery = deliver(Bad())
    delivery.start()
    assert delivery.stop(5)
    assert problems == [("siem", "cannot be closed: ZeroDivisionError: oops")]
