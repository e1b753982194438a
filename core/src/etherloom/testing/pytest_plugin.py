"""Fixtures over `etherloom.testing`, there for every project that has `etherloom` installed.

Nothing of Etherloom is imported before a test asks for a fixture.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from etherloom.net.network import Network
    from etherloom.testing.loop import VirtualLoop
    from etherloom.testing.peers import MemoryPeer

__all__ = ["MakeMemoryPeer", "memory_peer", "network", "virtual_loop"]


class MakeMemoryPeer(Protocol):
    """What the fixture `memory_peer` is."""

    def __call__(
        self, name: str, peer: str | None = None, *, vnet: bool = False, cls: type[MemoryPeer] | None = None
    ) -> MemoryPeer: ...


@pytest.fixture
def virtual_loop() -> Iterator[VirtualLoop]:
    """A loop on virtual time, closed after the test."""
    from etherloom.testing.loop import VirtualLoop

    loop = VirtualLoop()
    yield loop
    loop.close()


@pytest.fixture
def network(virtual_loop: VirtualLoop) -> Iterator[Network]:
    """An empty network on `virtual_loop`; its clients are closed after the test."""
    from etherloom.net.network import Network

    network = Network(virtual_loop, clock=virtual_loop.clock)
    yield network
    network.close()
    virtual_loop.run_until_idle()


@pytest.fixture
def memory_peer(network: Network) -> MakeMemoryPeer:
    """`memory_peer("b", "a")` makes a `MemoryPeer` b in `network`, connected to client a."""
    from etherloom.testing.peers import MemoryPeer

    def make(
        name: str, peer: str | None = None, *, vnet: bool = False, cls: type[MemoryPeer] | None = None
    ) -> MemoryPeer:
        client = (cls or MemoryPeer)(name, network.context, vnet=vnet)
        network.add(client, network.clients[peer] if peer is not None else None)
        return client

    return make
