"""The smallest legal backend."""

from __future__ import annotations

from etherloom import Network
from etherloom.testing import check_net_client
from etherloom.testing.pytest_plugin import MakeMemoryPeer
from etherloom_noop import NoopOptions, init


def test_keeps_the_contract() -> None:
    check_net_client(lambda context, name: init(NoopOptions(), name, None, context))


def test_takes_every_frame_and_sends_none(network: Network, memory_peer: MakeMemoryPeer) -> None:
    noop = init(NoopOptions(), "noop", None, network.context)
    network.add(noop)
    peer = memory_peer("peer", "noop")
    peer.send_all([bytes(60)] * 3)
    network.settle()
    assert (3, 180, 0, {}) == (
        noop.counters.rx_frames,
        noop.counters.rx_bytes,
        noop.counters.tx_frames,
        noop.counters.drops,
    )
    assert [] == peer.received


def test_shows_its_label(network: Network) -> None:
    assert "label=sink" == init(NoopOptions(label="sink"), "noop", None, network.context).info
    assert "" == init(NoopOptions(), "noop", None, network.context).info
