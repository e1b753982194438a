"""Reception in C+ mode: from the wire into the descriptor ring.

Differs from QEMU: a frame larger than one buffer goes on in the next (R-54); protocol and checksum verdicts are given
(R-57); the ring returns to 0 after 64 descriptors (R-54); a full ring holds the source back for a while before it drops
(R-55; QEMU drops at once).
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final
from zlib import crc32

from etherloom.client import FRAME_PAD, VNET_HEADER_BYTES, Frame
from etherloom.counters import Drop
from etherloom.device import DmaError
from etherloom_rtl8139.checksums import verdict
from etherloom_rtl8139.filter import AddressFilter
from etherloom_rtl8139.registers import Command, CpCommand, Interrupt
from etherloom_rtl8139.rings import EOR, FS, LS, OWN, RING_MAX, Ring

if TYPE_CHECKING:
    from etherloom_rtl8139.model import Rtl8139

__all__ = ["FRAME_LONGEST", "Overflow", "Receiver"]

FRAME_LONGEST = 4096 - 4  # a longer one, CRC included, is LONG, which no driver wants
CRC_BYTES = 4
SIZE_MASK: Final = 0x1FFF
TAG_AVAILABLE: Final = 1 << 16
RX_VLAN, RX_CHECKSUM = int(CpCommand.RX_VLAN), int(CpCommand.RX_CHECKSUM)
ROK = int(Interrupt.ROK)

# How long a full ring may hold the source back. 8139cp gives descriptors back without touching a register, so the ring
# is looked at again by time as well as at the driver's accesses.
RETRY_NS = 200_000
HOLD_NS = 10_000_000


class Overflow(Enum):
    """What a full ring does to the source."""

    HOLD = "hold"
    DROP = "drop"


class Receiver:
    """The receive engine.

    Attributes:
        ring: Where frames go.
        filter: Which frames are wanted.
        on: RE and CPCR's receive bit are set, and the function is in D0.
        overflow: See `Overflow`.
    """

    def __init__(self, nic: Rtl8139, overflow: Overflow) -> None:
        self._nic = nic
        self.ring = Ring(nic.dma)
        self.filter = AddressFilter()
        self.on = False
        self.overflow = overflow
        self._features = 0
        self._deadline_ns: int | None = None  # of the hold that is going on
        self._expired = False
        self._retry = nic.context.timer(nic, self.look_again)

    def configure(self) -> None:
        """CR, CPCR, RCR, IDR, MAR or the power state changed."""
        nic = self._nic
        self._features = nic.CPCR
        was, self.on = self.on, bool(nic.CR & Command.RE and self._features & CpCommand.RX) and not nic.pci.power_state
        if self.on and not was:
            self.ring.restart(nic.RDSAR)
        self.filter.configure(nic.RCR, nic.IDR.to_bytes(6, "little"), nic.MAR)
        if not self.on:
            self.let_go()

    def receive(self, frame: Frame) -> bool:
        """One frame from the wire, with an empty virtio-net header in front: see `NetClient.receive`."""
        nic = self._nic
        if not self.on:
            nic.drop(Drop.REFUSED)  # as the chip: nothing else counts them
            return True
        data = bytes(frame[VNET_HEADER_BYTES:])
        status = self.filter.match(data[:6])
        if status is None or len(data) > FRAME_LONGEST:
            nic.drop(Drop.REFUSED)
            return True
        return self.store(data, status)

    def store(self, data: bytes, status: int) -> bool:
        """Put an accepted frame into the ring; False to be offered it again."""
        nic = self._nic
        vlan = 0
        crc = crc32(data)
        if self._features & RX_VLAN and data[12:14] == b"\x81\x00" and len(data) >= 18:
            vlan = TAG_AVAILABLE | int.from_bytes(data[14:16], "little")  # the tag reads byte-swapped
            data = data[:12] + data[16:]
        if len(data) < FRAME_PAD:
            data = data.ljust(FRAME_PAD, b"\0")
            crc = crc32(data)
        if self._features & RX_CHECKSUM:
            status |= verdict(data)
        try:
            stored = self._scatter(data + crc.to_bytes(CRC_BYTES, "little"), status, vlan)
        except DmaError:
            nic.bus_error()
            nic.drop(Drop.HOST_ERROR)
            return True
        if stored:
            nic.tally.received(status)
            nic.raise_soon(ROK)
            return True
        if self._hold():
            return False
        nic.miss()
        return True

    def look_again(self) -> None:
        """The driver did something, or time passed: offer what is held once more."""
        if self._deadline_ns is None:
            return
        self._expired = self._nic.context.clock.now_ns() >= self._deadline_ns
        if self._expired or self._ready():
            self._nic.flush()
        else:
            self._wait()

    def let_go(self) -> None:
        """Whatever is held: offer it now, to be stored or lost."""
        if self._deadline_ns is not None:
            self._expired = True
            self._nic.flush()

    def _hold(self) -> bool:
        """No descriptor: whether to hold the source back once more."""
        if self.overflow is Overflow.DROP or self._expired:
            return False
        if self._deadline_ns is None:
            self._deadline_ns = self._nic.context.clock.now_ns() + HOLD_NS
        self._wait()
        return True

    def _wait(self) -> None:
        self._retry.arm_in(RETRY_NS)
        self._nic.on_next_access(self.look_again)

    def _ready(self) -> bool:
        try:
            return self.ring.base != 0 and bool(self.ring.fetch()[0] & OWN)
        except DmaError:
            return True  # and let the next frame find out

    def _scatter(self, data: bytes, status: int, vlan: int) -> bool:
        """Put a frame into the next descriptors; False, with nothing changed, if they are not there."""
        ring, dma = self.ring, self._nic.dma
        if not ring.base:
            return False
        first, length, at = ring.index, len(data), 0
        parts: list[tuple[int, int, int]] = []  # where the descriptor is, its command, the bytes it holds
        while at < length:
            command, _, buffer = ring.fetch()
            size = command & SIZE_MASK
            if not command & OWN or not size or len(parts) == RING_MAX:
                ring.index = first
                return False
            piece = data[at : at + size]
            dma.write(buffer, piece)
            parts.append((ring.address(), command & EOR, len(piece)))
            ring.advance(command)
            at += size
        # In reverse: a driver that finds the first finds the whole frame.
        status |= LS
        for address, mark, size in reversed(parts[1:]):
            ring.give_back(address, mark | status | (length if status & LS else size), vlan)
            status &= ~LS
        address, mark, size = parts[0]
        ring.give_back(address, mark | status | FS | (length if status & LS else size), vlan)
        self._deadline_ns, self._expired = None, False
        return True
