"""Microsoft Sentinel, by the Logs Ingestion API of Azure Monitor (learn.microsoft.com/azure/azure-monitor/logs/
logs-ingestion-api-overview; limits: .../service-limits#logs-ingestion-api)."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

from detector.sinks.delivery import Retry
from detector.sinks.http import PAUSE_SECONDS, Client, in_parts
from detector.sinks.messages import Message
from detector.sinks.tokens import Token

SCOPE: Final = "https://monitor.azure.com/.default"
AUTHORITY: Final = "https://login.microsoftonline.com"
_VERSION: Final = "2023-01-01"
_MOST: Final = 1000
_MOST_BYTES: Final = 1_000_000  # of payloads; with commas and brackets below 1 MiB, which a call may have


class SentinelSink:
    """Rows of a table, by a data collection rule.

    Args:
        client: the rule's or the endpoint's address, ``https://<name>.<region>.ingest.monitor.azure.com``.
        token: for `SCOPE`.
        rule: immutable id of the data collection rule.
        stream: its stream, ``Custom-...``.
    """

    def __init__(self, client: Client, token: Token, rule: str, stream: str) -> None:
        self._client, self._token = client, token
        self._path = f"/dataCollectionRules/{quote(rule)}/streams/{quote(stream)}?api-version={_VERSION}"

    def send(self, records: Sequence[Message]) -> None:
        """See `Sink`."""
        in_parts(records, self._send, _MOST, _MOST_BYTES)

    def close(self) -> None:
        """See `Sink`."""
        self._token.close()
        self._client.close()

    def _send(self, records: Sequence[Message]) -> None:
        token = self._token()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        body = b"[" + b",".join(record.payload for record in records) + b"]"
        answer = self._client.post(self._path, body, headers, compress=True, hide=token)
        if answer.status == 401:
            self._token.drop()
        if answer.status == 204:
            return
        if answer.good:
            raise Retry(f"{answer.place}: answer {answer.status} where 204 is due: {answer.said}", PAUSE_SECONDS)
        raise answer.problem()
