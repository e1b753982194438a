"""A NIC model driven by Python: registers, frames, large sends, and a kernel's ping through a tap to it."""

from __future__ import annotations

import os

from bench.harness import Benchmark, Goal
from bench.process import alone
from bench.stage import HOSTS, IFNAME, MACS, serve
from bench.traffic import ping_from
from etherloom_tap.lab import Lab

__all__ = ["BENCHMARKS"]

DEVICE = "bench.device"
PACE_S = 0.002


def ping_microseconds(seconds: float) -> float:
    """Median round trip of ping, every 2 ms, from a namespace over its tap to the inline guest."""
    with Lab() as lab:
        end = lab.namespace("a")
        fd = end.tap(IFNAME)
        try:
            end.configure(IFNAME, address=f"{HOSTS[0]}/24", neighbours={HOSTS[1]: MACS[1]})
            device = f"rtl8139,netdev=t0,mac={MACS[1]},bus=inline,ip={HOSTS[1]}/24"
            serve(end, ["-netdev", f"tap,id=t0,fd={fd}", "-device", device], fd)
            return ping_from(end, HOSTS[1], seconds, PACE_S)
        finally:
            os.close(fd)


BENCHMARKS = (
    Benchmark(
        "register-read",
        "32-bit register read without side effect, through the device kit",
        "ns",
        {"rtl8139": alone(DEVICE, "register_read_ns")},
        (Goal("", 1000, 400),),
        more_is_better=False,
    ),
    Benchmark(
        "register-write",
        "32-bit register write without side effect, through the device kit",
        "ns",
        {"rtl8139": alone(DEVICE, "register_write_ns")},
        (Goal("", 1500, 600),),
        more_is_better=False,
    ),
    *(
        Benchmark(
            f"nic-{way}-{size}",
            f"frames of {size} bytes through reference driver and model, {verb}",
            "frames/s",
            {"rtl8139": alone(DEVICE, f"{verb}_fps", size)},
            (Goal("", 60_000, 150_000),),
        )
        for size in (64, 1514)
        for way, verb in (("tx", "transmit"), ("rx", "receive"))
    ),
    Benchmark(
        "large-send",
        "guest data that leaves the model as large sends to a vnet peer",
        "GB/s",
        {"rtl8139": alone(DEVICE, "large_send_gbytes")},
        (Goal("", 1.0, 3.0),),
    ),
    Benchmark(
        "nic-ping",
        "a kernel's ping through tap and model to the inline guest, median of one every 2 ms",
        "us",
        {"rtl8139": ping_microseconds},
        (Goal("", 500, 150),),
        more_is_better=False,
    ),
)
