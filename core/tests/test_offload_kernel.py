"""`complete` against two things a kernel knows: what it sends through a tap, and how it would have cut it itself.

Each namespace here has no name and no place in the file system: a thread leaves for it, opens taps and sockets, and
ends. It lives as long as those file descriptors, so nothing stays behind, whatever happens to the test.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import hashlib
import os
import random
import select
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import attrs
import pytest

from etherloom.client import FRAME_MAX, VNET_HEADER_BYTES, Offload
from etherloom.net.offload import GsoType, VnetFlag, VnetHeader, complete
from etherloom.net.offload.checksum import checksum, word_sum

pytestmark = pytest.mark.root

Result = TypeVar("Result")

CLONE_NEWNET = 0x40000000
TUNSETIFF, TUNSETOFFLOAD = 0x400454CA, 0x400454D0
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
UDP_SEGMENT = 103  # linux/udp.h

PATIENCE_MS = 10_000
STREAM_BYTES = 10_000_000
DATAGRAM_BYTES, DATAGRAMS = 1000, 41

libc = ctypes.CDLL(None, use_errno=True)


class Namespace:
    """A network namespace without a name. IPv6 is off until an address is set."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack
        self.fd = self._in_thread(self._leave)
        stack.callback(os.close, self.fd)

    @staticmethod
    def _leave() -> int:
        if libc.unshare(CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "unshare")
        Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1")
        return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    def run(self, action: Callable[[], Result]) -> Result:
        """The result of `action`, called inside."""

        def enter() -> Result:
            if libc.setns(self.fd, CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
            return action()

        return self._in_thread(enter)

    @staticmethod
    def _in_thread(action: Callable[[], Result]) -> Result:
        results: list[Result] = []
        errors: list[BaseException] = []

        def body() -> None:
            try:
                results.append(action())
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=body)
        thread.start()
        thread.join()
        if errors:
            raise errors[0]
        return results[0]

    def endpoint(self, family: socket.AddressFamily, kind: socket.SocketKind) -> socket.socket:
        """A non-blocking socket of this namespace."""
        endpoint = self.run(lambda: socket.socket(family, kind))
        endpoint.setblocking(False)
        return endpoint

    def tap(self, name: str, offload: Offload | None) -> int:
        """A non-blocking tap, up, with a virtio-net header and these offloads, or without either."""
        fd = self.run(lambda: os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))
        self.stack.callback(os.close, fd)
        flags = IFF_TAP | IFF_NO_PI | (0 if offload is None else IFF_VNET_HDR)
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
        if offload is not None:
            fcntl.ioctl(fd, TUNSETOFFLOAD, int(offload))
        self.ip("link", "set", name, "up")
        return fd

    def ip(self, *arguments: str) -> None:
        """Run iproute2 inside."""
        self.run(lambda: subprocess.run(("ip", *arguments), check=True))

    def set_address(self, name: str, address: str) -> None:
        """An address with its prefix, usable at once."""
        if ":" in address:
            self.run(lambda: Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("0"))
        self.ip("address", "add", address, "dev", name, *(("nodad",) if ":" in address else ()))

    def counters(self) -> dict[str, int]:
        """What the kernel counted of IPv4, TCP and UDP, as `UdpInCsumErrors`."""
        rows = [row.split() for row in self.run(lambda: Path("/proc/thread-self/net/snmp").read_text()).splitlines()]
        counted: dict[str, int] = {}
        for names, values in zip(rows[::2], rows[1::2], strict=True):
            protocol = names[0].rstrip(":")
            counted |= {protocol + name: int(value) for name, value in zip(names[1:], values[1:], strict=True)}
        return counted


class Pair:
    """Two kernels' worth of network, joined by nothing but this test.

    Attributes:
        near: The sending side; its tap leaves checksums and segmentation undone.
        far: The receiving side; its tap knows of no offloads.
        unfinished: Every frame that asked `complete` for something, with its header.
    """

    def __init__(self, stack: ExitStack, near_address: str, far_address: str, offload: Offload) -> None:
        self.near, self.far = Namespace(stack), Namespace(stack)
        self.near_tap, self.far_tap = self.near.tap("near", offload), self.far.tap("far", None)
        self.near.set_address("near", near_address)
        self.far.set_address("far", far_address)
        self.unfinished: list[bytes] = []
        self.poll = select.poll()
        self.poll.register(self.near_tap, select.POLLIN)
        self.poll.register(self.far_tap, select.POLLIN)

    def carry(self) -> set[int]:
        """Wait for anything; carry what waits in the taps; the other file descriptors that are ready."""
        ready = {fd for fd, _ in self.poll.poll(PATIENCE_MS)}
        assert ready, "nothing moves any more"
        if self.near_tap in ready:
            frame = os.read(self.near_tap, VNET_HEADER_BYTES + FRAME_MAX)
            if frame[0] & VnetFlag.NEEDS_CSUM or frame[1]:
                self.unfinished.append(frame)
            for segment in complete(frame):
                os.write(self.far_tap, segment)
        if self.far_tap in ready:
            os.write(self.near_tap, bytes(VNET_HEADER_BYTES) + os.read(self.far_tap, FRAME_MAX))
        return ready - {self.near_tap, self.far_tap}

    def of_type(self, gso_type: GsoType) -> list[bytes]:
        """The unfinished frames that had to be cut so."""
        return [frame for frame in self.unfinished if VnetHeader.unpack(frame).gso_type == gso_type]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


ADDRESSES = {socket.AF_INET: ("10.99.0.1/24", "10.99.0.2/24"), socket.AF_INET6: ("fd99::1/64", "fd99::2/64")}
TCP_OFFLOAD = Offload.CSUM | Offload.TSO4 | Offload.TSO6 | Offload.TSO_ECN
FAR = {family: (far.partition("/")[0], 4001) for family, (_, far) in ADDRESSES.items()}
both_families = pytest.mark.parametrize("family", ADDRESSES, ids=["IPv4", "IPv6"])


def stream(stack: ExitStack, family: socket.AddressFamily, data: bytes) -> tuple[Pair, bytes]:
    """Send `data` over TCP from near to far; what arrived."""
    pair = Pair(stack, *ADDRESSES[family], TCP_OFFLOAD)
    listener = stack.enter_context(pair.far.endpoint(family, socket.SOCK_STREAM))
    listener.bind(FAR[family])
    listener.listen()
    sender = stack.enter_context(pair.near.endpoint(family, socket.SOCK_STREAM))
    assert sender.connect_ex(FAR[family]) == errno.EINPROGRESS
    pair.poll.register(listener, select.POLLIN)
    pair.poll.register(sender, select.POLLOUT)
    receiver: socket.socket | None = None
    left, arrived = memoryview(data), bytearray()
    while True:
        ready = pair.carry()
        if sender.fileno() in ready:
            left = left[sender.send(left) :]
            if not left:
                sender.shutdown(socket.SHUT_WR)
                pair.poll.unregister(sender)
        if listener.fileno() in ready:
            receiver = stack.enter_context(listener.accept()[0])
            receiver.setblocking(False)
            pair.poll.register(receiver, select.POLLIN)
        if receiver is not None and receiver.fileno() in ready:
            received = receiver.recv(1 << 20)
            if not received:
                return pair, bytes(arrived)
            arrived += received


def datagrams(stack: ExitStack, family: socket.AddressFamily, data: bytes) -> tuple[Pair, list[bytes]]:
    """Send `data` as UDP datagrams in one call from near to far; what arrived."""
    try:
        pair = Pair(stack, *ADDRESSES[family], Offload.ALL)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        pytest.skip("taps of this kernel have no USO; Linux 6.2 has")
    receiver = stack.enter_context(pair.far.endpoint(family, socket.SOCK_DGRAM))
    receiver.bind(FAR[family])
    sender = stack.enter_context(pair.near.endpoint(family, socket.SOCK_DGRAM))
    sender.setsockopt(socket.SOL_UDP, UDP_SEGMENT, DATAGRAM_BYTES)
    sender.sendto(data, FAR[family])
    pair.poll.register(receiver, select.POLLIN)
    arrived: list[bytes] = []
    while sum(map(len, arrived)) < len(data):
        if receiver.fileno() in pair.carry():
            arrived.append(receiver.recv(65535))
    return pair, arrived


@both_families
def test_tcp_stream_of_a_kernel_that_offloads_arrives_whole_at_one_that_does_not(
    stack: ExitStack, family: socket.AddressFamily
) -> None:
    data = random.Random(family).randbytes(STREAM_BYTES)

    pair, arrived = stream(stack, family, data)

    counted = pair.far.counters()
    cut = pair.of_type(GsoType.TCPV4 if family == socket.AF_INET else GsoType.TCPV6)
    assert hashlib.sha256(data).hexdigest() == hashlib.sha256(arrived).hexdigest()
    assert (0, 0) == (counted["TcpInCsumErrors"], counted["IpInHdrErrors"])
    assert sum(map(len, cut)) > STREAM_BYTES // 2, "the kernel sent most of it in frames that had to be cut"


@both_families
def test_datagrams_sent_in_one_call_arrive_each_on_its_own(stack: ExitStack, family: socket.AddressFamily) -> None:
    data = random.Random(family).randbytes(DATAGRAM_BYTES * DATAGRAMS - 300)

    pair, arrived = datagrams(stack, family, data)

    assert [data[start : start + DATAGRAM_BYTES] for start in range(0, len(data), DATAGRAM_BYTES)] == arrived
    assert 1 == len(pair.of_type(GsoType.UDP_L4)), "the kernel sent them as one frame"
    assert 0 == pair.far.counters()["UdpInCsumErrors"]


# The kernel's own segmentation: a bridge between a tap that brings unfinished frames and one that takes only finished


class Bridge:
    """What comes out of a port without offloads when an unfinished frame goes in at another."""

    MARKER = b"\xff" * 6 + b"\x52\x54\x00\x00\x00\x99" + b"\x88\xb5" + bytes(46)

    def __init__(self, stack: ExitStack) -> None:
        namespace = Namespace(stack)
        self.entry, self.exit = namespace.tap("entry", Offload(0)), namespace.tap("exit", None)
        namespace.ip("link", "add", "bridge", "up", "type", "bridge")
        namespace.ip("link", "set", "entry", "master", "bridge")
        namespace.ip("link", "set", "exit", "master", "bridge")
        self.poll = select.poll()
        self.poll.register(self.exit, select.POLLIN)

    def finish(self, frame: bytes) -> list[bytes]:
        """All that the kernel makes of `frame`: whatever leaves before the marker that follows it.

        The bridge reports its own IGMP memberships in between; its frames bear other addresses.
        """
        addresses = frame[VNET_HEADER_BYTES:][:12]
        os.write(self.entry, frame)
        os.write(self.entry, bytes(VNET_HEADER_BYTES) + self.MARKER)
        finished: list[bytes] = []
        while True:
            assert self.poll.poll(PATIENCE_MS), "the marker did not leave"
            leaving = os.read(self.exit, FRAME_MAX)
            if leaving == self.MARKER:
                return finished
            if leaving.startswith(addresses):
                finished.append(leaving)


def split(frame: bytes) -> tuple[VnetHeader, bytes]:
    return VnetHeader.unpack(frame), frame[VNET_HEADER_BYTES:]


def with_bytes(frame: bytes, at: int, new: bytes) -> bytes:
    """The same frame with `new` inserted at `at`, before the transport header."""
    header, plain = split(frame)
    header = attrs.evolve(header, csum_start=header.csum_start + len(new), hdr_len=header.hdr_len + len(new))
    return header.pack() + plain[:at] + new + plain[at:]


def with_patch(frame: bytes, at: int, new: bytes, **changes: Any) -> bytes:
    """The same frame with the bytes from `at` on replaced, and fields of its header."""
    header, plain = split(frame)
    return attrs.evolve(header, **changes).pack() + plain[:at] + new + plain[at + len(new) :]


def with_tag(frame: bytes, tag: bytes) -> bytes:
    return with_bytes(frame, 12, tag)


def with_extension(frame: bytes) -> bytes:
    """An IPv6 frame with a hop-by-hop header of one padding option."""
    _, plain = split(frame)
    (length,) = struct.unpack_from(">H", plain, 18)
    frame = with_patch(frame, 18, struct.pack(">HB", length + 8, 0))
    return with_bytes(frame, 54, plain[20:21] + b"\x00\x01\x04" + bytes(4))


def with_ipv4_checksum(frame: bytes) -> bytes:
    """An IPv4 frame that a bridge which looks at IP headers (br_netfilter) lets pass."""
    frame = with_patch(frame, 24, b"\x00\x00")
    _, plain = split(frame)
    return with_patch(frame, 24, struct.pack(">H", checksum(word_sum(plain[14:][: (plain[14] & 0xF) * 4]))))


def with_identification(frame: bytes, identification: int) -> bytes:
    return with_ipv4_checksum(with_patch(frame, 18, struct.pack(">H", identification)))


def with_options(frame: bytes) -> bytes:
    """An IPv4 frame with a router alert and padding."""
    _, plain = split(frame)
    (length,) = struct.unpack_from(">H", plain, 16)
    frame = with_patch(with_patch(frame, 14, b"\x47"), 16, struct.pack(">H", length + 8))
    return with_ipv4_checksum(with_bytes(frame, 34, b"\x94\x04\x00\x00" + b"\x01" * 4))


def with_flags(frame: bytes, flags: int) -> bytes:
    header, _ = split(frame)
    return with_patch(frame, header.csum_start + 13, bytes([flags]), ecn=bool(flags & 0x80))


DOT1Q, DOT1AD = b"\x81\x00\x00\x07", b"\x88\xa8\x00\x09"
ACK_PSH_FIN, ACK_CWR_PSH = 0x19, 0x98
SHAPES: dict[str, Callable[[bytes], bytes]] = {
    "as sent": lambda frame: frame,
    "802.1Q": lambda frame: with_tag(frame, DOT1Q),
    "802.1ad": lambda frame: with_tag(with_tag(frame, DOT1Q), DOT1AD),
    "segments of 333": lambda frame: with_patch(frame, 0, b"", gso_size=333),
}
SHAPES_TCP: dict[str, Callable[[bytes], bytes]] = SHAPES | {
    "FIN and PSH": lambda frame: with_flags(frame, ACK_PSH_FIN),
    "CWR": lambda frame: with_flags(frame, ACK_CWR_PSH),
    "sequence wraps": lambda frame: with_patch(frame, split(frame)[0].csum_start + 4, b"\xff\xff\xfe\x00"),
}
SHAPES_IPV4: dict[str, Callable[[bytes], bytes]] = {
    "options": with_options,
    "identification wraps": lambda frame: with_identification(frame, 65534),
}
SHAPES_IPV6: dict[str, Callable[[bytes], bytes]] = {"extension header": with_extension}


def differences(bridge: Bridge, frame: bytes, shapes: dict[str, Callable[[bytes], bytes]]) -> list[str]:
    """The shapes of `frame` that the kernel finishes otherwise than `complete`."""
    shaped = {name: shape(frame) for name, shape in shapes.items()}
    return [name for name, one in shaped.items() if bridge.finish(one) != list(complete(one))]


@both_families
def test_tcp_segments_are_the_kernels_own_to_the_byte(stack: ExitStack, family: socket.AddressFamily) -> None:
    pair, _ = stream(stack, family, random.Random(family).randbytes(1_000_000))
    frame = max(pair.unfinished, key=len)
    shapes = SHAPES_TCP | (SHAPES_IPV4 if family == socket.AF_INET else SHAPES_IPV6)

    assert [] == differences(Bridge(stack), frame, shapes)


@both_families
def test_udp_segments_are_the_kernels_own_to_the_byte(stack: ExitStack, family: socket.AddressFamily) -> None:
    pair, _ = datagrams(stack, family, random.Random(family).randbytes(DATAGRAM_BYTES * DATAGRAMS))
    frame = max(pair.unfinished, key=len)
    shapes = SHAPES | (SHAPES_IPV4 if family == socket.AF_INET else SHAPES_IPV6)

    assert [] == differences(Bridge(stack), frame, shapes)


@both_families
def test_checksums_are_the_kernels_own(stack: ExitStack, family: socket.AddressFamily) -> None:
    pair, _ = stream(stack, family, b"once")
    frame = max(pair.unfinished, key=len)
    assert GsoType.NONE is VnetHeader.unpack(frame).gso_type
    tags = {name: SHAPES[name] for name in ("as sent", "802.1Q", "802.1ad")}

    assert [] == differences(Bridge(stack), frame, tags)
