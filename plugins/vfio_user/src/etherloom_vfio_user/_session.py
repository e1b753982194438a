"""One client's connection, without I/O: bytes and descriptors in, replies out.

Messages are obeyed in the order in which they come, and answered in that order. A message that is wrong is answered
with an error (with nothing, if it says so: a posted write), and the next one is looked at; a stream that cannot be
followed any more, and a client that has not introduced itself, are given up (`closing`). Nothing that a client sends
raises.

Not supported, and refused as a device without the feature refuses: migration and dirty-page logging, mapping of
regions, ioeventfds, the twin socket. We send no message of our own but the DMA_READ that finds out about private RAM.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from struct import Struct
from typing import TypeAlias

from etherloom.device import NicModel
from etherloom_vfio_user._backing import REMEDY
from etherloom_vfio_user._memory import DmaTable
from etherloom_vfio_user._negotiation import negotiate
from etherloom_vfio_user._pin import Pin
from etherloom_vfio_user._wire import (
    ACCESS,
    CONFIG_REGION,
    DATA_MAX,
    DEVICE_INFO,
    DEVICE_PCI,
    DEVICE_RESETS,
    DMA_DATA,
    DMA_MAP,
    DMA_UNMAP,
    ERROR,
    FDS_MAX,
    HEADER,
    HEADER_BYTES,
    IRQ_INFO,
    IRQS,
    MESSAGE_MAX,
    NO_REPLY,
    REGION_INFO,
    REGION_IO_FDS,
    REGIONS,
    REPLY,
    TYPE,
    WRITE,
    WRITES,
    Command,
    Irq,
    IrqInfo,
    Refusal,
    RegionFlag,
    UnmapFlag,
)

__all__ = ["Session"]

Handler: TypeAlias = Callable[[bytes], bytes]

CONFIG_BYTES = 256
WIDTHS = (1, 2, 4)  # of one access on the bus; all others are split
INTX_INFO = IrqInfo.EVENTFD | IrqInfo.MASKABLE | IrqInfo.AUTOMASKED
OURS = 0xE7E1  # id of our message, of which there is one at a time


class Session:
    """A client and a device.

    Args:
        device: In the network; the session calls what a guest bus calls, and nothing else.
        memory: The client's; empty.
        pin: The client's; without a trigger.
        report: Told of what was refused that an honest client may have asked for.

    Attributes:
        replies: To be sent, oldest first. Who sends them clears the list.
        closing: Why the connection has to be given up once `replies` are sent; None while all is well.
        refused: Messages answered with an error, and posted ones that deserved one.
    """

    def __init__(self, device: NicModel, memory: DmaTable, pin: Pin, report: Callable[[str], None]) -> None:
        self.replies: list[bytes] = []
        self.closing: str | None = None
        self.refused = 0
        self._device, self._memory, self._pin, self._report = device, memory, pin, report
        self._sizes = [bar.size for bar in device.bars] + [0] * (REGIONS - len(device.bars))
        self._sizes[CONFIG_REGION] = CONFIG_BYTES
        self._handlers: dict[int, Handler] = {Command.VERSION: self._version}
        self._answers_dma_read = self._asking = False
        self._fds: list[int] = []  # of the message that is being obeyed
        self._waiting: list[int] = []  # of the incomplete message at the front of the stream

    def feed(self, data: bytes, fds: list[int]) -> int:
        """Obey all complete messages.

        Args:
            data: What earlier calls have left, followed by what was read now.
            fds: That came with what was read now, the session's from here on.

        Returns:
            How many bytes of `data` are done with.

        Raises:
            Exception: What the device raised; the session is of no use then.
        """
        at, end = 0, len(data)
        replies, handler_of, unknown = self.replies, self._handlers.get, self._unknown
        unpack, pack = HEADER.unpack_from, HEADER.pack
        try:
            while end - at >= HEADER_BYTES and self.closing is None:
                ident, command, size, flags, _ = unpack(data, at)
                behind = at + size
                if not HEADER_BYTES <= size <= MESSAGE_MAX:
                    self.closing = f"a message of {size} bytes"
                    self._refuse(ident, command, flags, errno.EINVAL)
                    break
                if behind > end:
                    break
                if fds or self._waiting:
                    # Descriptors travel with a message's first byte, and a read ends behind the piece they came with:
                    # those of this read belong to its last message, and earlier ones to the first.
                    self._fds, self._waiting = self._waiting, []
                    if behind == end:
                        self._fds += fds
                        fds = []
                try:
                    if flags & TYPE:
                        self._answered(ident, command, flags, data[at + HEADER_BYTES : behind])
                    else:
                        payload = handler_of(command, unknown)(data[at + HEADER_BYTES : behind])
                        if not flags & NO_REPLY:
                            replies.append(pack(ident, command, HEADER_BYTES + len(payload), REPLY, 0) + payload)
                except Refusal as refusal:
                    self._refuse(ident, command, flags, refusal.errno)
                    if refusal.reason:
                        self._report(refusal.reason)
                if self._fds:
                    _close(self._fds)
                at = behind
        finally:
            self._waiting += fds
        if len(self._waiting) > FDS_MAX:
            self.closing = f"{len(self._waiting)} file descriptors with one message"
        if self._memory.suspect is not None and self._answers_dma_read and not self._asking:
            self._ask(*self._memory.suspect)
        return at

    def close(self) -> None:
        """Close the descriptors of messages that were not obeyed."""
        _close(self._fds)
        _close(self._waiting)

    # Introduction -------------------------------------------------------------------------------------------------

    def _version(self, body: bytes) -> bytes:
        try:
            agreement = negotiate(body)
        except Refusal as refusal:
            self.closing = refusal.reason
            raise Refusal(refusal.errno) from refusal
        self._answers_dma_read = agreement.answers_dma_read
        self._handlers.update(
            {
                Command.VERSION: self._unknown,
                Command.DMA_MAP: self._dma_map,
                Command.DMA_UNMAP: self._dma_unmap,
                Command.DEVICE_GET_INFO: self._device_info,
                Command.DEVICE_GET_REGION_INFO: self._region_info,
                Command.DEVICE_GET_REGION_IO_FDS: self._region_io_fds,
                Command.DEVICE_GET_IRQ_INFO: self._irq_info,
                Command.DEVICE_SET_IRQS: self._set_irqs,
                Command.REGION_READ: self._read,
                Command.REGION_WRITE: self._write,
                Command.DEVICE_RESET: self._reset,
                Command.REGION_WRITE_MULTI: self._write_multi,
            }
        )
        return agreement.reply

    def _unknown(self, _: bytes) -> bytes:
        if Command.REGION_READ not in self._handlers:
            self.closing = "the client did not begin with VERSION"
        raise Refusal(errno.EINVAL)

    def _refuse(self, ident: int, command: int, flags: int, error: int) -> None:
        self.refused += 1
        if not flags & NO_REPLY:
            self.replies.append(HEADER.pack(ident, command, HEADER_BYTES, REPLY | ERROR, error))

    # What the device is -------------------------------------------------------------------------------------------

    def _device_info(self, body: bytes) -> bytes:
        _unpack(DEVICE_INFO, body)
        return DEVICE_INFO.pack(DEVICE_INFO.size, DEVICE_RESETS | DEVICE_PCI, REGIONS, IRQS)

    def _region_info(self, body: bytes) -> bytes:
        index = _unpack(REGION_INFO, body)[2]
        if index >= REGIONS:
            raise Refusal(errno.EINVAL)
        size = self._sizes[index]
        return REGION_INFO.pack(REGION_INFO.size, RegionFlag.READ | RegionFlag.WRITE if size else 0, index, 0, size, 0)

    def _region_io_fds(self, body: bytes) -> bytes:
        _, flags, index, count = _unpack(REGION_IO_FDS, body)
        if flags or count or index >= REGIONS:
            raise Refusal(errno.EINVAL)
        return REGION_IO_FDS.pack(REGION_IO_FDS.size, 0, index, 0)

    def _irq_info(self, body: bytes) -> bytes:
        index = _unpack(IRQ_INFO, body)[2]
        # A count of zero for ERROR makes QEMU warn that it cannot recover from errors, a refusal is taken in silence.
        if index >= IRQS or index == Irq.ERROR:
            raise Refusal(errno.EINVAL)
        flags, count = (INTX_INFO, 1) if index == Irq.INTX else (0, 0)
        return IRQ_INFO.pack(IRQ_INFO.size, flags, index, count)

    # Memory and interrupts ----------------------------------------------------------------------------------------

    def _dma_map(self, body: bytes) -> bytes:
        _, flags, offset, address, size = _unpack(DMA_MAP, body)
        if len(self._fds) > 1:
            raise Refusal(errno.EINVAL)
        self._memory.map(address, size, flags, offset, self._fds[0] if self._fds else None)
        return b""

    def _dma_unmap(self, body: bytes) -> bytes:
        _, flags, address, size = _unpack(DMA_UNMAP, body)
        if not flags:
            self._memory.unmap(address, size)
        elif flags == UnmapFlag.ALL and not address and not size:
            self._memory.clear()
        else:
            raise Refusal(errno.EINVAL)
        return body[: DMA_UNMAP.size]

    def _set_irqs(self, body: bytes) -> bytes:
        self._pin.set_irqs(body, self._fds)
        return b""

    def _ask(self, address: int, length: int) -> None:
        """Have the client read guest memory for us. Nothing waits for the answer."""
        self._asking = True
        size = HEADER_BYTES + DMA_DATA.size
        self.replies.append(HEADER.pack(OURS, Command.DMA_READ, size, 0, 0) + DMA_DATA.pack(address, length))

    def _answered(self, ident: int, command: int, flags: int, body: bytes) -> None:
        if (ident, command, flags & TYPE, self._asking) != (OURS, Command.DMA_READ, REPLY, True):
            raise Refusal(errno.EINVAL)
        self._asking = False
        asked = self._memory.suspect[1] if self._memory.suspect is not None else 0
        # QEMU before 11.1 has the data 4 bytes earlier than the specification; it ends the message in either case. An
        # error, as when bus mastering went off in between, settles nothing.
        seen = b"" if flags & ERROR or len(body) < asked else body[len(body) - asked :]
        if self._memory.is_private(seen):
            self.closing = f"what the guest writes into its RAM is not seen here; {REMEDY}"

    # Registers ----------------------------------------------------------------------------------------------------

    def _read(self, body: bytes) -> bytes:
        if len(body) < ACCESS.size:
            raise Refusal(errno.EINVAL)
        offset, region, count = ACCESS.unpack_from(body)
        self._check(offset, region, count)
        device = self._device
        if region == CONFIG_REGION:
            data = device.pci.read(offset, count)
        elif count in WIDTHS:
            data = device.bar_read(offset, count)
        else:
            data = b"".join(device.bar_read(at, width) for at, width in _pieces(offset, count))
        return body[: ACCESS.size] + data

    def _write(self, body: bytes) -> bytes:
        if len(body) < ACCESS.size:
            raise Refusal(errno.EINVAL)
        offset, region, count = ACCESS.unpack_from(body)
        if len(body) != ACCESS.size + count:
            raise Refusal(errno.EINVAL)
        self._check(offset, region, count)
        self._store(offset, region, body[ACCESS.size :])
        return body[: ACCESS.size]

    def _write_multi(self, body: bytes) -> bytes:
        if len(body) < WRITES.size or (len(body) - WRITES.size) % WRITE.size:
            raise Refusal(errno.EINVAL)
        writes = list(WRITE.iter_unpack(body[WRITES.size :]))
        if WRITES.unpack_from(body)[0] != len(writes):
            raise Refusal(errno.EINVAL)
        for offset, region, count, data in writes:
            self._check(offset, region, count)
            if count > len(data):
                raise Refusal(errno.EINVAL)
        for offset, region, count, data in writes:
            self._store(offset, region, data[:count])
        return body[: WRITES.size]

    def _store(self, offset: int, region: int, data: bytes) -> None:
        device = self._device
        if region == CONFIG_REGION:
            device.pci.write(offset, data)
        elif len(data) in WIDTHS:
            device.bar_write(offset, data)
        else:
            for at, width in _pieces(offset, len(data)):
                device.bar_write(at, data[at - offset : at - offset + width])

    def _reset(self, _: bytes) -> bytes:
        self._device.bus_reset()
        return b""

    def _check(self, offset: int, region: int, count: int) -> None:
        if region >= REGIONS or not self._sizes[region] or offset + count > self._sizes[region] or count > DATA_MAX:
            raise Refusal(errno.EINVAL)


def _unpack(layout: Struct, body: bytes) -> tuple[int, ...]:
    """The fields of a message that begins with `argsz`, the room for its reply."""
    if len(body) < layout.size:
        raise Refusal(errno.EINVAL)
    fields = layout.unpack_from(body)
    if fields[0] < layout.size:
        raise Refusal(errno.EINVAL)
    return fields


def _pieces(offset: int, count: int) -> Iterator[tuple[int, int]]:
    """Cut an access into aligned ones of 4, 2 and 1 bytes, as a 32-bit PCI bus has them: offset and width."""
    end = offset + count
    while offset < end:
        width = next(width for width in (4, 2, 1) if not offset % width and offset + width <= end)
        yield offset, width
        offset += width


def _close(fds: list[int]) -> None:
    while fds:
        os.close(fds.pop())
