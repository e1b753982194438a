"""A fake kernel, for tests of and over taps that need no privilege and no Linux.

An interface is a pair of SOCK_SEQPACKET sockets, so that fds, frame boundaries and EAGAIN are real. Ioctls are answered
as drivers/net/tun.c does, as far as `Kernel` is used. Not modelled: checksums and segmentation, several queues.
"""

from __future__ import annotations

import errno
import io
import os
import select
import socket
import struct

import attrs

from etherloom import FRAME_MAX, VNET_HEADER_BYTES, Offload
from etherloom_tap._kernel import IFREQ, Kernel, Request, TunFlag

__all__ = ["FakeInterface", "FakeKernel"]

# One GSO frame always fits; the kernel doubles it for its own book-keeping.
SOCKET_BYTES = 2 * FRAME_MAX

GSO_TYPES = (0, 1, 3, 4, 5)  # virtio 1.2 section 5.1.6: none, TCPv4, UDP, TCPv6, UDP_L4
GSO_ECN = 0x80
NOFILTER = 0x1000  # IFF_NOFILTER, which TUNGETIFF answers where IFF_NO_PI would be
NEEDS_CSUM = 0x01


@attrs.define(eq=False)
class FakeInterface:
    """An interface as its host sees it.

    Attributes:
        name: Its name.
        flags: What it was attached with.
        alias: As `ip link` would show it.
        up: While it is down, what is written into it is refused with EIO. Up at first, unlike a real one.
        deleted: It was removed while it was open.
        header_bytes: Length of the virtio-net header.
        offloads: All that was ever set by TUNSETOFFLOAD, oldest first.
        sndbuf: Set by TUNSETSNDBUF.
    """

    name: str
    flags: TunFlag
    _host: socket.socket
    alias: str = ""
    up: bool = True
    deleted: bool = False
    header_bytes: int = VNET_HEADER_BYTES
    offloads: list[Offload] = attrs.field(factory=list)
    sndbuf: int = 2**31 - 1

    def transmit(self, frame: bytes) -> None:
        """The host sends a frame out of the interface; with a header if the interface has one."""
        self._host.send(frame)

    def received(self) -> list[bytes]:
        """The frames that the host got since the last call, oldest first."""
        frames: list[bytes] = []
        while True:
            try:
                frame = self._host.recv(FRAME_MAX + VNET_HEADER_BYTES)
            except BlockingIOError:
                return frames
            if not frame:  # the other end is closed
                return frames
            frames.append(frame)

    def set_up(self, up: bool) -> None:
        """`ip link set NAME up` or `down`."""
        self.up = up

    @property
    def exists(self) -> bool:
        """Whether it was neither deleted nor has gone with its fd."""
        if self.deleted:
            return False
        poll = select.poll()
        poll.register(self._host, 0)
        gone = bool(poll.poll(0))  # POLLHUP is told unasked
        if gone:
            self.delete()
        return not gone

    def delete(self) -> None:
        """`ip link delete NAME`."""
        self.deleted = True
        self._host.close()

    def close(self) -> None:
        """Stop looking at it, which a fake does not survive."""
        self.delete()


class FakeKernel(Kernel):
    """A kernel that makes fake taps only.

    Args:
        features: What TUNGETFEATURES says.
        offloads: What TUNSETOFFLOAD accepts; Linux before 6.2 has no USO.
        privileged: Without, attaching is refused with EPERM.

    Attributes:
        refusal: What `open` is to fail with: an errno, or 0.
    """

    def __init__(
        self,
        *,
        features: TunFlag = TunFlag.TAP | TunFlag.TUN | TunFlag.NO_PI | TunFlag.VNET_HDR,
        offloads: Offload = Offload.ALL,
        privileged: bool = True,
    ) -> None:
        self.features, self.offloads, self.privileged = features, offloads, privileged
        self._interfaces: dict[str, FakeInterface] = {}
        self.refusal = 0
        self._unattached: dict[int, socket.socket] = {}
        self._attached: dict[int, FakeInterface] = {}

    @property
    def interfaces(self) -> dict[str, FakeInterface]:
        """By name; an interface goes when its fd is closed."""
        self._interfaces = {name: interface for name, interface in self._interfaces.items() if interface.exists}
        return dict(self._interfaces)

    def close(self) -> None:
        """Delete all interfaces, and let go of what was opened and not attached."""
        for interface in self.interfaces.values():
            interface.delete()
        for host in self._unattached.values():
            host.close()

    def open(self) -> int:
        """One end of a pair of sockets."""
        if self.refusal:
            raise _error(self.refusal)
        tap, host = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (tap, host):
            end.setblocking(False)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)
        fd = tap.detach()
        self._attached.pop(fd, None)  # the number is used again
        self._unattached[fd] = host
        return fd

    def file(self, fd: int) -> io.FileIO:
        """I/O that fails as a tap's does."""
        return _FakeFile(fd, self._attached[fd])

    def set_alias(self, ifname: str, alias: str) -> None:
        """Kept in the interface."""
        self.interfaces[ifname].alias = alias

    def ioctl(self, fd: int, request: Request, argument: int | bytes = 0) -> bytes:
        """As tun.c answers it."""
        if request is Request.GETFEATURES:
            return struct.pack("I", self.features)
        if request is Request.SETIFF and isinstance(argument, bytes):
            return self._attach(fd, argument)
        interface = self._attached.get(fd)
        if interface is None:
            raise _error(errno.EBADFD if fd in self._unattached else errno.ENOTTY)
        if request is Request.GETIFF:
            return IFREQ.pack(interface.name.encode(), interface.flags | NOFILTER)
        if request is Request.SETOFFLOAD:
            self._set_offload(interface, Offload(int(argument)))
            return b""
        (value,) = struct.unpack("i", argument)  # type: ignore[arg-type]
        if request is Request.SETSNDBUF:
            if value <= 0:
                raise _error(errno.EINVAL)
            interface.sndbuf = value
        elif request is Request.SETVNETHDRSZ:
            if value < VNET_HEADER_BYTES:
                raise _error(errno.EINVAL)
            interface.header_bytes = value
        return b""

    def _attach(self, fd: int, argument: bytes) -> bytes:
        packed, flags = IFREQ.unpack(argument)
        pattern, wanted = packed.rstrip(b"\0").decode(), TunFlag(flags)
        taken = self.interfaces
        name = pattern
        if "%d" in pattern:
            name = next(name for number in range(10_000) if (name := pattern % number) not in taken)
        host = self._unattached.pop(fd)
        if name in taken or not self.privileged:
            host.close()  # all that is left to do with a refused fd is to close it
            raise _error(errno.EBUSY if name in taken else errno.EPERM)
        interface = FakeInterface(name, wanted, host)
        self._attached[fd] = self._interfaces[name] = interface
        return IFREQ.pack(name.encode(), wanted)

    def _set_offload(self, interface: FakeInterface, offload: Offload) -> None:
        if offload & ~self.offloads:
            raise _error(errno.EINVAL)
        interface.offloads.append(offload)


class _FakeFile(io.FileIO):
    """The tap's end of the pair: what is refused there and would not be by a socket is refused here."""

    def __init__(self, fd: int, interface: FakeInterface) -> None:
        super().__init__(fd, "r+", closefd=False)
        self._interface = interface

    def readinto(self, buffer: memoryview) -> int | None:  # type: ignore[override]
        if self._interface.deleted:
            raise _error(errno.EBADFD)
        return super().readinto(buffer)

    def write(self, frame: bytes | memoryview) -> int | None:  # type: ignore[override]
        interface = self._interface
        if interface.deleted:
            raise _error(errno.EBADFD)
        if not interface.up:
            raise _error(errno.EIO)
        if TunFlag.VNET_HDR in interface.flags:
            _check_header(frame, interface.header_bytes)
        return super().write(frame)


def _check_header(frame: bytes | memoryview, header_bytes: int) -> None:
    """As tun_get_user and virtio_net_hdr_to_skb do."""
    payload = len(frame) - header_bytes
    if payload < 14:
        raise _error(errno.EINVAL)
    flags, gso_type, header, segment, csum_start, csum_offset = struct.unpack_from("<BBHHHH", frame)
    if flags & NEEDS_CSUM:
        header = max(header, csum_start + csum_offset + 2)
    if header > payload or gso_type & ~GSO_ECN not in GSO_TYPES or (gso_type and not segment):
        raise _error(errno.EINVAL)


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
