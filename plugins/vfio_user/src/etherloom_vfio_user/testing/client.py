"""A vfio-user client.

It sends what it is told to, right or wrong, whole or in pieces, and reads answers as one of three known clients does,
so that an answer one of them would choke on is an error here. A `Guest` has memory and an interrupt as well.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Callable, Sequence
from enum import Enum, auto
from mmap import mmap
from pathlib import Path
from typing import NamedTuple, Self

from etherloom_vfio_user._wire import (
    ACCESS,
    DMA_MAP,
    DMA_UNMAP,
    ERROR,
    HEADER,
    HEADER_BYTES,
    REPLY,
    SET_IRQS,
    VERSION,
    Command,
    Irq,
    IrqAction,
    IrqData,
    MapFlag,
)

__all__ = ["QEMU_CAPABILITIES", "Client", "Guest", "Reply", "Style", "ram_file"]

QEMU_CAPABILITIES = {
    "capabilities": {
        "pgsizes": 4096,
        "max_msg_fds": 16,
        "max_dma_maps": 65535,
        "max_data_xfer_size": 1048576,
        "migration": {"max_bitmap_size": 268435456, "pgsize": 4096},
        "write_multiple": True,
    }
}
"""What QEMU 11.1 says of itself."""


class Style(Enum):
    """How a client reads an answer."""

    HEADER = auto()  # QEMU: the header first, which has to come in one piece, then as much as it says
    FIXED = auto()  # rust-vmm, cloud-hypervisor: as much as a good answer has, the header unseen
    STRICT = auto()  # alioth: everything in one piece and every field of the header as expected


class Reply(NamedTuple):
    """One message from the server."""

    ident: int
    command: int
    flags: int
    error: int
    payload: bytes

    @property
    def failed(self) -> bool:
        """Whether it reports an error."""
        return bool(self.flags & ERROR)


class Client:
    """A connection.

    Args:
        path: Of the server's socket.
        style: How to read answers.
        pump: Called before each read: lets a server in the same thread do its work. A socket without one blocks.
    """

    def __init__(self, path: Path, *, style: Style = Style.HEADER, pump: Callable[[], object] | None = None) -> None:
        self.style = style
        self._pump = pump or (lambda: None)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.setblocking(pump is None)
        self.socket.connect(bytes(path))
        self._ident = 0x1000

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self.socket.close()
        self._pump()

    # Messages -----------------------------------------------------------------------------------------------------

    def message(self, command: int, payload: bytes = b"", *, flags: int = 0, size: int | None = None) -> bytes:
        """A message with the next id; `size` other than the true one for a wrong one."""
        self._ident += 1
        size = HEADER_BYTES + len(payload) if size is None else size
        return HEADER.pack(self._ident & 0xFFFF, command, size, flags, 0) + payload

    def send(self, data: bytes, fds: Sequence[int] = ()) -> None:
        """Send bytes, with file descriptors on the first of them."""
        socket.send_fds(self.socket, [data], list(fds)) if fds else self.socket.sendall(data)

    def request(
        self, command: int, payload: bytes = b"", *, fds: Sequence[int] = (), flags: int = 0, room: int = 0
    ) -> Reply:
        """Send a command and read its answer; `room` is the payload of a good one."""
        message = self.message(command, payload, flags=flags)
        self.send(message, fds)
        return self.reply(room, command)

    def reply(self, room: int = 0, command: int | None = None) -> Reply:
        """Read one message.

        Raises:
            EOFError: The server has hung up.
            BlockingIOError: There is none.
            AssertionError: A client of this style could not read it.
        """
        self._pump()
        if self.style is Style.HEADER:
            return self._read_by_header()
        data = self.socket.recv(HEADER_BYTES + room)
        if not data:
            raise EOFError
        assert len(data) == HEADER_BYTES + room, f"{len(data)} bytes of {HEADER_BYTES + room}: this client is stuck"
        ident, said, size, flags, error = HEADER.unpack_from(data)
        if self.style is Style.STRICT:
            expected = (self._ident & 0xFFFF, command, HEADER_BYTES + room, REPLY, 0)
            assert expected == (ident, said, size, flags, error)
        return Reply(ident, said, flags, error, data[HEADER_BYTES:])

    def silent(self) -> bool:
        """Whether the server has nothing to say, and holds the line."""
        self._pump()
        try:
            return not self.socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) and False
        except BlockingIOError:
            return True

    def hung_up(self) -> bool:
        """Whether the server has; answers that were on their way are thrown away."""
        self._pump()
        try:
            while self.socket.recv(65536, socket.MSG_DONTWAIT):
                pass
        except BlockingIOError:
            return False
        except ConnectionResetError:
            pass
        return True

    def _read_by_header(self) -> Reply:
        data = self.socket.recv(HEADER_BYTES)
        if not data:
            raise EOFError
        assert len(data) == HEADER_BYTES, "QEMU takes a short header for the end"
        ident, command, size, flags, error = HEADER.unpack(data)
        payload = b""
        while len(payload) < size - HEADER_BYTES:
            piece = self.socket.recv(size - HEADER_BYTES - len(payload))
            if not piece:
                raise EOFError
            payload += piece
        return Reply(ident, command, flags, error, payload)

    # What every client does ---------------------------------------------------------------------------------------

    def introduce(self, capabilities: object = QEMU_CAPABILITIES, *, minor: int = 0) -> Reply:
        """VERSION, and its answer, which QEMU has no more room for than its request took."""
        text = json.dumps(capabilities).encode() + b"\0"
        self.send(self.message(Command.VERSION, VERSION.pack(0, minor) + text))
        self._pump()
        style, self.style = self.style, Style.HEADER
        reply = self._read_by_header()
        self.style = style
        assert len(reply.payload) <= VERSION.size + len(text), "reply larger than recv buffer"
        return reply

    def read(self, region: int, offset: int, count: int) -> bytes:
        """REGION_READ."""
        reply = self.request(Command.REGION_READ, ACCESS.pack(offset, region, count), room=ACCESS.size + count)
        assert not reply.failed, os.strerror(reply.error)
        assert (ACCESS.pack(offset, region, count), count) == (reply.payload[:16], len(reply.payload) - 16)
        return reply.payload[16:]

    def write(self, region: int, offset: int, data: bytes) -> None:
        """REGION_WRITE, and its answer."""
        payload = ACCESS.pack(offset, region, len(data)) + data
        reply = self.request(Command.REGION_WRITE, payload, room=ACCESS.size)
        assert (False, payload[:16]) == (reply.failed, reply.payload)

    def post(self, region: int, offset: int, data: bytes) -> None:
        """REGION_WRITE without an answer."""
        self.send(self.message(Command.REGION_WRITE, ACCESS.pack(offset, region, len(data)) + data, flags=0x10))

    def map(
        self,
        address: int,
        size: int,
        fd: int | None = None,
        *,
        offset: int = 0,
        flags: int = MapFlag.READ | MapFlag.WRITE,
    ) -> Reply:
        """DMA_MAP."""
        payload = DMA_MAP.pack(DMA_MAP.size, flags, offset, address, size)
        return self.request(Command.DMA_MAP, payload, fds=() if fd is None else (fd,))

    def unmap(self, address: int, size: int, flags: int = 0) -> Reply:
        """DMA_UNMAP."""
        payload = DMA_UNMAP.pack(DMA_UNMAP.size, flags, address, size)
        return self.request(Command.DMA_UNMAP, payload, room=DMA_UNMAP.size)

    def set_irqs(
        self,
        data: int,
        action: int,
        *,
        index: int = Irq.INTX,
        start: int = 0,
        count: int = 1,
        rest: bytes = b"",
        fds: Sequence[int] = (),
        argsz: int = SET_IRQS.size,
    ) -> Reply:
        """DEVICE_SET_IRQS."""
        payload = SET_IRQS.pack(argsz, data | action, index, start, count) + rest
        return self.request(Command.DEVICE_SET_IRQS, payload, fds=fds)


class Guest(Client):
    """A client with RAM and an interrupt: connected, introduced, mapped, and listening.

    Args:
        path, style, pump: See `Client`.
        ram_bytes: Size of the RAM, which starts at guest address 0.
        sealed: Whether the RAM's file is sealed against shrinking, as QEMU's is.

    Attributes:
        ram: As the guest sees it.
        ram_fd: Its file.
        irq_fd: The eventfd the device signals.
    """

    def __init__(
        self,
        path: Path,
        *,
        style: Style = Style.HEADER,
        pump: Callable[[], object] | None = None,
        ram_bytes: int = 1 << 20,
        sealed: bool = True,
    ) -> None:
        super().__init__(path, style=style, pump=pump)
        self.ram_fd = ram_file(ram_bytes, sealed=sealed)
        self.ram = mmap(self.ram_fd, ram_bytes)
        self.irq_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.introduce()
        assert not self.map(0, ram_bytes, self.ram_fd).failed
        assert not self.set_irqs(IrqData.EVENTFD, IrqAction.TRIGGER, fds=[self.irq_fd]).failed

    @property
    def signals(self) -> int:
        """Signals since this was asked last."""
        self._pump()
        try:
            return os.eventfd_read(self.irq_fd)
        except BlockingIOError:
            return 0

    def unmask(self) -> None:
        """What QEMU says after the guest's first access."""
        assert not self.set_irqs(IrqData.NONE, IrqAction.UNMASK).failed

    def close(self) -> None:
        """Hang up, and let go of the RAM."""
        super().close()
        self.ram.close()
        os.close(self.ram_fd)
        os.close(self.irq_fd)


def ram_file(size: int, *, sealed: bool = True) -> int:
    """A memfd as QEMU makes it."""
    fd = os.memfd_create("memory-backend-memfd", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    if sealed:
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    return fd
