"""The reference driver for C+ mode, written from the data sheet's facts: for bus `inline`, for tests, as an example.

Polls its rings by descriptor ownership, takes many frames per interrupt, and starts many with one write.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from etherloom.device import Register
from etherloom.guest import DriverError, InlineGuest, NicDriver
from etherloom.guest.inline import RAM_BASE
from etherloom_rtl8139.registers import Command, CpCommand, Interrupt, Poll, ReceiveConfig, Registers
from etherloom_rtl8139.rings import DESCRIPTOR_BYTES, EOR, FS, LS, OWN, RING_MAX

__all__ = ["Rtl8139Driver"]

BUFFER_BYTES: Final = 2048
CRC_BYTES: Final = 4
ERROR: Final = 1 << 20  # RES: some error bit is set
LENGTH: Final = 0x1FFF
RESET_POLLS = 1000
WANTED = (
    Interrupt.ROK | Interrupt.RER | Interrupt.TOK | Interrupt.TER | Interrupt.RDU | Interrupt.LINKCHG | Interrupt.SERR
)

WORD = struct.Struct("<I")
DESCRIPTOR = struct.Struct("<IIQ")


class Rtl8139Driver(NicDriver):
    """Drives one 8139C+; 64 descriptors of 2 KiB each way."""

    def __init__(self, guest: InlineGuest) -> None:
        super().__init__(guest)
        self._ram = guest.ram
        self._rx, self._tx = (guest.allocate(RING_MAX * DESCRIPTOR_BYTES) for _ in range(2))
        self._rx_buffers, self._tx_buffers = (guest.allocate(RING_MAX * BUFFER_BYTES) for _ in range(2))
        self._rx_next = self._tx_next = self._tx_done = 0
        self.link_up = True

    def open(self) -> None:
        """Data sheet 5.7 (reset), C+ guide (rings before enabling, C+ command first)."""
        self._write(Registers.CR, Command.RST)
        for _ in range(RESET_POLLS):
            if not self._read(Registers.CR) & Command.RST:
                break
        else:
            raise DriverError("the reset does not end")
        self.mac = b"".join(self.guest.read(Registers.IDR.offset + at, 2).to_bytes(2, "little") for at in (0, 2, 4))
        self._rx_next = self._tx_next = self._tx_done = 0
        for slot in range(RING_MAX):
            self._give(slot)
            DESCRIPTOR.pack_into(self._ram, self._tx + slot * DESCRIPTOR_BYTES - RAM_BASE, 0, 0, 0)
        self._write(Registers.CPCR, CpCommand.RX | CpCommand.TX | CpCommand.RX_CHECKSUM)
        for register, base in ((Registers.RDSAR, self._rx), (Registers.TNPDS, self._tx)):
            self.guest.write(register.offset + 4, base >> 32, 4)
            self.guest.write(register.offset, base & 0xFFFFFFFF, 4)
        self._write(Registers.CR, Command.RE | Command.TE)
        for offset in (0, 4):
            self.guest.write(Registers.MAR.offset + offset, 0xFFFFFFFF, 4)
        self._write(Registers.RCR, ReceiveConfig.APM | ReceiveConfig.AM | ReceiveConfig.AB)
        self._write(Registers.ISR, 0xFFFF)
        self._write(Registers.IMR, WANTED)

    def close(self) -> None:
        """Mask, stop, acknowledge."""
        self._write(Registers.IMR, 0)
        self._write(Registers.CR, 0)
        self._write(Registers.CPCR, 0)
        self._write(Registers.ISR, 0xFFFF)

    def transmit(self, frames: Sequence[bytes]) -> int:
        """Copy frames into the ring's own buffers, then one poll demand for all of them."""
        ram = self._ram
        self._reclaim()
        room = min(len(frames), RING_MAX - 1 - (self._tx_next - self._tx_done) % RING_MAX)
        for frame in frames[:room]:
            slot = self._tx_next
            buffer = self._tx_buffers + slot * BUFFER_BYTES
            start = buffer - RAM_BASE
            ram[start : start + len(frame)] = frame
            command = OWN | FS | LS | len(frame) | (EOR if slot == RING_MAX - 1 else 0)
            DESCRIPTOR.pack_into(ram, self._tx + slot * DESCRIPTOR_BYTES - RAM_BASE, command, 0, buffer)
            self._tx_next = (slot + 1) % RING_MAX
        if room:
            self._write(Registers.TPPOLL, Poll.NPQ)
        return room

    def interrupt(self) -> None:
        """Acknowledge first: what comes after that raises the line again."""
        status = self._read(Registers.ISR)
        if not status:
            return
        self._write(Registers.ISR, status)
        if status & (Interrupt.ROK | Interrupt.RDU):
            self._receive()
        if status & Interrupt.TOK:
            self._reclaim()
        if status & Interrupt.LINKCHG:
            self.link_up = bool(self._read(Registers.BMSR) & 0x0004)

    def _receive(self) -> None:
        ram, rx = self._ram, self._rx - RAM_BASE
        for _ in range(RING_MAX):
            slot = self._rx_next
            (status,) = WORD.unpack_from(ram, rx + slot * DESCRIPTOR_BYTES)
            if status & OWN:
                return
            if status & FS and status & LS and not status & ERROR:
                start = self._rx_buffers + slot * BUFFER_BYTES - RAM_BASE
                self.deliver(bytes(ram[start : start + (status & LENGTH) - CRC_BYTES]))
            self._give(slot)
            self._rx_next = (slot + 1) % RING_MAX

    def _give(self, slot: int) -> None:
        """Let the device have a receive descriptor."""
        command = OWN | BUFFER_BYTES | (EOR if slot == RING_MAX - 1 else 0)
        buffer = self._rx_buffers + slot * BUFFER_BYTES
        DESCRIPTOR.pack_into(self._ram, self._rx + slot * DESCRIPTOR_BYTES - RAM_BASE, command, 0, buffer)

    def _reclaim(self) -> None:
        ram, tx = self._ram, self._tx - RAM_BASE
        while self._tx_done != self._tx_next:
            (status,) = WORD.unpack_from(ram, tx + self._tx_done * DESCRIPTOR_BYTES)
            if status & OWN:
                return
            self._tx_done = (self._tx_done + 1) % RING_MAX

    def _read(self, register: Register) -> int:
        return self.guest.read(register.offset, register.width)

    def _write(self, register: Register, value: int) -> None:
        self.guest.write(register.offset, value, register.width)
