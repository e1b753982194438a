"""Links and carriers (C-50 to C-57, U-01)."""

from __future__ import annotations

import pytest

from etherloom import Drop, NetClient, Network
from etherloom.testing import MemoryNic, MemoryPeer, VirtualLoop, raises
from etherloom.testing.pytest_plugin import MakeMemoryPeer


class Log:
    """An observer that writes down what it is told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []

    def net_client_added(self, client: NetClient) -> None:
        self.events.append(("added", client.name))

    def net_client_removed(self, client: NetClient) -> None:
        self.events.append(("removed", client.name))

    def net_client_failed(self, client: NetClient) -> None:
        self.events.append(("failed", client.name))

    def link_changed(self, client: NetClient) -> None:
        self.events.append(("up" if client.link_up else "down", client.name))


@pytest.fixture
def backend(memory_peer: MakeMemoryPeer) -> MemoryPeer:
    return memory_peer("backend")


@pytest.fixture
def nic(memory_peer: MakeMemoryPeer, backend: MemoryPeer) -> MemoryPeer:
    return memory_peer("nic", backend.name, cls=MemoryNic)


def test_a_nic_follows_its_backend(network: Network, backend: MemoryPeer, nic: MemoryPeer) -> None:
    """C-50, C-51."""
    network.set_link(backend, False)
    assert (False, False) == (backend.link_up, nic.link_up)
    network.set_link(backend, True)
    assert (True, True) == (backend.link_up, nic.link_up)
    assert [False, True] == nic.links


def test_a_backend_does_not_follow_its_nic(network: Network, backend: MemoryPeer, nic: MemoryPeer) -> None:
    """C-50, C-52: but is told."""
    network.set_link(nic, False)
    assert (True, False) == (backend.link_up, nic.link_up)
    assert [True] == backend.links


def test_both_are_told_also_when_nothing_changes(network: Network, backend: MemoryPeer, nic: MemoryPeer) -> None:
    """C-50."""
    network.set_link(backend, True)
    assert [True] == backend.links
    assert [True] == nic.links


@pytest.mark.parametrize("whose", ["backend", "nic"])
def test_a_link_that_is_down_stops_both_directions(
    network: Network, backend: MemoryPeer, nic: MemoryPeer, whose: str
) -> None:
    """C-30, C-33."""
    network.set_link(network.clients[whose], False)
    assert backend.send(bytes(60))
    assert nic.send(bytes(60))
    assert ([], []) == (backend.received, nic.received)
    assert {Drop.LINK_DOWN: 1} == backend.counters.drops == nic.counters.drops


@pytest.mark.parametrize("whose", ["backend", "nic"])
def test_a_link_that_comes_up_again_passes_frames(
    network: Network, backend: MemoryPeer, nic: MemoryPeer, whose: str
) -> None:
    network.set_link(network.clients[whose], False)
    network.set_link(network.clients[whose], True)
    backend.send(b"in" * 30)
    nic.send(b"out" * 20)
    assert ([b"out" * 20], [b"in" * 30]) == (backend.received, nic.received)


def test_a_link_that_goes_down_resumes_who_waits(network: Network, backend: MemoryPeer, nic: MemoryPeer) -> None:
    """Frames to a link that is down are reported as sent; a sender that waited for it would wait for ever."""
    nic.block()
    backend.send_all([bytes(60)] * 3)
    network.set_link(nic, False)
    assert (1, False) == (backend.resumes, backend.pausing)
    assert {Drop.LINK_DOWN: 2} == backend.counters.drops
    assert {Drop.LINK_DOWN: 1} == nic.counters.drops


def test_a_carrier_that_goes_stays_at_the_backend(network: Network, backend: MemoryPeer, nic: MemoryPeer) -> None:
    """C-55: QEMU's behaviour, and the default."""
    backend.set_carrier(False)
    assert (False, True) == (backend.link_up, nic.link_up)
    assert [] == nic.links
    nic.send(bytes(60))
    assert {Drop.LINK_DOWN: 1} == nic.counters.drops


def test_a_carrier_that_goes_is_seen_by_the_nic_if_asked_for(
    network: Network, backend: MemoryPeer, nic: MemoryPeer
) -> None:
    """U-01."""
    network.carrier = True
    backend.set_carrier(False)
    assert (False, False) == (backend.link_up, nic.link_up)
    backend.set_carrier(True)
    assert (True, True) == (backend.link_up, nic.link_up)
    assert [False, True] == nic.links


def test_a_carrier_does_not_reach_another_backend(network: Network, memory_peer: MakeMemoryPeer) -> None:
    """C-50, U-01: only a NIC follows."""
    network.carrier = True
    one, other = memory_peer("one"), memory_peer("other", "one")
    one.set_carrier(False)
    assert (False, True) == (one.link_up, other.link_up)


def test_a_deleted_backend_takes_its_nics_link_down(network: Network, backend: MemoryPeer, nic: MemoryPeer) -> None:
    """C-57, C-72."""
    network.remove(backend)
    assert not nic.link_up
    assert [False] == nic.links


def test_a_nic_that_gets_a_backend_again_gets_its_link_back(
    network: Network, memory_peer: MakeMemoryPeer, backend: MemoryPeer, nic: MemoryPeer
) -> None:
    """Differs from QEMU (C-73): there the NIC stays without (U-04)."""
    network.remove(backend)
    again = memory_peer("backend", "nic")
    assert nic.link_up
    assert [False, True] == nic.links
    nic.send(bytes(60))
    assert [bytes(60)] == again.received


def test_a_nic_that_was_down_before_its_backend_went_stays_down(
    network: Network, memory_peer: MakeMemoryPeer, backend: MemoryPeer, nic: MemoryPeer
) -> None:
    """C-73: what somebody set by hand is not undone by swapping the backend."""
    network.set_link(nic, False)
    network.remove(backend)
    memory_peer("backend", "nic")
    assert not nic.link_up


def test_a_deleted_nic_leaves_its_backend_as_it_is(network: Network, backend: MemoryPeer, nic: MemoryPeer) -> None:
    """C-77."""
    network.remove(nic)
    assert backend.link_up
    assert [] == backend.links
    assert backend.peer is None


def test_a_client_may_change_links_from_link_changed(
    network: Network, virtual_loop: VirtualLoop, backend: MemoryPeer, nic: MemoryPeer
) -> None:
    def up_again() -> None:
        nic.on_link_changed = None
        network.set_link(backend, True)

    nic.on_link_changed = up_again
    network.set_link(backend, False)
    virtual_loop.run_until_idle()
    assert (True, True) == (backend.link_up, nic.link_up)
    backend.send(bytes(60))
    assert [bytes(60)] == nic.received


def test_a_failed_clients_link_stays_down(network: Network, backend: MemoryPeer, nic: MemoryPeer) -> None:
    backend.on_receive = raises(ZeroDivisionError())
    nic.send(bytes(60))
    network.set_link(backend, True)
    assert not backend.link_up


def test_observers_are_told_of_each_event_in_order(network: Network, memory_peer: MakeMemoryPeer) -> None:
    log = Log()
    network.observers.append(log)
    backend, nic = memory_peer("backend"), memory_peer("nic", "backend", cls=MemoryNic)
    network.set_link(backend, False)
    nic.on_receive = raises(ZeroDivisionError())
    network.set_link(backend, True)
    backend.send(bytes(60))
    network.remove(nic)
    network.remove(backend)
    assert [
        ("added", "backend"),
        ("added", "nic"),
        ("down", "backend"),
        ("down", "nic"),
        ("up", "backend"),
        ("up", "nic"),
        ("failed", "nic"),
        ("removed", "nic"),
        ("removed", "backend"),
    ] == log.events
