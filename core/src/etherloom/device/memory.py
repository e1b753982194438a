"""Guest memory as a device sees it, and the one door through which it does.

`GuestMemory` is the address space: RAM only, so that no DMA can reach a device's registers, its own or another's.
`Dma` is a device's way in: bounded, gated by the bus-master bit, and failing with `DmaError`, which the model turns
into the chip's own error bits.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from typing import Protocol

from etherloom.errors import PeerError, UsageError

__all__ = ["DMA_MAX", "Dma", "DmaError", "GuestMemory"]

DMA_MAX = 1 << 20  # bytes in one access: more than any frame or ring, little enough to copy in 0.1 ms


class DmaError(PeerError):
    """The guest pointed a device at memory that it cannot have; caught by the model, seen by nobody else."""


class Buffer(Protocol):
    """RAM: an mmap, shared or anonymous, whose slices are copies."""

    def __len__(self) -> int: ...
    def __getitem__(self, key: slice, /) -> bytes: ...
    def __setitem__(self, key: slice, value: bytes, /) -> None: ...


class Mapping:
    """Guest addresses `start` to `end` (exclusive) are `buffer`, guest address `base` being its first byte."""

    __slots__ = ("base", "buffer", "end", "start", "writable")

    def __init__(self, start: int, end: int, buffer: Buffer, offset: int, writable: bool) -> None:
        self.start, self.end, self.buffer, self.base, self.writable = start, end, buffer, start - offset, writable


class GuestMemory:
    """The mappings of one guest, without overlaps.

    Attributes:
        doors: Who looks at it, and must hear of changes.
    """

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._mappings: list[Mapping] = []
        self.doors: list[Dma] = []

    @property
    def mappings(self) -> tuple[Mapping, ...]:
        """All mappings, by address."""
        return tuple(self._mappings)

    def map(
        self, start: int, buffer: Buffer, *, offset: int = 0, size: int | None = None, writable: bool = True
    ) -> None:
        """Make `size` bytes of `buffer`, from `offset` on, appear at guest address `start`.

        The memory keeps a reference to `buffer` and no view of it.

        Raises:
            UsageError: Empty, beyond the buffer or the 64-bit space, or overlapping another mapping.
        """
        size = len(buffer) - offset if size is None else size
        end = start + size
        if size <= 0 or offset < 0 or offset + size > len(buffer) or start < 0 or end > 1 << 64:
            raise UsageError(f"cannot map {size} bytes at {start:#x} from offset {offset} of {len(buffer)}")
        index = bisect_right(self._starts, start)
        before = self._mappings[index - 1] if index else None
        after = self._mappings[index] if index < len(self._mappings) else None
        if (before is not None and before.end > start) or (after is not None and after.start < end):
            raise UsageError(f"{start:#x}-{end:#x} overlaps another mapping")
        self._starts.insert(index, start)
        self._mappings.insert(index, Mapping(start, end, buffer, offset, writable))
        self._changed()

    def unmap(self, start: int, size: int) -> None:
        """Take back one mapping, given exactly as it was made.

        Raises:
            UsageError: There is no such mapping.
        """
        index = bisect_right(self._starts, start) - 1
        if index < 0 or self._mappings[index].start != start or self._mappings[index].end != start + size:
            raise UsageError(f"{start:#x}-{start + size:#x} is not a mapping")
        del self._starts[index], self._mappings[index]
        self._changed()

    def clear(self) -> None:
        """Take back all mappings."""
        self._starts, self._mappings = [], []
        self._changed()

    def find(self, address: int) -> Mapping:
        """The mapping an address is in.

        Raises:
            DmaError: It is not RAM.
        """
        index = bisect_right(self._starts, address) - 1
        if index < 0 or address >= self._mappings[index].end:
            raise DmaError(f"{address:#x} is not RAM")
        return self._mappings[index]

    def pieces(self, address: int, length: int) -> list[tuple[Mapping, int, int]]:
        """Cut a range at the borders of neighbouring mappings: mapping, first address, address behind the last.

        Raises:
            DmaError: Some of it is not RAM.
        """
        end, found = address + length, []
        while address < end:
            mapping = self.find(address)
            high = min(end, mapping.end)
            found.append((mapping, address, high))
            address = high
        return found

    def _changed(self) -> None:
        for door in self.doors:
            door.forget()


class Dma:
    """A device's access to guest memory.

    The last mapping it went through is remembered for as long as neither the mappings nor the bus-master bit change,
    so that an access within it asks for nothing but bounds.

    Args:
        may_master: Whether the guest lets the device be bus master now (PCI 3.0, COMMAND bit 2); `forget` when that
            changes.

    Attributes:
        bytes_read, bytes_written: What passed.
    """

    def __init__(self, may_master: Callable[[], bool]) -> None:
        self._may_master = may_master
        self._memory: GuestMemory | None = None
        self._hit: Mapping | None = None
        self.bytes_read = self.bytes_written = 0

    @property
    def memory(self) -> GuestMemory | None:
        """The guest's; None before a guest bus has attached the device."""
        return self._memory

    @memory.setter
    def memory(self, memory: GuestMemory | None) -> None:
        if self._memory is not None:
            self._memory.doors.remove(self)
        if memory is not None:
            memory.doors.append(self)
        self._memory = memory
        self.forget()

    def forget(self) -> None:
        """Mappings or permission changed."""
        self._hit = None

    def read(self, address: int, length: int) -> bytes:
        """A copy of `length` bytes, 0 to `DMA_MAX`.

        Raises:
            DmaError: Not bus master, too long, or not all RAM.
        """
        hit = self._hit
        if hit is None or address < hit.start or address + length > hit.end or length > DMA_MAX:
            pieces = self._pieces(address, length)
            if len(pieces) != 1:
                self.bytes_read += length
                return b"".join(
                    mapping.buffer[low - mapping.base : high - mapping.base] for mapping, low, high in pieces
                )
            hit = self._hit = pieces[0][0]
        self.bytes_read += length
        at = address - hit.base
        return hit.buffer[at : at + length]

    def write(self, address: int, data: bytes) -> None:
        """Store `data`, 0 to `DMA_MAX` bytes.

        Raises:
            DmaError: Not bus master, too long, not all RAM or read-only; nothing has been stored.
        """
        hit, length = self._hit, len(data)
        if hit is None or address < hit.start or address + length > hit.end or length > DMA_MAX or not hit.writable:
            pieces = self._pieces(address, length)
            if not all(mapping.writable for mapping, _, _ in pieces):
                raise DmaError(f"{address:#x} is read-only")
            if len(pieces) != 1:
                for mapping, low, high in pieces:
                    mapping.buffer[low - mapping.base : high - mapping.base] = data[low - address : high - address]
                self.bytes_written += length
                return
            hit = self._hit = pieces[0][0]
        at = address - hit.base
        hit.buffer[at : at + length] = data
        self.bytes_written += length

    def _pieces(self, address: int, length: int) -> list[tuple[Mapping, int, int]]:
        if self._memory is None or not self._may_master():
            raise DmaError("the device is not bus master")
        if length > DMA_MAX:
            raise DmaError(f"{length} bytes in one access")
        return self._memory.pieces(address, length)
