"""Inputs made of others: bytes changed, parts moved, cut or doubled, odd values put in. Equal chance, equal bytes."""

import random
from collections.abc import Sequence

MOST = 1 << 14  # bytes of an input
ODD = [
    *(
        b"",
        b"-",
        b"0",
        b"-1",
        b"1e308",
        b"-0.0",
        b"NaN",
        b"null",
        b"true",
        b"[]",
        b"{}",
        b'""',
        b"{",
        b"}",
        b'"',
        b"\\",
    ),
    *(b"9223372036854775807", b"18446744073709551616", b"253402300800", b"0x10", b"1_0", b"::", b"fe80::1%eth0"),
    *(
        b"\n",
        b"\r",
        b"\t",
        b"\0",
        b"\xff",
        b"\xed\xa0\x80",
        b"\xe2\x80\xa8",
        b"#fields\t",
        b"#types\t",
        b"#path\tconn\n",
    ),
    *(b"#separator \\x2c\n", b"#close\n", b"(empty)", b"1970-01-01T00:00:00Z", b"\\ud800", b"," * 9, b"[" * 99),
]
_SPANS = (1, 2, 4, 8, 40)  # bytes that are moved, doubled or left out


def mutated(seeds: Sequence[bytes], chance: random.Random) -> bytes:
    """One of the seeds, changed a few times."""
    data = bytearray(chance.choice(seeds))
    for _ in range(chance.choice((1, 1, 2, 4, 8))):
        _change(data, seeds, chance)
    return bytes(data[:MOST])


def _change(data: bytearray, seeds: Sequence[bytes], chance: random.Random) -> None:
    at = chance.randrange(len(data) + 1)
    span = chance.choice((*_SPANS, len(data)))
    match chance.choice(("byte", "bit", "out", "twice", "odd", "odd", "digit", "splice", "cut", "line")):
        case "byte":
            data[at : at + 1] = bytes([chance.randrange(256)])
        case "bit" if at < len(data):
            data[at] ^= 1 << chance.randrange(8)
        case "out":
            del data[at : at + span]
        case "twice":
            data[at:at] = data[at : at + span]
        case "odd":
            data[at : at + chance.choice((0, 1, span))] = chance.choice(ODD)
        case "digit":
            _digit(data, at, chance)
        case "splice":
            other = chance.choice(seeds)
            data[at:] = other[chance.randrange(len(other) + 1) :]
        case "cut":
            del data[at:]
        case "line":
            lines = data.split(b"\n")
            lines.insert(chance.randrange(len(lines) + 1), chance.choice(chance.choice(seeds).split(b"\n")))
            data[:] = b"\n".join(lines)


def _digit(data: bytearray, at: int, chance: random.Random) -> None:
    """A number, from here on the first, becomes another."""
    begin = next((place for place in range(at, len(data)) if chr(data[place]).isdigit()), len(data))
    end = next((place for place in range(begin, len(data)) if not chr(data[place]).isdigit()), len(data))
    data[begin:end] = b"%d" % chance.choice((0, 1, chance.randrange(1 << 16), 1 << 31, 1 << 53, (1 << 63) - 1, 1 << 64))
