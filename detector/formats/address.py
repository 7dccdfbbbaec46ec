"""Address text in one canonical spelling, so that a host is one key whatever sensor named it."""

import ipaddress
import re
import socket
from typing import Final

_CACHE_LIMIT: Final = 1 << 20  # addresses; 2**20 of them are about 150 MB of dict, then start again
_LONGEST: Final = 64  # characters; an IPv6 address with its zone id is shorter
_PADDED: Final = re.compile(r"\d{3}(\.\d{3}){3}", re.ASCII)
_cache: dict[str, str | None] = {}
known: Final = _cache.get
"""What `canonical` said of a text before, or None: one dictionary look-up for the usual case."""


def canonical(text: str) -> str | None:
    """The canonical spelling of an address, or None when it is none.

    IPv4-mapped IPv6 (``::ffff:10.0.0.1``, RFC 4291 2.5.5.2) becomes IPv4: dual-stack collectors print it.
    IPv6 is compressed lower case (RFC 5952); a zone id (``fe80::1%eth0``, RFC 4007) is cut. IPv4 octets
    padded to three digits (``010.001.002.003``) are read as decimal, as fixed-width exports mean them.
    """
    try:
        return _cache[text]
    except KeyError:
        pass
    if len(text) > _LONGEST:
        return None
    if len(_cache) >= _CACHE_LIMIT:
        _cache.clear()
    return _cache.setdefault(text, _parse(text))


def _parse(text: str) -> str | None:
    try:
        # Only four plain decimal octets pass, so the text is the canonical spelling already.
        socket.inet_pton(socket.AF_INET, text)
    except (OSError, ValueError):
        return _parse_rare(text)
    return text


def _parse_rare(text: str) -> str | None:
    if _PADDED.fullmatch(text):
        text = ".".join(octet.lstrip("0") or "0" for octet in text.split("."))
    try:
        parsed = ipaddress.ip_address(text.split("%", 1)[0])
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return str(parsed)
