"""Memory peers and the pytest fixtures over them."""

from __future__ import annotations

import pytest

from etherloom import Network
from etherloom.testing import GatheringPeer, MemoryNic, VirtualLoop, raises
from etherloom.testing.pytest_plugin import MakeMemoryPeer


def test_a_peer_remembers_copies(memory_peer: MakeMemoryPeer) -> None:
    one, other = memory_peer("one"), memory_peer("other", "one")
    buffer = bytearray(b"a" * 60)
    one.send(memoryview(buffer))
    buffer[:] = bytes(60)
    assert [b"a" * 60] == other.received
    assert [] == other.kept


def test_a_peer_sends_as_a_source_should(virtual_loop: VirtualLoop, memory_peer: MakeMemoryPeer) -> None:
    one, other = memory_peer("one"), memory_peer("other", "one")
    frames = [bytes([number]) * 60 for number in range(5)]
    other.block()
    one.send_all(frames[:3])
    one.send_all(frames[3:])
    assert (True, 4) == (one.pausing, len(one.unsent))
    other.unblock()
    virtual_loop.run_until_idle()
    assert (False, 0, frames) == (one.pausing, len(one.unsent), other.received)


def test_a_burst_is_one_to_who_gathers(memory_peer: MakeMemoryPeer) -> None:
    one, other = memory_peer("one"), memory_peer("other", "one", cls=GatheringPeer)
    assert isinstance(other, GatheringPeer)
    one.send_all([bytes(60)] * 2)
    assert [[bytes(60)] * 2] == other.bursts


def test_a_hook_replaces_receive(memory_peer: MakeMemoryPeer) -> None:
    one, other = memory_peer("one"), memory_peer("other", "one", cls=MemoryNic)
    other.on_receive = lambda frame: other.take(frame) and len(frame) == 60
    assert one.send(bytes(60))
    assert not one.send(bytes(61))
    assert [bytes(60), bytes(61)] == other.received
    assert other.is_nic


def test_a_hook_that_raises_raises_what_it_was_given() -> None:
    error = KeyError("k")
    with pytest.raises(KeyError) as caught:
        raises(error)(1, 2, 3)
    assert error is caught.value


def test_the_network_of_a_test_is_closed_after_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        peers = []

        def test_first(memory_peer):
            peers.append(memory_peer("one"))
            assert peers[0].closes == 0

        def test_second():
            assert peers[0].closes == 1
        """
    )
    pytester.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(passed=2)


def test_the_fixtures_import_nothing_until_asked_for(pytester: pytest.Pytester) -> None:
    """Every pytest run of a machine with etherloom installed loads the plugin."""
    pytester.makepyfile(
        """
        import sys

        def test_light():
            heavy = {"cattrs", "stevedore", "pyroute2", "rich", "click"}
            assert set() == heavy & set(sys.modules)
        """
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:hypothesispytest").assert_outcomes(passed=1)


def test_a_network_is_on_the_loops_time(network: Network, virtual_loop: VirtualLoop) -> None:
    virtual_loop.advance(7)
    assert 7 == network.context.clock.now_ns()
