"""Records of Kafka into rows: read where they lie in the response, with the same outcome as one by one."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.formats.batch import Context
from detector.formats.decode import Decoder
from detector.records import Block, merge
from detector.service.decoding import Decoders
from detector.service.settings import ServiceSettings
from detector.sources.kafka_merge import Partition
from detector.sources.record_batches import read_records
from tests.formats.test_conn_lines import USUAL, put
from tests.formats.usual import equal
from tests.sources.test_record_batches import values

AT = Partition("conn", 0)
ANY = st.sampled_from(
    [
        *(USUAL, put(service='a"b'), put(uid="-"), USUAL + b"\n", USUAL + b"\n" + USUAL, b"", b"\n", b"{", None),
        *(b"x\n\n" + USUAL, b'{"a":\n1}', b"\n\x08\n\x01", b"#close", USUAL[:-1]),
    ]
)


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    wish = {"kafka": {"bootstrap": "nowhere:9092", "topics": ["conn"]}}
    wish |= {"outbox": {"folder": tmp_path_factory.mktemp("outbox")}}
    return ServiceSettings.model_validate(wish | {"state": {"url": str(tmp_path_factory.mktemp("state"))}})


@given(st.lists(ANY, max_size=12), st.data())
def test_the_same_comes_of_one_record_at_a_time(settings, some, data):
    cuts = sorted({0, len(some), *data.draw(st.lists(st.integers(0, len(some)), max_size=2))})
    contents = [read_records(values(*some[a:b], base=a), a) for a, b in pairwise(cuts)]
    singles = [read_records(values(value, base=at), at) for at, value in enumerate(some)]
    together, apart = Decoders(settings), Decoders(settings)
    found = merge(together.decode(AT, contents))
    expected = merge([part for content in singles for part in apart.decode(AT, [content])])
    equal(found, expected)
    assert found.rows >= len(some)
    assert together.state(AT) == apart.state(AT)


def test_usual_records_are_rows_at_their_offsets(settings):
    found = merge(Decoders(settings).decode(AT, [read_records(values(*[USUAL] * 9, None, USUAL + b"\n" + USUAL), 3)]))
    plain = Decoder("conn:0", Context()).decode(Block("conn:0", 0, [USUAL] * 11))
    assert found.flows["position"].to_list() == [3, 4, 5, 6, 7, 8, 10, 10]
    assert found.flows.drop("position").equals(plain.flows.drop("position")[3:])
