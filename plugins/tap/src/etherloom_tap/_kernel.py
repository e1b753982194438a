"""The kernel as a tap needs it: `/dev/net/tun`, its ioctls, and an alias for the interface.

`etherloom_tap.testing` has a fake with the same four methods. Source: linux/if_tun.h and
Documentation/networking/tuntap.rst; request numbers by asm-generic/ioctl.h, which x86, Arm, RISC-V and s390 use.
"""

from __future__ import annotations

import fcntl
import io
import os
import socket
import struct
from enum import IntEnum, IntFlag

__all__ = ["DEVICE", "IFREQ", "Kernel", "Request", "TunFlag", "make_bridge"]

DEVICE = "/dev/net/tun"

IFREQ = struct.Struct("16sH22x")  # struct ifreq: name, flags, and the rest of its union


class TunFlag(IntFlag):
    """`IFF_*` of linux/if_tun.h."""

    TUN = 0x0001
    TAP = 0x0002
    MULTI_QUEUE = 0x0100
    PERSIST = 0x0800
    NO_PI = 0x1000
    VNET_HDR = 0x4000


class Request(IntEnum):
    """`TUN*` requests. Those with an `int` take a pointer to it, but for `SETOFFLOAD`, which takes the value."""

    SETIFF = 0x400454CA
    GETFEATURES = 0x800454CF
    SETOFFLOAD = 0x400454D0
    GETIFF = 0x800454D2
    SETSNDBUF = 0x400454D4
    SETVNETHDRSZ = 0x400454D8
    SETVNETLE = 0x400454DC


# linux/netlink.h, linux/rtnetlink.h, linux/if_link.h
NETLINK_ROUTE = 0
NLMSG_ERROR = 2
NLM_F_REQUEST, NLM_F_ACK = 0x01, 0x04
NLM_F_EXCL, NLM_F_CREATE = 0x200, 0x400
RTM_NEWLINK, RTM_SETLINK = 16, 19
IFLA_IFNAME, IFLA_LINKINFO, IFLA_IFALIAS = 3, 18, 20
IFLA_INFO_KIND = 1
NLMSGHDR = struct.Struct("=LHHLL")
IFINFOMSG = struct.Struct("=BxHiLL")
RTATTR = struct.Struct("=HH")


class Kernel:
    """The running kernel. All methods raise OSError as the system calls do."""

    def open(self) -> int:
        """A non-blocking fd of `/dev/net/tun`, attached to nothing yet."""
        return os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def ioctl(self, fd: int, request: Request, argument: int | bytes = 0) -> bytes:
        """One request; the argument as the kernel left it, empty where it was a number."""
        answer = fcntl.ioctl(fd, request, argument)
        return answer if isinstance(answer, bytes) else b""

    def file(self, fd: int) -> io.FileIO:
        """Unbuffered I/O, one frame per call, None for EAGAIN. Closing it leaves the fd open.

        FileIO and not `os.readv` and `os.write`: EAGAIN is a value there and an exception here, and `readinto` is the
        fastest read that Python has (0.2 us less per frame than `os.read`, which makes an object for each).
        """
        return io.FileIO(fd, "r+", closefd=False)

    def set_alias(self, ifname: str, alias: str) -> None:
        """Set the alias that `ip link` shows, in the current network namespace.

        Over netlink, the only way there is, and by hand: every tap gets one, and importing pyroute2 would cost each
        start 0.15 s.
        """
        index = socket.if_nametoindex(ifname)
        _ask(ifname, _link_message(RTM_SETLINK, index, _attribute(IFLA_IFALIAS, alias.encode())))


def make_bridge(ifname: str, index: int, alias: str) -> None:
    """Make a bridge that has its alias from the start, in the current network namespace.

    The kernel ignores an alias in the message that makes an interface. But it handles all the messages of one system
    call before a signal can end the process, so a second one beside the first will do.

    Args:
        ifname: Its name.
        index: Its number, one that nobody has: if the bridge cannot be made, the alias must find nobody.
        alias: Its alias.

    Raises:
        OSError: The kernel refused; nothing was made.
    """
    kind = _attribute(IFLA_LINKINFO, _attribute(IFLA_INFO_KIND, b"bridge"))
    name = _attribute(IFLA_IFNAME, ifname.encode() + b"\0")
    _ask(
        ifname,
        _link_message(RTM_NEWLINK, index, name + kind, NLM_F_CREATE | NLM_F_EXCL),
        _link_message(RTM_SETLINK, index, _attribute(IFLA_IFALIAS, alias.encode())),
    )


def _attribute(kind: int, payload: bytes) -> bytes:
    return RTATTR.pack(RTATTR.size + len(payload), kind) + payload + bytes(-len(payload) % 4)


def _link_message(kind: int, index: int, attributes: bytes, flags: int = 0) -> bytes:
    body = IFINFOMSG.pack(socket.AF_UNSPEC, 0, index, 0, 0) + attributes
    return NLMSGHDR.pack(NLMSGHDR.size + len(body), kind, flags | NLM_F_REQUEST | NLM_F_ACK, 1, 0) + body


def _ask(ifname: str, *messages: bytes) -> None:
    """Send the messages in one system call; raises the first refusal."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_ROUTE) as netlink:
        netlink.sendto(b"".join(messages), (0, 0))
        for _ in messages:
            answer = netlink.recv(4096)
            _, kind, _, _, _ = NLMSGHDR.unpack_from(answer)
            errno = -struct.unpack_from("=i", answer, NLMSGHDR.size)[0] if kind == NLMSG_ERROR else 0
            if errno:
                raise OSError(errno, os.strerror(errno), ifname)
