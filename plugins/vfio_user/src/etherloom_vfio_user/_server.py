"""A device's place in a guest: its socket, and whoever is connected to it.

One client at a time; another one waits in the socket's backlog until the first is gone, so that a new QEMU may be
quicker than the old one's death. When a client goes, for whatever reason, the device is reset and waits for the next.
"""

from __future__ import annotations

import logging
from pathlib import Path

from etherloom import Context
from etherloom.device import NicModel
from etherloom_vfio_user._link import Link
from etherloom_vfio_user._listener import Listener
from etherloom_vfio_user._memory import DmaTable
from etherloom_vfio_user._pin import Pin
from etherloom_vfio_user._session import Session

__all__ = ["VfioUserPort"]

log = logging.getLogger("etherloom.vfio_user")

# A driver's next access mostly follows within some tens of microseconds, and to sleep and be woken costs as much.
POLL_NS = 100_000
EAGER_MAX = 8  # accesses on record that came while polling would have seen them; one that did not costs two of them

# What a guest's register read may have to wait for a source of frames: about as long as it takes by itself. It stays so
# when the guest has gone: another one mostly comes.
BURST_NS = 100_000

RETRY_NS = 1_000_000_000  # after the process ran out of descriptors
QUIET_NS = 10_000_000_000  # between two warnings about clients


class VfioUserPort:
    """One device, served on one socket.

    Args:
        nic: The device, in its network.
        context: Of the network.
        path: Of the socket, which is made here and removed by `close`.

    Raises:
        ConfigError, HostError: See `Listener`.
    """

    def __init__(self, nic: NicModel, context: Context, path: Path) -> None:
        self._nic, self._context, self._path = nic, context, path
        self._listener = Listener(path)
        self._link: Link | None = None
        self._pin: Pin | None = None
        self._memory: DmaTable | None = None
        # One watch for all clients in turn: what a context gives out stays on its books until its owner goes.
        self._watch = context.watch_fd(nic, -1, on_readable=self._readable, on_writable=self._writable)
        self._patience = context.timer(nic, self._impatient)
        self._retry = context.timer(nic, self._listen)
        self._accepting = context.watch_fd(nic, self._listener.fileno(), on_readable=self._accept)
        self._answered_ns = self._eager = self._quiet_until_ns = 0
        self._listen()

    @property
    def info(self) -> str:
        """Bus and socket, and whether a guest is there."""
        return f"bus=vfio-user,socket={self._path}" + (",connected" if self._link is not None else "")

    def close(self) -> None:
        """Hang up and stop listening."""
        self._accepting.close()
        self._retry.close()
        self._disconnect()
        self._watch.close()
        self._patience.close()
        self._listener.close()

    def _listen(self) -> None:
        self._accepting.readable(True)

    def _accept(self) -> None:
        try:
            client = self._listener.accept()
        except OSError as error:
            # The client still waits, so the socket stays readable: look again later, not at once.
            self._accepting.readable(False)
            self._retry.arm_in(RETRY_NS)
            self._warn(f"cannot take a client: {error.strerror}")
            return
        if client is None:
            return
        self._accepting.readable(False)
        self._pin, self._memory = Pin(self._patience), DmaTable(self._warn)
        self._link = Link(client, Session(self._nic, self._memory, self._pin, self._warn))
        self._nic.attach(self._memory.memory, self._pin.line)
        self._context.serve_within(BURST_NS)
        self._watch.fd = self._link.fileno()
        self._watch.readable(True)
        log.info("%s: a client has connected to %s", self._nic.name, self._path)

    def _readable(self) -> None:
        link = self._link
        if link is None:
            return
        now_ns = self._context.clock.now_ns()
        if now_ns - self._answered_ns < POLL_NS:
            self._eager = min(self._eager + 1, EAGER_MAX)
        else:
            self._eager = max(self._eager - 2, 0)
        answered = link.read()
        if link.lost is not None:
            self._lose(link)
            return
        if link.unsent:
            self._watch.readable(False)
            self._watch.writable(True)
        if answered:
            self._answered_ns = self._context.clock.now_ns()
            if self._eager:
                self._context.keep_polling(self._answered_ns + POLL_NS)

    def _writable(self) -> None:
        link = self._link
        if link is None:
            return
        link.write()
        if link.lost is not None:
            self._lose(link)
        elif not link.unsent:
            self._watch.writable(False)
            self._watch.readable(True)

    def _impatient(self) -> None:
        if self._pin is not None:
            self._pin.timer()

    def _lose(self, link: Link) -> None:
        """The client went, or has to go. `link` may have been closed already, by the network."""
        if link is not self._link:
            return
        if link.lost:
            self._warn(f"the client is dropped: {link.lost}")
        else:
            log.info("%s: the client has left %s", self._nic.name, self._path)
        self._disconnect()
        self._listen()

    def _disconnect(self) -> None:
        link, pin, memory = self._link, self._pin, self._memory
        self._link = self._pin = self._memory = None
        if link is None or pin is None or memory is None:
            return
        self._watch.readable(False)
        self._watch.writable(False)
        self._patience.cancel()
        link.close()
        # The device lets go of the memory before it is unmapped, and of the line before its eventfd is closed.
        try:
            self._nic.detach()
        finally:
            memory.clear()
            pin.close()

    def _warn(self, problem: str) -> None:
        now_ns = self._context.clock.now_ns()
        if now_ns >= self._quiet_until_ns:
            self._quiet_until_ns = now_ns + QUIET_NS
            log.warning("%s: %s: %s", self._nic.name, self._path, problem)
