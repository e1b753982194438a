"""`send`: what becomes of a frame at its source (C-30, C-31, C-33, C-43, C-45), and who counts it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest

from etherloom import FRAME_MAX, Counters, Drop, NetClient, Network, UsageError
from etherloom.testing import MemoryPeer, VirtualLoop
from etherloom.testing.pytest_plugin import MakeMemoryPeer


def counted(client: NetClient) -> dict[str, object]:
    """A client's counters as plain data, those that are zero left out."""
    client.context.network.settle()
    return {name: value for name, value in client.counters.as_dict().items() if value}


def test_a_frame_arrives_at_the_peer_at_once(memory_peer: MakeMemoryPeer) -> None:
    """C-32, C-34: no turn of the loop lies between `send` and `receive`."""
    one, other = memory_peer("one"), memory_peer("other", "one")
    assert one.send(b"a" * 60)
    assert [b"a" * 60] == other.received
    assert {"tx_frames": 1, "tx_bytes": 60} == counted(one)
    assert {"rx_frames": 1, "rx_bytes": 60} == counted(other)


def test_a_frame_without_a_peer_is_dropped_and_reported_as_sent(memory_peer: MakeMemoryPeer) -> None:
    """C-30."""
    alone = memory_peer("alone")
    assert alone.send(bytes(60))
    assert {"drops": {"no-peer": 1}} == counted(alone)


def test_a_frame_from_a_link_that_is_down_is_dropped_and_reported_as_sent(
    network: Network, memory_peer: MakeMemoryPeer
) -> None:
    """C-30."""
    one, other = memory_peer("one"), memory_peer("other", "one")
    network.set_link(one, False)
    assert one.send(bytes(60))
    assert {"drops": {"link-down": 1}} == counted(one)
    assert [] == other.received


def test_a_frame_to_a_link_that_is_down_is_dropped_and_reported_as_sent(
    network: Network, memory_peer: MakeMemoryPeer
) -> None:
    """C-33."""
    one, other = memory_peer("one"), memory_peer("other", "one")
    network.set_link(other, False)
    assert one.send(bytes(60))
    assert {"drops": {"link-down": 1}} == counted(one)
    assert [] == other.received


@pytest.mark.parametrize("size", [14, 15, 59, 60, 1514, 9014, FRAME_MAX])
def test_a_frame_of_legal_length_passes_as_it_is(memory_peer: MakeMemoryPeer, size: int) -> None:
    """C-43: the wiring does not pad; taps and NIC models do."""
    one, other = memory_peer("one"), memory_peer("other", "one")
    assert one.send(b"x" * size)
    assert [b"x" * size] == other.received


@pytest.mark.parametrize(
    ("size", "reason"),
    [(0, Drop.SHORT), (1, Drop.SHORT), (13, Drop.SHORT), (FRAME_MAX + 1, Drop.GIANT), (70_000, Drop.GIANT)],
)
def test_a_frame_of_impossible_length_is_dropped_at_its_source(
    memory_peer: MakeMemoryPeer, size: int, reason: Drop
) -> None:
    """C-31, C-45: also one of no bytes, which wedges QEMU's receiver."""
    one, other = memory_peer("one"), memory_peer("other", "one")
    assert one.send(bytes(size))
    assert {"drops": {reason.value: 1}} == counted(one)
    assert one.send(bytes(60))
    assert [bytes(60)] == other.received


@pytest.mark.parametrize("size", [0, 10, 23])
def test_the_header_does_not_make_a_short_frame_longer(memory_peer: MakeMemoryPeer, size: int) -> None:
    """C-31, C-45, on a wire with virtio-net headers: 13 bytes behind a header are as short as 13 bytes."""
    one, other = memory_peer("one", vnet=True), memory_peer("other", "one", vnet=True)
    assert one.send(bytes(size))
    assert {"drops": {"short": 1}} == counted(one)
    assert [] == other.received


def test_the_longest_frame_may_have_a_header_in_front(memory_peer: MakeMemoryPeer) -> None:
    """C-31: the limit is the frame's, not the buffer's."""
    one, other = memory_peer("one", vnet=True), memory_peer("other", "one", vnet=True)
    one.send(bytes(10 + FRAME_MAX))
    one.send(bytes(10 + FRAME_MAX + 1))
    assert [bytes(10 + FRAME_MAX)] == other.received
    assert {"tx_frames": 1, "tx_bytes": FRAME_MAX, "drops": {"giant": 1}} == counted(one)
    assert {"rx_frames": 1, "rx_bytes": FRAME_MAX} == counted(other)


def test_a_frame_is_lent_and_not_copied_on_the_way(memory_peer: MakeMemoryPeer) -> None:
    one, other = memory_peer("one"), memory_peer("other", "one")
    other.keep_frames = True
    frame = memoryview(bytearray(60)).toreadonly()
    one.send(frame)
    assert other.kept[0] is frame


def test_a_queued_frame_is_a_copy(virtual_loop: VirtualLoop, memory_peer: MakeMemoryPeer) -> None:
    """The source's buffer is its own again as soon as `send` returns."""
    one, other = memory_peer("one"), memory_peer("other", "one")
    other.block()
    buffer = bytearray(b"a" * 60)
    one.send(memoryview(buffer).toreadonly())
    one.send(memoryview(buffer).toreadonly())
    buffer[:] = b"b" * 60
    other.unblock()
    virtual_loop.run_until_idle()
    assert [b"a" * 60] * 2 == other.received


def test_sending_after_being_removed_is_counted(network: Network, memory_peer: MakeMemoryPeer) -> None:
    one, other = memory_peer("one"), memory_peer("other", "one")
    network.remove(one)
    assert one.send(bytes(60))
    assert {Drop.REMOVED: 1} == one.counters.drops
    assert [] == other.received


def test_a_send_kept_from_before_the_receiver_was_removed_counts(network: Network, memory_peer: MakeMemoryPeer) -> None:
    """A source reads `send` once a burst; in that burst its receiver may go."""
    one, other = memory_peer("one"), memory_peer("other", "one")
    with network.burst():
        send = one.send
        send(bytes(60))
        network.remove(other)
        send(bytes(60))
        send(bytes(60))
    assert 1 == len(other.received)
    assert {Drop.REMOVED: 2} == other.counters.drops
    assert {"tx_frames": 3, "tx_bytes": 180} == counted(one)


def test_a_rewire_inside_a_burst_waits_for_the_outermost_burst_to_end(
    network: Network, memory_peer: MakeMemoryPeer
) -> None:
    one, other = memory_peer("one"), memory_peer("other")
    with network.burst():
        with network.burst():
            network.connect(one, other)
        one.send(bytes(60))
        assert [] == other.received
    one.send(bytes(60))
    assert [bytes(60)] == other.received
    assert {"tx_frames": 1, "tx_bytes": 60, "drops": {"no-peer": 1}} == counted(one)


def test_a_burst_that_raises_has_ended(network: Network, memory_peer: MakeMemoryPeer) -> None:
    one, other = memory_peer("one"), memory_peer("other")
    with suppress(ZeroDivisionError), network.burst():
        network.connect(one, other)
        raise ZeroDivisionError
    one.send(bytes(60))
    assert [bytes(60)] == other.received


def test_counters_outlive_a_rewire(network: Network, memory_peer: MakeMemoryPeer) -> None:
    one, other = memory_peer("one"), memory_peer("other", "one")
    one.send(bytes(60))
    network.disconnect(one)
    network.connect(one, other)
    one.send(bytes(100))
    assert {"tx_frames": 2, "tx_bytes": 160} == counted(one)
    assert {"rx_frames": 2, "rx_bytes": 160} == counted(other)


def test_a_client_of_the_base_class_counts_what_it_refuses(network: Network, memory_peer: MakeMemoryPeer) -> None:
    """C-36: dropped by the receiver, and the sender goes on."""
    wall = NetClient("wall", network.context)
    network.add(wall)
    one = memory_peer("one", "wall")
    assert one.send(bytes(60))
    assert {"rx_frames": 1, "rx_bytes": 60, "drops": {"refused": 1}} == counted(wall)


def test_counters_are_plain_data() -> None:
    counters = Counters()
    counters.add_tx(1, 60)
    counters.add_rx(2, 120)
    counters.drop(Drop.SHORT)
    counters.drop(Drop.GIANT, 3)
    assert 4 == counters.dropped
    assert {
        "tx_frames": 1,
        "tx_bytes": 60,
        "rx_frames": 2,
        "rx_bytes": 120,
        "pauses": 0,
        "drops": {"giant": 3, "short": 1},
    } == counters.as_dict()


def test_two_names_cannot_be_the_same(network: Network, memory_peer: MakeMemoryPeer) -> None:
    """C-05: a name is unique, and who comes second leaves nothing behind."""
    memory_peer("one")
    with pytest.raises(UsageError, match="there is a net client 'one' already"):
        network.add(MemoryPeer("one", network.context))
    assert ["one"] == list(network.clients)


def test_a_client_has_at_most_one_peer(network: Network, memory_peer: MakeMemoryPeer) -> None:
    one, other = memory_peer("one"), memory_peer("other", "one")
    with pytest.raises(UsageError, match="'one' is connected to 'other' already"):
        memory_peer("third", "one")
    assert ["one", "other"] == list(network.clients)
    one.send(bytes(60))
    assert [bytes(60)] == other.received


def test_a_client_cannot_be_its_own_peer(network: Network, memory_peer: MakeMemoryPeer) -> None:
    one = memory_peer("one")
    with pytest.raises(UsageError):
        network.connect(one, one)
    assert one.peer is None


def test_a_removed_client_is_nobodys_peer(network: Network, memory_peer: MakeMemoryPeer) -> None:
    one, gone = memory_peer("one"), memory_peer("gone")
    network.remove(gone)
    attempts: list[Callable[[], None]] = [
        lambda: network.connect(one, gone),
        lambda: network.add(MemoryPeer("new", network.context), gone),
        lambda: network.remove(gone),
    ]
    for attempt in attempts:
        with pytest.raises(UsageError, match="'gone' is not in the network"):
            attempt()
    assert (["one"], None) == (list(network.clients), one.peer)
