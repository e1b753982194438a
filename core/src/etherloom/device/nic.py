"""What a NIC model is made of: a net client on the wire side, a PCI function on the other.

A model subclasses `NicModel`, declares its registers (`etherloom.device.registers`), moves frames between `self.dma`
and `self.send`, and calls `self.irq.set(level)`. It knows no guest bus: every bus talks to it through the methods in
the last section, so the same model runs under each.

Rules a model keeps, and `etherloom.testing.check_nic_model` checks: whatever the guest writes is counted, answered
with the chip's own error bits, or ignored. It never raises, never loops without a bound, never trusts a guest's length,
reads a descriptor once and decides on the copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from etherloom.client import NetClient
from etherloom.device.interrupt import InterruptLine
from etherloom.device.memory import Dma, GuestMemory
from etherloom.device.pci import Bar, Capability, Command, PciFunction, PciIdentity
from etherloom.device.registers import RegisterFile

if TYPE_CHECKING:
    from collections.abc import Callable

    from etherloom.context import Context
    from etherloom.kinds import GuestPort

__all__ = ["NicModel"]


class NicModel(NetClient):
    """Base class of every NIC model.

    Args:
        name: See `NetClient`.
        context: See `NetClient`.
        mac: The station address, 6 bytes.
        capabilities: Of the PCI function.
        writable: Bits of COMMAND that a guest can set.

    Attributes:
        identity, bars: A model says them as class attributes. Every BAR shows the same registers, as far as it goes.
        registers, pci, dma, irq: The device's parts.
        port: Its place in a guest; None while it is in none.
        sleeping: The function is in a power state below D0, where it does no DMA, has no interrupt and answers to its
            configuration space only (PM 1.2, 5.4).
    """

    is_nic = True

    identity: ClassVar[PciIdentity]
    bars: ClassVar[tuple[Bar, ...]]

    def __init__(
        self,
        name: str,
        context: Context,
        *,
        mac: bytes,
        capabilities: Sequence[Capability] = (),
        writable: Command = Command.IO | Command.MEMORY | Command.MASTER | Command.SERR | Command.INTX_DISABLE,
    ) -> None:
        super().__init__(name, context)
        self.mac = mac
        self.sleeping = False
        self.port: GuestPort | None = None
        self.irq = InterruptLine()
        self.pci = PciFunction(
            self.identity,
            self.bars,
            self.irq,
            capabilities=capabilities,
            writable=writable,
            on_change=self._pci_changed,
        )
        self.dma = Dma(self.pci.may_master)
        self.registers = RegisterFile(self, max(bar.size for bar in self.bars))

    @property
    def info(self) -> str:
        """Model and address, as in QEMU's `info network` (M-10)."""
        place = f",{self.port.info}" if self.port is not None else ""
        return f"model={self.kind},macaddr={self.mac.hex(':')}{place}"

    # What a model overrides ---------------------------------------------------------------------------------------

    def reset(self) -> None:
        """To power-on state, whatever is going on. Registers and PCI function are reset already; the link stays."""

    def pci_changed(self) -> None:
        """COMMAND or a capability changed: bus mastering, `sleeping`."""

    def woken(self) -> None:
        """Back in D0, before `pci_changed`. Most chips have lost what a reset would clear."""

    def _pci_changed(self) -> None:
        self.dma.forget()
        was, self.sleeping = self.sleeping, self.pci.power_state != 0
        if was and not self.sleeping:
            self.woken()
        self.pci_changed()

    # What a model calls -------------------------------------------------------------------------------------------

    def on_next_access(self, callback: Callable[[], None]) -> None:
        """Call `callback` after the guest's next access to a BAR, once. Costs nothing when it is not asked for."""
        if "bar_read" in self.__dict__:
            return
        read, write = self.bar_read, self.bar_write

        def restore() -> None:
            del self.__dict__["bar_read"], self.__dict__["bar_write"]

        def bar_read(offset: int, size: int) -> bytes:
            restore()
            data = read(offset, size)
            callback()
            return data

        def bar_write(offset: int, data: bytes) -> None:
            restore()
            write(offset, data)
            callback()

        self.__dict__.update(bar_read=bar_read, bar_write=bar_write)

    # What a guest bus calls ---------------------------------------------------------------------------------------

    def attach(self, memory: GuestMemory, interrupt: Callable[[bool], None]) -> None:
        """Put the device into a guest: its memory, and who is told of interrupt edges."""
        self.dma.memory = memory
        self.irq.connect(interrupt)

    def detach(self) -> None:
        """Take it out again, as a reset device."""
        self.irq.connect(None)
        self.dma.memory = None
        self.bus_reset()

    def bus_reset(self) -> None:
        """RST#: everything to power-on values."""
        self.irq.set(False)
        self.pci.reset()
        self.registers.reset()
        self.reset()

    def bar_read(self, offset: int, size: int) -> bytes:
        """A guest's read through any BAR: 1, 2, 4 or 8 bytes, beginning within it. Asleep, all reads zero."""
        return bytes(size) if self.sleeping else self.registers.read(offset, size)

    def bar_write(self, offset: int, data: bytes) -> None:
        """A guest's write through any BAR: 1, 2, 4 or 8 bytes, beginning within it. Asleep, it is ignored."""
        if not self.sleeping:
            self.registers.write(offset, data)
