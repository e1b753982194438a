"""The RTL8139C+: registers and what they set going.

Models the C+ profile (PCI revision 20h): descriptor rings, offloads, timer, tally counters, EEPROM, PHY, power
management with magic packet. Not modelled: C mode's ring and slots, wake-up frames other than the magic packet, boot
flash, CardBus, the PAUSE frames of flow control. Sources: RTL8139C(L) data sheet 1.4, the C+ programming guide, dumps
of real boards; QEMU's model (R rows) where those are silent.

The data path is in `etherloom_rtl8139.receive` and `etherloom_rtl8139.transmit`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path

from etherloom import Context, Drop, Frame, Offload
from etherloom.client import VNET_HEADER_BYTES
from etherloom.device import Bar, DmaError, Eeprom93c46, MiiPhy, PciIdentity, PowerManagement, Status
from etherloom.device import Command as PciCommand
from etherloom_rtl8139 import board
from etherloom_rtl8139.receive import Overflow, Receiver
from etherloom_rtl8139.registers import (
    Command,
    Config3,
    Csr,
    EepromMode,
    Interrupt,
    MediaStatus,
    Poll,
    Registers,
)
from etherloom_rtl8139.tally import Tally
from etherloom_rtl8139.timer import FreeTimer
from etherloom_rtl8139.transmit import Transmitter

__all__ = ["Rtl8139"]

DUMP = 0x08  # DTCCR: dump now
MPC_MAX = 0xFFFFFF
LOOPED_MAX = 64  # frames looped back and not yet received
MAGIC_REPEATS = 16


class Rtl8139(Registers):
    """One 8139C+ on its board.

    Args:
        name: See `NetClient`.
        context: See `NetClient`.
        mac: The station address of a new board; one whose EEPROM is kept in a file has its own.
        overflow: What a full receive ring does to the source.
        eeprom: A file to keep the EEPROM in: read now if it exists, written when a guest has programmed the part.
    """

    identity = PciIdentity(
        vendor=0x10EC,
        device=0x8139,
        revision=0x20,
        subsystem_vendor=0x10EC,
        subsystem=0x8139,
        status=Status.FAST_BACK | Status.MEDIUM_DEVSEL,
        min_grant=0x20,
        max_latency=0x40,
    )
    bars = (Bar(256, io=True), Bar(256))

    def __init__(
        self,
        name: str,
        context: Context,
        *,
        mac: bytes,
        overflow: Overflow = Overflow.HOLD,
        eeprom: Path | None = None,
    ) -> None:
        words: Sequence[int] = (board.load(eeprom) if eeprom is not None else None) or board.image(mac)
        super().__init__(
            name,
            context,
            mac=board.address(words),
            capabilities=[PowerManagement.of(words[board.PM_WORD])],
            writable=PciCommand.IO
            | PciCommand.MEMORY
            | PciCommand.MASTER
            | PciCommand.INVALIDATE
            | PciCommand.SERR
            | PciCommand.INTX_DISABLE,
        )
        self.vnet = True
        self.accepts = Offload(0)  # frames longer than the wire's have no place in its rings
        self.eeprom, self._eeprom_file = Eeprom93c46(words), eeprom
        self.phy = MiiPhy()
        self.tally = Tally()
        self.receiver = Receiver(self, overflow)
        self.transmitter = Transmitter(self)
        self._timer = FreeTimer(self, context, lambda: self.raise_now(Interrupt.TIMEOUT))
        self._looped: deque[bytes] = deque()
        self._loop_half = context.bottom_half(self, self._receive_looped)
        self._due = 0  # bits of ISR to be set at the end of the burst
        self._irq_half = context.bottom_half(self, self._raise_due)
        self._sleeping = False
        self.reset()

    # Net client ---------------------------------------------------------------------------------------------------

    def receive(self, frame: Frame) -> bool:
        """One frame from the wire."""
        if self._sleeping:
            self._wake(bytes(frame[VNET_HEADER_BYTES:]))
        return self.receiver.receive(frame)

    def burst_ended(self) -> None:
        """One interrupt for all frames of the burst."""
        if self._due:
            self._irq_half.cancel()
            self._raise_due()

    def resume(self) -> None:
        """The wire takes frames again."""
        self.transmitter.go_on()

    def link_changed(self) -> None:
        """The cable; an interrupt only if it is news (QEMU raises one at each `set_link`, R-68)."""
        if self.phy.link is not self.link_up:
            self.phy.link = self.link_up
            self._show_link()
            self.CSCR |= Csr.LINK_CHANGED
            self.raise_now(Interrupt.LINKCHG)

    def close(self) -> None:
        """Keep what the guest programmed."""
        self._save_eeprom()

    # Device -------------------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Power-on: what the EEPROM says goes into the registers, and everything stops."""
        self._autoload()
        self.phy.reset()
        self._show_link()
        self.tally = Tally()
        self._timer.aim(0)
        self._timer.restart()
        self._stop()

    def pci_changed(self) -> None:
        """Bus mastering or the power state changed."""
        asleep = self.pci.power_state != 0
        if asleep is not self._sleeping:
            self._sleeping = asleep
            if not asleep:
                self._soft_reset()
        self._configure()
        self._update_line()

    def bar_read(self, offset: int, size: int) -> bytes:
        """Below D0 the chip does not answer."""
        return bytes(size) if self._sleeping else super().bar_read(offset, size)

    def bar_write(self, offset: int, data: bytes) -> None:
        """Below D0 the chip does not listen."""
        if not self._sleeping:
            super().bar_write(offset, data)

    # What the engines report --------------------------------------------------------------------------------------

    def raise_now(self, bits: int) -> None:
        """Set bits of ISR and bring the line up to date."""
        self.ISR |= bits
        self._update_line()

    def raise_soon(self, bits: int) -> None:
        """Set bits of ISR when the burst is over; before that the guest cannot look."""
        if not self._due:
            self._irq_half.schedule()
        self._due |= bits

    def _raise_due(self) -> None:
        due, self._due = self._due, 0
        self.raise_now(due)

    def miss(self) -> None:
        """A frame found no descriptor."""
        self.drop(Drop.QUEUE_FULL)
        self.tally.missed += 1
        self.MPC = min(self.MPC + 1, MPC_MAX)
        self.raise_soon(Interrupt.RDU)

    def transmit_failed(self) -> None:
        """A chain of descriptors that is no frame."""
        self.drop(Drop.MALFORMED)
        self.tally.tx_err += 1
        self.raise_now(Interrupt.TER)

    def bus_error(self) -> None:
        """DMA that the guest does not allow, or where it has no memory."""
        self.pci.flag(Status.MASTER_ABORT)
        self.raise_now(Interrupt.SERR)

    def loop_back(self, frame: bytes) -> None:
        """Receive an own frame, from the loop: never from within the transmit engine (CVE-2021-3416)."""
        if len(self._looped) < LOOPED_MAX:
            self._looped.append(frame)
            self._loop_half.schedule()
        else:
            self.drop(Drop.QUEUE_FULL)

    # Registers ----------------------------------------------------------------------------------------------------

    @Registers.CR.on_write
    def _command(self, value: int) -> None:
        if value & Command.RST:
            self._soft_reset()
            return
        self.CR = value | Command.BUFE
        self._configure()

    @Registers.CPCR.on_write
    @Registers.RCR.on_write
    @Registers.TCR.on_write
    @Registers.IDR.on_write
    @Registers.MAR.on_write
    def _configure(self, _: int = 0) -> None:
        self.receiver.configure()
        self.transmitter.configure()

    @Registers.RDSAR.on_write
    def _receive_ring(self, value: int) -> None:
        self.receiver.ring.restart(value)

    @Registers.TNPDS.on_write
    def _normal_ring(self, value: int) -> None:
        self.transmitter.normal.restart(value)

    @Registers.THPDS.on_write
    def _high_ring(self, value: int) -> None:
        self.transmitter.high.restart(value)

    @Registers.TPPOLL.on_write
    def _poll(self, value: int) -> None:
        if value & Poll.FSWINT:
            self.raise_now(Interrupt.SWINT)
        self.transmitter.poll(value)

    @Registers.IMR.on_write
    @Registers.ISR.on_write
    def _update_line(self, _: int = 0) -> None:
        self.irq.set(self.ISR & self.IMR != 0 and not self._sleeping)

    @Registers.TCTR.on_read
    def _timer_count(self) -> int:
        return self._timer.count()

    @Registers.TCTR.on_write
    def _timer_restart(self, _: int) -> None:
        self._timer.restart()

    @Registers.TIMERINT.on_write
    def _timer_aim(self, value: int) -> None:
        self._timer.aim(value)

    @Registers.MPC.on_write
    def _clear_missed(self, _: int) -> None:
        self.MPC = 0

    @Registers.DTCCR.on_write
    def _dump_tally(self, value: int) -> None:
        if not value & DUMP:
            return
        try:
            self.dma.write(value & ~0x3F, self.tally.pack())
        except DmaError:
            self.bus_error()
        self.DTCCR = value & ~DUMP

    @Registers.CR9346.on_write
    def _eeprom_pins(self, value: int) -> None:
        mode = value & EepromMode.UNLOCK
        if mode == EepromMode.PROGRAM:
            cs, sk, di = (bool(value & pin) for pin in (EepromMode.EECS, EepromMode.EESK, EepromMode.EEDI))
            self.CR9346 = value & ~EepromMode.EEDO | self.eeprom.pins(cs, sk, di)
            return
        self.eeprom.pins(False, False, False)
        self._save_eeprom()
        if mode == EepromMode.AUTOLOAD:
            self._autoload()
            self._configure()
            self.CR9346 = 0

    @Registers.BMCR.on_write
    def _phy_control(self, value: int) -> None:
        self.phy.write_bmcr(value)
        self._show_link()

    @Registers.ANAR.on_write
    def _phy_advertise(self, value: int) -> None:
        self.phy.anar = value

    # Inside -------------------------------------------------------------------------------------------------------

    def _soft_reset(self) -> None:
        """CR.RST: engines, interrupts, rings and receive configuration; addresses, filter, EEPROM and link stay."""
        kept = {register: register.__get__(self, type(self)) for register in KEPT}
        self.registers.reset()
        for register, value in kept.items():
            register.__set__(self, value)
        self._timer.aim(0)
        self._stop()

    def _stop(self) -> None:
        self._looped.clear()
        self._due = 0
        self._irq_half.cancel()
        self._configure()
        self._update_line()

    def _autoload(self) -> None:
        """The EEPROM into the registers it fills."""
        words = self.eeprom.words
        self.IDR = int.from_bytes(board.address(words), "little")
        self.mac = board.address(words)
        self.CONFIG0, self.CONFIG1 = words[10] & 0xFF, words[10] >> 8 | 0x0C
        self.CONFIG3, self.CONFIG4, self.CONFIG5 = words[6] >> 8, words[12] >> 8, words[15] >> 8

    def _show_link(self) -> None:
        """Link and negotiation, in all the registers that show them."""
        phy = self.phy
        self.BMCR, self.BMSR, self.ANAR, self.ANLPAR, self.ANER = phy.bmcr, phy.bmsr, phy.anar, phy.anlpar, phy.aner
        self.MSR = self.MSR & ~MediaStatus.LINKB | (0 if phy.link else MediaStatus.LINKB)
        cable = Csr.LINK_OK | Csr.CONNECTED
        self.CSCR = self.CSCR & ~cable | (cable if phy.link else 0)

    def _receive_looped(self) -> None:
        frames, self._looped = self._looped, deque()
        for frame in frames:
            self.receiver.receive(frame)

    def _wake(self, frame: bytes) -> None:
        """A magic packet, if CONFIG3 asks for one: six FF and sixteen times the address (AMD 20213)."""
        if self.CONFIG3 & Config3.MAGIC and b"\xff" * 6 + self.mac * MAGIC_REPEATS in frame:
            self.pci.signal_pme()

    def _save_eeprom(self) -> None:
        if self.eeprom.changed and self._eeprom_file is not None:
            self.eeprom.changed = False
            board.save(self._eeprom_file, self.eeprom)


R = Registers
KEPT = (
    *(R.IDR, R.MAR, R.CR9346, R.CONFIG0, R.CONFIG1, R.CONFIG3, R.CONFIG4, R.CONFIG5, R.MSR, R.BMCR, R.BMSR, R.ANAR),
    *(R.ANLPAR, R.ANER, R.CSCR, R.PHY1_PARM, R.TW_PARM, R.PHY2_PARM, R.MULINT, R.ETTHR, R.CRC, R.WAKEUP, R.LSBCRC),
)
"""What CR.RST leaves alone."""
