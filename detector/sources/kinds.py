"""What a file is, told from its first bytes: a log, or something to be turned into one first."""

import re
from typing import Final

from detector.sources.messages import looks_like_messages

HEAD: Final = 4096  # bytes that are looked at

PARQUET: Final = b"PAR1"
"""The first bytes of a Parquet file."""

_MAGIC: Final[tuple[tuple[bytes, str], ...]] = (
    (b"\xd4\xc3\xb2\xa1", "packet capture: run Zeek or softflowd first"),
    (b"\xa1\xb2\xc3\xd4", "packet capture: run Zeek or softflowd first"),
    (b"\x4d\x3c\xb2\xa1", "packet capture: run Zeek or softflowd first"),
    (b"\xa1\xb2\x3c\x4d", "packet capture: run Zeek or softflowd first"),
    (b"\x0a\x0d\x0d\x0a", "packet capture (pcapng): run Zeek or softflowd first"),
    (b"\xa5\x0c", "nfdump binary file: export it with nfdump -o csv"),
    (b"\x0c\xa5", "nfdump binary file: export it with nfdump -o csv"),
    (b"PK\x03\x04", "zip archive: unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "7z archive: unpack it first"),
    (b"\xfd7zXZ\x00", "xz file: unpack it first"),
    (b"BZh", "bzip2 file: unpack it first"),
    (b"\x04\x22\x4d\x18", "lz4 file: unpack it first"),
    (PARQUET, "Parquet file: only read with a column map"),
    (b"ARROW1", "Arrow file: not read"),
    (b"SQLite format 3\x00", "SQLite database, no log"),
    (b"\x7fELF", "program, no log"),
    (b"\x89PNG", "picture, no log"),
    (b"%PDF", "PDF document, no log"),
    (b"version https://git-lfs.github.com", "Git LFS pointer: the file itself was not fetched"),
    (b"campaign,start,end,src,dst,technique", "labels file: give it with --labels"),
)
_TAR_MARK: Final = (257, b"ustar")
_DATAGRAMS: Final = {5: "v5", 9: "v9", 10: "IPFIX"}
_TEXT_ENDINGS: Final = re.compile(
    r"\.(md|rst|ya?ml|toml|ini|cfg|conf|config|py|sh|html?|xml|zeek|spicy|js|css|license)(\.(gz|zst))?$|"
    r"(^|/)(readme|license|copying|notice|changelog|makefile)(\.[a-z]+)?$",
    re.IGNORECASE,
)
_LOG_STARTS: Final = (b"{", b"[", b"#separator", b"#fields", b"#path", b"### BTest", b"#set_separator")
_TABLE_MIN: Final = 4  # columns; fewer are lists of labels and the like, no flows


def kind(name: str, head: bytes) -> str | None:
    """Why a file is no log that could be read, or None when it may be one.

    Args:
        name: the path, for endings of documents.
        head: the first `HEAD` bytes, decompressed.
    """
    for magic, reason in _MAGIC:
        if head.startswith(magic):
            return reason
    at, mark = _TAR_MARK
    if head[at : at + len(mark)] == mark:
        return "tar archive: unpack it first"
    if version := _DATAGRAMS.get(int.from_bytes(head[:2], "big") if len(head) > 1 else 0):
        return f"raw NetFlow {version} datagram: collect it with goflow2 or nfcapd"
    if head.lstrip()[:1] == b"{" or head.startswith(_LOG_STARTS):
        return None
    if _TEXT_ENDINGS.search(name):
        return "text or settings, no log"
    return _table(head)


def _table(head: bytes) -> str | None:
    if looks_like_messages(head):
        return None
    first = next((line for line in head.splitlines() if line.strip()), b"")
    if b"\x00" in head:
        return "binary file of an unknown kind"
    if first.lstrip()[:1] == b"[" or first[:1] == b"#":
        return None
    if max(first.count(separator) for separator in (b"\t", b",", b";", b"|")) + 1 < _TABLE_MIN:
        return "no log: neither JSON nor a table of flows"
    return None
