"""What a client says of its guest's memory, kept in a `GuestMemory`: DMA_MAP and DMA_UNMAP.

A mapping shows a part of a file that came with it, or of no file: such memory could be had by messages only, for which
a device that is at work cannot wait (the client may be waiting for it), so DMA there fails and says how to start the
client. Not modelled: dirty-page logging.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from mmap import mmap

from etherloom.device import GuestMemory
from etherloom.errors import UsageError
from etherloom_vfio_user._backing import Backing, Key, RamFile, Unproven, Unreachable, key_of
from etherloom_vfio_user._wire import MapFlag, Refusal

__all__ = ["FILES_MAX", "MAPS_MAX", "SIZE_MAX", "DmaTable"]

MAPS_MAX = 65535  # what we say in VERSION; a vIOMMU makes one for each page
SIZE_MAX = 8 << 40  # of one mapping; libvfio-user's limit
FILES_MAX = 64  # each costs a file descriptor, of which a process has perhaps 1,024 for all its devices
SUSPECT_MAX = 4096  # bytes to be compared


class DmaTable:
    """The mappings of one client.

    Args:
        report: Told of memory that cannot be used, and what to do about it.

    Attributes:
        memory: For the device.
        suspect: Address and length of what the device read as zeros from a file that nothing proves to be shared.
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        self.memory = GuestMemory()
        self.suspect: tuple[int, int] | None = None
        self._report = report
        self._files: dict[Key, Backing] = {}
        self._open_files = 0  # with those that a file's growth has superseded
        self._mapped: dict[int, tuple[int, Backing | None]] = {}  # by address: size and file

    def map(self, address: int, size: int, flags: int, offset: int, fd: int | None) -> None:
        """Add a mapping.

        Args:
            address: Guest address of its first byte.
            size: In bytes.
            flags: See `MapFlag`.
            offset: In the file, in bytes.
            fd: The file, which stays the caller's; None without one.

        Raises:
            Refusal: Nothing has changed.
        """
        if flags & ~0xF or not flags & (MapFlag.READ | MapFlag.WRITE):
            raise Refusal(errno.EINVAL)
        if not 0 < size <= (1 << 64) - address:
            raise Refusal(errno.EINVAL)
        if size > SIZE_MAX or len(self._mapped) >= MAPS_MAX:
            raise Refusal(errno.ENOSPC)
        writable = bool(flags & MapFlag.WRITE)
        if fd is None:
            if flags & (MapFlag.MMAP | MapFlag.FILE_IO):
                raise Refusal(errno.EINVAL)
            self._show(address, Unreachable(size, self._report), 0, size, writable)
            self._mapped[address] = size, None
            return
        backing = self._open(fd, offset + size)
        try:
            if offset + size > backing.size:
                raise Refusal(errno.EINVAL)
            if writable and not backing.writable:
                raise Refusal(errno.EACCES)
            self._show(address, backing.buffer, offset, size, writable)
        except Refusal:
            self._release(backing)
            raise
        backing.uses += 1
        self._mapped[address] = size, backing

    def unmap(self, address: int, size: int) -> None:
        """Take back one mapping, as it was made. No DMA reaches it afterwards.

        Raises:
            Refusal: There is none.
        """
        known = self._mapped.get(address)
        if known is None or known[0] != size:
            raise Refusal(errno.ENOENT)
        self.memory.unmap(address, size)
        del self._mapped[address]
        if known[1] is not None:
            known[1].uses -= 1
            self._release(known[1])

    def clear(self) -> None:
        """Take back all mappings."""
        self.memory.clear()
        mapped, self._mapped = self._mapped, {}
        for _, backing in mapped.values():
            if backing is not None:
                backing.uses -= 1
                self._release(backing)

    def is_private(self, seen: bytes) -> bool:
        """Compare what the guest sees at `suspect` with what the device does now, and settle the suspicion.

        Args:
            seen: By the guest; empty if the client would not say.

        Returns:
            True if they are not the same memory. False proves nothing while both see zeros.
        """
        if self.suspect is None:
            return False
        (address, length), self.suspect = self.suspect, None
        if len(seen) != length or not any(seen):
            return False
        for mapping in self.memory.mappings:
            if mapping.start <= address < mapping.end and isinstance(mapping.buffer, Unproven):
                at = address - mapping.base
                return not any(mapping.buffer.inner[at : at + length])
        return False

    def _open(self, fd: int, end: int) -> Backing:
        key = key_of(fd)
        backing = self._files.get(key)
        if backing is None or (end > backing.size and os.fstat(fd).st_size > backing.size):  # it has grown
            if self._open_files >= FILES_MAX:
                raise Refusal(errno.ENOSPC)
            backing = self._files[key] = Backing(fd, key, proven=self._proven, doubted=self._doubted)
            self._open_files += 1
        return backing

    def _release(self, backing: Backing) -> None:
        if not backing.uses:
            if self._files.get(backing.key) is backing:
                del self._files[backing.key]
            self._open_files -= 1
            backing.memory.close()

    def _show(
        self, address: int, buffer: mmap | RamFile | Unproven | Unreachable, offset: int, size: int, writable: bool
    ) -> None:
        try:
            self.memory.map(address, buffer, offset=offset, size=size, writable=writable)
        except UsageError as error:
            raise Refusal(errno.EEXIST) from error

    def _proven(self, unproven: Unproven) -> None:
        """The guest does write into this file: leave out the go-between."""
        for backing in self._files.values():
            if backing.buffer is unproven:
                backing.buffer = backing.memory
        for mapping in self.memory.mappings:
            if mapping.buffer is unproven:
                mapping.buffer = unproven.inner

    def _doubted(self, unproven: Unproven, offset: int, length: int) -> None:
        if self.suspect is not None:
            return
        for mapping in self.memory.mappings:
            address = mapping.base + offset
            if mapping.buffer is unproven and mapping.start <= address < mapping.end:
                self.suspect = address, min(length, SUSPECT_MAX, mapping.end - address)
                return
