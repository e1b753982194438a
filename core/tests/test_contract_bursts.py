"""Bursts: who is told that one is over, and when."""

from __future__ import annotations

from etherloom import Network
from etherloom.testing import GatheringPeer, MemoryPeer, VirtualLoop
from etherloom.testing.pytest_plugin import MakeMemoryPeer


def gatherer(memory_peer: MakeMemoryPeer, name: str, peer: str | None = None) -> GatheringPeer:
    made = memory_peer(name, peer, cls=GatheringPeer)
    assert isinstance(made, GatheringPeer)
    return made


def test_a_receiver_is_told_once_that_a_burst_is_over(memory_peer: MakeMemoryPeer) -> None:
    one = memory_peer("one")
    other = gatherer(memory_peer, "other", "one")
    one.send_all([bytes(60)] * 3)
    one.send_all([bytes(61)])
    assert [[bytes(60)] * 3, [bytes(61)]] == other.bursts


def test_the_source_is_not_told_of_its_own_burst(memory_peer: MakeMemoryPeer) -> None:
    one = gatherer(memory_peer, "one")
    memory_peer("other", "one")
    one.send_all([bytes(60)])
    assert [] == one.bursts


def test_a_receiver_that_does_not_gather_costs_no_call(memory_peer: MakeMemoryPeer) -> None:
    """One shared function that does nothing; a tap, which writes each frame at once, is the usual receiver."""
    one, other = memory_peer("one"), memory_peer("other", "one")
    assert one.end_burst is other.end_burst


def test_a_rewire_moves_the_end_of_the_burst(network: Network, memory_peer: MakeMemoryPeer) -> None:
    one = memory_peer("one")
    first, second = gatherer(memory_peer, "first", "one"), gatherer(memory_peer, "second")
    network.disconnect(one)
    network.connect(one, second)
    one.send_all([bytes(60)])
    assert ([], [[bytes(60)]]) == (first.bursts, second.bursts)


def test_without_a_receiver_a_burst_ends_all_the_same(network: Network, memory_peer: MakeMemoryPeer) -> None:
    one = memory_peer("one")
    other = gatherer(memory_peer, "other", "one")
    one.end_burst()
    network.set_link(other, False)
    one.end_burst()
    network.disconnect(one)
    one.end_burst()
    assert [[]] == other.bursts


def test_a_drained_queue_is_a_burst(virtual_loop: VirtualLoop, memory_peer: MakeMemoryPeer) -> None:
    one = memory_peer("one")
    other = gatherer(memory_peer, "other", "one")
    other.block()
    for _ in range(3):
        one.send(bytes(60))
    other.unblock()
    virtual_loop.run_until_idle()
    assert [[bytes(60)] * 3] == other.bursts


def test_an_end_of_burst_kept_from_before_the_receiver_went_is_harmless(
    network: Network, memory_peer: MakeMemoryPeer
) -> None:
    one = memory_peer("one")
    other = gatherer(memory_peer, "other", "one")
    with network.burst():
        end_burst = one.end_burst
        network.remove(other)
        end_burst()
    assert [] == other.bursts


def test_a_source_that_is_removed_by_its_own_burst_may_end_it(
    network: Network, virtual_loop: VirtualLoop, memory_peer: MakeMemoryPeer
) -> None:
    one: MemoryPeer = memory_peer("one")
    other = gatherer(memory_peer, "other", "one")
    other.on_burst_ended = lambda: network.remove(one)
    one.send_all([bytes(60)])
    virtual_loop.run_until_idle()
    assert ["other"] == list(network.clients)
