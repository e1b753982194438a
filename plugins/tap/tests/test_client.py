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


@pytest.mark.parametrize("vnet", [False, True])
def test_short_frames_are_padded_to_60_bytes_of_zeros_after_a_long_one(
    network: Network, virtual_loop: VirtualLoop, host: Host, vnet: bool
) -> None:
    """C-43; what is left of the frame before in the buffer must not leak."""
    _, interface, peer = join(network, host, vnet=vnet)
    header = NO_OFFLOAD if vnet else b""
    interface.transmit(header + frame(0, 1000))
    interface.transmit(header + frame(1, 18))
    virtual_loop.run_until(lambda: len(peer.received) == 2)
    assert frame(1, 18) + bytes(42) == peer.received[1][len(header) :]


@pytest.mark.parametrize("vnet", [False, True])
def test_what_cannot_hold_an_ethernet_header_is_dropped_as_short(
    network: Network, virtual_loop: VirtualLoop, fake_host: FakeHost, vnet: bool
) -> None:
    """C-45, C-71: a kernel does not do this; a zero-length or headless frame must not wedge the tap."""
    tap, interface, peer = join(network, fake_host, vnet=vnet)
    header = NO_OFFLOAD if vnet else b""
    for size in (1, 3, 13):
        interface.transmit((header + frame(0))[: len(header) + size])
    interface.transmit(header + frame(1))
    virtual_loop.run_until_idle()
    assert ([header + frame(1)], {Drop.SHORT: 3}) == (peer.received, tap.counters.drops)


def test_a_virtio_net_header_passes_untouched_both_ways(
    network: Network, virtual_loop: VirtualLoop, host: Host
) -> None:
    tap, interface, peer = join(network, host, vnet=True)
    assert tap.vnet
    virtual_loop.run_until_idle()  # the tap is told of its offloads
    interface.transmit(NEEDS_CSUM + udp_frame())
    virtual_loop.run_until(lambda: bool(peer.received))
    peer.send_all([NEEDS_CSUM + udp_frame()])
    virtual_loop.run_until_idle()
    assert [NEEDS_CSUM + udp_frame()] == peer.received
    assert [NEEDS_CSUM + udp_frame()] == interface.received()


@pytest.mark.root
def test_a_plain_peer_gets_finished_checksums_from_the_kernel(
    network: Network, virtual_loop: VirtualLoop, real_host: RealHost
) -> None:
    tap = real_host.tap(network, "tap")
    peer = MemoryPeer("peer", network.context)
    interface = real_host.interface(tap)
    network.add(peer, tap)
    interface.transmit(NEEDS_CSUM + udp_frame())
    virtual_loop.run_until(lambda: bool(peer.received))
    words = struct.unpack(">60H", peer.received[0][26:34] + b"\0\x11\0\x6c" + peer.received[0][34:])
    assert 0xFFFF == sum(words) % 0xFFFF or sum(words) % 0xFFFF == 0


def test_a_wake_up_reads_a_bounded_burst(network: Network, virtual_loop: VirtualLoop, host: Host) -> None:
    """C-122: no source keeps the others waiting. A burst grows while there is more, as far as that."""
    network.context.burst_frames = 4
    tap = host.tap(network, "tap", vnet_hdr=False)
    peer = GatheringPeer("peer", network.context)
    interface = host.interface(tap)
    network.add(peer, tap)
    for number in range(16 + 32 + 10):
        interface.transmit(frame(number))
    virtual_loop.run_until_idle()
    assert [1] * 16 + [2] * 16 + [4, 4, 2] == [len(burst) for burst in peer.bursts if burst]


def test_a_paused_tap_leaves_the_frames_in_the_host_and_loses_none(
    network: Network, virtual_loop: VirtualLoop, host: Host
) -> None:
    """C-35, C-38."""
    tap, interface, peer = join(network, host)
    peer.block()
    sent = [frame(number) for number in range(20)]
    for each in sent:
        interface.transmit(each)
    virtual_loop.run_until_idle()
    network.settle()
    assert (1, 1) == (tap.counters.tx_frames, tap.counters.pauses)
    peer.unblock()
    virtual_loop.run_until_idle()
    assert sent == peer.received


def test_a_full_host_makes_the_tap_busy_and_nothing_is_lost_or_overtaken(
    network: Network, virtual_loop: VirtualLoop, fake_host: FakeHost
) -> None:
    tap, interface, peer = join(network, fake_host)
    sent = [frame(number, 60_000) for number in range(20)]
    peer.send_all(sent)
    virtual_loop.run_until_idle()
    assert peer.pausing
    got: list[bytes] = []
    while more := interface.received():
        got += more
        virtual_loop.run_until_idle()
    assert (sent, {}) == (got, tap.counters.drops)


@pytest.mark.root
def test_sndbuf_bounds_what_waits_inside_a_real_host(
    network: Network, virtual_loop: VirtualLoop, real_host: RealHost
) -> None:
    """O-87: behind a bridge a shaped port holds the frames; when it lets go, the tap goes on by itself."""
    netlink = real_host.namespace.routes
    netlink.link("add", ifname="br9", kind="bridge")
    netlink.link("add", ifname="slow9", kind="veth", peer="far9")
    bridge, slow = (netlink.link_lookup(ifname=name)[0] for name in ("br9", "slow9"))
    tap, _, peer = join(network, real_host, sndbuf=8192, ifname="t9")
    netlink.link("set", index=slow, master=bridge, state="up")
    netlink.link("set", index=netlink.link_lookup(ifname="t9")[0], master=bridge)
    netlink.link("set", index=bridge, state="up")
    netlink.link("set", index=netlink.link_lookup(ifname="far9")[0], state="up")
    netlink.tc("add", "tbf", slow, handle="1:", rate="8kbit", burst=1600, latency="100s")
    # To an unknown station: of a broadcast the bridge sends on clones, which charge nobody.
    peer.send_all([b"\x02\0\0\0\0\x99" + frame(number, 1500)[6:] for number in range(100)])
    virtual_loop.run_until_idle()
    network.settle()
    assert peer.pausing
    assert tap.counters.rx_frames < 100
    netlink.link("del", index=slow)
    virtual_loop.run_until(lambda: not peer.pausing and not peer.unsent)
    virtual_loop.run_until_idle()
    network.settle()
    assert (100, {}) == (tap.counters.rx_frames, tap.counters.drops)


def test_what_an_interface_that_is_down_refuses_is_counted(
    network: Network, virtual_loop: VirtualLoop, host: Host
) -> None:
    tap, interface, peer = join(network, host)
    interface.set_up(False)
    peer.send_all([frame(1), frame(2)])
    interface.set_up(True)
    peer.send_all([frame(3)])
    virtual_loop.run_until_idle()
    assert ([frame(3)], {Drop.HOST_ERROR: 2}) == (interface.received(), tap.counters.drops)


def test_a_header_that_contradicts_its_frame_is_dropped_as_malformed(
    network: Network, virtual_loop: VirtualLoop, host: Host
) -> None:
    tap, interface, peer = join(network, host, vnet=True)
    peer.send_all([struct.pack("<BBHHHH", 1, 0, 0, 0, 9000, 6) + frame(1), NO_OFFLOAD + frame(2)])
    virtual_loop.run_until_idle()
    assert {Drop.MALFORMED: 1} == tap.counters.drops
    assert [frame(2)] == [got[VNET_HEADER_BYTES:] for got in interface.received()]


def test_deleting_the_interface_takes_down_the_tap_and_nobody_else(
    network: Network, virtual_loop: VirtualLoop, host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    tap, interface, peer = join(network, host)
    interface.transmit(frame(1))
    virtual_loop.run_until_idle()
    interface.delete()
    virtual_loop.run_until(lambda: tap.failure is not None)
    virtual_loop.run_until_idle()
    assert isinstance(tap.failure, HostError)
    assert (errno.EBADFD, tap.device.ifname) == (tap.failure.errno, tap.failure.device)
    assert "the interface was deleted" in caplog.text
    assert (None, [frame(1)]) == (peer.failure, peer.received)


def test_a_tap_removed_in_mid_burst_is_closed_when_the_burst_is_over(
    network: Network, virtual_loop: VirtualLoop, host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    tap, interface, peer = join(network, host)

    def remove_sender(got: Frame) -> bool:
        if tap.name in network.clients:
            network.remove(tap)
        return peer.take(got)

    peer.on_receive = remove_sender
    for number in range(3):
        interface.transmit(frame(number))
    virtual_loop.run_until_idle()
    assert frame(0) == peer.received[0]
    assert not caplog.records
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(tap.device.fd)


def test_offloads_follow_the_form_of_the_wire(network: Network, virtual_loop: VirtualLoop, fake_host: FakeHost) -> None:
    tap, _, peer = join(network, fake_host, vnet=True)
    virtual_loop.run_until_idle()
    network.remove(peer)
    network.add(MemoryPeer("plain", network.context), tap)
    virtual_loop.run_until_idle()
    assert [Offload(0), Offload.ALL, Offload(0)] == fake_host.interface(tap).offloads


def test_a_kernel_without_uso_gets_the_other_offloads(network: Network, virtual_loop: VirtualLoop) -> None:
    """USO came with Linux 6.2."""
    host = FakeHost(FakeKernel(offloads=Offload.ALL & ~(Offload.USO4 | Offload.USO6)))
    tap, _, _ = join(network, host, vnet=True)
    virtual_loop.run_until_idle()
    assert host.kernel.offloads == host.interface(tap).offloads[-1]
    host.close()


@pytest.mark.root
def test_a_real_kernel_segments_for_a_plain_peer_and_not_for_one_with_headers(
    network: Network, virtual_loop: VirtualLoop, real_host: RealHost
) -> None:
    tap = real_host.tap(network, "tap")
    peer = MemoryPeer("peer", network.context, vnet=True)
    interface = real_host.interface(tap)
    network.add(peer, tap)
    virtual_loop.run_until_idle()
    before = interface.tso
    network.remove(peer)
    network.add(MemoryPeer("plain", network.context), tap)
    virtual_loop.run_until_idle()
    assert (True, False) == (before, interface.tso)


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
