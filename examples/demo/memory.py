"""The demo where the host refuses taps or namespaces: the same configuration, with memory peers for its taps."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from etherloom import Context, Frame, NetClient, NetClientKind
from etherloom.config import toml
from etherloom.config.apply import Loom
from etherloom.plugins.registry import Registry
from etherloom.testing import MemoryPeer
from etherloom_tap import TapOptions
from examples.demo.outcome import Client, Outcome, Pings, Stream
from examples.demo.screen import Progress

__all__ = ["run"]

CONFIG = Path(__file__).with_name("lab.toml")
LAN_MAC, GUEST_MAC = bytes.fromhex("02000000000a"), bytes.fromhex("02000000000b")
ETHERTYPE = bytes.fromhex("88b5")  # local experimental (IEEE 802)
IS_ECHO = 14  # the first byte of the payload: answer this frame

IDLE_PINGS, LOADED_PINGS = 1000, 500
STREAM_S = 4.0
STREAM_FRAME_BYTES = 1514
BURST_FRAMES = 64


def run(progress: Progress, refused: str) -> Outcome:
    """Build the network in this process and pass the same traffic.

    Args:
        progress: Told what happens.
        refused: Why it is not the kernel's; for the summary.
    """
    with asyncio.Runner() as runner:
        return runner.run(_run(progress, refused))


async def _run(progress: Progress, refused: str) -> Outcome:
    tap = NetClientKind(kind="tap", options=TapOptions, init=_peer, summary="a memory peer in a tap's place")
    loom = Loom(Registry([tap, Registry.discover().row("hubport")]), asyncio.get_running_loop())
    try:
        loom.apply(toml.load(CONFIG, loom.registry))
        ends = Ends(loom)
        progress.phase("echo between memory peers")
        idle = Pings(IDLE_PINGS, [await ends.echo() for _ in range(IDLE_PINGS)])
        progress.phase("one stream of frames between memory peers, and echo beside it")
        loaded, stream = await ends.stream()
        loom.network.settle()
        clients = {name: _client(client) for name, client in loom.network.clients.items()}
    finally:
        loom.close()
    return Outcome(refused, f"frames of {STREAM_FRAME_BYTES:,} bytes", idle, loaded, stream, clients, {})


class Ends:
    """Both ends: the LAN's asks and sends, the guest's answers and counts."""

    def __init__(self, loom: Loom) -> None:
        self._network = loom.network
        lan, guest = loom.network.clients["uplink"], loom.network.clients["guest"]
        assert isinstance(lan, MemoryPeer)
        assert isinstance(guest, MemoryPeer)
        self._lan, self._guest = lan, guest
        self._octets = 0
        self._answer: asyncio.Future[float] = loom.network.loop.create_future()
        guest.on_receive = self._guest_receives
        lan.on_receive = self._lan_receives

    async def echo(self) -> float:
        """Send one frame and wait for its answer; microseconds."""
        self._answer = self._network.loop.create_future()
        start = time.perf_counter()
        self._send(_frame(60, echo=True), 1)
        return (await self._answer - start) * 1e6

    async def stream(self) -> tuple[Pings, Stream]:
        """Send frames as fast as they go, and every few bursts an echo."""
        frame = _frame(STREAM_FRAME_BYTES, echo=False)
        round_trips: list[float] = []
        self._octets = 0
        begin = time.perf_counter()
        while (now := time.perf_counter()) < begin + STREAM_S:
            self._send(frame, BURST_FRAMES)
            if len(round_trips) < LOADED_PINGS * (now - begin) / STREAM_S:
                round_trips.append(await self.echo())
            await asyncio.sleep(0)
        stream = Stream(self._octets, time.perf_counter() - begin)
        return Pings(len(round_trips), round_trips), stream

    def _send(self, frame: bytes, count: int) -> None:
        self._lan.send_all([frame] * count)

    def _guest_receives(self, frame: Frame) -> bool:
        self._octets += len(frame)
        if frame[IS_ECHO]:
            self._guest.send(bytes(frame[6:12]) + bytes(frame[0:6]) + bytes(frame[12:]))
            self._guest.end_burst()
        return True

    def _lan_receives(self, _: Frame) -> bool:
        if not self._answer.done():
            self._answer.set_result(time.perf_counter())
        return True


def _peer(_: TapOptions, name: str, __: NetClient | None, context: Context) -> MemoryPeer:
    return MemoryPeer(name, context)


def _frame(octets: int, *, echo: bool) -> bytes:
    return (GUEST_MAC + LAN_MAC + ETHERTYPE + bytes([echo])).ljust(octets, b"\0")


def _client(client: NetClient) -> Client:
    counters = client.counters
    kind = "memory" if isinstance(client, MemoryPeer) else client.kind
    drops = ", ".join(f"{frames:,} {reason}" for reason, frames in counters.drops.items()) or "0"
    return Client(
        client.name, kind, counters.tx_frames, counters.tx_bytes, counters.rx_frames, counters.rx_bytes, drops
    )
