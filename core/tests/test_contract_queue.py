"""A receiver that is busy: queue, order, back-pressure and `flush` (C-32, C-35 to C-40, C-44)."""

from __future__ import annotations

from itertools import pairwise

import pytest

from etherloom import Context, Drop, Frame, NetClient, Network
from etherloom.net.inlet import QUEUE_BYTES, QUEUE_FRAMES, inlet_of
from etherloom.testing import MemoryPeer, VirtualLoop
from etherloom.testing.pytest_plugin import MakeMemoryPeer


def numbered(count: int, start: int = 0) -> list[bytes]:
    return [number.to_bytes(4, "big").ljust(60, b"\0") for number in range(start, start + count)]


@pytest.fixture
def one(memory_peer: MakeMemoryPeer) -> MemoryPeer:
    return memory_peer("one")


@pytest.fixture
def other(memory_peer: MakeMemoryPeer, one: MemoryPeer) -> MemoryPeer:
    return memory_peer("other", one.name)


def test_a_refused_frame_is_kept_and_the_sender_told_to_pause(one: MemoryPeer, other: MemoryPeer) -> None:
    """C-35."""
    other.block()
    assert not one.send(bytes(60))
    assert 1 == len(inlet_of(other).queue)
    assert 1 == one.counters.pauses


def test_flush_delivers_what_is_queued_in_order(virtual_loop: VirtualLoop, one: MemoryPeer, other: MemoryPeer) -> None:
    """C-38."""
    frames = numbered(1500)
    other.block()
    for frame in frames:
        one.send(frame)
    other.unblock()
    virtual_loop.run_until_idle()
    assert frames == other.received


def test_flush_delivers_from_a_bottom_half(virtual_loop: VirtualLoop, one: MemoryPeer, other: MemoryPeer) -> None:
    """C-38: never from inside the call, where the client is not ready for frames."""
    other.block()
    one.send(bytes(60))
    other.unblock()
    assert [] == other.received
    virtual_loop.run_until_idle()
    assert [bytes(60)] == other.received


def test_flush_stops_at_the_first_frame_that_is_refused_again(
    virtual_loop: VirtualLoop, one: MemoryPeer, other: MemoryPeer
) -> None:
    """C-38."""
    frames = numbered(5)
    other.block()
    for frame in frames:
        one.send(frame)
    other.on_receive = lambda frame: len(other.received) < 2 and other.take(frame)
    other.unblock()
    virtual_loop.run_until_idle()
    assert frames[:2] == other.received
    assert 0 == one.resumes
    other.on_receive = None
    other.flush()
    virtual_loop.run_until_idle()
    assert frames == other.received
    assert 1 == one.resumes


def test_a_sender_is_resumed_once_when_the_queue_is_empty(
    virtual_loop: VirtualLoop, one: MemoryPeer, other: MemoryPeer
) -> None:
    """C-37: QEMU's sent callback."""
    other.block()
    one.send_all(numbered(3))
    assert one.pausing
    assert 2 == len(one.unsent)
    other.unblock()
    virtual_loop.run_until_idle()
    assert numbered(3) == other.received
    assert (1, False) == (one.resumes, one.pausing)


def test_a_frame_sent_before_the_queue_is_drained_does_not_overtake(
    virtual_loop: VirtualLoop, one: MemoryPeer, other: MemoryPeer
) -> None:
    """Differs from QEMU (C-44): a receiver that can receive again gets the queued frames first."""
    first, second = numbered(2)
    other.block()
    one.send(first)
    other.unblock()
    one.send(second)
    virtual_loop.run_until_idle()
    assert [first, second] == other.received


def test_a_frame_sent_while_the_queue_is_drained_does_not_overtake(
    virtual_loop: VirtualLoop, one: MemoryPeer, other: MemoryPeer
) -> None:
    """C-44, C-32."""
    first, second, third = numbered(3)
    other.block()
    one.send(first)
    one.send(second)

    def take(frame: Frame) -> bool:
        other.on_receive = None
        one.send(third)
        return other.take(frame)

    other.on_receive = take
    other.unblock()
    virtual_loop.run_until_idle()
    assert [first, second, third] == other.received


def test_flush_of_a_client_that_is_not_busy_is_harmless(
    virtual_loop: VirtualLoop, one: MemoryPeer, other: MemoryPeer
) -> None:
    """C-38."""
    offered: list[int] = []

    def refuse(frame: Frame) -> bool:
        offered.append(len(frame))
        return False

    other.flush()
    virtual_loop.run_until_idle()
    other.on_receive = refuse
    one.send(bytes(60))
    virtual_loop.run_until_idle()
    assert [60] == offered


def test_a_flush_said_while_the_frame_is_refused_is_not_lost(
    virtual_loop: VirtualLoop, one: MemoryPeer, other: MemoryPeer
) -> None:
    """C-35: the reason to refuse may be gone before `receive` returns; nobody would flush a second time."""

    def refuse_once(_: Frame) -> bool:
        other.on_receive = None
        other.flush()
        return False

    other.on_receive = refuse_once
    assert not one.send(bytes(60))
    virtual_loop.run_until_idle()
    assert [bytes(60)] == other.received
    assert 1 == one.resumes


def test_a_flush_said_while_a_frame_is_taken_costs_a_later_refusal_one_more_offer(
    virtual_loop: VirtualLoop, one: MemoryPeer, other: MemoryPeer
) -> None:
    """C-35: and no more; to tell the two apart would cost every frame a look."""

    def flush_and_take(frame: Frame) -> bool:
        other.flush()
        return other.take(frame)

    other.on_receive = flush_and_take
    one.send(bytes(60))
    other.on_receive = None
    other.block()
    offered = []

    def refuse(frame: Frame) -> bool:
        offered.append(bytes(frame))
        return False

    other.on_receive = refuse
    one.send(bytes(61))
    virtual_loop.run_until_idle()
    assert [bytes(61)] * 2 == offered
    assert 1 == len(inlet_of(other).queue)


def test_the_queue_holds_as_many_frames_as_qemus(one: MemoryPeer, other: MemoryPeer) -> None:
    """C-37: 10,000; what is more is dropped and counted, the newest first."""
    other.block()
    for frame in numbered(QUEUE_FRAMES + 5):
        assert not one.send(frame)
    assert QUEUE_FRAMES == 10_000 == len(inlet_of(other).queue)
    assert {Drop.QUEUE_FULL: 5} == other.counters.drops


def test_the_queue_holds_no_more_than_16_mib(one: MemoryPeer, other: MemoryPeer) -> None:
    """Differs from QEMU (C-37): GSO frames would otherwise take 640 MiB."""
    other.block()
    for _ in range(300):
        one.send(bytes(65_536))
    assert QUEUE_BYTES == 256 * 65_536 == inlet_of(other).queued_bytes
    assert {Drop.QUEUE_FULL: 44} == other.counters.drops


def test_a_full_queue_drains_and_takes_frames_again(
    virtual_loop: VirtualLoop, one: MemoryPeer, other: MemoryPeer
) -> None:
    """C-37."""
    inlet_of(other).queue_frames_max = 3
    frames = numbered(6)
    other.block()
    for frame in frames[:5]:
        one.send(frame)
    other.unblock()
    virtual_loop.run_until_idle()
    one.send(frames[5])
    assert [*frames[:3], frames[5]] == other.received
    assert 0 == inlet_of(other).queued_bytes


def test_what_a_deleted_sender_queued_is_purged_and_counted(
    network: Network, virtual_loop: VirtualLoop, one: MemoryPeer, other: MemoryPeer
) -> None:
    """C-39, C-77."""
    other.block()
    one.send(bytes(60))
    one.send(bytes(60))
    network.remove(one)
    other.unblock()
    virtual_loop.run_until_idle()
    assert [] == other.received
    assert {Drop.PURGED: 2} == other.counters.drops
    assert 0 == inlet_of(other).queued_bytes


def test_a_purge_leaves_what_others_have_queued(
    network: Network, virtual_loop: VirtualLoop, memory_peer: MakeMemoryPeer, one: MemoryPeer, other: MemoryPeer
) -> None:
    """C-39: the queue knows its senders."""
    first, second = numbered(2)
    other.block()
    one.send(first)
    network.disconnect(one)
    third = memory_peer("third", "other")
    third.send(second)
    network.remove(one)
    other.unblock()
    virtual_loop.run_until_idle()
    assert [second] == other.received


def test_a_rewire_keeps_what_is_queued(
    network: Network, virtual_loop: VirtualLoop, memory_peer: MakeMemoryPeer, one: MemoryPeer, other: MemoryPeer
) -> None:
    first, second = numbered(2)
    other.block()
    one.send(first)
    network.disconnect(one)
    third = memory_peer("third", "other")
    third.send(second)
    other.unblock()
    virtual_loop.run_until_idle()
    assert [first, second] == other.received


def test_a_rewire_resumes_who_was_paused(network: Network, one: MemoryPeer, other: MemoryPeer) -> None:
    """Its frames go elsewhere now, and nobody else would tell it."""
    other.block()
    one.send_all(numbered(3))
    network.disconnect(one)
    assert not one.pausing
    assert {Drop.NO_PEER: 2} == one.counters.drops


def test_a_queue_whose_receiver_is_deleted_is_counted(network: Network, one: MemoryPeer, other: MemoryPeer) -> None:
    other.block()
    one.send(bytes(60))
    network.remove(other)
    assert {Drop.REMOVED: 1} == other.counters.drops
    network.settle()
    assert (1, 0) == (one.counters.tx_frames, other.counters.rx_frames)


def test_a_queue_whose_receivers_link_goes_down_is_dropped_and_counted(
    network: Network, virtual_loop: VirtualLoop, one: MemoryPeer, other: MemoryPeer
) -> None:
    """C-33."""
    other.block()
    one.send(bytes(60))
    network.set_link(other, False)
    network.set_link(other, True)
    other.unblock()
    virtual_loop.run_until_idle()
    assert [] == other.received
    assert {Drop.LINK_DOWN: 1} == other.counters.drops
    one.send(bytes(60))
    assert [bytes(60)] == other.received


# Re-entrancy -------------------------------------------------------------------------------------------------------


class Echo(NetClient):
    """The one of the contract's docstring, counting how deep it is in itself."""

    def __init__(self, name: str, context: Context) -> None:
        super().__init__(name, context)
        self.depth = self.deepest = self.echoed = 0
        self.left = 100_000

    def receive(self, frame: Frame) -> bool:
        self.depth += 1
        self.deepest = max(self.deepest, self.depth)
        if self.left:
            self.left -= 1
            self.echoed += 1
            self.send(bytes(frame))
        self.depth -= 1
        return True


def test_a_frame_sent_to_a_client_that_is_delivering_waits_in_its_queue(
    virtual_loop: VirtualLoop, one: MemoryPeer, other: MemoryPeer
) -> None:
    """C-32."""
    first, second = numbered(2)
    answers = []

    def receive(frame: Frame) -> bool:
        other.on_receive = None
        answers.append(one.send(second))
        return other.take(frame)

    other.on_receive = receive
    one.send(first)
    assert [first] == other.received
    assert [False] == answers
    virtual_loop.run_until_idle()
    assert [first, second] == other.received


def test_a_refused_frame_stays_ahead_of_one_sent_while_it_was_offered(
    virtual_loop: VirtualLoop, one: MemoryPeer, other: MemoryPeer
) -> None:
    """C-32, C-35."""
    first, second = numbered(2)

    def refuse(_: Frame) -> bool:
        other.on_receive = None
        one.send(second)
        return False

    other.on_receive = refuse
    one.send(first)
    other.flush()
    virtual_loop.run_until_idle()
    assert [first, second] == other.received


def test_an_echo_storm_does_not_recurse(virtual_loop: VirtualLoop, network: Network) -> None:
    """C-32, C-40: no client is called while it is in a call of the same kind (CVE-2021-3416 is one that was)."""
    one, other = Echo("one", network.context), Echo("other", network.context)
    network.add(one)
    network.add(other, one)
    one.left = other.left = 1000
    for frame in numbered(5):
        one.send(frame)
    virtual_loop.run_until_idle()
    assert (1, 1) == (one.deepest, other.deepest)
    assert (1000, 1000) == (one.echoed, other.echoed)


def test_an_echo_storm_leaves_the_loop_to_others(virtual_loop: VirtualLoop, network: Network) -> None:
    """Bounded work a turn: a storm of two clients is two of many, and not the end of the loop."""
    one, other = Echo("one", network.context), Echo("other", network.context)
    network.add(one)
    network.add(other, one)
    for frame in numbered(500):
        one.send(frame)
    seen = []

    def look(turns: int) -> None:
        seen.append(one.echoed + other.echoed)
        if turns:
            virtual_loop.call_soon(look, turns - 1)
        else:
            one.left = other.left = 0

    look(10)
    virtual_loop.run_until_idle()
    steps = [after - before for before, after in pairwise(seen)]
    assert 10 == len(steps)
    assert max(steps) <= 4 * 512  # each of the two drains up to 512 frames and echoes them


def test_a_long_queue_is_drained_in_portions(virtual_loop: VirtualLoop, one: MemoryPeer, other: MemoryPeer) -> None:
    """One bottom half delivers at most 512 frames; the loop's other work goes in between."""
    other.block()
    for frame in numbered(2000):
        one.send(frame)
    other.unblock()
    seen = []

    def look() -> None:
        seen.append(len(other.received))
        if len(other.received) < 2000:
            virtual_loop.call_soon(look)

    virtual_loop.call_soon(look)
    virtual_loop.run_until_idle()
    assert [512, 1024, 1536, 2000] == seen


def test_order_is_kept_for_each_sender_over_a_receiver_that_stutters(
    virtual_loop: VirtualLoop, one: MemoryPeer, other: MemoryPeer
) -> None:
    """C-38, C-44."""
    frames = numbered(300)

    def stutter(frame: Frame) -> bool:
        offers[0] += 1
        if offers[0] % 7 == 0:
            virtual_loop.call_soon(other.flush)
            return False
        return other.take(frame)

    offers = [0]
    other.on_receive = stutter
    one.send_all(frames)
    virtual_loop.run_until_idle()
    assert frames == other.received
