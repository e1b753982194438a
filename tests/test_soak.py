"""What only long runs show. Tier slow."""

from __future__ import annotations

from pathlib import Path

import pytest

from etherloom import Frame, NetClient, Network
from etherloom.testing import VirtualLoop
from etherloom_hub import HubPort

pytestmark = pytest.mark.slow

FRAMES = 10_000_000
BURST = 64
SLACK_KIB = 512  # of resident memory: the allocator's own ups and downs


class Counting(NetClient):
    """Takes frames, and refuses one in a thousand until the loop's next turn."""

    def __init__(self, name: str, network: Network, *, refuses: bool) -> None:
        super().__init__(name, network.context)
        self.taken = 0
        self._refuses = refuses
        self._ready = network.context.bottom_half(self, self.flush)

    def receive(self, frame: Frame) -> bool:
        self.taken += 1
        if self._refuses and self.taken % 1000 == 0:
            self._ready.schedule()
            return False
        return True


def resident_kib() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def test_ten_million_frames_over_a_hub_take_no_memory(virtual_loop: VirtualLoop, network: Network) -> None:
    clients = [Counting(name, network, refuses=name == "slow") for name in ("source", "fast", "slow")]
    for client in clients:
        network.add(client)
        network.add(HubPort(f"{client.name}-port", network.context, 0), client)
    source, fast, slow = clients
    frame = memoryview(bytes(64))
    first = 0
    for sent in range(0, FRAMES, BURST):
        with network.burst():
            send = source.send
            for _ in range(BURST):
                send(frame)
            source.end_burst()
        virtual_loop.run_until_idle()
        if sent == FRAMES // 10 // BURST * BURST:
            first = resident_kib()
    grown = resident_kib() - first
    network.settle()
    total = -(-FRAMES // BURST) * BURST
    assert [total] * 3 == [source.counters.tx_frames, fast.counters.rx_frames, slow.counters.rx_frames]
    assert {} == source.counters.drops | fast.counters.drops | slow.counters.drops
    assert grown < SLACK_KIB, f"{grown} KiB more after {FRAMES:,} frames than after a tenth of them"
