"""Plain and vnet wires: what form a frame has where, and who is told to finish it (C-42, C-68)."""

from __future__ import annotations

from etherloom import FRAME_MAX, VNET_HEADER_BYTES, Drop, Network, Offload
from etherloom.net.offload import GsoType, VnetFlag, VnetHeader
from etherloom.testing import VirtualLoop
from etherloom.testing.pytest_plugin import MakeMemoryPeer

NO_OFFLOAD = bytes(VNET_HEADER_BYTES)
FRAME = b"f" * 60


def test_a_header_stays_between_two_that_speak_it(memory_peer: MakeMemoryPeer) -> None:
    one, other = memory_peer("one", vnet=True), memory_peer("other", "one", vnet=True)
    header = bytes.fromhex("0103 0000 0000 0000 0000")
    one.send(header + FRAME)
    assert [header + FRAME] == other.received


def test_a_client_that_does_not_speak_headers_never_sees_one(memory_peer: MakeMemoryPeer) -> None:
    headed, plain = memory_peer("headed", vnet=True), memory_peer("plain", "headed")
    headed.send(NO_OFFLOAD + FRAME)
    assert [FRAME] == plain.received


def test_a_frame_without_a_header_gets_one_of_zeros(memory_peer: MakeMemoryPeer) -> None:
    """C-42."""
    headed, plain = memory_peer("headed", vnet=True), memory_peer("plain", "headed")
    plain.send(FRAME)
    assert [NO_OFFLOAD + FRAME] == headed.received


def test_a_frame_gets_its_header_in_the_queue_too(virtual_loop: VirtualLoop, memory_peer: MakeMemoryPeer) -> None:
    """C-42: queued frames are in their receiver's form."""
    headed, plain = memory_peer("headed", vnet=True), memory_peer("plain", "headed")
    headed.block()
    for size in (60, 61, 62):
        plain.send(bytes(size))
    headed.unblock()
    virtual_loop.run_until_idle()
    assert [bytes(70), bytes(71), bytes(72)] == headed.received


def test_bytes_are_counted_without_the_header(network: Network, memory_peer: MakeMemoryPeer) -> None:
    headed, plain = memory_peer("headed", vnet=True), memory_peer("plain", "headed")
    headed.send(NO_OFFLOAD + FRAME)
    plain.send(FRAME)
    network.settle()
    assert (1, 60, 1, 60) == (
        headed.counters.tx_frames,
        headed.counters.tx_bytes,
        headed.counters.rx_frames,
        headed.counters.rx_bytes,
    )
    assert (1, 60, 1, 60) == (
        plain.counters.tx_frames,
        plain.counters.tx_bytes,
        plain.counters.rx_frames,
        plain.counters.rx_bytes,
    )


def test_a_header_that_contradicts_its_frame_is_dropped_and_counted(memory_peer: MakeMemoryPeer) -> None:
    """What a guest writes there can only ever be counted: here, segments of a frame that is no TCP."""
    headed, plain = memory_peer("headed", vnet=True), memory_peer("plain", "headed")
    assert headed.send(bytes.fromhex("0001 ffff ffff ffff ffff") + FRAME)
    assert [] == plain.received
    assert {Drop.MALFORMED: 1} == headed.counters.drops


def test_a_client_is_told_what_it_may_leave_undone(memory_peer: MakeMemoryPeer) -> None:
    one, other = memory_peer("one", vnet=True), memory_peer("other", "one", vnet=True)
    assert [Offload.ALL] == one.offloads
    assert [Offload.ALL] == other.offloads


def test_a_client_whose_peer_speaks_no_header_finishes_its_frames_itself(memory_peer: MakeMemoryPeer) -> None:
    """C-68."""
    headed, plain = memory_peer("headed", vnet=True), memory_peer("plain", "headed")
    assert [Offload(0)] == headed.offloads
    assert [] == plain.offloads


def test_offloads_are_told_on_change_only(network: Network, memory_peer: MakeMemoryPeer) -> None:
    """A tap's TUNSETOFFLOAD is a system call, and links go up and down often."""
    one, other = memory_peer("one", vnet=True), memory_peer("other", "one", vnet=True)
    plain = memory_peer("plain")
    network.set_link(one, False)
    network.set_link(one, True)
    network.disconnect(one)
    network.connect(one, plain)
    network.disconnect(one)
    network.connect(one, other)
    assert [Offload.ALL, Offload(0), Offload.ALL] == one.offloads


def test_a_frame_queued_in_one_form_is_not_altered_by_a_rewire_to_another(
    network: Network, virtual_loop: VirtualLoop, memory_peer: MakeMemoryPeer
) -> None:
    """The queue is the receiver's, and so is the form of what is in it."""
    plain, headed, one = memory_peer("plain"), memory_peer("headed", vnet=True), memory_peer("one", "headed")
    headed.block()
    one.send(FRAME)
    network.disconnect(headed)
    network.connect(headed, plain)
    plain.send(FRAME)
    headed.unblock()
    virtual_loop.run_until_idle()
    assert [NO_OFFLOAD + FRAME] * 2 == headed.received


def test_the_network_names_who_costs_the_offload(network: Network, memory_peer: MakeMemoryPeer) -> None:
    headed, plain = memory_peer("headed", vnet=True), memory_peer("plain", "headed")
    cell = network.cell(headed)
    assert cell is not None
    assert (plain,) == cell.blockers


def test_nobody_costs_an_offload_that_nobody_has(network: Network, memory_peer: MakeMemoryPeer) -> None:
    one, _ = memory_peer("one"), memory_peer("other", "one")
    cell = network.cell(one)
    assert cell is not None
    assert () == cell.blockers


def test_a_giant_is_refused_whatever_its_header_asks(memory_peer: MakeMemoryPeer) -> None:
    """C-31, on the way to where headers are taken off: segments of a giant would each be small enough."""
    headed, plain = memory_peer("headed", vnet=True), memory_peer("plain", "headed")
    tcp = VnetHeader(flags=VnetFlag.NEEDS_CSUM, gso_type=GsoType.TCPV4, gso_size=1448, csum_start=34, csum_offset=16)
    headed.send(tcp.pack() + bytes(FRAME_MAX + 1))
    assert ([], {Drop.GIANT: 1}) == (plain.received, headed.counters.drops)
