"""A device's place in a guest: its socket, and whoever is connected to it.

One client at a time; a second one waits in the socket's backlog until the first is gone, so that a new QEMU may be
quicker than the old one's death. When a client goes, for whatever reason, the device is reset and waits for the next.
"""

from __future__ import annotations

import logging
import socket
from array import array
from pathlib import Path

from etherloom import Context
from etherloom.device import NicModel
from etherloom_vfio_user._listen import Listener
from etherloom_vfio_user._memory import DmaTable
from etherloom_vfio_user._pin import Pin
from etherloom_vfio_user._session import Session
from etherloom_vfio_user._wire import FDS_MAX, MESSAGE_MAX

__all__ = ["VfioUserPort"]

log = logging.getLogger("etherloom.vfio_user")

# A driver's next access follows within some tens of microseconds, mostly: to sleep and be woken costs as much again.
POLL_NS = 100_000
EAGER_MAX = 8  # quick successors on record; one that is not quick costs two of them

RETRY_NS = 1_000_000_000  # after the process ran out of descriptors
QUIET_NS = 10_000_000_000  # between two lines in the log about what a client did

ANCILLARY_BYTES = socket.CMSG_SPACE(FDS_MAX * array("i").itemsize)


class VfioUserPort:
    """One device, served on one socket.

    Args:
        nic: The device, in its network.
        context: Of the network.
        path: Of the socket, made here and removed by `close`.

    Raises:
        ConfigError, HostError: See `Listener`.
    """

    def __init__(self, nic: NicModel, context: Context, path: Path) -> None:
        self._nic, self._context, self._path = nic, context, path
        self._listener = Listener(path)
        self._link: Link | None = None
        # One watch for all clients in turn: what a context gives out stays on its books until its owner goes.
        self._watch = context.watch_fd(nic, -1, on_readable=self._readable, on_writable=self._writable)
        self._patience = context.timer(nic, self._impatient)
        self._retry = context.timer(nic, self._listen)
        self._accepting = context.watch_fd(nic, self._listener.fileno(), on_readable=self._accept)
        self._last_ns = 0  # when the last message was answered
        self._eager = 0
        self._quiet_until_ns = 0
        self._listen()
