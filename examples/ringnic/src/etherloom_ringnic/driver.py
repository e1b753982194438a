"""The other side: a driver in Python, which works the device as one in a kernel would."""

from __future__ import annotations

from collections.abc import Sequence

from etherloom.device import Register
from etherloom.guest import DriverError, InlineGuest, NicDriver
from etherloom.guest.inline import RAM_BASE
from etherloom_ringnic.model import DESCRIPTOR, RING, Control, Event, RingNic

__all__ = ["RingNicDriver"]

BUFFER_BYTES = 2048


class RingNicDriver(NicDriver):
    """Drives one `RingNic`; each slot of a ring has a buffer of its own."""

    def __init__(self, guest: InlineGuest) -> None:
        super().__init__(guest)
        self._rx, self._tx = (guest.allocate(RING * DESCRIPTOR.size) for _ in range(2))
        self._rx_buffers, self._tx_buffers = (guest.allocate(RING * BUFFER_BYTES) for _ in range(2))
        self._rx_next = self._tx_next = 0

    def open(self) -> None:
        """Reset, give the device every receive buffer but one, enable."""
        if self._read(RingNic.ID) != RingNic.ID.reset:
            raise DriverError("this is no ringnic")
        self._write(RingNic.CONTROL, Control.RESET)
        self.mac = self._read(RingNic.MAC).to_bytes(6, "little")
        self._rx_next = self._tx_next = 0
        for slot in range(RING):
            self._describe(self._rx, slot, self._rx_buffers, BUFFER_BYTES)
        self._write(RingNic.RX_BASE, self._rx)
        self._write(RingNic.TX_BASE, self._tx)
        self._write(RingNic.RX_TAIL, RING - 1)
        self._write(RingNic.MASK, Event.RX | Event.TX | Event.LINK | Event.ERROR)
        self._write(RingNic.CONTROL, Control.RX | Control.TX)

    def close(self) -> None:
        """A reset device is a silent one."""
        self._write(RingNic.CONTROL, Control.RESET)

    def transmit(self, frames: Sequence[bytes]) -> int:
        """Copy frames into the ring's own buffers, then one write for all of them."""
        room = (self._read(RingNic.TX_HEAD) - self._tx_next - 1) % RING
        for frame in frames[:room]:
            start = self._tx_buffers + self._tx_next * BUFFER_BYTES - RAM_BASE
            self.guest.ram[start : start + len(frame)] = frame
            self._describe(self._tx, self._tx_next, self._tx_buffers, len(frame))
            self._tx_next = (self._tx_next + 1) % RING
        self._write(RingNic.TX_TAIL, self._tx_next)
        return min(room, len(frames))

    def interrupt(self) -> None:
        """Acknowledge first: what comes after that raises the line again."""
        status = self._read(RingNic.STATUS)
        self._write(RingNic.STATUS, status)
        if status & Event.RX:
            self._receive()

    def _receive(self) -> None:
        head = self._read(RingNic.RX_HEAD)
        while self._rx_next != head:
            descriptor = self._rx + self._rx_next * DESCRIPTOR.size - RAM_BASE
            _, _, received = DESCRIPTOR.unpack_from(self.guest.ram, descriptor)
            start = self._rx_buffers + self._rx_next * BUFFER_BYTES - RAM_BASE
            self.deliver(bytes(self.guest.ram[start : start + received]))
            self._rx_next = (self._rx_next + 1) % RING
        self._write(RingNic.RX_TAIL, (head - 1) % RING)

    def _describe(self, ring: int, slot: int, buffers: int, size: int) -> None:
        DESCRIPTOR.pack_into(
            self.guest.ram, ring + slot * DESCRIPTOR.size - RAM_BASE, buffers + slot * BUFFER_BYTES, size, 0
        )

    def _read(self, register: Register) -> int:
        return self.guest.read(register.offset, register.width)

    def _write(self, register: Register, value: int) -> None:
        self.guest.write(register.offset, value, register.width)
