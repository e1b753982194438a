"""Transmission in C+ mode: from the descriptor rings onto the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from etherloom import FRAME_MIN, FRAME_PAD, VNET_HEADER_BYTES, Drop
from etherloom.device import Dma, DmaError
from etherloom_rtl8139.checksums import IPCS, LGSEN, TCPCS, UDPCS, finish
from etherloom_rtl8139.registers import Command, CpCommand, Interrupt, Poll
from etherloom_rtl8139.rings import FS, LS, OWN, RING_MAX, Ring

if TYPE_CHECKING:
    from etherloom_rtl8139.model import Rtl8139

__all__ = ["Transmitter"]

TES: Final = 1 << 23
STATUS: Final = 1 << 25 | TES | 0x7F << 16  # UNF, TES, OWC, LNKF, EXC and the collisions: as they come back
OFFLOADS: Final = LGSEN | IPCS | UDPCS | TCPCS
LENGTH_MASK: Final = 0xFFFF
TAG_INSERT: Final = 1 << 17
LOOPBACK: Final = 0x60000  # TCR bits 18:17

CHAIN_MAX: Final = 65536  # bytes of one frame, over all its descriptors (S-7, S-11)
WIRE_FRAME: Final = 1514
TURN_FRAMES: Final = 512  # on the wire; about 2 ms of software segmentation, the longest that one turn takes
UNTOLD_MAX: Final = 16  # of 64 descriptors; 8139cp stops its queue when fewer than 18 are free
TOK, TDU = int(Interrupt.TOK), int(Interrupt.TDU)
HPQ, NPQ = int(Poll.HPQ), int(Poll.NPQ)
NO_OFFLOAD = bytes(VNET_HEADER_BYTES)


class TransmitRing(Ring):
    """A ring with a frame in the making.

    Attributes:
        left: Descriptors that the last poll demand still covers. Never more than a ring has, so that a ring whose
            descriptors always belong to the chip comes to an end (S-2, CVE-2016-8910).
        chain: The frame so far; None where its first descriptor was missing, or it has become too long.
    """

    __slots__ = ("chain", "left")

    def __init__(self, dma: Dma) -> None:
        super().__init__(dma)
        self.left = 0
        self.chain: bytearray | None = None

    def restart(self, base: int) -> None:
        super().restart(base)
        self.left, self.chain = 0, None

    def gather(self, command: int, buffer: int) -> bytes | bytearray | None:
        """The frame up to and with this descriptor; None where it has gone wrong.

        Raises:
            DmaError: The buffer is not in guest RAM; the frame so far stays.
        """
        if command & FS and command & LS:
            self.chain = None
            return self._dma.read(buffer, command & LENGTH_MASK)
        chain = bytearray() if command & FS else self.chain
        if chain is not None:
            chain += self._dma.read(buffer, command & LENGTH_MASK)
            if len(chain) > CHAIN_MAX:
                chain = None
        self.chain = None if command & LS else chain
        return chain


class Transmitter:
    """The transmit engine.

    Attributes:
        high, normal: The rings, served in this order. Differs from QEMU (R-39): the first is served at all.
        on: TE and CPCR's transmit bit are set, and the function is in D0.
        paused: The wire asked for a pause; `go_on` ends it.
    """

    def __init__(self, nic: Rtl8139, *, mitigation: bool) -> None:
        self._nic = nic
        self.high, self.normal = TransmitRing(nic.dma), TransmitRing(nic.dma)
        self.on = self.paused = self._loopback = False
        self._work = 0  # frames on the wire in this turn
        self._untold = 0  # descriptors given back since TOK was raised at once
        self._mitigation = mitigation
        self._more = nic.context.bottom_half(nic, self._run_on)

    def configure(self) -> None:
        """CR, CPCR, TCR or the power state changed."""
        nic = self._nic
        was, self.on = self.on, bool(nic.CR & Command.TE and nic.CPCR & CpCommand.TX) and not nic.sleeping
        self._loopback = nic.TCR & LOOPBACK == LOOPBACK
        if self.on is not was:
            self.normal.restart(nic.TNPDS)
            self.high.restart(nic.THPDS)
            self._untold = 0

    def poll(self, value: int) -> None:
        """TPPOLL was written: serve the rings it names."""
        if value & HPQ:
            self.high.left = RING_MAX
        if value & NPQ:
            self.normal.left = RING_MAX
        self._run()

    def go_on(self) -> None:
        """The wire takes frames again."""
        if self.paused:
            self.paused = False
            self._run_on()

    def _run_on(self) -> None:
        self._run(asked=False)

    def _run(self, *, asked: bool = True) -> None:
        """Send what was demanded, as far as one turn goes, and the rest from the loop.

        Args:
            asked: By the driver, at this moment; else it may not expect what ISR says hereafter.
        """
        if not self.on or self.paused:
            return
        nic, high, normal = self._nic, self.high, self.normal
        done = self._work = 0
        try:
            for ring in (high, normal):
                while ring.left and not self.paused and self._work < TURN_FRAMES:
                    done |= self._serve(ring)
        except DmaError:
            high.left = normal.left = 0
            done |= nic.bus_error()
        nic.end_burst()
        more = high.left or normal.left
        if done & TOK and not more:
            done |= TDU  # Differs from QEMU: and with TOK, never alone later, so that it costs no interrupt
        if not asked:
            nic.unseen |= done
        if done:
            if done & ~(TOK | TDU) or self._untold >= UNTOLD_MAX or not self._mitigation:
                nic.raise_now(done)
                self._untold = 0
            else:
                nic.raise_late(done)
        if more and not self.paused:
            self._more.schedule()

    def _serve(self, ring: TransmitRing) -> int:
        """Work off one descriptor; returns the bit of ISR that it is worth.

        Differs from QEMU (R-58): a last descriptor without a first is an error, a frame of over 64 KiB too, and a short
        one is padded.
        """
        address = ring.next
        command, vlan, buffer = ring.fetch(address) if ring.base else (0, 0, 0)
        if not command & OWN:
            ring.left = 0
            return 0
        data = ring.gather(command, buffer)
        ring.next, ring.left = ring.after(address, command), ring.left - 1
        status = command & ~(OWN | STATUS)
        if data is None and command & LS:
            ring.give_back(address, status | TES, vlan)
            return self._nic.transmit_failed()
        ring.give_back(address, status, vlan)
        self._untold += 1
        if data is not None and command & LS:
            self._emit(data, command, vlan)
        return TOK

    def _emit(self, data: bytes | bytearray, command: int, vlan: int) -> None:
        """One whole frame onto the wire."""
        nic = self._nic
        if len(data) < FRAME_MIN:
            nic.drop(Drop.SHORT)
            return
        head, frames = NO_OFFLOAD, 1
        if command & OFFLOADS or vlan & TAG_INSERT or len(data) < FRAME_PAD:
            data = data if isinstance(data, bytearray) else bytearray(data)
            tag = b"\x81\x00" + (vlan & 0xFFFF).to_bytes(2, "little") if vlan & TAG_INSERT else b""  # byte-swapped
            if not tag and data[12:14] == b"\x81\x00":
                # Differs from QEMU, which does no offload behind a tag that is in the frame already: 8139cp asks
                # for it when txvlan is off, and no TCP came through.
                tag, data[12:16] = bytes(data[12:16]), b""
            header = finish(data, command, len(tag)) if command & OFFLOADS else None
            data[12:12] = tag
            data += bytes(max(0, FRAME_PAD - len(data)))  # nobody behind a socket would do it
            if header is not None:
                head = header.pack()
                if header.gso_size:
                    frames = -(-(len(data) - header.hdr_len) // header.gso_size)
        nic.tally.tx_ok += frames
        self._work += max(frames, len(data) // WIRE_FRAME)
        frame = b"".join((head, data))
        if self._loopback:
            nic.loop_back(frame)
        else:
            self.paused = not nic.send(frame)
