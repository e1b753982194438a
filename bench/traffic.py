"""Traffic between the two ends of a stage, and what arrived of it."""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import time

from bench.stage import IFNAME, Stage, await_line, compiled, tool
from etherloom_tap.lab import Namespace

__all__ = [
    "iperf3_arguments",
    "iperf3_server",
    "ping_from",
    "ping_microseconds",
    "received_bps",
    "tcp_gbps",
    "udp_fps",
]

PAYLOAD_BYTES = 22  # of a 64-byte frame: 14 Ethernet, 20 IPv4, 8 UDP


def udp_fps(stage: Stage, seconds: float) -> float:
    """64-byte frames per second that arrive, of as many as one sender can send."""
    flood = compiled("flood")
    before, start = stage.b.counters(IFNAME).rx_packets, time.monotonic()
    stage.a.run([flood, stage.target, str(PAYLOAD_BYTES), str(seconds)], check=True)
    after, end = stage.b.counters(IFNAME).rx_packets, time.monotonic()
    return (after - before) / (end - start)


def tcp_gbps(stage: Stage, seconds: float) -> float:
    """Gbit/s of one TCP stream, as its receiver counts."""
    server = iperf3_server(stage.b)
    client = stage.a.run([tool("iperf3"), *iperf3_arguments(stage.target, seconds)], check=True)
    stage.b.stop(server)
    return received_bps(client.stdout) / 1e9


def iperf3_server(namespace: Namespace) -> subprocess.Popen[str]:
    """iperf3 that listens, for one client; the lab ends it at the latest."""
    server = namespace.start([tool("iperf3"), "--server", "--one-off", "--forceflush"], stdout=subprocess.PIPE)
    assert server.stdout is not None
    await_line(server.stdout, "listening")
    return server


def iperf3_arguments(target: str, seconds: float) -> list[str]:
    """Those of iperf3's client, for one stream to `target`."""
    return ["--client", target, "--time", str(max(1, round(seconds))), "--json"]


def received_bps(said: str) -> float:
    """Bit/s as the stream's receiver counted, of what the client wrote."""
    return float(json.loads(said)["end"]["sum_received"]["bits_per_second"])


def ping_microseconds(stage: Stage, seconds: float, *, interval_s: float | None) -> float:
    """Median round trip between the ends; see `ping_from`."""
    return ping_from(stage.a, stage.target, seconds, interval_s)


def ping_from(namespace: Namespace, target: str, seconds: float, interval_s: float | None) -> float:
    """Median round trip in microseconds, one every `interval_s`; None: the next as soon as the answer is there."""
    pace = ["-A"] if interval_s is None else ["-i", str(interval_s)]
    said = namespace.run([tool("ping"), *pace, "-w", f"{max(1, round(seconds))}", target], check=True)
    return statistics.median(float(ms) for ms in re.findall(r"time=([0-9.]+) ms", said.stdout)) * 1000
