"""The UNIX socket that clients connect to: made even if a dead process left one, never taken from a live one."""

from __future__ import annotations

import errno
import socket
import stat
from pathlib import Path

from etherloom import ConfigError, HostError

__all__ = ["Listener"]

PATH_MAX = 107  # bytes, unix(7)
BACKLOG = 1  # the next client; more would only wait longer


class Listener:
    """A listening socket, non-blocking.

    Args:
        path: Where; a socket nobody listens on is replaced.

    Raises:
        ConfigError: The path is too long, or there is something else.
        HostError: Somebody listens there, or the system refused.
    """

    def __init__(self, path: Path) -> None:
        if len(bytes(path)) > PATH_MAX:
            raise ConfigError(f"{path} is too long", key="socket", allowed=f"a path of at most {PATH_MAX} bytes")
        self.path = path.absolute()  # to find it again, wherever the process has gone to by then
        _clear(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            self._socket.bind(bytes(path))
            self._made = _identity(self.path)
            self._socket.listen(BACKLOG)
        except OSError as error:
            self._socket.close()
            raise HostError("listen on a socket", error.errno or 0, device=str(path)) from error

    def fileno(self) -> int:
        """For a watch."""
        return self._socket.fileno()

    def accept(self) -> socket.socket | None:
        """The next client, non-blocking; None if it has gone again.

        Raises:
            OSError: The process, or the system, has run out of something.
        """
        try:
            client, _ = self._socket.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return None
        client.setblocking(False)
        return client

    def close(self) -> None:
        """Stop listening and remove the socket, unless the path leads to another one by now."""
        self._socket.close()
        try:
            if _identity(self.path) == self._made:
                self.path.unlink()
        except OSError:
            pass  # somebody else removed it, or its directory


def _clear(path: Path) -> None:
    """Remove a socket nobody listens on."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        return  # nothing there; if it is something worse, `bind` will say so
    if not stat.S_ISSOCK(mode):
        raise ConfigError(f"{path} exists and is no socket", key="socket", allowed="the path of a socket to be made")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        refusal = probe.connect_ex(bytes(path))
    if refusal == errno.ECONNREFUSED:
        path.unlink(missing_ok=True)
    elif refusal in (0, errno.EAGAIN):  # EAGAIN: its backlog is full
        raise HostError("listen on a socket", errno.EADDRINUSE, device=str(path), remedy="another process serves it")
    elif refusal != errno.ENOENT:
        raise HostError("look who listens on a socket", refusal, device=str(path))


def _identity(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_dev, status.st_ino
