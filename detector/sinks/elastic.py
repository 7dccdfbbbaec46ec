"""Elasticsearch and OpenSearch, by the bulk API that both have."""

from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

import orjson

from detector.sinks.delivery import Refused, Retry
from detector.sinks.http import PAUSE_SECONDS, Client, in_parts
from detector.sinks.messages import Message

_PATH: Final = "/_bulk?filter_path=errors,error,items.*.status,items.*.error.type,items.*.error.reason"
_MOST: Final = 500
_MOST_BYTES: Final = 5 << 20  # where Elastic's guide to bulk sizes begins; http.max_content_length is 100 MB
_NOT_HERE: Final = {401, 403, 404}  # of an item: no right to the index, or no such index
_CREATE_ONLY: Final = "only write ops with an op_type of create are allowed"  # a data stream, told to replace


class ElasticSink:
    """Documents of a data stream or an index, which come once, however often they are sent.

    ``append``: each revision is a document of its own, with the id ``<id>.<revision>``, by ``create``, which is all
    that a data stream takes. ``replace``: each alert is one document that has its id and holds its last revision: the
    version of the document is that of the alert (external versioning), so that an older one never replaces a newer one.
    In both cases 409 says that it is there already.

    Args:
        client: the cluster's address.
        authorize: the Authorization header; None where the cluster asks for none.
        index: name of the data stream or index.
        updates: ``append`` or ``replace``.
    """

    def __init__(
        self,
        client: Client,
        authorize: Callable[[], str] | None,
        index: str,
        updates: Literal["append", "replace"] = "append",
    ) -> None:
        self._client, self._authorize, self._index, self._updates = client, authorize, index, updates
        self._ahead: set[int] = set()  # numbers of records that it took behind one that it did not

    def send(self, records: Sequence[Message]) -> None:
        """See `Sink`."""
        self._ahead = {number for number in self._ahead if number >= records[0].sequence}
        in_parts(records, self._send, _MOST, _MOST_BYTES)

    def close(self) -> None:
        """See `Sink`."""
        self._client.close()

    def _send(self, records: Sequence[Message]) -> None:
        missing = [index for index, record in enumerate(records) if record.sequence not in self._ahead]
        if not missing:
            return
        body = b"".join(self._lines(records[index]) for index in missing)
        items = self._post(body, len(missing))
        told = {index: self._problem(index, item) for index, item in zip(missing, items, strict=True)}
        problems = {index: problem for index, problem in told.items() if problem is not None}
        if problems:
            self._ahead |= {records[index].sequence for index in missing if index not in problems}
            raise problems[min(problems)]

    def _post(self, body: bytes, number: int) -> list[dict[str, Any]]:
        """What became of each document."""
        headers = {"Content-Type": "application/x-ndjson"}
        secret = ""
        if self._authorize is not None:
            headers["Authorization"] = self._authorize()
            secret = headers["Authorization"].split()[-1]
        answer = self._client.post(_PATH, body, headers, compress=True, hide=secret)
        if not answer.good:
            raise answer.problem()
        told = answer.json()
        items = told.get("items") if isinstance(told, dict) else None
        if not isinstance(items, list) or len(items) != number:
            raise Retry(f"{answer.place}: an answer about other documents: {answer.said}", PAUSE_SECONDS)
        return [next(iter(item.values())) for item in items]

    def _problem(self, index: int, item: dict[str, Any]) -> Retry | Refused | None:
        status = item.get("status", 0)
        if 200 <= status < 300 or status == 409:
            return None
        error = item.get("error") or {}
        text = f"{self._client.place}: {self._index}: {status} {error.get('type', '')}: {error.get('reason', '')}"
        if status in _NOT_HERE or _CREATE_ONLY in text:
            return Retry(text, PAUSE_SECONDS, taken=index)
        if status == 429 or status >= 500 or status < 400:
            return Retry(text, taken=index)
        return Refused(index, text)

    def _lines(self, record: Message) -> bytes:
        """What to do, and the document."""
        about: dict[str, Any] = {"_index": self._index}
        action = "create"
        if record.told is not None and self._updates == "append":
            about["_id"] = f"{record.told.id}.{record.told.revision}"
        elif record.told is not None:
            action = "index"
            about |= {"_id": record.told.id, "version": record.told.revision + 1, "version_type": "external"}
        return orjson.dumps({action: about}) + b"\n" + record.payload + b"\n"
