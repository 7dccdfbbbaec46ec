"""Addresses for hosts that public sets only name."""

from typing import Final

from detector.formats.address import canonical

_FIRST: Final = 100 << 24 | 64 << 16  # 100.64.0.0/10: inside, and in none of the sets
_ROOM: Final = 1 << 22


class Names:
    """One address for each name, in order of appearance; what is an address already stays."""

    def __init__(self) -> None:
        self._addresses: dict[str, str] = {}
        self._named = 0

    def __getitem__(self, name: str) -> str:
        address = self._addresses.get(name)
        if address is None:
            address = self._addresses[name] = canonical(name) or self._next()
        return address

    def _next(self) -> str:
        self._named += 1
        number = _FIRST + self._named % _ROOM
        return ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))
