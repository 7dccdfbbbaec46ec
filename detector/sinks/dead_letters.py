"""Records that could not be used, as lines for people and for a second try."""

from base64 import b64encode

import orjson

from detector.records import Reject


def dead_letter(reject: Reject) -> bytes:
    """One JSON object without a line feed.

    ``raw`` is base64 (RFC 4648 section 4) of the record's bytes, as far as they were kept: whatever they are, they
    survive every transport. A source ``topic:partition`` is told by its parts, another as ``source`` and
    ``position``; a topic's name has no colon (Kafka: ``[a-zA-Z0-9._-]``).
    """
    return orjson.dumps({**_place(reject), "reason": reject.reason, "raw": b64encode(reject.raw).decode("ascii")})


def _place(reject: Reject) -> dict[str, object]:
    topic, colon, partition = reject.source.rpartition(":")
    if colon and topic and partition.isascii() and partition.isdigit():
        return {"topic": topic, "partition": int(partition), "offset": reject.position}
    return {"source": reject.source, "position": reject.position}
