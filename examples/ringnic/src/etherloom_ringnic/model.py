"""The device: registers, one descriptor ring each way, one interrupt.

A ring is 128 descriptors of 16 bytes. The driver fills descriptors and moves TAIL, the index behind the last one
filled; the device works them off and moves HEAD, the index behind the last one done. Equal means that the device has
nothing to do, so at most 127 are in use.

Not modelled: offloads, multicast filtering (all multicast frames are received), power management. The source is this
file: the device exists nowhere else.
"""

from __future__ import annotations

import struct
from enum import IntFlag

from etherloom import Context, Drop, Frame
from etherloom.client import FRAME_MIN, FRAME_PAD
from etherloom.device import Access, Bar, DmaError, NicModel, PciIdentity, Register

__all__ = ["DESCRIPTOR", "RING", "Control", "Event", "RingNic"]

RING = 128  # descriptors in each ring
FRAME_LONGEST = 1514  # bytes, without FCS
DESCRIPTOR = struct.Struct("<QII")  # address and size of a buffer; bytes received, which the device fills in
RECEIVED = struct.Struct("<I")
RECEIVED_OFFSET = 12


class Control(IntFlag):
    """CONTROL: what runs. RESET clears itself."""

    RX = 1
    TX = 2
    RESET = 4


class Event(IntFlag):
    """STATUS and MASK."""

    RX = 1  # RX_HEAD has moved
    TX = 2  # TX_HEAD has moved
    LINK = 4  # LINK has changed
    ERROR = 8  # a descriptor or a buffer is not the guest's memory; that direction has stopped


class RingNic(NicModel):
    """One device.

    Args:
        name: See `NetClient`.
        context: See `NetClient`.
        mac: The station address after a reset, 6 bytes.
    """

    identity = PciIdentity(vendor=0x1234, device=0x4E52)  # no vendor's, and no guest's driver looks for it
    bars = (Bar(64),)

    ID = Register(0x00, 4, "spells RING", reset=0x474E4952, access=Access.RO)
    CONTROL = Register(0x04, 4, "what runs", bits=Control, writable=Control.RX | Control.TX | Control.RESET)
    STATUS = Register(0x08, 4, "what happened", bits=Event, access=Access.W1C)
    MASK = Register(0x0C, 4, "which events interrupt", bits=Event, writable=0xF)
    MAC = Register(0x10, 8, "station address", writable=0xFFFF_FFFF_FFFF)
    LINK = Register(0x18, 4, "1 while there is a link", access=Access.RO)
    TX_BASE = Register(0x20, 8, "guest address of the transmit ring")
    TX_TAIL = Register(0x28, 4, "behind the last frame to send", writable=RING - 1)
    TX_HEAD = Register(0x2C, 4, "behind the last frame sent", access=Access.RO)
    RX_BASE = Register(0x30, 8, "guest address of the receive ring")
    RX_TAIL = Register(0x38, 4, "behind the last empty buffer", writable=RING - 1)
    RX_HEAD = Register(0x3C, 4, "behind the last buffer filled", access=Access.RO)

    def __init__(self, name: str, context: Context, *, mac: bytes) -> None:
        super().__init__(name, context, mac=mac)
        self._paused = False
        self.reset()

    def reset(self) -> None:
        """The registers have their power-on values already; these two are not constants."""
        self.MAC = int.from_bytes(self.mac, "little")
        self.LINK = int(self.link_up)
        self._update_line()
        self.flush()

    @CONTROL.on_write
    def _control(self, value: int) -> None:
        if value & Control.RESET:
            self.registers.reset()
            self.reset()
        else:
            self._transmit()
            self.flush()

    @STATUS.on_write
    @MASK.on_write
    def _update_line(self, _: int = 0) -> None:
        self.irq.set(self.STATUS & self.MASK != 0)

    def _report(self, event: Event) -> None:
        self.STATUS |= event
        self._update_line()

    def _descriptor(self, base: int, index: int) -> tuple[int, int]:
        address, size, _ = DESCRIPTOR.unpack(self.dma.read(base + index * DESCRIPTOR.size, DESCRIPTOR.size))
        return address, size

    def _fail(self, direction: Control) -> None:
        self.CONTROL &= ~direction
        self._report(Event.ERROR)

    @TX_TAIL.on_write
    def _transmit(self, _: int = 0) -> None:
        head, tail, send = self.TX_HEAD, self.TX_TAIL, self.send
        if head == tail or self._paused or not self.CONTROL & Control.TX:
            return
        try:
            while head != tail and not self._paused:
                buffer, size = self._descriptor(self.TX_BASE, head)
                if FRAME_MIN <= size <= FRAME_LONGEST:
                    self._paused = not send(self.dma.read(buffer, size).ljust(FRAME_PAD, b"\0"))
                else:
                    self.drop(Drop.MALFORMED)
                head = (head + 1) % RING
        except DmaError:
            self._fail(Control.TX)
        self.TX_HEAD = head
        self.end_burst()
        self._report(Event.TX)

    def resume(self) -> None:
        """The wire takes frames again."""
        self._paused = False
        self._transmit()

    def receive(self, frame: Frame) -> bool:
        """One frame from the wire: see `NetClient.receive`."""
        address = bytes(frame[:6])
        wanted = address[0] & 1 or address == self.MAC.to_bytes(6, "little")
        if not self.CONTROL & Control.RX or not wanted or len(frame) > FRAME_LONGEST:
            self.drop(Drop.REFUSED)
            return True
        head = self.RX_HEAD
        if head == self.RX_TAIL:  # no buffer: the network keeps the frame until `flush`
            return False
        data = bytes(frame).ljust(FRAME_PAD, b"\0")
        try:
            buffer, size = self._descriptor(self.RX_BASE, head)
            if len(data) > size:
                self.drop(Drop.MALFORMED)
                return True
            self.dma.write(buffer, data)
            self.dma.write(self.RX_BASE + head * DESCRIPTOR.size + RECEIVED_OFFSET, RECEIVED.pack(len(data)))
        except DmaError:
            self._fail(Control.RX)
            self.drop(Drop.HOST_ERROR)
            return True
        self.RX_HEAD = (head + 1) % RING
        self._report(Event.RX)
        return True

    @RX_TAIL.on_write
    def _more_buffers(self, _: int) -> None:
        self.flush()

    def link_changed(self) -> None:
        """The cable, or the far end of the backend."""
        if self.LINK != self.link_up:
            self.LINK = int(self.link_up)
            self._report(Event.LINK)
