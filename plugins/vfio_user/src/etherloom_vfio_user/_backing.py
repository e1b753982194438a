"""The files that a guest's RAM is made of, as buffers for `GuestMemory`.

A file that shrinks under a mapping kills the process that touches it there (SIGBUS), so only a file that is sealed
against shrinking is mapped, which is QEMU's default for memfds. An unsealed one, as of memory-backend-shm and of
cloud-hypervisor, is read and written by system calls instead: 1 us more for each access, and an access behind its end
fails like any other DMA. To refuse it would be no safer and would lock out honest clients.

A file in a file system with blocks is refused: a read could wait for a disk, or for whoever serves a FUSE file system,
and every other device of the process with it. What remains: a client that exhausts the host's huge pages, and punches
holes into a file of such pages, can still cause SIGBUS.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable
from mmap import ACCESS_READ, ACCESS_WRITE, mmap
from typing import TypeAlias

from etherloom.device import DmaError
from etherloom_vfio_user._wire import Refusal

__all__ = ["REMEDY", "Backing", "Key", "RamFile", "Unproven", "Unreachable", "key_of"]

REMEDY = (
    "start QEMU with -object memory-backend-memfd,id=mem0,size=SIZE,share=on -machine memory-backend=mem0, "
    "SIZE as in -m SIZE"
)

Key: TypeAlias = tuple[int, int, bool]  # device, inode, writable


class RamFile:
    """A file by system calls.

    Args:
        fd: Duplicated; the caller's stays open.
        size: In bytes.
    """

    def __init__(self, fd: int, size: int) -> None:
        self._fd, self._size = os.dup(fd), size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, key: slice) -> bytes:
        length = key.stop - key.start
        try:
            data = os.pread(self._fd, length, key.start)
        except OSError as error:
            raise DmaError(f"reading the guest's RAM: {error.strerror}") from error
        if len(data) != length:
            raise DmaError("the guest's RAM has shrunk")
        return data

    def __setitem__(self, key: slice, value: bytes) -> None:
        try:
            written = os.pwrite(self._fd, value, key.start)
        except OSError as error:
            raise DmaError(f"writing the guest's RAM: {error.strerror}") from error
        if written != len(value):
            raise DmaError("the guest's RAM is full")

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._fd)


class Unreachable:
    """RAM that only the client itself can reach. The first access is reported, all of them fail.

    Args:
        size: In bytes.
        report: Told why.
    """

    def __init__(self, size: int, report: Callable[[str], None]) -> None:
        self._size, self._report = size, report

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, key: slice) -> bytes:
        raise self._refused()

    def __setitem__(self, key: slice, value: bytes) -> None:
        raise self._refused()

    def _refused(self) -> DmaError:
        problem = "the client did not share this memory"
        self._report(f"{problem}; {REMEDY}")
        return DmaError(problem)


class Unproven:
    """A file of which it is not known yet whether the guest sees it too.

    A client whose RAM is private (`share=off`) passes the file all the same, and what its guest writes goes into
    private copies of the pages: the device finds zeros. So whatever else a read finds proves the file, and zeros are a
    reason to ask the client what its guest sees in that place.

    Args:
        inner: The file.
        proven: Called by a read that found something, once.
        doubted: Called with offset and length of each read that found nothing.
    """

    def __init__(
        self,
        inner: mmap | RamFile,
        *,
        proven: Callable[[Unproven], None],
        doubted: Callable[[Unproven, int, int], None],
    ) -> None:
        self.inner, self._proven, self._doubted = inner, proven, doubted

    def __len__(self) -> int:
        return len(self.inner)

    def __getitem__(self, key: slice) -> bytes:
        data = self.inner[key]
        if data.count(0) != len(data):
            self._proven(self)
        else:
            self._doubted(self, key.start, len(data))
        return data

    def __setitem__(self, key: slice, value: bytes) -> None:
        self.inner[key] = value


class Backing:
    """One file, open once however many mappings show parts of it.

    Args:
        fd: The caller's, and stays so.
        key: What `key_of` said of it.
        proven, doubted: See `Unproven`.

    Raises:
        Refusal: It cannot be a guest's RAM, or the system refused.

    Attributes:
        memory: The file as a buffer.
        buffer: What mappings are to show: `memory`, once it is proven to be the guest's.
        size: In bytes.
        uses: Mappings that show it.
    """

    def __init__(
        self,
        fd: int,
        key: Key,
        *,
        proven: Callable[[Unproven], None],
        doubted: Callable[[Unproven, int, int], None],
    ) -> None:
        self.key, self.uses, self.size = key, 0, os.fstat(fd).st_size
        self.writable = key[2]
        try:
            seals = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
        except OSError:  # only files of tmpfs, hugetlbfs and memfds have seals
            raise Refusal(errno.EINVAL, f"guest RAM in a file that is not of memory; {REMEDY}") from None
        try:
            if seals & fcntl.F_SEAL_SHRINK:
                self.memory: mmap | RamFile = mmap(fd, 0, access=ACCESS_WRITE if self.writable else ACCESS_READ)
            else:
                self.memory = RamFile(fd, self.size)
        except (OSError, ValueError, OverflowError) as error:
            raise Refusal(getattr(error, "errno", None) or errno.EINVAL, f"guest RAM: {error}") from error
        self.buffer: mmap | RamFile | Unproven = Unproven(self.memory, proven=proven, doubted=doubted)


def key_of(fd: int) -> Key:
    """Which file an open fd is, and whether it can be written through it.

    Raises:
        Refusal: It cannot even be read.
    """
    mode = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE
    if mode == os.O_WRONLY:
        raise Refusal(errno.EACCES, "guest RAM in a file that is open for writing only")
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise Refusal(errno.EINVAL, f"guest RAM in something that is no file; {REMEDY}")
    return status.st_dev, status.st_ino, mode == os.O_RDWR
