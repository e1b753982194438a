"""The demo between the kernel's own stacks, in three namespaces, and from there to a NIC.

   LAN                  host                     etherloom run                guest side
eth0 ------------- eth0 - br0 - tap0 ------ uplink - hub 0 - guest ------ tap1
10.77.0.1                                               |                 10.77.0.2
                                                       nic0
                                                    10.77.0.15
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from etherloom_tap.lab import Lab, Namespace
from examples.demo.lab import TCP_PORT, counted, lan_and_host
from examples.demo.outcome import Echoes, Outcome, Pings, Stream
from examples.demo.running import Running, running
from examples.demo.screen import Progress
from examples.demo.traffic import UDP_ECHO_PORT, TcpStream, ping, udp_echo

__all__ = ["run"]

CONFIG, NIC_CONFIG = Path(__file__).with_name("lab.toml"), Path(__file__).with_name("nic.toml")
GUEST_FD = 100  # as in lab.toml

GUEST = "10.77.0.2"
NIC = "10.77.0.15"  # as in nic.toml

IDLE_PINGS, IDLE_EVERY_S = 400, 0.005
LOADED_PINGS, LOADED_EVERY_S = 500, 0.01
NIC_PINGS, NIC_EVERY_S = 300, 0.005
UDP_S = 2.5


def run(progress: Progress) -> Outcome:
    """Build the lab, run the network, pass traffic, take everything down.

    Raises:
        HostError: The host refused; nothing is left.
    """
    progress.phase("making three network namespaces")
    with Lab() as lab:
        lan, host = lan_and_host(lab)
        guest = lab.namespace("guest side")
        with _guest_tap(guest) as fd, running(host, CONFIG.read_text(), (fd,)) as etherloom:
            guest.configure("tap1", address=f"{GUEST}/24")
            with lan.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as icmp:
                etherloom.await_answer(icmp, GUEST)
                progress.phase("ping, LAN to guest side")
                idle = ping(icmp, GUEST, IDLE_PINGS, IDLE_EVERY_S, progress.counter(IDLE_PINGS))
                progress.phase("one TCP stream, LAN to guest side, and ping beside it")
                loaded, stream = _stream(icmp, lan, guest, progress)
                counted((lan, "eth0"), (guest, "tap1"))  # a NIC that joined now would be offered the stream's rest
                through_nic, echoes = _nic(icmp, lan, etherloom, progress)
            progress.phase("taking everything down")
            interfaces = counted((lan, "eth0"), (host, "eth0"), (host, "tap0"), (guest, "tap1"))
            report = etherloom.stop()
    return Outcome(
        path="LAN to guest side, the kernel's own stacks, through uplink - hub 0 - guest;"
        " then LAN to nic0, through uplink - hub 0 - RTL8139",
        traffic="ping and one TCP stream, LAN to guest side; ping and UDP echo, LAN to nic0",
        pings={"idle": idle, "under load": loaded, "through nic0": through_nic},
        streams={"one TCP stream": stream},
        echoes=echoes,
        report=report,
        interfaces=interfaces,
    )


def _stream(icmp: socket.socket, lan: Namespace, guest: Namespace, progress: Progress) -> tuple[Pings, Stream]:
    with guest.socket(socket.AF_INET, socket.SOCK_STREAM) as server:
        server.bind((GUEST, TCP_PORT))
        server.listen()
        sender = lan.socket(socket.AF_INET, socket.SOCK_STREAM)
        sender.connect((GUEST, TCP_PORT))
        receiver, _ = server.accept()
    with TcpStream(sender=sender, receiver=receiver) as stream:
        loaded = ping(icmp, GUEST, LOADED_PINGS, LOADED_EVERY_S, progress.counter(LOADED_PINGS))
    return loaded, stream.result


def _nic(icmp: socket.socket, lan: Namespace, etherloom: Running, progress: Progress) -> tuple[Pings, Echoes]:
    """A NIC joins the hub of the network that runs."""
    progress.phase("adding a NIC by SIGHUP")
    etherloom.add(NIC_CONFIG.read_text())
    etherloom.await_answer(icmp, NIC)
    progress.phase("ping, LAN to the NIC")
    pings = ping(icmp, NIC, NIC_PINGS, NIC_EVERY_S, progress.counter(NIC_PINGS))
    progress.phase("UDP echo, LAN to the NIC")
    with lan.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.connect((NIC, UDP_ECHO_PORT))
        return pings, udp_echo(udp, UDP_S)


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
