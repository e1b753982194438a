"""A Linux guest with 8139cp, on QEMU's own rtl8139 and on ours: the same QEMU, kernel, driver and tap.

    ns lan                      QEMU
    10.9.0.1  tap0 --side-- eth0  10.9.0.2

Each measurement boots its own guest, under TCG, which takes some 5 s.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import attrs

from bench.harness import Benchmark, Goal, Unavailable
from bench.stage import HOSTS, IFNAME, MACS, compiled, serve, tool
from bench.traffic import iperf3_arguments, iperf3_server, ping_from, received_bps
from etherloom.errors import HostError
from etherloom.guest.qemu import devices
from etherloom.testing.guest import LinuxGuest
from etherloom_tap.lab import Lab, Namespace

__all__ = ["BENCHMARKS"]

HOST, GUEST = HOSTS
LARGE_BYTES = 1472  # of UDP payload: a frame of 1,514 bytes
PINGS_MIN = 30
PATIENCE_S = 30.0


@attrs.frozen
class GuestStage:
    """A booted guest and the host's side.

    Attributes:
        lan: Where the host's end of the tap is.
        finish: Ends the side's own process, and returns its clients' counters; empty for QEMU's own NIC.
    """

    lan: Namespace
    finish: Callable[[], list[dict[str, Any]]]
    _guest: LinuxGuest
    _run: Callable[[Any], Any]

    def check(self, command: str, timeout_s: float) -> str:
        """Have the guest's shell run a command that has to succeed; what it wrote."""
        return str(self._run(self._guest.check(command, timeout_s=timeout_s)))


@contextmanager
def booted(side: str) -> Iterator[GuestStage]:
    """A guest on a side's NIC, once its answer to a ping has come.

    Raises:
        Unavailable: There is no QEMU, or no guest to boot.
    """
    with tempfile.TemporaryDirectory(prefix="etherloom-bench-") as folder, Lab() as lab, asyncio.Runner() as runner:
        lan = lab.namespace("lan")
        fd = lan.tap(IFNAME)
        try:
            lan.configure(IFNAME, address=f"{HOST}/24", mac=MACS[0], neighbours={GUEST: MACS[1]})
            finish: Callable[[], list[dict[str, Any]]] = list
            arguments, pass_fds = [], []
            if side == "etherloom":
                device, finish = _serve(lan, fd, f"{folder}/nic")
            else:
                device = {"driver": "rtl8139", "netdev": "n0", "mac": MACS[1]}
                arguments, pass_fds = ["-netdev", f"tap,id=n0,fd={fd}"], [fd]
            try:
                guest = LinuxGuest([device], append=f"ip={GUEST}/24", arguments=arguments, pass_fds=pass_fds)
                runner.run(guest.start())
            except HostError as error:
                raise Unavailable(str(error)) from error
        finally:
            os.close(fd)
        try:
            lan.run([tool("ping"), "-c1", "-w10", GUEST], check=True)
            yield GuestStage(lan, finish, guest, runner.run)
        finally:
            runner.run(guest.close())


def _serve(lan: Namespace, fd: int, socket: str) -> tuple[dict[str, object], Callable[[], list[dict[str, Any]]]]:
    """Start `etherloom run` with an RTL8139: QEMU's `-device` for it, and how to end it."""
    from etherloom.config import qemu
    from etherloom.plugins.registry import Registry

    device = f"rtl8139,id=nic,netdev=n0,mac={MACS[1]},bus=vfio-user,socket={socket}"
    arguments = ["-netdev", f"tap,id=n0,fd={fd}", "-device", device]
    run, output = serve(lan, arguments, fd)

    def finish() -> list[dict[str, Any]]:
        run.terminate()
        rows: list[dict[str, Any]] = json.loads(output.read().splitlines()[-1])["clients"]
        return rows

    registry = Registry.discover()
    return devices(qemu.parse(arguments, registry), registry)[0], finish


# What is measured ----------------------------------------------------------------------------------------------------


def tcp_mbps(side: str, seconds: float, *, reverse: bool) -> float:
    """Mbit/s of one TCP stream from the guest, or to it, as its receiver counts."""
    with booted(side) as stage:
        iperf3_server(stage.lan)
        client = ["iperf3", *iperf3_arguments(HOST, seconds), *(["--reverse"] if reverse else [])]
        return received_bps(stage.check(" ".join(client), PATIENCE_S + seconds)) / 1e6


def ping_microseconds(side: str, seconds: float, interval_s: float | None) -> float:
    """Median round trip from the host to the guest; see `ping_from`."""
    with booted(side) as stage:
        return ping_from(stage.lan, GUEST, max(seconds, PINGS_MIN * (interval_s or 0)), interval_s)


def flooded_drops(seconds: float) -> float:
    """Frames that our side dropped of a flood of large UDP frames to the guest."""
    with booted("etherloom") as stage:
        stage.lan.run([compiled("flood"), GUEST, str(LARGE_BYTES), str(seconds)], check=True)
        rows = stage.finish()
        if not max(row["rx_frames"] for row in rows) > seconds:
            raise Unavailable("hardly a frame came to the guest")
        return sum(sum(row["drops"].values()) for row in rows)


def _sides(measure: Callable[..., float], **options: Any) -> dict[str, Callable[[float], float]]:
    return {side: partial(measure, side, **options) for side in ("etherloom", "qemu")}


BENCHMARKS = (
    Benchmark(
        "guest-tcp-out",
        "one TCP stream from a guest's 8139cp to the host",
        "Mbit/s",
        _sides(tcp_mbps, reverse=False),
        (Goal("qemu", 1.3, 2.0),),
    ),
    Benchmark(
        "guest-tcp-in",
        "one TCP stream from the host to a guest's 8139cp",
        "Mbit/s",
        _sides(tcp_mbps, reverse=True),
        (Goal("qemu", 1.15, 1.5),),
    ),
    Benchmark(
        "guest-ping",
        "median round trip to a guest, one every 100 ms",
        "us",
        _sides(ping_microseconds, interval_s=0.1),
        (Goal("qemu", 1.6, 1.0),),
        more_is_better=False,
    ),
    Benchmark(
        "guest-ping-flood",
        "median round trip to a guest, back to back",
        "us",
        _sides(ping_microseconds, interval_s=None),
        (Goal("qemu", 1.6, 1.0),),
        more_is_better=False,
    ),
    Benchmark(
        "guest-drops",
        "frames that we drop while the host floods a guest",
        "frames",
        {"etherloom": flooded_drops},
        (Goal("", 0, 0),),
        more_is_better=False,
    ),
)
