"""A dead letter says where the record stands and gives its bytes back."""

from base64 import b64decode
from hashlib import sha256

import orjson
from hypothesis import given
from hypothesis import strategies as st

from detector.records import Reject
from detector.sinks.dead_letters import RAW_LIMIT, dead_letter


@given(record=st.binary(max_size=50), reason=st.text(st.characters(exclude_categories=["Cs"])))
def test_every_byte_survives(record, reason):
    line = dead_letter(Reject("zeek:12", 345, reason, detail=reason[::-1]), record, 3)
    assert b"\n" not in line
    told = orjson.loads(line)
    assert b64decode(told.pop("raw"), validate=True) == record
    assert told.pop("sha256") == sha256(record).hexdigest()
    place = {"topic": "zeek", "partition": 12, "offset": 345}
    assert told == place | {"reason": reason, "detail": reason[::-1], "lines": 3, "size": len(record)}


def test_of_a_giant_record_it_carries_the_beginning():
    record = b"0123456789abcdef" * (1 << 16)
    line = dead_letter(Reject("zeek:12", 345, "too long"), record)
    told = orjson.loads(line)
    assert b64decode(told["raw"]) == record[:RAW_LIMIT]
    assert (told["size"], told["sha256"]) == (1 << 20, sha256(record).hexdigest())
    assert len(line) < 90_000


def test_a_file_is_told_as_such():
    for source in ("conn.log", "C:x", ":1", "a:²", "a:"):
        told = orjson.loads(dead_letter(Reject(source, 7, "no JSON")))
        without = {"detail": "", "lines": 1, "size": None, "sha256": None, "raw": None}
        assert told == {"source": source, "position": 7, "reason": "no JSON"} | without
