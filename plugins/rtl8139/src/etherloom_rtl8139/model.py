"""The RTL8139C+: registers and what they set going.

Models the C+ profile (PCI revision 20h): descriptor rings, offloads, timer, tally counters, EEPROM, PHY, power
management with magic packet. Not modelled: C mode's ring and slots, wake-up frames other than the magic packet, boot
flash, CardBus, the PAUSE frames of flow control, PCI identities and VPD out of the EEPROM. Sources: RTL8139C(L) data
sheet 1.4, the C+ programming guide, dumps of real boards; QEMU's model (R rows) where those are silent.

The data path is in `etherloom_rtl8139.receive` and `etherloom_rtl8139.transmit`.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from etherloom import Context, Drop, Frame, HostError
from etherloom.device import Bar, DmaError, Eeprom93c46, MiiPhy, PciIdentity, PowerManagement, Status
from etherloom.device import Command as PciCommand
from etherloom.net.offload import MalformedOffload, complete, prepare
from etherloom_rtl8139 import board
from etherloom_rtl8139.receive import Overflow, Receiver
from etherloom_rtl8139.registers import Command, Config3, Csr, EepromMode, Interrupt, MediaStatus, Poll, Registers
from etherloom_rtl8139.tally import Tally
from etherloom_rtl8139.timer import WRAP, FreeTimer
from etherloom_rtl8139.transmit import Transmitter

__all__ = ["Rtl8139"]

log = logging.getLogger(__name__)

ROK, FSWINT = int(Interrupt.ROK), int(Poll.FSWINT)
DUMP: Final = 0x08  # DTCCR: dump now
MPC_MAX: Final = 0xFFFFFF
LOOPED_MAX = 64  # frames looped back and not yet received
SAVE_NS = 1_000_000_000  # programming comes a word at a time

# How long a guest may wait to hear of a few frames that it sent: as two large ones take at 100 Mbit/s, or longer while
# it has masked ROK, which a driver does as long as it finds frames in its ring by itself.
LATE_NS, LATE_BUSY_NS = 200_000, 2_000_000
COMMAND = (
    PciCommand.IO
    | PciCommand.MEMORY
    | PciCommand.MASTER
    | PciCommand.SERR
    | PciCommand.INTX_DISABLE
    | PciCommand.INVALIDATE
)
PARTNER = 0x41E1  # 100 Mbit/s full duplex, no pause


class Rtl8139(Registers):
    """One 8139C+ on its board.

    Args:
        name: See `NetClient`.
        context: See `NetClient`.
        mac: The station address of a new board; one whose EEPROM is kept in a file has its own.
        overflow: What a full receive ring does to the source.
        mitigation: A few sent frames are told of with the next interrupt, or soon.
        eeprom: A file to keep the EEPROM in: read now if it exists, written when a guest has programmed the part.
        vpd: A new board says that its EEPROM has vital product data.
    """

    # Differs from QEMU: grant and latency, a maker's subsystem and a capability list, as on a board.
    identity = PciIdentity(
        vendor=0x10EC,
        device=0x8139,
        subsystem_vendor=0x10EC,
        subsystem=0x8139,
        revision=0x20,
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
        mitigation: bool = True,
        eeprom: Path | None = None,
        vpd: bool = False,
    ) -> None:
        words: Sequence[int] = (Eeprom93c46.load(eeprom) if eeprom is not None else None) or board.image(mac, vpd)
        power = PowerManagement.of(words[board.PM_WORD])
        super().__init__(name, context, mac=board.address(words), capabilities=[power], writable=COMMAND)
        self.vnet = True
        prepare()  # to cut large frames
        self.eeprom, self._eeprom_file = Eeprom93c46(words), eeprom  # Differs from QEMU: all of the part
        self._save_timer = context.timer(self, self._save_eeprom)
        self.phy = MiiPhy(partner=PARTNER)
        self._link_news = False
        self.tally = Tally()
        self.receiver = Receiver(self, overflow)
        self.transmitter = Transmitter(self, mitigation=mitigation)
        self._timer = FreeTimer(self, context, lambda: self.raise_now(Interrupt.TIMEOUT))
        self._looped: deque[bytes] = deque()
        self._loop_half = context.bottom_half(self, self._receive_looped)
        self._due = 0  # bits of ISR to be set at the end of the burst
        self._irq_half = context.bottom_half(self, self._raise_due)
        self.unseen = 0  # bits of ISR set since it was read, of which a driver that acknowledges now cannot know
        self._late = 0  # bits of ISR that are no reason for an interrupt yet
        self._late_timer = context.timer(self, self._late_no_more)
        self.reset()

    # Net client ---------------------------------------------------------------------------------------------------

    def receive(self, frame: Frame) -> bool:
        """One frame from the wire. One that is to be cut or finished is: only the end of the wire is a chip's."""
        if self.receiver.behind:
            return False
        try:
            frames = complete(frame)
        except MalformedOffload:
            self.drop(Drop.MALFORMED)
            return True
        first = next(frames)
        if self.sleeping:
            self._wake(first)
        return self.receiver.receive(first, frames)

    def burst_ended(self) -> None:
        """One interrupt for all frames of the burst."""
        if self._due:
            self._irq_half.cancel()
            self._raise_due()

    def resume(self) -> None:
        """The wire takes frames again."""
        self.transmitter.go_on()

    def link_changed(self) -> None:
        """The cable. Differs from QEMU (R-68): an interrupt only if it is news, not at each `set_link`."""
        if self.phy.link is not self.link_up:
            self.phy.link, self._link_news = self.link_up, True
            self._show_link()
            self.raise_now(Interrupt.LINKCHG)

    def close(self) -> None:
        """Keep what the guest programmed."""
        self._save_eeprom()

    # Device -------------------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Power-on: what the EEPROM says goes into the registers, and everything stops."""
        self._autoload()
        self.phy.reset()
        self._link_news = False
        self._show_link()
        self.tally = Tally()
        self._timer.restart()
        self._stop()

    def woken(self) -> None:
        """As after CR.RST. Differs from QEMU (R-70): there are power states."""
        self._soft_reset()

    def pci_changed(self) -> None:
        """Perhaps asleep: no engine runs then."""
        self._configure()

    # What the engines report --------------------------------------------------------------------------------------

    def raise_now(self, bits: int) -> None:
        """Set bits of ISR and bring the line up to date."""
        self.ISR |= bits
        self._late &= ~bits
        self._update_line()

    def raise_soon(self, bits: int) -> None:
        """Set bits of ISR when the burst is over; before that the guest cannot look."""
        if not self._due:
            self._irq_half.schedule()
        self._due |= bits

    def _raise_due(self) -> None:
        due, self._due = self._due, 0
        self.raise_now(due)

    def raise_late(self, bits: int) -> None:
        """Set bits of ISR, but interrupt for them only if there is another reason to, or after a while.

        Differs from QEMU (R-53), which interrupts at once. On a bus that takes 50 us for a register read, an interrupt
        keeps a driver for 250 us, and one for each acknowledgement that TCP sends halves what it can receive.
        """
        self._late |= bits & ~self.ISR
        self.ISR |= bits
        if not self._late_timer.armed:
            self._late_timer.arm_in(LATE_NS if self.IMR & ROK else LATE_BUSY_NS)

    def _late_no_more(self) -> None:
        self._late = 0
        self._update_line()

    def miss(self) -> None:
        """A frame found no descriptor."""
        self.drop(Drop.QUEUE_FULL)
        self.tally.missed += 1
        self.MPC = min(self.MPC + 1, MPC_MAX)  # Differs from QEMU: 24 bits
        self.raise_soon(int(Interrupt.RDU))

    def transmit_failed(self) -> int:
        """A chain of descriptors that is no frame; returns the bit of ISR for it."""
        self.drop(Drop.MALFORMED)
        self.tally.tx_err += 1
        return int(Interrupt.TER)

    def bus_error(self) -> int:
        """DMA that the guest does not allow, or where it has no memory; returns the bit of ISR for it."""
        self.pci.flag(Status.MASTER_ABORT)
        return int(Interrupt.SERR)

    def loop_back(self, frame: bytes) -> None:
        """Receive an own frame, from the loop: never from within the transmit engine (S-4, CVE-2021-3416)."""
        for finished in complete(frame):
            if len(self._looped) < LOOPED_MAX:
                self._looped.append(finished)
            else:
                self.drop(Drop.QUEUE_FULL)
        self._loop_half.schedule()

    def _receive_looped(self) -> None:
        frames, self._looped = self._looped, deque()
        for frame in frames:
            if not self.receiver.take(frame):  # there is no source to hold back
                self.miss()

    # Registers ----------------------------------------------------------------------------------------------------

    @Registers.CR.on_write
    def _command(self, value: int) -> None:
        (self._soft_reset if value & Command.RST else self._configure)()

    @Registers.CPCR.on_write
    @Registers.RCR.on_write
    @Registers.TCR.on_write
    @Registers.IDR.on_write
    @Registers.MAR.on_write
    def _configure(self, _: int = 0) -> None:
        # Differs from QEMU: what is on and stays on does not start over, whatever else the write says.
        self.mac = self.IDR.to_bytes(6, "little")
        self.receiver.configure()
        self.transmitter.configure()

    # Differs from QEMU: a new transmit ring, too, starts at its first descriptor.
    @Registers.RDSAR.on_write
    def _receive_ring(self, value: int) -> None:
        self.receiver.restart(value)

    @Registers.TNPDS.on_write
    def _normal_ring(self, value: int) -> None:
        self.transmitter.normal.restart(value)

    @Registers.THPDS.on_write
    def _high_ring(self, value: int) -> None:
        self.transmitter.high.restart(value)

    @Registers.TPPOLL.on_write
    def _poll(self, value: int) -> None:
        if value & FSWINT:
            self.raise_now(Interrupt.SWINT)
        self.transmitter.poll(value)

    # Differs from QEMU: acknowledging some bits does not pulse the line while others are pending.
    @Registers.IMR.on_write
    def _unmask(self, value: int) -> None:
        if value & ROK & ~(self.ISR | self._due) and self.receiver.owes_interrupt():
            self.ISR |= ROK
        self._update_line()

    @Registers.ISR.on_read
    def _status(self) -> int:
        self.unseen = 0
        return self.ISR

    @Registers.ISR.on_write
    def _acknowledge(self, _: int) -> None:
        if self.unseen:
            self.ISR |= self.unseen
        self._update_line()

    def _update_line(self) -> None:
        self.irq.set(self.ISR & self.IMR & ~self._late != 0)

    @Registers.TCTR.on_read
    def _timer_count(self) -> int:
        return self._timer.ticks() % WRAP

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
        self.DTCCR = value & ~DUMP  # a driver polls it
        try:
            self.dma.write(value & ~0x3F, self.tally.pack())
        except DmaError:
            self.raise_now(self.bus_error())

    @Registers.CR9346.on_write
    def _eeprom_pins(self, value: int) -> None:
        mode = value & EepromMode.UNLOCK
        if mode == EepromMode.PROGRAM:
            cs, sk, di = (bool(value & pin) for pin in (EepromMode.EECS, EepromMode.EESK, EepromMode.EEDI))
            self.CR9346 = value & ~EepromMode.EEDO | self.eeprom.pins(cs, sk, di)
        else:
            self.eeprom.pins(False, False, False)
        if mode == EepromMode.AUTOLOAD:
            # Differs from QEMU: loads the EEPROM again and resets nothing.
            self.CR9346 = 0
            self._autoload()
            self._configure()
        if self.eeprom.changed and not self._save_timer.armed:
            self._save_timer.arm_in(SAVE_NS)

    @Registers.CSCR.on_read
    def _cable(self) -> int:
        """Bit 11 says once that the link changed."""
        news, self._link_news = self._link_news, False
        return self.CSCR & ~Csr.LINK_CHANGED | (Csr.LINK_CHANGED if news else 0)

    # Differs from QEMU: all of BMCR can be written, and restarting the negotiation is over at once.
    @Registers.BMCR.on_write
    def _phy_control(self, value: int) -> None:
        self.phy.write_bmcr(value)
        self._show_link()

    @Registers.ANAR.on_write
    def _phy_advertise(self, value: int) -> None:
        self.phy.anar = value

    # Inside -------------------------------------------------------------------------------------------------------

    def _soft_reset(self) -> None:
        """CR.RST: what `CLEARED` lists, and whatever is going on."""
        for register in CLEARED:
            setattr(self, register.name, register.reset)
        self._stop()

    def _stop(self) -> None:
        self._timer.aim(0)
        self._looped.clear()
        self._due = self._late = self.unseen = 0
        self._irq_half.cancel()
        self._late_timer.cancel()
        self._configure()
        self._update_line()

    def _autoload(self) -> None:
        """The EEPROM into the registers it fills."""
        words = self.eeprom.words
        self.IDR = int.from_bytes(board.address(words), "little")
        self.CONFIG0, self.CONFIG1 = words[10] & 0xFF, words[10] >> 8 | 0x0C
        self.CONFIG3, self.CONFIG4, self.CONFIG5 = words[6] >> 8, words[12] >> 8, words[15] >> 8

    def _show_link(self) -> None:
        """Link and negotiation, in all the registers that show them."""
        phy = self.phy
        self.BMCR, self.BMSR, self.ANAR, self.ANLPAR, self.ANER = phy.bmcr, phy.bmsr, phy.anar, phy.anlpar, phy.aner
        down, up = MediaStatus.LINKB | MediaStatus.SPEED_10, Csr.LINK_OK | Csr.CONNECTED
        self.MSR = self.MSR & ~down | (0 if phy.link else down)
        self.CSCR = self.CSCR & ~up | (up if phy.link else 0)

    def _wake(self, data: bytes) -> None:
        """A magic packet, if CONFIG3 asks for one: six FF and sixteen times the address (AMD 20213)."""
        if self.CONFIG3 & Config3.MAGIC and b"\xff" * 6 + self.mac * 16 in data:
            self.pci.signal_pme()

    def _save_eeprom(self) -> None:
        """At most once a second, and never from within a guest's access: it can fail."""
        if self.eeprom.changed and self._eeprom_file is not None:
            try:
                self.eeprom.save(self._eeprom_file)
            except HostError as error:
                log.error("%s: %s", self.name, error)


R = Registers
CLEARED = (
    *(R.DTCCR, R.RBSTART, R.CR, R.CAPR, R.IMR, R.ISR, R.TCR, R.TIMERINT, R.CPCR, R.RDSAR),
    *(R.RCR, R.MPC),  # Differs from QEMU: these too, and CONFIG0 to 5 and the PHY not
)
"""What CR.RST sets back; the rest stays."""
