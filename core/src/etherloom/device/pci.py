"""A PCI function: the type 0 configuration header, its BARs and its capabilities.

Models PCI Local Bus 3.0 chapter 6 and PCI Power Management 1.2 chapter 3 as far as a NIC with INTx needs them. It does
not decode addresses: the guest bus knows where the BARs lie, and keeps BAR accesses away while COMMAND says so. Config
accesses of any width work at any offset; writes reach the writable bits only, sizing included.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import IntFlag
from typing import ClassVar

import attrs

from etherloom.device.interrupt import InterruptLine

__all__ = ["Bar", "Capability", "Command", "PciFunction", "PciIdentity", "PowerManagement", "Status"]

CONFIG_BYTES = 256

COMMAND, STATUS, BARS, CAPABILITIES, INTERRUPT_LINE, CACHE_LINE, LATENCY = 0x04, 0x06, 0x10, 0x34, 0x3C, 0x0C, 0x0D


class Command(IntFlag):
    """COMMAND register."""

    IO = 0x0001
    MEMORY = 0x0002
    MASTER = 0x0004
    INVALIDATE = 0x0010
    PARITY = 0x0040
    SERR = 0x0100
    INTX_DISABLE = 0x0400


class Status(IntFlag):
    """STATUS register; the upper five bits are cleared by writing 1."""

    INTERRUPT = 0x0008
    CAPABILITIES = 0x0010
    FAST_BACK = 0x0080
    MEDIUM_DEVSEL = 0x0200
    TARGET_ABORT_SENT = 0x0800
    TARGET_ABORT = 0x1000
    MASTER_ABORT = 0x2000
    SERR = 0x4000
    PARITY = 0x8000


STATUS_W1C = 0xF900


@attrs.frozen(kw_only=True)
class PciIdentity:
    """What never changes: the read-only part of the header. Grant and latency in units of 0.25 us."""

    vendor: int
    device: int
    revision: int = 0
    class_code: int = 0x020000  # Ethernet controller
    subsystem_vendor: int = 0
    subsystem: int = 0
    status: Status = Status.MEDIUM_DEVSEL
    min_grant: int = 0
    max_latency: int = 0


@attrs.frozen
class Bar:
    """A base address register. `size` is a power of two, at least 4 for I/O and 16 for memory."""

    size: int
    io: bool = False

    @property
    def fixed(self) -> int:
        """The low bits as they read."""
        return 1 if self.io else 0

    @property
    def writable(self) -> int:
        """The address bits, which is how a guest finds the size."""
        return 0xFFFFFFFF & -self.size


@attrs.frozen
class Capability:
    """An entry of the capability list: `body` follows id and next pointer; `writable` and `w1c` are masks of it."""

    ident: int
    body: bytes
    writable: bytes = b""
    w1c: bytes = b""


@attrs.frozen
class PowerManagement(Capability):
    """The power management capability (PM 1.2, 3.2), with state D0 and no PME pending after reset."""

    ident: int = 0x01
    body: bytes = bytes(6)
    writable: bytes = bytes((0, 0, 0x03, 0x01, 0, 0))  # PMCSR: power state, PME enable
    w1c: bytes = bytes((0, 0, 0, 0x80, 0, 0))  # PMCSR: PME status

    CONTROL: ClassVar[int] = 4  # PMCSR, from the capability's start

    @classmethod
    def of(cls, capabilities: int) -> PowerManagement:
        """With the given PMC word."""
        return cls(body=capabilities.to_bytes(2, "little") + bytes(4))


class PciFunction:
    """Configuration space of one function.

    Args:
        identity: The read-only fields.
        bars: BAR 0 and following.
        irq: The function's interrupt; its mask and its STATUS bit are kept here.
        capabilities: In list order, the first at 50h.
        writable: Bits of COMMAND a guest can set.
        on_change: Called after a guest's write that changed COMMAND or a capability, and after a reset.

    Attributes:
        power_state: 0 for D0 to 3 for D3hot.
        bus_master: COMMAND's bit, gated by the power state.
    """

    def __init__(
        self,
        identity: PciIdentity,
        bars: Sequence[Bar],
        irq: InterruptLine,
        *,
        capabilities: Sequence[Capability] = (),
        writable: Command = Command.IO | Command.MEMORY | Command.MASTER | Command.SERR | Command.INTX_DISABLE,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.identity, self.bars, self.irq = identity, tuple(bars), irq
        self._on_change = on_change
        self._power: int | None = None
        self._reset_image = bytearray(CONFIG_BYTES)
        self._writable, self._w1c = bytearray(CONFIG_BYTES), bytearray(CONFIG_BYTES)
        self._lay_out(writable)
        self._add(capabilities)
        self._space = bytearray(self._reset_image)
        self.power_state = 0
        self.bus_master = False

    def reset(self) -> None:
        """Power-on values."""
        self._space[:] = self._reset_image
        self._apply()

    def read(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset`; what is beyond the 256 reads zero."""
        status = self._space[STATUS] & ~Status.INTERRUPT
        self._space[STATUS] = status | (Status.INTERRUPT if self.irq.level else 0)
        return bytes(self._space[offset : offset + size]).ljust(size, b"\0")

    def write(self, offset: int, data: bytes) -> None:
        """A guest's write; never fails."""
        space, changed = self._space, False
        for at, byte in enumerate(data[: max(0, CONFIG_BYTES - offset)], offset):
            old = space[at]
            space[at] = (old & ~self._writable[at] | byte & self._writable[at]) & ~(byte & self._w1c[at])
            changed |= space[at] != old
        if changed:
            self._apply()

    @property
    def command(self) -> Command:
        """COMMAND."""
        return Command(self._word(COMMAND))

    def bar_address(self, index: int) -> int:
        """Where the guest put a BAR."""
        at = BARS + 4 * index
        return int.from_bytes(self._space[at : at + 4], "little") & self.bars[index].writable

    def flag(self, status: Status) -> None:
        """Set error bits of STATUS."""
        self._store(self._space, STATUS, self._word(STATUS) | status, 2)

    def may_master(self) -> bool:
        """Whether DMA is allowed now."""
        return self.bus_master

    def signal_pme(self) -> bool:
        """Set PME status; returns whether the guest enabled PME, in which case a bus that can should wake it."""
        if self._power is None:
            return False
        high = self._power + PowerManagement.CONTROL + 1
        self._space[high] |= 0x80
        return bool(self._space[high] & 0x01)

    def _apply(self) -> None:
        command = self._word(COMMAND)
        self.power_state = self._space[self._power + PowerManagement.CONTROL] & 3 if self._power is not None else 0
        self.bus_master = bool(command & Command.MASTER) and self.power_state == 0
        self.irq.disable(bool(command & Command.INTX_DISABLE) or self.power_state != 0)
        self._on_change()

    def _word(self, offset: int) -> int:
        return self._space[offset] | self._space[offset + 1] << 8

    @staticmethod
    def _store(space: bytearray, offset: int, value: int, width: int) -> None:
        space[offset : offset + width] = value.to_bytes(width, "little")

    def _lay_out(self, command: Command) -> None:
        """The header (PCI 3.0, figure 6-1)."""
        identity, image = self.identity, self._reset_image
        for offset, value, width in (
            (0x00, identity.vendor, 2),
            (0x02, identity.device, 2),
            (STATUS, identity.status, 2),
            (0x08, identity.revision, 1),
            (0x09, identity.class_code, 3),
            (0x2C, identity.subsystem_vendor, 2),
            (0x2E, identity.subsystem, 2),
            (0x3D, 1, 1),  # INTA
            (0x3E, identity.min_grant, 1),
            (0x3F, identity.max_latency, 1),
        ):
            self._store(image, offset, value, width)
        self._store(self._writable, COMMAND, command, 2)
        self._store(self._w1c, STATUS, STATUS_W1C, 2)
        for offset in (CACHE_LINE, LATENCY, INTERRUPT_LINE):
            self._writable[offset] = 0xFF
        for index, bar in enumerate(self.bars):
            self._store(image, BARS + 4 * index, bar.fixed, 4)
            self._store(self._writable, BARS + 4 * index, bar.writable, 4)

    def _add(self, capabilities: Sequence[Capability]) -> None:
        pointer, at = CAPABILITIES, 0x50
        for capability in capabilities:
            self._reset_image[pointer] = at
            self._reset_image[at] = capability.ident
            start, end = at + 2, at + 2 + len(capability.body)
            self._reset_image[start:end] = capability.body
            self._writable[start : start + len(capability.writable)] = capability.writable
            self._w1c[start : start + len(capability.w1c)] = capability.w1c
            self._reset_image[STATUS] |= Status.CAPABILITIES
            if isinstance(capability, PowerManagement):
                self._power = at
            pointer, at = at + 1, (end + 3) & ~3
