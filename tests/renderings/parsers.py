"""Strict readers of CEF and LEEF, written from the vendors' documents, not from our code: what they forbid fails."""

import re

_ESCAPES = {"\\": "\\", "=": "=", "n": "\n", "r": "\r"}


def _split_header(text: str, count: int) -> tuple[list[str], str]:
    """So many fields, each ended by a bar that is not escaped, and what is behind them."""
    fields, field, at = [], "", 0
    while len(fields) < count:
        char = text[at]
        if char == "\\":
            assert text[at + 1] in "\\|", f"no escape of a header: {text[at : at + 2]!r}"
            field, at = field + text[at + 1], at + 2
        elif char == "|":
            fields, field, at = [*fields, field], "", at + 1
        else:
            field, at = field + char, at + 1
    return fields, text[at:]


def one_line(record: bytes) -> str:
    """Its text: nothing in it may end, hide or turn a line."""
    text = record.decode("utf-8")
    assert len(text.splitlines()) == 1
    assert not re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]", text)
    return text


def cef(record: bytes) -> tuple[list[str], dict[str, str]]:
    """The seven fields of the header, and the extension. A key begins where an equals sign is not escaped."""
    header, extension = _split_header(one_line(record), 7)
    assert header[0] == "CEF:0"
    assert 0 <= int(header[6]) <= 10
    keys = list(re.finditer(r"(?:^| )([A-Za-z0-9]+)=", extension))
    found: dict[str, str] = {}
    for key, following in zip(keys, [*keys[1:], None], strict=True):
        raw = extension[key.end() : following.start() if following else len(extension)]
        assert key[1] not in found, f"{key[1]} twice"
        found[key[1]] = unescaped(raw)
    assert keys
    assert keys[0].start() == 0
    return header, found


def unescaped(raw: str) -> str:
    assert raw == raw.strip()
    assert re.fullmatch(r"(?:[^\\=]|\\[\\=nr])*", raw), raw
    return re.sub(r"\\(.)", lambda escape: _ESCAPES[escape[1]], raw)


def leef(record: bytes) -> tuple[list[str], dict[str, str]]:
    """The header, and the attributes; the header says what is between them."""
    header, attributes = _split_header(one_line(record), 6)
    assert header[0] == "LEEF:2.0"
    delimiter = header[5]
    assert len(delimiter) == 1
    found: dict[str, str] = {}
    for attribute in attributes.split(delimiter):
        key, sign, value = attribute.partition("=")
        assert sign
        assert re.fullmatch(r"[A-Za-z][A-Za-z0-9]*", key), key
        assert key not in found, f"{key} twice"
        found[key] = value
    return header, found
