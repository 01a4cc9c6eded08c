"""A client's socket, as one has to see it: the client may be slow, or gone."""

from __future__ import annotations

import io
import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class TooSlow(Exception):  # noqa: N818 - not an OSError, which the standard library takes for a lost client
    """A request was not there in time."""


class RequestReader(io.RawIOBase):
    """What a client sends, within so many seconds for all of it: one byte now and then keeps no thread busy.

    A time limit of the socket alone would start anew with each byte.
    """

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        self._connection = connection
        self._deadline = time.monotonic() + seconds
        self.begun = False  # whether anything came at all

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise TooSlow
        self._connection.settimeout(remaining)
        try:
            count = self._connection.recv_into(buffer)
        except TimeoutError as error:
            raise TooSlow from error
        self.begun = self.begun or count > 0
        return count


def has_gone(connection: socket.socket) -> bool:
    """Whether the client has closed its side, as a browser does with its tab."""
    connection.setblocking(False)
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        connection.setblocking(True)


def discard(connection: socket.socket, *, most_bytes: int, seconds: float) -> None:
    """Read what a client still sends, so that it reads our answer: closing at once would reset the connection."""
    deadline = time.monotonic() + seconds
    try:
        connection.shutdown(socket.SHUT_WR)
        while most_bytes > 0 and (remaining := deadline - time.monotonic()) > 0:
            connection.settimeout(remaining)
            content = connection.recv(1 << 16)
            if not content:
                return
            most_bytes -= len(content)
    except OSError:
        return
