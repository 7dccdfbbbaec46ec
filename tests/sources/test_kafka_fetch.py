"""Where kafka-python is reached into: it must be what it was when this was written."""

import inspect
import time
from types import SimpleNamespace

import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka import errors as kafka_errors
from kafka.consumer.fetcher import CompletedFetch, Fetcher
from kafka.consumer.subscription_state import SubscriptionState
from kafka.protocol.consumer import FetchResponse
from kafka.structs import OffsetAndMetadata

from detector.errors import MissingLibrary
from detector.sources import kafka_fetch
from detector.sources.kafka_fetch import RawConsumer, _RawFetcher
from tests.sources.test_record_batches import LINE, aborted, marker, rows_of, values

AT = TopicPartition("t", 0)
PartitionData = FetchResponse.FetchableTopicResponse.PartitionData


def fetcher_of(isolation="read_uncommitted", position=0):
    client = SimpleNamespace(_manager=SimpleNamespace(_net=None))
    subscriptions = SubscriptionState("none")
    subscriptions.assign_from_user([AT])
    subscriptions.seek(AT, OffsetAndMetadata(position, "", 3))
    return _RawFetcher(client, subscriptions, isolation_level=isolation)


def answer(fetcher, records, *, offset=0, end=None, stable=-1, transactions=None, error=0):
    """What one answered request makes the fetcher give."""
    data = PartitionData(
        partition_index=0, error_code=error, high_watermark=end or 99, last_stable_offset=stable,
        aborted_transactions=transactions, records=records, preferred_read_replica=-1, version=11,
    )  # fmt: skip
    fetcher._sent[AT] = 7.0
    fetcher._completed_fetches.append(CompletedFetch(AT, offset, 11, data, None))
    got, partial = fetcher.fetched_records(kafka_fetch.ENOUGH)
    assert not partial
    return got


def position(fetcher):
    return fetcher._subscriptions.assignment[AT].position


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        (Fetcher._handle_fetch_response, ["self", "node_id", "fetch_offsets", "send_time", "response"]),
        (Fetcher._parse_fetched_data, ["self", "completed_fetch"]),
        (Fetcher.PartitionRecords.take, ["self", "n"]),
        (Fetcher.PartitionRecords.drain, ["self"]),
        (
            Fetcher.PartitionRecords.__init__,
            ["self", "fetch_offset", "tp", "records", "key_deserializer", "value_deserializer", "check_crcs",
             "isolation_level", "aborted_transactions", "metric_aggregator", "on_drain"],
        ),
    ],
)  # fmt: skip
def test_what_is_replaced_takes_what_it_took(method, arguments):
    assert list(inspect.signature(method).parameters) == arguments


def test_the_consumer_makes_its_fetcher_of_what_we_give_ours():
    source = inspect.getsource(KafkaConsumer.__init__)
    assert "self._fetcher = Fetcher(\n            self._client, self._subscription, metrics=self._metrics" in source
    assert issubclass(RawConsumer, KafkaConsumer)


def test_one_thing_comes_out_and_the_position_moves_behind_it():
    fetcher = fetcher_of(position=1)
    [fetched] = answer(fetcher, values(b"a", b"b") + values(b"c", base=2, epoch=9), offset=1, end=5)[AT]
    assert [value for _, _, value in rows_of(fetched.records)] == [b"b", b"c"]
    assert (fetched.offset, fetched.problem, fetched.end, fetched.asked) == (1, None, 5, 7.0)
    assert (position(fetcher).offset, position(fetcher).leader_epoch) == (3, 9)


def test_nothing_comes_out_as_something_and_the_epoch_is_kept():
    fetcher = fetcher_of(position=4)
    [fetched] = answer(fetcher, b"", offset=4, end=4)[AT]
    assert (len(fetched.records), fetched.records.next_offset, fetched.end) == (0, 4, 4)
    assert (position(fetcher).offset, position(fetcher).leader_epoch) == (4, 3)


def test_the_end_of_what_is_committed():
    fetcher = fetcher_of("read_committed")
    response = values(b"gone", producer=3, transactional=True) + marker(1, 3) + values(b"kept", base=2)
    [fetched] = answer(fetcher, response, end=9, stable=3, transactions=aborted((3, 0)))[AT]
    assert [value for _, _, value in rows_of(fetched.records)] == [b"kept"]
    assert fetched.end == 3


def test_a_batch_that_cannot_be_read_comes_out_as_that():
    fetcher = fetcher_of()
    damaged = values(b"a", b"b", last_delta=4)[:-1] + b"x"
    [fetched] = answer(fetcher, damaged)[AT]
    assert fetched.records is None
    assert "checksum" in str(fetched.problem)
    assert (fetched.beyond, position(fetcher).offset) == (5, 0)
    [fetched] = answer(fetcher, damaged, end=4)[AT]
    assert fetched.beyond == 1  # the header tells of more than there is
    [fetched] = answer(fetcher, damaged[:8] + b"\x7f" + damaged[9:])[AT]
    assert "not whole" in str(fetched.problem)


def test_errors_stay_those_of_kafka_python(monkeypatch):
    fetcher = fetcher_of()
    with pytest.raises(kafka_errors.OffsetOutOfRangeError) as caught:
        answer(fetcher, b"", error=1)
    assert caught.value.args[0] == {AT: 0}

    def missing(*_):
        raise MissingLibrary("zstd")

    monkeypatch.setattr(kafka_fetch, "read_records", missing)
    with pytest.raises(MissingLibrary):
        answer(fetcher, values(LINE))


def test_the_time_of_the_request_is_noted_before_its_answer_is_seen():
    fetcher = fetcher_of()
    sent = time.monotonic()
    fetcher._handle_fetch_response(1, {AT: 0}, sent, SimpleNamespace(API_VERSION=6, responses=[]))
    assert fetcher._sent == {AT: sent}
