"""Syslog receivers: RFC 5424 over UDP (RFC 5426), TCP (RFC 6587, octet counting) and TLS (RFC 5425).

A receiver acknowledges nothing. Over TCP and TLS a connection that broke is followed by a new one, on which the last
records of the old one come again: whoever was restarted may have taken them from the network and lost them. They carry
the same id and revision, by which a receiver can tell. UDP loses what the network loses.
"""

import os
import socket
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Literal

from detector.alerts.model import Told
from detector.renderings.facts import PRODUCT, facts_of
from detector.renderings.levels import INFORMATIONAL
from detector.sinks.connections import Connection, Tls
from detector.sinks.delivery import Refused, Retry
from detector.sinks.messages import Message

SECONDS: Final = 10.0  # to connect, and for the other side to take something
LISTEN_SECONDS: Final = 1.0  # after connecting, for the other side to turn us away, as TLS 1.3 does after the handshake
ENTERPRISE: Final = 32473  # for documentation, RFC 5612: we have no number of our own
FACILITIES: Final = (
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
    "audit", "alert", "clock", *(f"local{number}" for number in range(8)),
)  # fmt: skip
"""By number, RFC 5424 table 1."""
_HOST_LENGTH: Final = 255  # RFC 5424 section 6


class SyslogSink:
    """A syslog receiver.

    Args:
        host: name or address.
        port: of the receiver.
        transport: ``udp``, ``tcp`` or ``tls``.
        facility: one of `FACILITIES`.
        hostname: ours in the header; None is this machine's.
        limit_bytes: of one message with its header. A longer one is refused: cut, it would be no JSON any more, and a
            receiver that takes less than it says cuts it itself.
        resend: records of a connection that broke to send again, the last ones.
        tls: for that transport.
        seconds: longest wait for the other side.
    """

    def __init__(  # noqa: PLR0913 - one for each setting
        self,
        *,
        host: str,
        port: int,
        transport: Literal["udp", "tcp", "tls"],
        facility: str,
        hostname: str | None,
        limit_bytes: int,
        resend: int,
        tls: Tls,
        seconds: float = SECONDS,
    ) -> None:
        self._host, self._port, self._seconds = host, port, seconds
        self._datagrams = transport == "udp"
        self._tls = tls if transport == "tls" else None
        self._facility = FACILITIES.index(facility)
        self._hostname = _printable(hostname or socket.gethostname(), _HOST_LENGTH)
        self._limit = limit_bytes
        self._connection: Connection | None = None
        self._last: deque[bytes] = deque(maxlen=resend)  # frames that go again over a new connection

    def send(self, records: Sequence[Message]) -> None:
        """See `Sink`."""
        lines = [self._line(record) for record in records]
        large = next((index for index, line in enumerate(lines) if len(line) > self._limit), None)
        with self._whole():
            if lines[:large]:
                self._send_datagrams(lines[:large]) if self._datagrams else self._send_frames(lines[:large])
        if large is not None:
            raise Refused(large, f"{len(lines[large])} bytes as syslog; limit_bytes is {self._limit}")

    def watch(self) -> None:
        """See `Watchful`."""
        if self._last:
            with self._whole():
                self._connected()

    def close(self) -> None:
        """See `Sink`."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _line(self, record: Message) -> bytes:
        return header(record.told, self._facility, self._hostname) + record.payload

    def _send_frames(self, lines: Sequence[bytes]) -> None:
        frames = [b"%d %b" % (len(line), line) for line in lines]  # MSG-LEN counts bytes, RFC 6587 section 3.4.1
        self._connected().write(b"".join(frames), self._seconds)
        self._last.extend(frames)

    def _connected(self) -> Connection:
        """A connection that the other side has not left; over a new one go the last frames first."""
        if self._connection is None:
            self._connection = Connection(self._host, self._port, self._tls, self._seconds)
            self._connection.write(b"".join(self._last), self._seconds)
            self._connection.listen(LISTEN_SECONDS)
        self._connection.check()
        return self._connection

    def _send_datagrams(self, lines: Sequence[bytes]) -> None:
        """Each its own; a receiver that is not there tells so by ICMP, if at all."""
        family, kind, protocol, _, address = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as channel:
            channel.settimeout(self._seconds)
            channel.connect(address)
            for line in lines:
                channel.send(line)
            if problem := channel.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError(problem, os.strerror(problem))

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """What fails in it ends the connection, and is a `Retry`."""
        try:
            yield
        except (OSError, ValueError) as problem:  # ValueError: an empty file of authorities, say
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.drop()
            raise Retry(f"{self._host}:{self._port}: {problem}") from problem


def header(told: Told | None, facility: int, hostname: str) -> bytes:
    """What RFC 5424 wants before the message, with the space behind it. There is no byte order mark: it would stand
    before ``CEF:`` and ``{``, where receivers do not expect it, and without one a message may hold anything.

    Args:
        told: whose time, severity, id and revision it bears; None of a dead letter.
        facility: a number, see `FACILITIES`.
        hostname: printable ASCII.
    """
    if told is None:
        return f"<{facility * 8 + INFORMATIONAL.syslog}>1 - {hostname} {PRODUCT} - dead_letter - ".encode()
    facts = facts_of(told)
    pairs = f'id="{told.id}" revision="{told.revision}" state="{facts.state}"'
    return (
        f"<{facility * 8 + facts.level.syslog}>1 {facts.end or '-'} {hostname} {PRODUCT} - {told.kind} "
        f"[{PRODUCT}@{ENTERPRISE} {pairs}] "
    ).encode()


def _printable(text: str, length: int) -> str:
    return "".join(char for char in text if "!" <= char <= "~")[:length] or "-"
