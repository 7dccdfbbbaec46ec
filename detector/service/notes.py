"""What a decoder keeps, as a note beside a committed offset: who goes on from the offset goes on with that.

Kafka takes notes of 4 KiB (``offset.metadata.max.bytes``); the headers of Zeek's widest logs fit. A larger one goes to
the store of checkpoints under its digest, and the note has that.
"""

import hashlib
import zlib
from base64 import b85decode, b85encode
from collections.abc import Mapping
from typing import Any, Final

import orjson

from detector.errors import StateMismatch, StorageFailed
from detector.service.settings import ServiceSettings
from detector.state.stores import Access, Store, store_of

NOTE_CHARACTERS: Final = 4000  # 4096 is the brokers' default limit
_HERE: Final = "eastwest1:"
_THERE: Final = "eastwest1@"
_FOLDER: Final = "decoders"
_LIMIT: Final = 16 << 20  # bytes of a state; a header is no longer than a line, which has 1 MiB


class Notes:
    """Writes and reads them."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        self._store: Store | None = None
        self._stored = ""  # digest of what was put last

    def written(self, state: Mapping[str, Any], topic_id: str) -> str:
        """The note of a decoder's state.

        Raises:
            StorageFailed: it is large, and the store cannot be used.
        """
        content = orjson.dumps({"topic": topic_id, "state": state}, option=orjson.OPT_SORT_KEYS)
        note = _HERE + b85encode(zlib.compress(content)).decode()
        if len(note) <= NOTE_CHARACTERS:
            return note
        digest = hashlib.sha256(content).hexdigest()
        if digest != self._stored:
            self._open().put(f"{_FOLDER}/{digest}", content)
            self._stored = digest
        return _THERE + digest

    def read(self, note: str, topic_id: str) -> dict[str, Any] | None:
        """The state; None if the note is not ours, or that of another topic.

        Raises:
            StateMismatch: what it names is not there, or damaged.
        """
        try:
            content = orjson.loads(self._content(note))
        except (ValueError, zlib.error):
            return None
        state: dict[str, Any] = content["state"]
        return state if content["topic"] == topic_id else None

    def _content(self, note: str) -> bytes:
        if note.startswith(_HERE):
            return zlib.decompress(b85decode(note.removeprefix(_HERE)))
        if not note.startswith(_THERE):
            return b""
        digest = note.removeprefix(_THERE)
        try:
            content = self._open().get(f"{_FOLDER}/{digest}", _LIMIT)
        except (FileNotFoundError, StorageFailed) as problem:
            raise StateMismatch(f"what a decoder knew is not at {self._settings.state.url}: {problem}") from None
        if hashlib.sha256(content).hexdigest() != digest:
            raise StateMismatch(f"what a decoder knew is damaged at {self._settings.state.url}")
        return content

    def _open(self) -> Store:
        if self._store is None:
            wish = self._settings.state
            self._store = store_of(wish.url, None if wish.s3 is None else Access(**wish.s3.model_dump()))
        return self._store
