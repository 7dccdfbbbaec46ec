"""Any address that takes POSTs, signed as Standard Webhooks say (github.com/standard-webhooks/standard-webhooks,
specification 1.0), for which there are libraries in most languages."""

import base64
import binascii
import hmac
import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Final

from detector.errors import ConfigError
from detector.sinks.http import Client, Secret, in_parts
from detector.sinks.messages import Message

_PREFIX: Final = "whsec_"  # before a key in base64


class WebhookSink:
    """One alert a POST. ``webhook-id`` and ``Idempotency-Key`` are the same in every repetition of a revision, and in
    no other; ``webhook-signature`` is over that, the time of sending, and the body.

    Args:
        client: the address.
        secret: that both sides know: ``whsec_`` and a key in base64, or any text; None sends unsigned.
        bearer: token of the Authorization header, where the other side asks for one.
        now: seconds since the epoch.
    """

    def __init__(
        self,
        client: Client,
        secret: Secret | None = None,
        bearer: Secret | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._client, self._secret, self._bearer, self._now = client, secret, bearer, now

    def send(self, records: Sequence[Message]) -> None:
        """See `Sink`."""
        in_parts(records, self._send, 1, 1)

    def close(self) -> None:
        """See `Sink`."""
        self._client.close()

    def _send(self, records: Sequence[Message]) -> None:
        [record] = records
        headers = {"Content-Type": record.content.type}
        hide = ""
        if record.told is not None:
            name = f"{record.told.id}.{record.told.revision}"
            headers |= {"Idempotency-Key": name, "webhook-id": name}
            if self._secret is not None:
                stamp = str(int(self._now()))
                signature = signed(self._secret(), name, stamp, record.payload)
                headers |= {"webhook-timestamp": stamp, "webhook-signature": signature}
        if self._bearer is not None:
            hide = self._bearer()
            headers["Authorization"] = f"Bearer {hide}"
        answer = self._client.post("", record.payload, headers, hide=hide)
        if not answer.good:
            raise answer.problem()


def signed(secret: str, name: str, stamp: str, body: bytes) -> str:
    """The signature: ``v1,`` and HMAC-SHA256 in base64.

    Raises:
        ConfigError: what follows ``whsec_`` is no base64.
    """
    try:
        key = base64.b64decode(secret[len(_PREFIX) :], validate=True) if secret.startswith(_PREFIX) else secret.encode()
    except binascii.Error:
        raise ConfigError("secret", "", f"what follows {_PREFIX} is no base64") from None
    told = b".".join((name.encode(), stamp.encode(), body))
    return "v1," + base64.b64encode(hmac.digest(key, told, sha256)).decode()
