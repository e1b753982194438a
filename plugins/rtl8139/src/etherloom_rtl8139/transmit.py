"""Transmission in C+ mode: from the descriptor rings onto the wire.

Differs from QEMU: the high priority ring runs (R-39), a last descriptor without a first is an error (R-58), frames are
padded to 60 bytes, a UDP checksum of zero goes out as FFFF (R-59), large send keeps FIN and PSH for the last segment
(R-60), and a poll ends with TDU beside TOK (R-69).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from etherloom.client import FRAME_PAD, VNET_HEADER_BYTES
from etherloom.device import DmaError
from etherloom.net.offload import VnetHeader
from etherloom_rtl8139.checksums import TCP, UDP, complete_ipv4, headers, large_send, needs_checksum
from etherloom_rtl8139.registers import Command, CpCommand, Interrupt, Poll
from etherloom_rtl8139.rings import FS, LS, OWN, RING_MAX, Ring

if TYPE_CHECKING:
    from etherloom_rtl8139.model import Rtl8139

__all__ = ["Transmitter"]

LGSEN: Final = 1 << 27
TES: Final = 1 << 23
IPCS: Final = 1 << 18
UDPCS: Final = 1 << 17
TCPCS: Final = 1 << 16
LENGTH_MASK: Final = 0xFFFF
MSS_SHIFT: Final = 16
MSS_MASK: Final = 0x7FF
TAG_INSERT: Final = 1 << 17
LOOPBACK: Final = 0x60000  # TCR bits 18:17

CHAIN_MAX = 65536  # bytes of one frame, over all its descriptors
MSS_MIN = 64  # below it a 64 KiB frame would leave as more than a thousand segments
NO_OFFLOAD = bytes(VNET_HEADER_BYTES)


class Transmitter:
    """The transmit engine: two rings, the high priority one first.

    Attributes:
        normal, high: The rings.
        on: TE and CPCR's transmit bit are set, and the function is in D0.
        loopback: TCR says to receive what is sent; nothing reaches the wire.
        paused: The wire asked for a pause; `go_on` ends it.
    """

    def __init__(self, nic: Rtl8139) -> None:
        self._nic = nic
        self.normal, self.high = Ring(nic.dma), Ring(nic.dma)
        self.on = self.loopback = self.paused = False
        self._polled: list[Ring] = []
        self._chains: dict[Ring, bytearray | None] = {}
        self._more = nic.context.bottom_half(nic, self._run)

    def configure(self) -> None:
        """CR, CPCR, TCR or the power state changed."""
        nic = self._nic
        was = self.on
        self.loopback = nic.TCR & LOOPBACK == LOOPBACK
        self.on = bool(nic.CR & Command.TE and nic.CPCR & CpCommand.TX) and not nic.pci.power_state
        if self.on and not was:
            self.normal.restart(nic.TNPDS)
            self.high.restart(nic.THPDS)
            self._chains.clear()
        if not self.on:
            self._polled.clear()
            self._more.cancel()

    def poll(self, value: int) -> None:
        """TPPOLL was written: run the rings it names."""
        for bit, ring in ((Poll.HPQ, self.high), (Poll.NPQ, self.normal)):
            if value & bit and ring not in self._polled:
                self._polled.append(ring)
        self._run()

    def go_on(self) -> None:
        """The wire takes frames again."""
        if self.paused:
            self.paused = False
            self._run()

    def _run(self) -> None:
        """At most 64 descriptors now, and the rest from the loop: a guest can refill a ring while it is run."""
        if not self.on or self.paused:
            return
        nic = self._nic
        sent = False
        budget = RING_MAX
        try:
            while self._polled:
                ring = self._polled[0]
                used, dry = self._drain(ring, budget)
                budget -= used
                sent |= used > 0
                if dry and self._polled:
                    self._polled.pop(0)
                if self.paused or not budget:
                    break
        except DmaError:
            self._polled.clear()
            nic.bus_error()
        nic.end_burst()
        if sent:
            nic.raise_now(Interrupt.TOK if self._polled else Interrupt.TOK | Interrupt.TDU)
        if self._polled and not self.paused:
            self._more.schedule()

    def _drain(self, ring: Ring, budget: int) -> tuple[int, bool]:
        """Send from one ring; how many descriptors that took, and whether it ran dry."""
        used = 0
        while used < budget and not self.paused:
            if not ring.base:
                return used, True
            command, vlan, buffer = ring.fetch()
            if not command & OWN:
                return used, True
            used += 1
            address = ring.address()
            data = self._gather(ring, command, buffer)
            broken = data is None and command & LS
            ring.advance(command)
            ring.give_back(address, command & ~OWN | TES if broken else command & ~OWN, vlan)
            if broken:
                self._nic.transmit_failed()
            elif data is not None and command & LS:
                self.paused = not self._emit(data, command, vlan)
        return used, False

    def _gather(self, ring: Ring, command: int, buffer: int) -> bytearray | None:
        """The frame so far; None where its first descriptor was missing or it has become too long (S-7, S-11)."""
        chain = bytearray() if command & FS else self._chains.pop(ring, None)
        if chain is not None:
            chain += self._nic.dma.read(buffer, command & LENGTH_MASK)
            if len(chain) > CHAIN_MAX:
                chain = None
        if not command & LS:
            self._chains[ring] = chain
        return chain

    def _emit(self, data: bytearray, command: int, vlan: int) -> bool:
        """One whole frame onto the wire; False to pause."""
        nic = self._nic
        header = self._offload(data, command) if command & (LGSEN | IPCS | UDPCS | TCPCS) else None
        if vlan & TAG_INSERT:
            data[12:12] = b"\x81\x00" + (vlan & 0xFFFF).to_bytes(2, "little")  # the tag stands byte-swapped
            if header is not None and header.flags:
                header = attrs.evolve(header, csum_start=header.csum_start + 4, hdr_len=header.hdr_len + 4)
        if len(data) < FRAME_PAD:
            data += bytes(FRAME_PAD - len(data))
        nic.tally.transmitted()
        frame = b"".join((NO_OFFLOAD if header is None else header.pack(), data))
        if self.loopback:
            nic.loop_back(frame)
            return True
        return nic.send(frame)

    @staticmethod
    def _offload(data: bytearray, command: int) -> VnetHeader | None:
        """What the descriptor asks the chip to fill in; anything odd leaves the frame as it is."""
        found = headers(data)
        if found is None:
            return None
        if command & LGSEN:
            mss = command >> MSS_SHIFT & MSS_MASK
            if not mss or found.protocol != TCP:
                return None
            complete_ipv4(data, found)
            return large_send(data, found, max(mss, MSS_MIN)) or needs_checksum(data, found, TCP)
        if command & IPCS:
            complete_ipv4(data, found)
        if command & TCPCS and found.protocol == TCP:
            return needs_checksum(data, found, TCP)
        if command & UDPCS and found.protocol == UDP:
            return needs_checksum(data, found, UDP)
        return None
