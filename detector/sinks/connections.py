"""One-way connections over TCP and TLS, to receivers that never say that they got anything.

What can be known without their word is asked of the kernel: that the other side closed the connection, and how much of
what was written its machine has acknowledged. That its program read it, nobody tells.
"""

import fcntl
import select
import socket
import ssl
import struct
import termios
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

_LOOK_SECONDS: Final = 0.002  # between two looks at what is not acknowledged
_CLOSE_SECONDS: Final = 2.0  # for the other side to read the last of it
_PIECE: Final = 1 << 16  # bytes written at once, for which a slow receiver has all the seconds
_HEARD: Final = 4096  # bytes of what it may say, which nobody reads


class Tls(NamedTuple):
    """How a connection is encrypted: TLS 1.2 or later, the other side's name checked (RFC 5425 section 5). Files are
    read at each connection."""

    ca_file: Path | None = None  # authorities (PEM) in place of the system's
    cert_file: Path | None = None  # ours (PEM)
    key_file: Path | None = None  # of ours, when not in the same file
    server_name: str | None = None  # that its certificate must have, in place of the host

    def wrap(self, plain: socket.socket, host: str) -> ssl.SSLSocket:
        """The connection, encrypted.

        Raises:
            OSError: a file cannot be used, or the other side is not who we mean.
        """
        context = ssl.create_default_context(cafile=self.ca_file)
        if self.cert_file is not None:
            context.load_cert_chain(self.cert_file, self.key_file)
        return context.wrap_socket(plain, server_hostname=self.server_name or host)


class Connection:
    """An open connection. Every method ends when for so many seconds nothing moved.

    Args:
        host: name or address.
        port: of the receiver.
        tls: None is plain TCP.
        seconds: longest time to connect.

    Raises:
        OSError: there is none.
    """

    def __init__(self, host: str, port: int, tls: Tls | None, seconds: float) -> None:
        plain = socket.create_connection((host, port), seconds)
        try:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket = plain if tls is None else tls.wrap(plain, host)
        except BaseException:
            plain.close()
            raise

    def write(self, content: bytes, seconds: float) -> None:
        """Write all of it, and wait until the other machine has acknowledged it and has not left.

        Raises:
            OSError: it may not be there.
        """
        for begin in range(0, len(content), _PIECE):
            self._socket.settimeout(seconds)
            self._socket.sendall(content[begin : begin + _PIECE])
            self.check()
        self._drain(seconds)
        self.check()

    def listen(self, seconds: float) -> None:
        """See for so long whether the other side leaves: one that has no use for us, or nobody behind it, takes a
        connection first.

        Raises:
            OSError: it does.
        """
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            select.select([self._socket], [], [], left)
            self.check()

    def check(self) -> None:
        """See whether the other side has left.

        Raises:
            OSError: it has: what was written last may be lost.
        """
        self._socket.settimeout(0)
        with suppress(BlockingIOError, ssl.SSLWantReadError):
            while self._socket.recv(_HEARD):
                pass
            raise ConnectionResetError("the other side closed the connection")

    def close(self) -> None:
        """Leave, after the other side has read all: closed at once, a connection takes with it what is not read."""
        with suppress(OSError, ValueError):
            self._socket.settimeout(_CLOSE_SECONDS)
            if isinstance(self._socket, ssl.SSLSocket):
                self._socket.unwrap()  # close_notify, RFC 5425 section 4.4
            else:
                self._socket.shutdown(socket.SHUT_WR)
                select.select([self._socket], [], [], _CLOSE_SECONDS)
        self.drop()

    def drop(self) -> None:
        """Leave at once."""
        self._socket.close()

    def _drain(self, seconds: float) -> None:
        left, deadline = self._unacknowledged(), time.monotonic() + seconds
        while left:
            time.sleep(_LOOK_SECONDS)
            before, left = left, self._unacknowledged()
            if left < before:
                deadline = time.monotonic() + seconds
            elif time.monotonic() >= deadline:
                raise TimeoutError(f"the other side acknowledged nothing for {seconds:g} s")
            self.check()

    def _unacknowledged(self) -> int:
        """Bytes in the send queue: SIOCOUTQ of tcp(7), which has the number of TIOCOUTQ."""
        answer = fcntl.ioctl(self._socket.fileno(), termios.TIOCOUTQ, struct.pack("i", 0))
        return int(struct.unpack("i", answer)[0])
