"""What is measured in a process of its own: `python -m bench.alone FUNCTION ARGUMENTS` prints one number."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import tempfile
import time
from pathlib import Path

from etherloom.config import toml
from etherloom.config.apply import Loom
from etherloom.plugins.registry import Registry
from etherloom.testing import MemoryPeer

DELIVERIES = 400_000
BURST_FRAMES = 64


class Sink(MemoryPeer):
    """Takes frames and keeps none: what is measured is the way to it."""

    def receive(self, frame: bytes | memoryview) -> bool:
        return True


def delivery_ns(ports: int) -> float:
    """Nanoseconds per delivered frame, one of `ports` peers sending bursts to all others."""
    loom = Loom(Registry.discover(), asyncio.new_event_loop())
    loom.apply(toml.parse(_hub_file(ports), loom.registry, file="hub"))
    network = loom.network
    peers = [Sink(f"m{number}", network.context) for number in range(ports)]
    for number, peer in enumerate(peers):
        network.add(peer, network.clients[f"p{number}"])
    sender, frame = peers[0], bytes(64)
    bursts = DELIVERIES // (ports - 1) // BURST_FRAMES
    start = time.perf_counter_ns()
    for _ in range(bursts):
        with network.burst():
            send = sender.send
            for _ in range(BURST_FRAMES):
                send(frame)
            sender.end_burst()
    elapsed = time.perf_counter_ns() - start
    network.settle()
    delivered = sum(peer.counters.rx_frames for peer in peers)
    if delivered != bursts * BURST_FRAMES * (ports - 1):
        raise SystemExit(f"{delivered} frames delivered of {bursts * BURST_FRAMES * (ports - 1)}")
    loom.close()
    return elapsed / delivered


def clients_seconds(count: int) -> float:
    """Seconds from the file's name to a network of `count` clients, importing its plugins included."""
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(_clients_file(count))
        file.flush()
        start = time.monotonic()
        loom = _loom(Path(file.name))
        elapsed = time.monotonic() - start
    loom.close()
    return elapsed


def clients_kib(count: int) -> float:
    """KiB of resident memory that each of `count` clients takes, beyond a network that has one of each kind."""
    with tempfile.TemporaryDirectory() as directory:
        few, many = Path(directory, "few.toml"), Path(directory, "many.toml")
        few.write_text(_clients_file(2))
        many.write_text(_clients_file(count))
        first = _loom(few)
        before = _resident_kib()
        second = _loom(many)
        each = (_resident_kib() - before) / count
    second.close()
    first.close()
    return each


def process_mib(count: int) -> float:
    """MiB of resident memory of a whole process with `count` clients: Python and all plugins used included."""
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(_clients_file(count))
        file.flush()
        loom = _loom(Path(file.name))
        whole = _resident_kib() / 1024
    loom.close()
    return whole


def _loom(path: Path) -> Loom:
    registry = Registry.discover()
    loom = Loom(registry, asyncio.new_event_loop())
    loom.apply(toml.load(path, registry))
    return loom


def _resident_kib() -> float:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1024


def _hub_file(ports: int) -> str:
    return "".join(f'[netdev.p{number}]\ntype = "hubport"\nhubid = 0\n' for number in range(ports))


def _clients_file(count: int) -> str:
    """Hubs of ten ports with a backend at each: half of the clients are backends."""
    return "".join(
        f'[netdev.b{number}]\ntype = "noop"\n'
        f'[netdev.p{number}]\ntype = "hubport"\nhubid = {number // 10}\nnetdev = "b{number}"\n'
        for number in range(count // 2)
    )


FUNCTIONS = {function.__name__: function for function in (delivery_ns, clients_seconds, clients_kib, process_mib)}

if __name__ == "__main__":
    print(FUNCTIONS[sys.argv[1]](*map(int, sys.argv[2:])))
