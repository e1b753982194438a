"""Two hosts with the same methods, so that the same tests run on both."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import socket
import struct
from typing import Any, Protocol

from etherloom import FRAME_MAX, VNET_HEADER_BYTES, Context, Network
from etherloom_tap import TapClient, TapOptions, init
from etherloom_tap._kernel import Kernel
from etherloom_tap.lab import Namespace
from etherloom_tap.testing.fake import FakeInterface, FakeKernel

__all__ = ["FakeHost", "Host", "Interface", "InterfaceFarEnd", "RealHost"]

# linux/if_packet.h, linux/if_ether.h, linux/sockios.h, linux/ethtool.h, linux/if.h
SOL_PACKET, PACKET_VNET_HDR = 263, 15
PACKET_OUTGOING = 4
ETH_P_ALL = 3
SIOCGIFFLAGS, SIOCSIFFLAGS, SIOCETHTOOL = 0x8913, 0x8914, 0x8946
ETHTOOL_GTSO = 0x1E
IFF_UP = 1


class Interface(Protocol):
    """A tap's interface as its host sees it. Frames have a virtio-net header if the tap's do."""

    def transmit(self, frame: bytes) -> None:
        """The host sends a frame out of the interface; BlockingIOError: there is no room."""

    def received(self) -> list[bytes]:
        """The frames that the host got since the last call, oldest first."""

    def set_up(self, up: bool) -> None:
        """`ip link set NAME up` or `down`."""

    def delete(self) -> None:
        """`ip link delete NAME`."""

    def close(self) -> None:
        """Stop looking at it."""


class PacketInterface:
    """A real interface through a packet socket. It is set up."""

    def __init__(self, namespace: Namespace, ifname: str, *, vnet: bool) -> None:
        self.ifname = ifname
        self._namespace = namespace
        self._socket = namespace.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self._socket.setblocking(False)
        self._socket.setsockopt(SOL_PACKET, PACKET_VNET_HDR, int(vnet))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 100 * FRAME_MAX)
        self.set_up(True)
        self._socket.bind((ifname, ETH_P_ALL))

    def transmit(self, frame: bytes) -> None:
        dropped = self._namespace.counters(self.ifname).tx_dropped
        self._socket.send(frame)
        if self._namespace.counters(self.ifname).tx_dropped > dropped:  # nobody tells a packet socket
            raise BlockingIOError(errno.EAGAIN, "the tap's ring is full")

    def received(self) -> list[bytes]:
        frames: list[bytes] = []
        while True:
            try:
                frame, address = self._socket.recvfrom(FRAME_MAX + VNET_HEADER_BYTES)
            except BlockingIOError:
                return frames
            except OSError:  # once after the interface was down
                continue
            if address[2] != PACKET_OUTGOING:
                frames.append(frame)

    def set_up(self, up: bool) -> None:
        name = self.ifname.encode()
        answer = fcntl.ioctl(self._socket, SIOCGIFFLAGS, struct.pack("16sh22x", name, 0))
        (flags,) = struct.unpack_from("h", answer, 16)
        fcntl.ioctl(self._socket, SIOCSIFFLAGS, struct.pack("16sh22x", name, flags & ~IFF_UP | IFF_UP * up))

    def delete(self) -> None:
        self._namespace.routes.link("del", index=self._namespace.index(self.ifname))

    def close(self) -> None:
        self._socket.close()

    @property
    def tso(self) -> bool:
        """Whether the host hands out TCP segments larger than the MTU, as ethtool(8) shows it."""
        value = (ctypes.c_uint32 * 2)(ETHTOOL_GTSO, 0)
        fcntl.ioctl(self._socket, SIOCETHTOOL, struct.pack("16sP16x", self.ifname.encode(), ctypes.addressof(value)))
        return bool(value[1])


class Host(Protocol):
    """A kernel, and its side of the taps."""

    @property
    def kernel(self) -> Kernel:
        """For what takes a kernel."""

    def make(self, context: Context, name: str, **options: Any) -> TapClient:
        """A tap that is in no network yet."""

    def tap(self, network: Network, name: str, **options: Any) -> TapClient:
        """A tap in the network."""

    def interface(self, tap: TapClient) -> Interface:
        """The host's side of a tap."""


class _Host:
    kernel: Kernel

    def make(self, context: Context, name: str, **options: Any) -> TapClient:
        """Without scripts, unless asked for."""
        scripts: dict[str, Any] = {} if "fd" in options else {"script": "no", "downscript": "no"}
        return init(TapOptions(**{**scripts, **options}), name, None, context, kernel=self.kernel)

    def tap(self, network: Network, name: str, **options: Any) -> TapClient:
        tap = self.make(network.context, name, **options)
        network.add(tap)
        return tap


class FakeHost(_Host):
    """A host that needs nothing; close it.

    Args:
        kernel: Its kernel, if it is to be a special one.
    """

    kernel: FakeKernel

    def __init__(self, kernel: FakeKernel | None = None) -> None:
        self.kernel = kernel or FakeKernel()

    def interface(self, tap: TapClient) -> FakeInterface:
        return self.kernel.interfaces[tap.device.ifname]

    def close(self) -> None:
        """Delete all interfaces."""
        self.kernel.close()


class RealHost(_Host):
    """The running kernel; close it.

    Args:
        namespace: Where the taps are. Make them with the thread inside it (`Namespace.entered`).
    """

    def __init__(self, namespace: Namespace) -> None:
        self.kernel = Kernel()
        self.namespace = namespace
        self._interfaces: list[PacketInterface] = []

    def interface(self, tap: TapClient) -> PacketInterface:
        interface = PacketInterface(self.namespace, tap.device.ifname, vnet=tap.vnet)
        self._interfaces.append(interface)
        return interface

    def close(self) -> None:
        """Let go of all interfaces."""
        for interface in self._interfaces:
            interface.close()


class InterfaceFarEnd:
    """An interface as `check_net_client` wants the outside of a client: frames without a header.

    Args:
        interface: The tap's.
        vnet: The tap's frames have a header.
    """

    frame_max = 1514  # what an interface of MTU 1500 passes

    def __init__(self, interface: Interface, *, vnet: bool) -> None:
        self._interface = interface
        self._header = bytes(VNET_HEADER_BYTES) if vnet else b""

    def put(self, frame: bytes) -> bool:
        """Send towards the tap."""
        try:
            self._interface.transmit(self._header + frame)
        except BlockingIOError:
            return False
        return True

    def take(self) -> list[bytes]:
        """What came out of it."""
        return [frame[len(self._header) :] for frame in self._interface.received()]

    def vanish(self) -> None:
        """The interface goes down. Deleting it takes the tap down as well: there is nothing to come back to."""
        self._interface.set_up(False)

    def close(self) -> None:
        """Let go."""
        self._interface.close()
