"""Lines through a decoder with the compiled readers and through one without: both have to say the same."""

from collections.abc import Sequence

import numpy as np

from detector.formats.batch import Context
from detector.formats.decode import Decoder
from detector.records import Block, Decoded, Lines

SOURCE = "zeek:0"


def general(decoder: Decoder) -> Decoder:
    """The decoder, left with the general path alone."""
    decoder._readers = list  # type: ignore[method-assign, assignment]
    return decoder


def decode(
    decoder: Decoder, lines: Sequence[bytes], size: int | None = None, before: Sequence[bytes] = ()
) -> list[Decoded]:
    """The lines in blocks of ``size``, behind those that come ``before``."""
    decoder.decode(Block(SOURCE, -len(before), list(before)))
    size = size or max(1, len(lines))
    blocks = [Block(SOURCE, at + 1, lines[at : at + size]) for at in range(0, len(lines), size)]
    return [decoder.decode(block) for block in blocks]


def scattered(lines: Sequence[bytes]) -> Lines:
    """The same lines in a buffer as no source would make it: backwards, with what may go on in a line between them."""
    spans, buffer = [], bytearray()
    for line in reversed(lines):
        buffer += (b"0", b'"', b"}", b"\t", b"")[len(line) % 5]
        spans.append((len(buffer), len(buffer) + len(line)))
        buffer += line
    return Lines(bytes(buffer), np.array(spans[::-1], dtype=np.int64).reshape(-1, 2).T)


def same(
    lines: Sequence[bytes],
    size: int | None = None,
    *,
    before: Sequence[bytes] = (),
    hint: str = "conn.log",
    format: str = "auto",
) -> list[Decoded]:
    """What both make of the lines, which has to be equal."""
    compiled = Decoder(SOURCE, Context(), hint, format)
    plain = general(Decoder(SOURCE, Context(), hint, format))
    found, expected = decode(compiled, list(lines), size, before), decode(plain, list(lines), size, before)
    apart = Decoder(SOURCE, Context(), hint, format)
    assert list(scattered(lines)) == list(lines)
    others = decode(apart, scattered(lines), size, before)
    assert compiled.branches == plain.branches == apart.branches
    for left, other, right in zip(found, others, expected, strict=True):
        equal(left, right)
        equal(other, right)
    return found


def equal(left: Decoded, right: Decoded) -> None:
    """Both are the same, floats to the last bit."""
    for mine, theirs in ((left.flows, right.flows), (left.operations, right.operations)):
        assert mine.schema == theirs.schema
        assert mine.equals(theirs)
    bits = [decoded.flows["duration"].fill_null(-1.0).to_numpy().tobytes() for decoded in (left, right)]
    assert bits[0] == bits[1]
    assert left.rejects == right.rejects
    assert left.filtered == right.filtered
    assert left.notes == right.notes
