"""A dead letter says where the record stands and gives its bytes back."""

from base64 import b64decode

import orjson
from hypothesis import given
from hypothesis import strategies as st

from detector.records import Reject
from detector.sinks.dead_letters import dead_letter


@given(raw=st.binary(max_size=50), reason=st.text(st.characters(exclude_categories=["Cs"])))
def test_every_byte_survives(raw, reason):
    line = dead_letter(Reject("zeek:12", 345, reason, raw))
    assert b"\n" not in line
    told = orjson.loads(line)
    assert b64decode(told.pop("raw"), validate=True) == raw
    assert told == {"topic": "zeek", "partition": 12, "offset": 345, "reason": reason}


def test_a_file_is_told_as_such():
    for source in ("conn.log", "C:x", ":1", "a:²", "a:"):
        told = orjson.loads(dead_letter(Reject(source, 7, "no JSON")))
        assert told == {"source": source, "position": 7, "reason": "no JSON", "raw": ""}
