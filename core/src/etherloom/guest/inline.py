"""Guest bus `inline`: the guest is Python code in this process.

A machine with RAM, one NIC, and a driver. Accesses are method calls; an interrupt reaches the driver from a bottom
half, and again from the next as long as the line stays up, as a level-triggered one does.
"""

from __future__ import annotations

from collections.abc import Callable
from mmap import mmap

from etherloom.device import Command, GuestMemory, NicModel
from etherloom.device.pci import COMMAND

__all__ = ["RAM_BASE", "InlineGuest"]

RAM_BASE = 0x10_0000  # not zero, so that an address a driver forgot to set is no RAM
RAM_BYTES = 2 << 20


class InlineGuest:
    """A machine around one device, with bus mastering and both BARs enabled.

    Args:
        nic: The device, already in its network.
        ram_bytes: Size of the RAM, which starts at `RAM_BASE`.

    Attributes:
        ram: The RAM; guest address minus `RAM_BASE` is the index.
        interrupt: Called from a bottom half while the line is asserted. Set by the driver's user.
    """

    def __init__(self, nic: NicModel, *, ram_bytes: int = RAM_BYTES) -> None:
        self.nic = nic
        self.ram = mmap(-1, ram_bytes)
        self.memory = GuestMemory()
        self.memory.map(RAM_BASE, self.ram)
        self.interrupt: Callable[[], None] = lambda: None
        self._free = RAM_BASE
        self._half = nic.context.bottom_half(nic, self._interrupt)
        nic.attach(self.memory, self._line)
        enable = Command.IO | Command.MEMORY | Command.MASTER
        nic.pci.write(COMMAND, enable.to_bytes(2, "little"))

    def read(self, offset: int, size: int) -> int:
        """Read 1, 2, 4 or 8 bytes of a BAR."""
        return int.from_bytes(self.nic.bar_read(offset, size), "little")

    def write(self, offset: int, value: int, size: int) -> None:
        """Write 1, 2, 4 or 8 bytes of a BAR."""
        self.nic.bar_write(offset, value.to_bytes(size, "little"))

    def config_read(self, offset: int, size: int) -> int:
        """Read configuration space."""
        return int.from_bytes(self.nic.pci.read(offset, size), "little")

    def config_write(self, offset: int, value: int, size: int) -> None:
        """Write configuration space."""
        self.nic.pci.write(offset, value.to_bytes(size, "little"))

    def allocate(self, size: int, align: int = 256) -> int:
        """Guest address of `size` bytes of RAM, never given back.

        Raises:
            MemoryError: The RAM is used up.
        """
        start = -(-self._free // align) * align
        if start + size > RAM_BASE + len(self.ram):
            raise MemoryError(f"{size} bytes of guest RAM")
        self._free = start + size
        return start

    def unplug(self) -> None:
        """Take the device out."""
        self._half.close()
        self.nic.detach()

    def _line(self, asserted: bool) -> None:
        if asserted:
            self._half.schedule()

    def _interrupt(self) -> None:
        if self.nic.irq.asserted:
            self.interrupt()
        if self.nic.irq.asserted:
            self._half.schedule()
