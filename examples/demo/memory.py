"""The demo where the host refuses taps or namespaces: the same configurations, with memory peers for their taps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from etherloom import Context, NetClient, NetClientKind
from etherloom.cli.devices import Devices
from etherloom.cli.snapshot import snapshot
from etherloom.config import toml
from etherloom.config.apply import Loom
from etherloom.kinds import NicModelKind
from etherloom.plugins.registry import Registry
from etherloom.testing import MemoryPeer
from etherloom.testing.guest import GuestError
from etherloom_tap import TapOptions
from examples.demo import frames, linux
from examples.demo.outcome import Echoes, Outcome, Pings, Report, Stream
from examples.demo.peers import ETHERTYPE, GUEST_MAC, LAN, GuestSide, Lan
from examples.demo.screen import Progress
from examples.demo.traffic import UDP_DATA, UDP_ECHO_PORT, UDP_WINDOW

__all__ = ["run", "run_guest"]

CONFIG, NIC_CONFIG = Path(__file__).with_name("lab.toml"), Path(__file__).with_name("nic.toml")
NIC = "10.77.0.15"  # as in nic.toml
UDP_PORT = 7777

IDLE_PINGS, LOADED_PINGS, NIC_PINGS = 1000, 500, 1000
STREAM_S, UDP_S = 4.0, 2.5
STREAM_FRAME_BYTES = 1514
BURST_FRAMES = 64
LINUX_S = 20.0  # for as many pings; they take 1 s on an idle machine


def run(progress: Progress, refused: str) -> Outcome:
    """Build the network in this process and pass the same traffic.

    Args:
        progress: Told what happens.
        refused: Why it is not the kernel's; for the summary.
    """
    with asyncio.Runner() as runner:
        return runner.run(_run(progress, refused))


def run_guest(progress: Progress, refused: str) -> Outcome:
    """Build the guest's network in this process, boot the guest and ping it. Takes what `run` does.

    The working directory is where the NIC's socket will be.

    Raises:
        GuestError: The guest did not do its part; nothing is left.
    """
    with asyncio.Runner() as runner:
        return runner.run(_run_guest(progress, refused))


async def _run(progress: Progress, refused: str) -> Outcome:
    with _loom() as (loom, devices):
        tables = CONFIG.read_text()
        loom.apply(toml.parse(tables, loom.registry, file=CONFIG.name))
        lan, guest = Lan(loom.network), GuestSide(loom.network)
        progress.phase("echo between memory peers")
        idle = Pings(IDLE_PINGS, [await lan.echo() for _ in range(IDLE_PINGS)])
        progress.phase("one stream of frames between memory peers, and echo beside it")
        loaded, stream = await _stream(lan, guest)
        progress.phase("adding a NIC; ping and UDP echo, memory peer to the NIC")
        loom.apply(toml.parse(f"{tables}\n{NIC_CONFIG.read_text()}", loom.registry, file=NIC_CONFIG.name))
        nic = await lan.find(NIC)
        through_nic = await lan.ping(nic, NIC_PINGS)
        echoes = await _udp_echo(lan, nic)
        report = _report(loom, devices)
    return Outcome(
        path="memory peers, through uplink - hub 0 - guest; then LAN to nic0, through uplink - hub 0 - RTL8139",
        traffic="echo and frames between memory peers; ping and UDP echo to nic0",
        pings={"idle": idle, "under load": loaded, "through nic0": through_nic},
        streams={f"frames of {STREAM_FRAME_BYTES:,} bytes": stream},
        echoes=echoes,
        report=report,
        refused=refused,
    )


async def _run_guest(progress: Progress, refused: str) -> Outcome:
    with _loom() as (loom, devices):
        loom.apply(toml.parse(linux.CONFIG.read_text(), loom.registry, file=linux.CONFIG.name))
        lan, guest = Lan(loom.network), linux.machine(loom.registry)
        booted = await linux.boot(guest, progress)
        try:
            progress.phase("ping, memory peer to Linux")
            async with asyncio.timeout(LINUX_S):
                pings = await lan.ping(await lan.find(linux.ADDRESS), NIC_PINGS)
        except TimeoutError:
            await guest.check("true")  # an error if QEMU is gone
            raise GuestError(f"Linux did not answer {NIC_PINGS:,} pings in {LINUX_S:g} s") from None
        finally:
            await guest.close()
        report = _report(loom, devices)
    return Outcome(
        path="a memory peer to Linux in QEMU, through uplink - hub 0 - nic0, an RTL8139 in Python",
        traffic="ping, memory peer to Linux in QEMU",
        pings={"idle": pings},
        streams={},
        linux=booted,
        report=report,
        refused=refused,
    )


async def _stream(lan: Lan, guest: GuestSide) -> tuple[Pings, Stream]:
    """Send frames as fast as they go, and every few bursts an echo."""
    frame = (GUEST_MAC + LAN.mac + ETHERTYPE).ljust(STREAM_FRAME_BYTES, b"\0")
    round_trips: list[float] = []
    before = guest.octets
    begin = time.perf_counter()
    while (now := time.perf_counter()) < begin + STREAM_S:
        lan.peer.send_all([frame] * BURST_FRAMES)
        if len(round_trips) < LOADED_PINGS * (now - begin) / STREAM_S:
            round_trips.append(await lan.echo())
        await asyncio.sleep(0)
    stream = Stream(guest.octets - before, time.perf_counter() - begin)
    return Pings(len(round_trips), round_trips), stream


async def _udp_echo(lan: Lan, nic: frames.Station) -> Echoes:
    """Send datagrams by the window."""
    sent = answered = 0
    begin = time.perf_counter()
    while (now := time.perf_counter()) < begin + UDP_S:
        datagrams = [UDP_DATA.pack(number) for number in range(sent, sent + UDP_WINDOW)]
        asked = [frames.udp(UDP_PORT, UDP_ECHO_PORT, datagram) for datagram in datagrams]
        answers, _ = await lan.ask([frames.ipv4(LAN, nic, frames.UDP, data) for data in asked])
        sent += len(datagrams)
        answered += len({answer[-UDP_DATA.size :] for answer in answers}.intersection(datagrams))
    return Echoes(sent, answered, now - begin)


@contextmanager
def _loom() -> Iterator[tuple[Loom, Devices]]:
    """An empty network on the running loop, whose NICs are traced."""
    loom, devices = Loom(_registry(), asyncio.get_running_loop()), Devices()
    loom.network.observers.append(devices)
    try:
        yield loom, devices
    finally:
        loom.close()


def _registry() -> Registry:
    """What the configurations name, with memory peers for taps."""
    installed = Registry.discover()
    tap = NetClientKind(kind="tap", options=TapOptions, init=_peer, summary="a memory peer in a tap's place")
    rtl8139 = installed.row("rtl8139", "nic_model")
    assert isinstance(rtl8139, NicModelKind)
    buses = [installed.bus("inline"), installed.bus("vfio-user")]
    return Registry([tap, installed.row("hubport")], nic_models=[rtl8139], guest_buses=buses)


def _peer(_: TapOptions, name: str, __: NetClient | None, context: Context) -> MemoryPeer:
    return MemoryPeer(name, context)


def _report(loom: Loom, devices: Devices) -> Report:
    return Report.of(map(_honest, snapshot(loom.network)), devices.report())


def _honest(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """A row of the report, where a memory peer is not called the tap it stands for."""
    return {**row, "kind": "memory"} if row["kind"] == "tap" else row
