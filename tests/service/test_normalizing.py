"""A process that normalizes: what it says of what it reads, and where it begins again when a turn fails."""

import threading
from hashlib import sha256
from unittest.mock import Mock

import numpy as np
import orjson
import pytest

from detector.errors import StorageFailed
from detector.metrics import Metrics
from detector.records import merge
from detector.service import normalizing
from detector.service.decoding import TOO_LARGE
from detector.service.health import Health
from detector.service.normalizing import Normalizer
from detector.service.settings import ServiceSettings
from detector.sinks.kafka_turns import TooLarge
from detector.sources.kafka_events import Gap
from detector.sources.kafka_group import Committed
from detector.sources.kafka_merge import Arrival, Damaged, Partition
from detector.sources.record_batches import Records
from detector.sources.runs import decode
from tests.service.test_stages import HEADER, row

AT = Partition("ntlm", 0)
TIME = 1_700_000_000_000
LIMIT = 150_000  # bytes of a record of the topic of rows


class Source:
    """In place of `ShareSource`, on a list of values."""

    def __init__(self, *_):
        self.values, self.events_, self.at, self.asked, self.begin = [], [], {}, 0.0, 0
        self.provided = 0

    def provide(self):
        self.provided += 1

    def topic_ids(self):
        return {AT.topic: "id"}

    def start(self, _at, where=""):
        return {"": 0, "earliest": 0}[where]

    def hold(self, positions):
        self.at |= positions

    def release(self, partitions):
        for at in partitions:
            del self.at[at]

    def rows_of(self, at):
        return at._replace(topic=f"rows.{at.topic}")

    def poll(self, _seconds):
        if AT not in self.at or self.at[AT] >= len(self.values):
            return []
        begin, values = self.at[AT], self.values[self.at[AT] :]
        self.at[AT] = len(self.values)
        lengths = np.array([len(value) for value in values], np.int64)
        offsets = np.arange(begin, len(self.values), dtype=np.int64)
        records = Records(
            b"".join(values), np.cumsum(lengths) - lengths, lengths, offsets, TIME + offsets, len(self.values), 0
        )
        return [Arrival(AT, records, (TIME + offsets) * 1000, damaged=self.damaged(begin))]

    def damaged(self, begin):
        return None

    def events(self):
        out, self.events_ = self.events_, []
        return out

    def positions(self):
        return dict(self.at)

    def idle(self):
        return dict.fromkeys(self.at, self.asked)

    def lag(self):
        return {}

    def close(self):
        pass


class Group:
    """In place of `Member` and `Turns`: what is committed, and the records of the topic of rows."""

    stable = True

    def __init__(self):
        self.committed_, self.rows, self.fail, self.ours, self.lost = None, [], 0, {AT}, set()

    def __call__(self, *_):
        return self

    def share(self, _seconds):
        lost, self.lost = self.lost, set()
        return set(self.ours), lost

    def committed(self, partitions):
        return dict.fromkeys(partitions, self.committed_)

    def metadata(self):
        return "we"

    def take(self, rows, offsets, member, *, singly=False):
        assert member == "we"
        if self.fail:
            self.fail -= 1
            raise StorageFailed("no")
        self.rows += [decode(each.value, AT) for each in rows]
        [(at, (offset, note))] = offsets.items()
        assert at == AT
        self.committed_ = Committed(offset, note)
        return TIME

    def close(self):
        pass


@pytest.fixture
def made(monkeypatch, tmp_path):
    """(normalizer, source, group), and a way to go round once."""
    source, group = Source(), Group()
    monkeypatch.setattr(normalizing, "ShareSource", lambda *_: source)
    monkeypatch.setattr(normalizing, "Member", group)
    monkeypatch.setattr(normalizing, "Turns", group)
    monkeypatch.setattr(normalizing, "_RETRY_SECONDS", 0.0)
    monkeypatch.setattr(normalizing, "_MARK_SECONDS", 0.0)
    wish = {"kafka": {"bootstrap": "nowhere:9092", "topics": ["ntlm"]}, "state": {"url": str(tmp_path / "state")}}
    settings = ServiceSettings.model_validate(wish | {"outbox": {"folder": tmp_path / "outbox"}})
    metrics = Metrics("tests", "")
    subject = Normalizer(settings, metrics, Health())
    subject.counted = lambda name: metrics.registry.get_sample_value(f"eastwest_{name}_total")

    def once():
        subject._share()
        subject._turn(threading.Event())

    yield subject, source, group, once
    subject._worker.shutdown()


def ends(runs):
    return [(run.first, run.next_offset, len(run), run.cut) for run in runs]


def test_what_is_read_is_told_and_committed_with_what_the_decoder_keeps(made):
    subject, source, group, once = made
    source.values = [*HEADER, row(0), row(1), b"{"]
    once()
    assert ends(group.rows) == [(0, 10, 10, False)]
    assert group.rows[0].decoded.operations["user"].to_list() == ["u0", "u1"]
    assert [each.position for each in group.rows[0].decoded.rejects] == [9]
    assert group.committed_.offset == 10
    assert source.provided == 1
    subject._let_go({AT})
    source.values.append(row(2))
    once()
    assert ends(group.rows[1:]) == [(10, 11, 1, False)]
    assert group.rows[-1].decoded.operations["user"].to_list() == ["u2"]  # its header was noted


def test_a_turn_that_fails_is_taken_again(made):
    subject, source, group, once = made
    source.values, group.fail = [*HEADER, row(0)], 1
    once()
    assert group.rows == []
    assert subject.counted("turns_failed") == 1
    once()
    assert ends(group.rows) == [(0, 8, 8, False)]


def test_partitions_that_were_lost_begin_where_the_last_owner_stood(made):
    subject, source, group, once = made
    source.values = [*HEADER, row(0)]
    once()
    group.lost, group.committed_ = {AT}, group.committed_._replace(offset=3)
    once()
    assert ends(group.rows[1:]) == [(3, 8, 5, False)]
    assert subject.counted("rebalances") == 1
    group.ours = set()
    once()
    assert source.at == {}


def test_offsets_that_one_process_committed_are_no_beginning(made):
    _, source, group, once = made
    source.values, group.committed_ = [*HEADER, row(0)], Committed(7, "")
    once()
    assert ends(group.rows) == [(0, 8, 8, False)]


def test_idle_partitions_are_told_with_a_time_of_the_brokers(made):
    _, source, group, once = made
    source.values = [row(0)]
    once()
    subject_clock = made[0]._clock
    source.asked = subject_clock[1] + 2.5
    once()
    assert ends(group.rows[1:]) == [(1, 1, 0, False)]
    assert group.rows[-1].frontier == TIME + 2500
    once()
    assert len(group.rows) == 2  # it was not asked again


def test_gaps_cuts_and_damage_are_passed_on(made):
    subject, source, group, once = made
    source.values = [row(0)] * 4
    once()
    source.values, source.at[AT] = [row(0)] * 10, 8
    source.events_ = [Gap(AT, 4, 8, 4)]
    source.damaged = lambda begin: Damaged(begin, begin, "checksum")
    once()
    source.values, source.at[AT], source.damaged = [row(0)] * 7, 6, lambda begin: None
    once()
    assert ends(group.rows) == [(0, 4, 4, False), (8, 10, 2, False), (6, 6, 0, True), (6, 7, 1, False)]
    assert [run.damaged is not None for run in group.rows] == [False, True, False, False]
    assert subject.counted("gap_rows") == 4


def test_what_is_too_large_is_told_in_pieces_and_one_record_alone_is_a_dead_letter(made, monkeypatch):
    """Nothing else changes: each other row is there, and what was counted is counted once."""
    _, source, group, once = made
    turns, take = [], group.take

    def bounded(rows, offsets, member, *, singly):
        """As kafka-python: what waits behind a record that is refused ends with the same error."""
        places = [place for place, each in enumerate(rows) if len(each.value) > LIMIT]
        turns.append(len(rows))
        if places:
            raise TooLarge(places[:1] if singly else [*range(places[0], len(rows))])
        return take(rows, offsets, member)

    monkeypatch.setattr(group, "take", bounded)
    large = b"\n".join(row(number) for number in range(1000, 2000))
    source.values = [*HEADER, row(0), large, row(1), b"{", row(2)]
    once()
    assert turns[0] == 1  # all of it was one run
    whole = merge([run.decoded for run in group.rows])
    assert whole.operations["user"].to_list() == ["u0", "u1", "u2"]
    assert whole.filtered.total() == len(HEADER)
    assert [(each.position, each.reason == TOO_LARGE) for each in whole.rejects] == [(8, True), (10, False)]
    letter = orjson.loads(whole.rejects[0].letter)
    assert (letter["offset"], letter["lines"], letter["size"]) == (8, 1000, len(large))
    assert letter["sha256"] == sha256(large).hexdigest()
    assert [run.first for run in group.rows][1:] == [run.next_offset for run in group.rows][:-1]
    assert group.committed_.offset == 12


def test_a_topic_that_does_not_even_take_dead_letters_fails_the_turn(made, monkeypatch):
    subject, source, group, once = made
    source.values = [row(0)]
    monkeypatch.setattr(group, "take", Mock(side_effect=TooLarge([0])))
    once()
    assert subject.counted("turns_failed") == 1
    assert group.rows == []


def test_much_becomes_several_runs(made, monkeypatch):
    _, source, group, once = made
    monkeypatch.setattr(normalizing, "_RUN_RECORDS", 4)
    monkeypatch.setattr(normalizing, "_RUN_BYTES", 150)
    source.values = [*HEADER, *map(row, range(9))]
    once()
    assert [run.first for run in group.rows][1:] == [run.next_offset for run in group.rows][:-1]
    assert max(map(len, group.rows)) <= 4
    assert sum(map(len, group.rows)) == 16
