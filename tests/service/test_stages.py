"""Several processes in front of one, on a real Kafka: the sequence is that of one process, whoever comes and goes."""

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from secrets import token_hex

import orjson
import pytest

from detector.metrics import Metrics, read_exposition
from detector.records import merge
from detector.service.decoding import TOO_LARGE, Decoders
from detector.service.health import Health
from detector.service.kafka_options import source_settings
from detector.service.normalizing import Normalizer
from detector.service.settings import ServiceSettings
from detector.sources.kafka import KafkaSource
from detector.sources.kafka_rows import RowsSource
from tests.kafka.fixtures import abandoned_sockets, kafka, kafka_bootstrap

__all__ = ["kafka", "kafka_bootstrap"]

pytestmark = pytest.mark.kafka
SECONDS = 120.0  # until a test gives up, on however busy a machine
HEADER = [
    b"#separator \\x09",
    b"#set_separator\t,",
    b"#empty_field\t(empty)",
    b"#unset_field\t-",
    b"#path\tntlm",
    b"#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tusername",
    b"#types\ttime\tstring\taddr\tport\taddr\tport\tstring",
]


def settings_of(kafka, topics, folder, **about) -> ServiceSettings:
    wish = {
        "kafka": {"bootstrap": kafka.bootstrap, "topics": topics, "group_id": kafka.prefix, "merge_wait_seconds": 60}
        | about,
        "rows": {"prefix": "rows."},
        "state": {"url": str(folder / "state")},
        "outbox": {"folder": folder / "outbox"},
    }
    return ServiceSettings.model_validate(wish)


def line(number: int) -> bytes:
    if number % 50 == 7:
        return (b"{", b"", b"[]")[number // 50 % 3]
    ends = {"id.orig_h": f"10.0.0.{number % 9}", "id.orig_p": 5000, "id.resp_h": "10.1.0.1", "id.resp_p": 445}
    return orjson.dumps({"_path": "conn", "ts": 1.7e9 + number, "uid": f"C{number}", **ends, "proto": "tcp"})


def row(number: int) -> bytes:
    return f"{1_700_000_000 + number}.5\tC{number}\t10.0.0.1\t5000\t10.1.0.1\t445\tu{number}".encode()


@dataclass
class Told:
    """What a source hands over, decoded: where each record stands, and what became of all of them."""

    places: list = field(default_factory=list)
    parts: dict = field(default_factory=dict)
    events: list = field(default_factory=list)

    def read(self, source, count, decoders=None) -> "Told":
        """At least so many records."""
        end = time.monotonic() + SECONDS
        while len(self.places) < count and time.monotonic() < end:
            self._take(source, decoders)
        assert len(self.places) >= count
        return self

    def read_for(self, source, seconds, until=lambda: False) -> None:
        """What comes within so long, or until something is so."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not until():
            self._take(source, None)

    def _take(self, source, decoders) -> None:
        for each in source.poll(0.2):
            at, records = each.partition, each.records
            self.places += zip([at] * len(records), records.offsets.tolist(), each.times.tolist(), strict=True)
            parts = [records.decoded] if decoders is None else decoders.decode(at, [records])
            self.parts.setdefault(at, []).extend(parts)
        self.events += source.events()

    def rows(self):
        """By partition: frames, rejects and counts."""
        out = {}
        for partition, parts in sorted(self.parts.items()):
            whole = merge(parts)
            rejects = [(each.position, each.reason, each.letter) for each in whole.rejects]
            out[partition] = (whole.flows.to_dicts(), whole.operations.to_dicts(), rejects, whole.filtered, whole.notes)
        return out


class Members:
    """Processes that normalize, as threads."""

    def __init__(self, settings) -> None:
        self.settings, self.running, self.problems, self.counted = settings, {}, [], Counter()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for name in [*self.running]:
            self.leave(name)
        assert self.problems == []

    def join(self, name) -> None:
        stop, metrics = threading.Event(), Metrics("tests", "")

        def work() -> None:
            try:
                Normalizer(self.settings, metrics, Health()).go(stop)
            except BaseException as problem:  # noqa: BLE001 - told by the test
                self.problems.append(problem)

        thread = threading.Thread(target=work, name=name)
        thread.start()
        self.running[name] = (thread, stop, metrics)

    def leave(self, name) -> None:
        thread, stop, metrics = self.running.pop(name)
        stop.set()
        thread.join(SECONDS)
        for sample in read_exposition(metrics.exposition()[0].decode()):
            self.counted[sample.name] += sample.value


@pytest.fixture
def staged(kafka, tmp_path):
    """Topics, and settings for who reads them."""
    topics = [kafka.topic(3), kafka.topic(1)]
    return topics, settings_of(kafka, topics, tmp_path)


def send(kafka, topics, numbers) -> None:
    """A message each, most to the first topic; the second has a table whose header came long ago."""
    with kafka.producer(linger_ms=0) as producer:
        for number in numbers:
            if number == 0:
                for text in HEADER:
                    producer.send(topics[1], text)
            producer.send(topics[0], line(number), partition=number * 7 % 3)
            if number % 5 == 0:
                producer.send(topics[1], row(number))
            if number % 60 == 0:
                producer.flush()
                time.sleep(0.05)


def count(numbers: int) -> int:
    return numbers + len(range(0, numbers, 5)) + len(HEADER)


def expected(settings, numbers) -> Told:
    source = KafkaSource(source_settings(settings.kafka))
    source.begin()
    try:
        return Told().read(source, count(numbers), Decoders(settings))
    finally:
        source.close()


def reader(settings, positions=None, clocks=None) -> RowsSource:
    source = RowsSource(source_settings(settings.kafka, "rows."), "rows.", create=True)
    source.begin(positions, clocks)
    return source


def test_the_sequence_is_that_of_one_process_while_members_come_and_go(kafka, staged):
    """Written while it is read; the reader stops in the middle, and goes on as another."""
    topics, settings = staged
    first = reader(settings)
    with Members(settings) as members:
        members.join("a")
        send(kafka, topics, range(300))
        told = Told().read(first, count(300) // 2)
        positions, clocks = first.positions(), first.clocks()
        first.close()
        members.join("b")
        send(kafka, topics, range(300, 600))
        second = reader(settings, positions, clocks)
        told.read(second, count(400))
        members.leave("a")
        send(kafka, topics, range(600, 700))
        told.read(second, count(700))
        second.close()
    alone = expected(settings, 700)
    assert told.events == alone.events
    assert told.places == alone.places
    assert told.rows() == alone.rows()
    assert len(alone.rows()[(topics[1], 0)][1]) == 140  # all rows of the table were read as such
    assert members.counted["eastwest_normalized_rows_total"] == count(700)
    assert members.counted["eastwest_turns_failed_total"] == 0


def test_a_record_too_large_for_the_topic_of_rows_is_a_dead_letter(kafka, tmp_path):
    """The brokers say what is too large; all around it is told as ever."""
    topic = kafka.topic()
    settings = settings_of(kafka, [topic], tmp_path)
    with kafka.admin() as admin:
        limit = {"message.timestamp.type": "LogAppendTime", "max.message.bytes": "60000"}
        admin.create_topics({f"rows.{topic}": {"num_partitions": 1, "configs": limit}}, wait_for_metadata=True)
    large = b"\n".join(line(8).replace(b'"C8', b'"' + token_hex(16).encode()) for _ in range(3000))
    with kafka.producer() as producer:
        for number in range(8, 208):
            producer.send(topic, large if number in (60, 61) else line(number))
    with abandoned_sockets(), Members(settings) as members:  # a producer is given up for each piece that is too large
        members.join("a")
        source = reader(settings)
        told = Told().read(source, 200)
        source.close()
    assert told.events == []
    [(flows, _, rejects, _, _)] = told.rows().values()
    bad = {52: TOO_LARGE, 53: TOO_LARGE}
    assert [(place, reason) for place, reason, _ in rejects if reason == TOO_LARGE] == [*bad.items()]
    usual = [number for number in range(8, 208) if number not in (60, 61) and number % 50 != 7]
    assert [flow["uid"] for flow in flows] == [f"C{number}" for number in usual]
    assert members.counted["eastwest_turns_failed_total"] == 0
    assert members.counted["eastwest_normalized_rows_total"] == 200


def test_silence_of_those_that_normalize_is_seen(kafka, staged):
    _, settings = staged
    source = reader(settings)
    told = Told()
    told.read_for(source, 1.5)
    assert min(source.silent().values()) > 1.0
    with Members(settings) as members:
        members.join("a")
        told.read_for(source, SECONDS / 2, until=lambda: max(source.silent().values()) < 1.0)
        assert max(source.silent().values()) < 1.0
    told.read_for(source, 2.5)
    assert min(source.silent().values()) > 1.0
    source.close()


def test_a_pattern_finds_raw_topics_and_no_rows(kafka, staged, tmp_path):
    topics, _ = staged
    settings = settings_of(kafka, [{"pattern": f".*{topics[0][:-2]}-."}], tmp_path)
    send(kafka, topics, range(60))
    with Members(settings) as members:
        members.join("a")
        source = reader(settings)
        told = Told().read(source, count(60))
        assert set(source.topic_ids()) == {*topics, *(f"rows.{topic}" for topic in topics)}
        source.close()
    assert sorted({place[0].topic for place in told.places}) == sorted(topics)
    assert len(told.places) == count(60)
