"""The demo's guest: Linux boots on a NIC of ours, and its own driver answers the LAN's kernel.

   LAN                  host                etherloom run              QEMU
eth0 ------------- eth0 - br0 - tap0 ---- uplink - hub 0 - nic0 ------ eth0
10.77.0.1                                                            10.77.0.2
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from etherloom.plugins.registry import Registry
from etherloom.testing.guest import GuestError
from etherloom_tap.lab import Lab, Namespace
from examples.demo import linux
from examples.demo.lab import LAN, TCP_PORT, counted, lan_and_host
from examples.demo.outcome import Linux, Outcome, Pings, Stream
from examples.demo.running import running
from examples.demo.screen import Progress
from examples.demo.traffic import TcpStream, ping

__all__ = ["run"]

PINGS, EVERY_S = 300, 0.005
LOADED_PINGS, LOADED_EVERY_S = 200, 0.01
CONNECT_S = 5.0

# Busybox: `nc -e` gives the connection itself to a program, and its own buffers limit nothing.
SEND = f"nc {LAN} {TCP_PORT} -e cat /dev/zero"
RECEIVE = f"nc {LAN} {TCP_PORT} -e sh -c 'cat >/dev/null'"

Shell = Callable[[str], str]
"""Has the guest run a command that has to succeed, and returns what it wrote."""


def run(progress: Progress) -> Outcome:
    """Build the lab, run the network, boot the guest, pass traffic, take everything down.

    The working directory is where the NIC's socket will be.

    Raises:
        HostError: The host refused; nothing is left.
        GuestError: The guest did not do its part; nothing is left.
    """
    progress.phase("making two network namespaces")
    with Lab() as lab:
        lan, host = lan_and_host(lab)
        with running(host, linux.CONFIG.read_text()) as etherloom:
            etherloom.await_file(linux.SOCKET)
            with (
                _booted(progress) as (booted, shell),
                lan.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as icmp,
            ):
                etherloom.await_answer(icmp, linux.ADDRESS)
                progress.phase("ping, LAN to Linux")
                idle = ping(icmp, linux.ADDRESS, PINGS, EVERY_S, progress.counter(PINGS))
                progress.phase("one TCP stream, Linux to LAN, and ping beside it")
                while_sending, sent = _stream(icmp, lan, shell, SEND, progress)
                progress.phase("one TCP stream, LAN to Linux, and ping beside it")
                while_receiving, received = _stream(icmp, lan, shell, RECEIVE, progress)
                progress.phase("taking everything down")
                interfaces = counted((lan, "eth0"), (host, "eth0"), (host, "tap0"))
            report = etherloom.stop()
    return Outcome(
        path="LAN to Linux in QEMU, through eth0 - br0 - tap0 - uplink - hub 0 - nic0, an RTL8139 in Python",
        traffic="ping, LAN to Linux in QEMU; one TCP stream each way",
        pings={"idle": idle, "Linux sends": while_sending, "Linux receives": while_receiving},
        streams={"TCP, Linux to LAN": sent, "TCP, LAN to Linux": received},
        linux=booted,
        report=report,
        interfaces=interfaces,
    )


@contextmanager
def _booted(progress: Progress) -> Iterator[tuple[Linux, Shell]]:
    with asyncio.Runner() as runner:
        guest = linux.machine(Registry.discover())
        booted = runner.run(linux.boot(guest, progress))
        try:
            yield booted, lambda command: runner.run(guest.check(command))
        finally:
            runner.run(guest.close())


def _stream(
    icmp: socket.socket, lan: Namespace, shell: Shell, command: str, progress: Progress
) -> tuple[Pings, Stream]:
    """Have the guest connect to the LAN and send, or receive."""
    with lan.socket(socket.AF_INET, socket.SOCK_STREAM) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((LAN, TCP_PORT))
        server.listen()
        server.settimeout(CONNECT_S)
        shell(f"{command} >/dev/null 2>&1 &")
        try:
            end, _ = server.accept()
        except TimeoutError:
            raise GuestError(f"Linux did not connect to the LAN in {CONNECT_S:g} s") from None
    with TcpStream(receiver=end) if command == SEND else TcpStream(sender=end) as stream:
        pings = ping(icmp, linux.ADDRESS, LOADED_PINGS, LOADED_EVERY_S, progress.counter(LOADED_PINGS))
    shell("true")  # an error if QEMU is gone, and pings were lost for that
    return pings, stream.result
