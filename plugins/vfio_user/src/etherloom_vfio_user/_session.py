"""One client's connection, without I/O: bytes and descriptors in, replies out.

Messages are obeyed in the order in which they come, and answered in that order. A message that is wrong is answered
with an error (with nothing, if it says so: a posted write), and the next one is looked at; a stream that cannot be
followed any more, and a client that has not introduced itself, are given up (`closing`). What a client may do to
itself it may do; nothing it sends raises.

Not supported, and refused as a device without the feature does: migration and dirty-page logging, mapping of regions,
ioeventfds, the twin socket. Messages to the client are none but the DMA_READ that finds out about private RAM.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from typing import TypeAlias

from etherloom.device import NicModel
from etherloom_vfio_user import _wire as wire
from etherloom_vfio_user._backing import REMEDY
from etherloom_vfio_user._memory import DmaTable
from etherloom_vfio_user._negotiation import negotiate
from etherloom_vfio_user._pin import Pin
from etherloom_vfio_user._wire import Command, Irq, IrqInfo, Refusal, RegionFlag

__all__ = ["Session"]

Handler: TypeAlias = Callable[[memoryview], bytes]

CONFIG_BYTES = 256
PROBE_ID = 0xE7E1  # any number: we have one message under way at most


class Session:
    """A client and a device.

    Args:
        device: In the network; the session calls what a guest bus calls, and nothing else.
        memory: The client's; empty.
        pin: The client's; without a trigger.

    Attributes:
        replies: To be sent, oldest first. Whoever sends them clears the list.
        closing: Why the connection has to be given up once `replies` are sent; None while all is well.
        refused: Messages answered with an error, or with nothing where they were posted.
        reason: Of the last refusal that an honest client is not used to; empty if there was none.
    """

    def __init__(self, device: NicModel, memory: DmaTable, pin: Pin) -> None:
        self.replies: list[bytes] = []
        self.closing: str | None = None
        self.refused = 0
        self.reason = ""
        self._device, self._memory, self._pin = device, memory, pin
        sizes = [bar.size for bar in device.bars]
        self._sizes = (*sizes, *(0 for _ in range(wire.REGIONS - len(sizes))))
        self._sizes = (*self._sizes[: wire.CONFIG_REGION], CONFIG_BYTES, *self._sizes[wire.CONFIG_REGION + 1 :])
        self._handlers: dict[int, Handler] = {Command.VERSION: self._version}
        self._answers_dma_read = self._asking = False
        self._waiting: list[int] = []  # descriptors of the message at the front of the stream, which is incomplete
        self._fds: list[int] = []  # descriptors of the message that is being obeyed

    def feed(self, data: memoryview, fds: list[int]) -> int:
        """Obey all complete messages.

        Args:
            data: What is left of earlier calls, followed by what was read now; borrowed.
            fds: That came with what was read now. They are the session's from here on.

        Returns:
            How many bytes of `data` are done with. Whatever the device raises is raised; all is lost then.
        """
        at, end = 0, len(data)
        replies, handlers, header = self.replies, self._handlers, wire.HEADER
        while end - at >= wire.HEADER_BYTES and self.closing is None:
            ident, command, size, flags, _ = header.unpack_from(data, at)
            if not wire.HEADER_BYTES <= size <= wire.MESSAGE_MAX:
                self._refuse(ident, command, flags, Refusal(errno.EINVAL))
                self.closing = f"a message of {size} bytes"
                break
            behind = at + size
            if behind > end:
                break
            if fds or self._waiting:
                # Descriptors travel with a message's first byte, and a read ends behind the piece they came with: so
                # those of this read belong to its last message, and earlier ones to the first.
                self._fds, self._waiting = self._waiting, []
                if behind == end:
                    self._fds += fds
                    fds = []
            try:
                if flags & wire.TYPE:
                    self._answered(command, flags, data[at + wire.HEADER_BYTES : behind])
                else:
                    payload = handlers.get(command, self._unknown)(data[at + wire.HEADER_BYTES : behind])
                    if not flags & wire.NO_REPLY:
                        replies.append(header.pack(ident, command, 16 + len(payload), wire.REPLY, 0) + payload)
            except Refusal as refusal:
                self._refuse(ident, command, flags, refusal)
                if command == Command.VERSION and handlers is self._handlers and self._version_pending:
                    pass
            if self._fds:
                _close(self._fds)
            at = behind
        self._waiting += fds
        return at
