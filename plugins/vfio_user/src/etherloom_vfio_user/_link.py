"""A client's socket: reads of many messages at once, and one send for all their answers."""

from __future__ import annotations

import socket
from array import array

from etherloom_vfio_user._session import Session
from etherloom_vfio_user._wire import FDS_MAX, MESSAGE_MAX

__all__ = ["Link"]

ANCILLARY_BYTES = socket.CMSG_SPACE(FDS_MAX * array("i").itemsize)

# Plain integers: a client waits meanwhile, and to look for one flag takes 0.6 us with the module's own.
CLOEXEC, TRUNCATED = int(socket.MSG_CMSG_CLOEXEC), int(socket.MSG_CTRUNC)


class Link:
    """One connection.

    Args:
        client: Connected and non-blocking; the link owns it.
        session: What it talks to; the link owns it.

    Attributes:
        lost: Why it has ended: what the client did wrong, or the empty string if it only went. None while it lives.
        unsent: Answers that the client has left no room for. Nothing is to be read before they are gone.
    """

    def __init__(self, client: socket.socket, session: Session) -> None:
        self.lost: str | None = None
        self.unsent = b""
        self._client, self._session = client, session
        self._bytes = memoryview(bytearray(2 * MESSAGE_MAX))
        self._everything = [self._bytes]
        self._filled = 0  # bytes of an incomplete message

    def fileno(self) -> int:
        """For a watch."""
        return self._client.fileno()

    def read(self) -> bool:
        """Read what there is, once, and obey it. Returns whether that gave answers."""
        filled, session = self._filled, self._session
        room = [self._bytes[filled:]] if filled else self._everything
        try:
            # Descriptors are inherited by whatever the process starts, unless it says otherwise here.
            count, ancillary, flags, _ = self._client.recvmsg_into(room, ANCILLARY_BYTES, CLOEXEC)
        except BlockingIOError:
            return False
        except OSError:  # reset by a client that was killed with answers unread
            count, ancillary, flags = 0, [], 0
        fds = _received(ancillary) if ancillary else []
        filled += count
        data = bytes(self._bytes[:filled])
        done = session.feed(data, fds)
        if self.lost is not None:  # closed by what the device's answer to a message set going
            session.close()
            return False
        self._filled = filled - done
        if done and self._filled:
            self._bytes[: self._filled] = data[done:]
        if flags & TRUNCATED:
            self.lost = f"more than {FDS_MAX} file descriptors at once, or this process is out of them"
        elif not count:
            self.lost = "it has gone in the middle of a message" if self._filled else ""
        answered = bool(session.replies)
        if answered:
            self.unsent = b"".join(session.replies)
            session.replies.clear()
            self.write()
        if self.lost is None:
            self.lost = session.closing
        return answered

    def write(self) -> None:
        """Send what there is room for."""
        try:
            self.unsent = self.unsent[self._client.send(self.unsent) :]
        except BlockingIOError:
            pass
        except OSError:
            self.lost = ""

    def close(self) -> None:
        """Hang up."""
        self.lost = self.lost or ""
        self._session.closing = self._session.closing or self.lost
        self._session.close()
        self._client.close()


def _received(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    fds = array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    return fds.tolist()
