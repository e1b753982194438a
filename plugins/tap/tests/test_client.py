"""The data path of a tap, on the fake kernel and on the running one."""

from __future__ import annotations

import errno
import os
import socket
import struct

import pytest

from etherloom import VNET_HEADER_BYTES, Drop, Frame, HostError, NetClient, Network, Offload
from etherloom.testing import GatheringPeer, MemoryPeer, VirtualLoop, check_net_client
from etherloom_tap import TapClient
from etherloom_tap.testing import FakeHost, FakeKernel, Host, Interface, InterfaceFarEnd, RealHost

NO_OFFLOAD = bytes(VNET_HEADER_BYTES)


def frame(number: int, size: int = 100) -> bytes:
    """A broadcast frame of an experimental EtherType, told apart by its number."""
    return (b"\xff" * 6 + b"\x02\0\0\0\0\x01" + b"\x88\xb5" + struct.pack(">I", number)).ljust(size, b"\xa5")[:size]


def udp_frame() -> bytes:
    """A frame whose UDP checksum is still to be done: only the pseudo header's sum is in its place."""
    pseudo = socket.inet_aton("10.0.0.1") + socket.inet_aton("10.0.0.2") + struct.pack(">BBH", 0, 17, 108)
    total = sum(struct.unpack(">6H", pseudo))
    udp = struct.pack(">HHHH", 9, 9, 108, (total & 0xFFFF) + (total >> 16)) + b"\x42" * 100
    ip = struct.pack(">BBHHHBBH", 0x45, 0, 128, 0, 0, 64, 17, 0) + pseudo[:8]
    return b"\xff" * 6 + b"\x02\0\0\0\0\x01" + b"\x08\x00" + ip + udp


NEEDS_CSUM = struct.pack("<BBHHHH", 1, 0, 0, 0, 34, 6)


def join(
    network: Network, host: Host, *, vnet: bool = False, **options: object
) -> tuple[TapClient, Interface, MemoryPeer]:
    """A tap, its interface, and a memory peer in the same form behind it."""
    tap = host.tap(network, "tap", vnet_hdr=vnet, **options)
    peer = MemoryPeer("peer", network.context, vnet=vnet)
    interface = host.interface(tap)
    network.add(peer, tap)
    return tap, interface, peer


def test_frames_of_the_host_arrive_whole_and_in_order(network: Network, virtual_loop: VirtualLoop, host: Host) -> None:
    _, interface, peer = join(network, host)
    sent = [frame(number, size) for number, size in enumerate((60, 61, 1514, 100, 1000))]
    for each in sent:
        interface.transmit(each)
    virtual_loop.run_until(lambda: len(peer.received) == len(sent))
    assert sent == peer.received


def test_frames_for_the_host_arrive_whole_and_in_order(network: Network, virtual_loop: VirtualLoop, host: Host) -> None:
    _, interface, peer = join(network, host)
    sent = [frame(number, size) for number, size in enumerate((14, 60, 61, 1514, 1000))]
    peer.send_all(sent)
    virtual_loop.run_until_idle()
    assert sent == interface.received()


def test_info_is_what_qemu_shows(network: Network, virtual_loop: VirtualLoop, host: Host) -> None:
    """M-11."""
    assert "ifname=t7" == host.tap(network, "tap", ifname="t7").info


def test_keeps_the_contract(host: Host) -> None:
    def far_end(tap: NetClient) -> InterfaceFarEnd:
        assert isinstance(tap, TapClient)
        return InterfaceFarEnd(host.interface(tap), vnet=tap.vnet)

    check_net_client(
        lambda context, name: host.make(context, name),
        far_end,
    )
