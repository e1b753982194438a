"""A shortcut stands in for `receive`, and `receive` has the last word."""

from __future__ import annotations

import pytest

from etherloom import Drop, Frame, Network
from etherloom.testing import MemoryPeer, VirtualLoop, raises
from etherloom.testing.pytest_plugin import MakeMemoryPeer


class Short(MemoryPeer):
    """Takes frames by its shortcut as long as `wants` says so."""

    def __init__(self, name: str, network: Network) -> None:
        super().__init__(name, network.context)
        self.wants: object = 60
        self.shortcuts: list[bytes] = []
        self.shortcut = self._take

    def _take(self, frame: Frame) -> object:
        if isinstance(self.wants, Exception):
            raise self.wants
        if self.wants:
            self.shortcuts.append(bytes(frame))
        return self.wants


@pytest.fixture
def short(network: Network, memory_peer: MakeMemoryPeer) -> Short:
    made = Short("short", network)
    network.add(made, memory_peer("source"))
    return made


def counts(network: Network, short: Short) -> tuple[int, int, int, dict[Drop, int]]:
    network.settle()
    return len(short.shortcuts), len(short.received), short.counters.rx_frames, short.counters.drops


def test_what_the_shortcut_takes_receive_never_sees(network: Network, short: Short) -> None:
    assert network.clients["source"].send(bytes(60))
    assert (1, 0, 1, {}) == counts(network, short)


@pytest.mark.parametrize("answer", [0, None, False, OSError("full")])
def test_what_the_shortcut_does_not_take_receive_is_asked_about(network: Network, short: Short, answer: object) -> None:
    short.wants = answer
    assert network.clients["source"].send(bytes(60))
    assert (0, 1, 1, {}) == counts(network, short)


def test_what_neither_takes_is_queued_in_order(virtual_loop: VirtualLoop, network: Network, short: Short) -> None:
    source = network.clients["source"]
    short.wants = 0
    short.block()
    assert [False, False] == [source.send(bytes(60)), source.send(bytes(61))]
    short.unblock()
    virtual_loop.run_until_idle()
    assert ([bytes(60), bytes(61)], 2) == (short.received, short.counters.rx_frames or counts(network, short)[2])


def test_who_raises_in_receive_after_the_shortcut_is_taken_down(network: Network, short: Short) -> None:
    boom = ZeroDivisionError("boom")
    short.wants, short.on_receive = 0, raises(boom)
    assert network.clients["source"].send(bytes(60))
    assert (boom, {Drop.RECEIVER_ERROR: 1}) == (short.failure, short.counters.drops)
