"""The demo between the kernel's own stacks, in three namespaces.

   LAN                  host                     etherloom run                guest side
eth0 ------------- eth0 - br0 - tap0 ------ uplink - hub 0 - guest ------ tap1
10.77.0.1                                                                 10.77.0.2
"""

from __future__ import annotations

import fcntl
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from etherloom import HostError
from etherloom_tap.lab import InterfaceCounters, Lab, Namespace
from examples.demo.outcome import Client, Outcome
from examples.demo.screen import Progress
from examples.demo.traffic import TcpStream, ping

__all__ = ["run"]

CONFIG = Path(__file__).with_name("lab.toml")
GUEST_FD = 100  # as in lab.toml

LAN, GUEST = "10.77.0.1", "10.77.0.2"
TCP_PORT = 7777

IDLE_PINGS, IDLE_EVERY_S = 400, 0.005
LOADED_PINGS, LOADED_EVERY_S = 500, 0.01
READY_S = 5.0
QUIET_S, QUIET_TRIES = 0.05, 20


def run(progress: Progress) -> Outcome:
    """Build the lab, run the network, pass traffic, take everything down.

    Raises:
        HostError: The host refused; nothing is left.
    """
    progress.phase("making three network namespaces")
    with Lab() as lab:
        lan, host, guest = lab.namespace("LAN"), lab.namespace("host"), lab.namespace("guest side")
        lab.veth(lan, "eth0", host, "eth0")
        host.bridge("br0")
        host.configure("br0")
        host.configure("eth0", master="br0")
        lan.configure("eth0", address=f"{LAN}/24")
        with _guest_tap(guest) as fd, tempfile.TemporaryFile("w+") as said:
            guest.configure("tap1", address=f"{GUEST}/24")
            command = [str(Path(sys.executable).with_name("etherloom")), "run", str(CONFIG)]
            etherloom = host.start(command, pass_fds=[fd], stderr=said)
            with lan.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as icmp:
                _await_answer(icmp, etherloom, said.fileno())
                progress.phase("ping, LAN to guest side")
                idle = ping(icmp, GUEST, IDLE_PINGS, IDLE_EVERY_S, lambda done: _every(50, done, progress, IDLE_PINGS))
                progress.phase("one TCP stream, LAN to guest side, and ping beside it")
                server = guest.socket(socket.AF_INET, socket.SOCK_STREAM)
                server.bind((GUEST, TCP_PORT))
                server.listen()
                with TcpStream(server, lan.socket(socket.AF_INET, socket.SOCK_STREAM)) as stream:
                    loaded = ping(
                        icmp, GUEST, LOADED_PINGS, LOADED_EVERY_S, lambda done: _every(25, done, progress, LOADED_PINGS)
                    )
            progress.phase("taking everything down")
            interfaces = _counted((lan, "eth0"), (host, "eth0"), (host, "tap0"), (guest, "tap1"))
            host.stop(etherloom)
            said.seek(0)
            clients = {client.name: client for client in _clients(said.read())}
        return Outcome("", "one TCP stream", idle, loaded, stream.result, clients, interfaces)


@contextmanager
def _guest_tap(guest: Namespace) -> Iterator[int]:
    """`tap1`, under the number that the configuration has."""
    opened = guest.tap("tap1")
    try:
        fd = fcntl.fcntl(opened, fcntl.F_DUPFD, GUEST_FD)
    finally:
        os.close(opened)
    try:
        if fd != GUEST_FD:
            raise RuntimeError(f"file descriptor {GUEST_FD} is in use")
        yield fd
    finally:
        os.close(fd)


def _await_answer(icmp: socket.socket, etherloom: subprocess.Popen[str], said_fd: int) -> None:
    deadline = time.monotonic() + READY_S
    while not ping(icmp, GUEST, 1, 0.01, lambda _: None).round_trips_us:
        if etherloom.poll() is not None or time.monotonic() > deadline:
            words = os.pread(said_fd, 4096, 0).decode().strip().removeprefix("etherloom: ")
            raise HostError("pass frames through etherloom run", remedy=words or f"no answer in {READY_S:g} s")


def _counted(*wanted: tuple[Namespace, str]) -> dict[str, InterfaceCounters]:
    """The kernel's counters, once what the stream left in the queues has arrived."""
    before: dict[str, InterfaceCounters] = {}
    for _ in range(QUIET_TRIES):
        now = {f"{where.name}/{ifname}": where.counters(ifname) for where, ifname in wanted}
        if now == before:
            break
        before = now
        time.sleep(QUIET_S)
    return before


def _every(step: int, done: int, progress: Progress, count: int) -> None:
    if done % step == 0:
        progress.part(f"{done} of {count}")


def _clients(said: str) -> Iterator[Client]:
    """The summary that `etherloom run` ends with."""
    number = r"([\d,]+)"
    for line in re.finditer(rf"^(\S+) +(\S+) +{number} +{number} +{number} +{number} +(.+)$", said, re.MULTILINE):
        name, kind, *figures, drops = line.groups()
        tx_frames, tx_bytes, rx_frames, rx_bytes = (int(figure.replace(",", "")) for figure in figures)
        yield Client(name, kind, tx_frames, tx_bytes, rx_frames, rx_bytes, drops)
