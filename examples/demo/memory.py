"""The demo where the host refuses taps or namespaces: the same configuration, with memory peers for its taps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from etherloom import Context, Frame, NetClient, NetClientKind
from etherloom.cli.devices import Devices
from etherloom.cli.snapshot import snapshot
from etherloom.config import toml
from etherloom.config.apply import Loom
from etherloom.kinds import NicModelKind
from etherloom.plugins.registry import Registry
from etherloom.testing import MemoryPeer
from etherloom_tap import TapOptions
from examples.demo import frames
from examples.demo.frames import Station
from examples.demo.outcome import Echoes, NicAct, Outcome, Pings, Report, Stream
from examples.demo.screen import Progress
from examples.demo.traffic import ECHO_REPLY, UDP_DATA, UDP_ECHO_PORT, UDP_WINDOW, echo_request

__all__ = ["run"]

CONFIG, NIC_CONFIG = Path(__file__).with_name("lab.toml"), Path(__file__).with_name("nic.toml")
LAN = Station(bytes.fromhex("02000000000a"), IPv4Address("10.77.0.1"))
GUEST_MAC = bytes.fromhex("02000000000b")
NIC = IPv4Address("10.77.0.15")  # as in nic.toml
ETHERTYPE = bytes.fromhex("88b5")  # local experimental (IEEE 802)
ECHO = ETHERTYPE + b"\1"  # the guest answers this, and counts everything else
UDP_PORT = 7777

IDLE_PINGS, LOADED_PINGS, NIC_PINGS = 1000, 500, 1000
STREAM_S, UDP_S = 4.0, 2.5
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
    loom = Loom(_registry(), asyncio.get_running_loop())
    devices = Devices()
    loom.network.observers.append(devices)
    try:
        tables = CONFIG.read_text()
        loom.apply(toml.parse(tables, loom.registry, file=CONFIG.name))
        ends = Ends(loom)
        progress.phase("echo between memory peers")
        idle = Pings(IDLE_PINGS, [await ends.echo() for _ in range(IDLE_PINGS)])
        progress.phase("one stream of frames between memory peers, and echo beside it")
        loaded, stream = await ends.stream()
        progress.phase("adding a NIC; ping and UDP echo, memory peer to the NIC")
        loom.apply(toml.parse(f"{tables}\n{NIC_CONFIG.read_text()}", loom.registry, file=NIC_CONFIG.name))
        nic = await ends.nic()
        report = Report.of(map(_honest, snapshot(loom.network)), devices.report())
    finally:
        loom.close()
    return Outcome(refused, f"frames of {STREAM_FRAME_BYTES:,} bytes", idle, loaded, stream, nic, report, {})


class Ends:
    """Both ends: the LAN's asks and sends, the guest's answers and counts."""

    def __init__(self, loom: Loom) -> None:
        self._network = loom.network
        lan, guest = loom.network.clients["uplink"], loom.network.clients["guest"]
        assert isinstance(lan, MemoryPeer)
        assert isinstance(guest, MemoryPeer)
        self._lan, self._guest = lan, guest
        self._octets = 0
        self._answers: list[bytes] = []
        self._wanted = 0
        self._answered: asyncio.Future[float] = loom.network.loop.create_future()
        guest.on_receive = self._guest_receives
        lan.on_receive = self._lan_receives

    async def echo(self) -> float:
        """Send the guest one frame and wait for its answer; microseconds."""
        _, round_trip_us = await self._ask([(GUEST_MAC + LAN.mac + ECHO).ljust(60, b"\0")])
        return round_trip_us

    async def stream(self) -> tuple[Pings, Stream]:
        """Send frames as fast as they go, and every few bursts an echo."""
        frame = (GUEST_MAC + LAN.mac + ETHERTYPE).ljust(STREAM_FRAME_BYTES, b"\0")
        round_trips: list[float] = []
        self._octets = 0
        begin = time.perf_counter()
        while (now := time.perf_counter()) < begin + STREAM_S:
            self._lan.send_all([frame] * BURST_FRAMES)
            if len(round_trips) < LOADED_PINGS * (now - begin) / STREAM_S:
                round_trips.append(await self.echo())
            await asyncio.sleep(0)
        stream = Stream(self._octets, time.perf_counter() - begin)
        return Pings(len(round_trips), round_trips), stream

    async def nic(self) -> NicAct:
        """Find the NIC by ARP, ping it, then send it datagrams by the window."""
        (found,), _ = await self._ask([frames.arp_request(LAN, NIC)])
        nic = Station(found[6:12], NIC)
        round_trips = []
        for sequence in range(NIC_PINGS):
            (answer,), round_trip_us = await self._ask([frames.ipv4(LAN, nic, frames.ICMP, echo_request(0, sequence))])
            if answer[frames.DATA] == ECHO_REPLY:
                round_trips.append(round_trip_us)
        sent = answered = 0
        begin = time.perf_counter()
        while (now := time.perf_counter()) < begin + UDP_S:
            datagrams = [UDP_DATA.pack(number) for number in range(sent, sent + UDP_WINDOW)]
            asked = (frames.udp(UDP_PORT, UDP_ECHO_PORT, datagram) for datagram in datagrams)
            answers, _ = await self._ask([frames.ipv4(LAN, nic, frames.UDP, data) for data in asked])
            sent += len(datagrams)
            answered += len({answer[-UDP_DATA.size :] for answer in answers}.intersection(datagrams))
        return NicAct(Pings(NIC_PINGS, round_trips), Echoes(sent, answered, now - begin))

    async def _ask(self, questions: list[bytes]) -> tuple[list[bytes], float]:
        """Send a burst and wait for as many answers; with the microseconds it took."""
        self._answers, self._wanted = [], len(questions)
        self._answered = self._network.loop.create_future()
        start = time.perf_counter()
        self._lan.send_all(questions)
        return self._answers, (await self._answered - start) * 1e6

    def _guest_receives(self, frame: Frame) -> bool:
        self._octets += len(frame)
        if frame[12:15] == ECHO:
            self._guest.send(bytes(frame[6:12]) + bytes(frame[0:6]) + bytes(frame[12:]))
            self._guest.end_burst()
        return True

    def _lan_receives(self, frame: Frame) -> bool:
        self._answers.append(bytes(frame))
        if len(self._answers) == self._wanted:
            self._answered.set_result(time.perf_counter())
        return True


def _registry() -> Registry:
    """What the two configurations name, with memory peers for taps."""
    installed = Registry.discover()
    tap = NetClientKind(kind="tap", options=TapOptions, init=_peer, summary="a memory peer in a tap's place")
    rtl8139 = installed.row("rtl8139", "nic_model")
    assert isinstance(rtl8139, NicModelKind)
    return Registry([tap, installed.row("hubport")], nic_models=[rtl8139], guest_buses=[installed.bus("inline")])


def _peer(_: TapOptions, name: str, __: NetClient | None, context: Context) -> MemoryPeer:
    return MemoryPeer(name, context)


def _honest(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """A row of the report, where a memory peer is not called the tap it stands for."""
    return {**row, "kind": "memory"} if row["kind"] == "tap" else row
