"""An exception takes down the client it came out of, and nobody else."""

from __future__ import annotations

import os

import pytest

from etherloom import Context, Drop, Frame, NetClient, Network, UsageError
from etherloom.testing import GatheringPeer, MemoryPeer, VirtualLoop, raises
from etherloom.testing.pytest_plugin import MakeMemoryPeer

BOOM = ZeroDivisionError("boom")


@pytest.fixture
def one(memory_peer: MakeMemoryPeer) -> MemoryPeer:
    return memory_peer("one")


@pytest.fixture
def other(memory_peer: MakeMemoryPeer, one: MemoryPeer) -> GatheringPeer:
    made = memory_peer("other", one.name, cls=GatheringPeer)
    assert isinstance(made, GatheringPeer)
    return made


def down(client: NetClient) -> tuple[BaseException | None, bool]:
    return client.failure, client.link_up


def test_who_raises_in_receive_is_taken_down_and_the_frame_counted(
    virtual_loop: VirtualLoop, network: Network, one: MemoryPeer, other: GatheringPeer
) -> None:
    other.on_receive = raises(BOOM)
    assert one.send(bytes(60))
    virtual_loop.run_until_idle()
    assert (BOOM, False) == down(other)
    assert (None, True) == down(one)
    assert 1 == other.closes
    assert {Drop.RECEIVER_ERROR: 1} == other.counters.drops
    assert list(network.clients) == ["one", "other"]


def test_what_is_sent_to_a_failed_client_is_dropped_at_the_source(one: MemoryPeer, other: GatheringPeer) -> None:
    other.on_receive = raises(BOOM)
    one.send(bytes(60))
    one.send(bytes(60))
    assert {Drop.LINK_DOWN: 1} == one.counters.drops


def test_what_a_failed_client_had_queued_is_counted(
    virtual_loop: VirtualLoop, one: MemoryPeer, other: GatheringPeer
) -> None:
    other.block()
    for _ in range(4):
        one.send(bytes(60))
    other.on_receive = raises(BOOM)
    other.unblock()
    virtual_loop.run_until_idle()
    assert {Drop.RECEIVER_ERROR: 4} == other.counters.drops
    assert BOOM is other.failure


def test_who_waits_for_a_client_that_fails_is_resumed(
    virtual_loop: VirtualLoop, one: MemoryPeer, other: GatheringPeer
) -> None:
    other.block()
    one.send_all([bytes(60)] * 3)
    other.on_receive = raises(BOOM)
    other.unblock()
    virtual_loop.run_until_idle()
    assert not one.pausing
    assert not one.unsent


def test_an_answer_of_none_is_an_error_of_the_receiver(one: MemoryPeer, other: GatheringPeer) -> None:
    """A forgotten `return True` would otherwise read as busy, and wedge."""
    other.on_receive = lambda _: None
    assert one.send(bytes(60))
    assert isinstance(other.failure, UsageError)
    assert "GatheringPeer.receive returned None, not True or False" == str(other.failure)
    assert {Drop.RECEIVER_ERROR: 1} == other.counters.drops


def test_an_answer_of_none_is_an_error_from_the_queue_too(
    virtual_loop: VirtualLoop, one: MemoryPeer, other: GatheringPeer
) -> None:
    other.block()
    one.send(bytes(60))
    other.on_receive = lambda _: None
    other.unblock()
    virtual_loop.run_until_idle()
    assert isinstance(other.failure, UsageError)
    assert {Drop.RECEIVER_ERROR: 1} == other.counters.drops


def test_who_raises_in_burst_ended_is_taken_down(one: MemoryPeer, other: GatheringPeer) -> None:
    other.on_burst_ended = raises(BOOM)
    one.send_all([bytes(60)])
    assert (BOOM, False) == down(other)
    assert (None, True) == down(one)
    assert [bytes(60)] == other.received


def test_who_raises_in_resume_is_taken_down(virtual_loop: VirtualLoop, one: MemoryPeer, other: GatheringPeer) -> None:
    one.on_resume = raises(BOOM)
    other.block()
    one.send_all([bytes(60)] * 2)
    other.unblock()
    virtual_loop.run_until_idle()
    assert (BOOM, False) == down(one)
    assert (None, True) == down(other)
    assert [bytes(60)] == other.received


def test_who_raises_in_link_changed_is_taken_down(network: Network, one: MemoryPeer, other: GatheringPeer) -> None:
    other.on_link_changed = raises(BOOM)
    network.set_link(one, False)
    network.set_link(one, True)
    assert (BOOM, False) == down(other)
    assert (None, True) == down(one)
    assert [False, True] == one.links


def test_who_raises_in_set_offload_is_taken_down(network: Network, memory_peer: MakeMemoryPeer) -> None:
    class NoOffload(MemoryPeer):
        def set_offload(self, offload: object) -> None:
            raise BOOM

    bad = memory_peer("bad", vnet=True, cls=NoOffload)
    good = memory_peer("good", "bad", vnet=True)
    assert (BOOM, False) == down(bad)
    assert (None, True) == down(good)


def test_who_raises_in_close_is_gone_all_the_same(network: Network, one: MemoryPeer, other: GatheringPeer) -> None:
    other.on_close = raises(BOOM)
    network.remove(other)
    assert ["one"] == list(network.clients)
    assert one.peer is None


def test_who_raises_in_close_does_not_keep_others_from_closing(
    network: Network, one: MemoryPeer, other: GatheringPeer
) -> None:
    other.on_close = raises(BOOM)
    network.close()
    assert {} == network.clients
    assert (1, 1) == (one.closes, other.closes)


def test_who_removes_its_peer_in_close_closes_it_once(network: Network, one: MemoryPeer, other: GatheringPeer) -> None:
    other.on_close = lambda: network.remove(one)
    network.close()
    assert {} == network.clients
    assert (1, 1) == (one.closes, other.closes)


@pytest.mark.parametrize("how", ["half", "timer", "fd"])
def test_who_raises_in_a_callback_of_its_own_is_taken_down(
    virtual_loop: VirtualLoop, network: Network, one: MemoryPeer, other: GatheringPeer, how: str
) -> None:
    readable, writable = os.pipe()
    try:
        if how == "half":
            network.context.bottom_half(one, raises(BOOM)).schedule()
        elif how == "timer":
            network.context.timer(one, raises(BOOM)).arm_in(10)
        else:
            network.context.watch_fd(one, readable, on_readable=raises(BOOM)).readable(True)
            os.write(writable, b"x")
        virtual_loop.advance(10)
        assert (BOOM, False) == down(one)
        assert (None, True) == down(other)
        virtual_loop.advance(10)
    finally:
        os.close(readable)
        os.close(writable)


def test_a_failed_client_is_closed_from_the_loop_and_only_once(
    virtual_loop: VirtualLoop, network: Network, one: MemoryPeer, other: GatheringPeer
) -> None:
    """Not at once: it is on the stack, and may be using what it would close."""
    closes = []

    def receive(_: Frame) -> bool:
        raise BOOM

    other.on_receive = receive
    one.send(bytes(60))
    closes.append(other.closes)
    virtual_loop.run_until_idle()
    closes.append(other.closes)
    network.remove(other)
    virtual_loop.run_until_idle()
    closes.append(other.closes)
    assert [0, 1, 1] == closes


def test_a_client_removed_while_it_fails_is_closed_once(
    virtual_loop: VirtualLoop, network: Network, one: MemoryPeer, other: GatheringPeer
) -> None:
    other.on_receive = raises(BOOM)
    one.send(bytes(60))
    network.remove(other)
    virtual_loop.run_until_idle()
    assert 1 == other.closes


def test_what_a_client_was_given_is_gone_before_it_is_closed(
    virtual_loop: VirtualLoop, network: Network, one: MemoryPeer
) -> None:
    ran = []
    half = network.context.bottom_half(one, lambda: ran.append("half"))
    timer = network.context.timer(one, lambda: ran.append("timer"))
    half.schedule()
    timer.arm_in(5)
    one.on_close = lambda: ran.append(f"close {half.scheduled} {timer.armed}")
    network.remove(one)
    virtual_loop.advance(10)
    assert ["close False False"] == ran


def test_what_a_client_asks_for_after_it_is_gone_is_of_no_effect(
    virtual_loop: VirtualLoop, network: Network, one: MemoryPeer
) -> None:
    ran: list[str] = []
    network.remove(one)
    network.context.bottom_half(one, lambda: ran.append("half")).schedule()
    network.context.timer(one, lambda: ran.append("timer")).arm_in(5)
    virtual_loop.advance(10)
    assert [] == ran


def test_a_client_may_remove_itself_from_receive(
    virtual_loop: VirtualLoop, network: Network, one: MemoryPeer, other: GatheringPeer
) -> None:
    def receive(_: Frame) -> bool:
        network.remove(other)
        return True

    other.on_receive = receive
    with network.burst():
        one.send(bytes(60))
        one.send(bytes(60))
    virtual_loop.run_until_idle()
    one.send(bytes(60))
    assert {Drop.REMOVED: 1} == other.counters.drops
    assert {Drop.NO_PEER: 1} == one.counters.drops
    assert 1 == other.closes


def test_a_client_that_removes_itself_and_refuses_the_frame_has_it_counted(
    virtual_loop: VirtualLoop, network: Network, one: MemoryPeer, other: GatheringPeer
) -> None:
    def receive(_: Frame) -> bool:
        network.remove(other)
        return False

    other.on_receive = receive
    assert one.send(bytes(60))
    virtual_loop.run_until_idle()
    assert {Drop.REMOVED: 1} == other.counters.drops


def test_a_client_may_remove_the_sender_from_receive(
    virtual_loop: VirtualLoop, network: Network, one: MemoryPeer, other: GatheringPeer
) -> None:
    def receive(frame: Frame) -> bool:
        network.remove(one)
        return other.take(frame)

    other.on_receive = receive
    one.send_all([bytes(60)] * 3)
    virtual_loop.run_until_idle()
    assert ["other"] == list(network.clients)
    # The sender's burst went by the `send` that it was removed with.
    assert 3 == len(other.received) + one.counters.dropped + other.counters.dropped


def test_an_init_that_raises_half_way_leaves_no_callback_behind(virtual_loop: VirtualLoop, network: Network) -> None:
    ran: list[str] = []

    class HalfMade(NetClient):
        def __init__(self, name: str, context: Context) -> None:
            super().__init__(name, context)
            context.bottom_half(self, lambda: ran.append("half")).schedule()
            raise BOOM

    with pytest.raises(ZeroDivisionError):
        HalfMade("half", network.context)
    network.release_strays()
    virtual_loop.run_until_idle()
    assert [] == ran


def test_a_paused_client_that_fails_is_not_told_to_resume(
    virtual_loop: VirtualLoop, network: Network, one: MemoryPeer, other: GatheringPeer
) -> None:
    other.block()
    assert not one.send(bytes(60))
    network.fail(one, BOOM)
    other.unblock()
    virtual_loop.run_until_idle()
    assert (1, 0) == (one.closes, one.resumes)
