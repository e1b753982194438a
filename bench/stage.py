"""Two namespaces with an interface each, and the sides that can join them.

          ns a               ns b
    10.9.0.1  tap0 --side-- tap0  10.9.0.2

QEMU and Etherloom get the same arguments and the same descriptors.
"""

from __future__ import annotations

import fcntl
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeAlias

import attrs

from bench.harness import Unavailable
from etherloom_tap.lab import Lab, Namespace

__all__ = [
    "SIDES",
    "Stage",
    "await_line",
    "compiled",
    "etherloom_command",
    "joined",
    "netdev_arguments",
    "qemu_command",
    "serve",
    "tool",
]

HOSTS = ("10.9.0.1", "10.9.0.2")
MACS = ("02:00:00:00:00:0a", "02:00:00:00:00:0b")
IFNAME = "tap0"

# Local experimental EtherType 1 (IEEE 802): no stack answers it.
PROBE = bytes.fromhex("02000000000b 02000000000a 88b5") + b"etherloom probe".ljust(46, b"\0")
FORWARDING_SECONDS = 10.0

Side: TypeAlias = Callable[[Lab, Namespace, Namespace, IO[str]], None]
"""Makes `tap0` in both namespaces and joins them; what its program says goes to the log."""


@attrs.frozen
class Stage:
    """The two ends, configured and joined by a side."""

    a: Namespace
    b: Namespace
    target: str = HOSTS[1]


@contextmanager
def joined(side: Side) -> Iterator[Stage]:
    """Two ends joined by `side`, once frames pass.

    Raises:
        Unavailable: None did; the text has what the side said.
    """
    with tempfile.TemporaryFile("w+") as log, Lab() as lab:
        a, b = lab.namespace("a"), lab.namespace("b")
        side(lab, a, b, log)
        for here, own in (a, 0), (b, 1):
            far = 1 - own
            here.configure(IFNAME, address=f"{HOSTS[own]}/24", mac=MACS[own], neighbours={HOSTS[far]: MACS[far]})
        if not frames_pass(a, b):
            log.seek(0)
            raise Unavailable(f"no frame passed in {FORWARDING_SECONDS:g} s; it said: {log.read().strip()}")
        yield Stage(a, b)


def frames_pass(a: Namespace, b: Namespace) -> bool:
    """Send probes from `a` until one gets to `b`; False if none does."""
    with packet_socket(a) as sender, packet_socket(b) as receiver:
        for _ in range(int(FORWARDING_SECONDS / 0.01)):
            sender.send(PROBE)
            if select.select([receiver], [], [], 0.01)[0]:
                return True
    return False


def packet_socket(namespace: Namespace) -> socket.socket:
    """A socket that sends and hears probes on the namespace's interface."""
    packets = namespace.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    packets.bind((IFNAME, 0x88B5))
    return packets


# The sides ---------------------------------------------------------------------------------------------------------


def netdev_arguments(fds: Sequence[int]) -> list[str]:
    """The arguments that join taps by a hub, for QEMU and for Etherloom."""
    arguments = []
    for number, fd in enumerate(fds):
        arguments += ["-netdev", f"tap,id=t{number},fd={fd}"]
    for number in range(len(fds)):
        arguments += ["-netdev", f"hubport,id=h{number},hubid=0,netdev=t{number}"]
    return arguments


def etherloom_command() -> list[str]:
    """`etherloom run` as it is installed beside this Python."""
    return [str(Path(sys.executable).with_name("etherloom")), "run"]


def qemu_command() -> list[str]:
    """QEMU with its network subsystem and no machine."""
    return [tool("qemu-system-x86_64"), "-machine", "none", "-nodefaults", "-display", "none"]


def etherloom(_: Lab, a: Namespace, b: Namespace, log: IO[str]) -> None:
    """`etherloom run`: tap, hub, tap."""
    _with_taps(a, b, log, lambda fds: etherloom_command() + netdev_arguments(fds))


def qemu(_: Lab, a: Namespace, b: Namespace, log: IO[str]) -> None:
    """QEMU: tap, hub, tap."""
    _with_taps(a, b, log, lambda fds: qemu_command() + netdev_arguments(fds))


def relay(_: Lab, a: Namespace, b: Namespace, log: IO[str]) -> None:
    """The C loop, frame by frame as the interfaces make them."""
    program = compiled("relay")
    _with_taps(a, b, log, lambda fds: [program, *map(str, fds)], vnet_hdr=False)


def relay_python(_: Lab, a: Namespace, b: Namespace, log: IO[str]) -> None:
    """A loop in Python, a frame at a time."""
    program = [sys.executable, str(Path(__file__).with_name("relay.py"))]
    _with_taps(a, b, log, lambda fds: [*program, *map(str, fds)], vnet_hdr=False)


def relay_vnet(_: Lab, a: Namespace, b: Namespace, log: IO[str]) -> None:
    """The C loop with virtio-net headers and offloads, so that large segments pass whole."""
    program = compiled("relay")
    _with_taps(a, b, log, lambda fds: [program, *map(str, fds)], offload=True)


def vde(lab: Lab, a: Namespace, b: Namespace, log: IO[str]) -> None:
    """vde_switch as a hub. It opens taps where it runs, from where they are moved."""
    middle = lab.namespace("vde")
    directory = tempfile.mkdtemp(prefix="etherloom-bench-")
    switch = middle.start(
        [tool("vde_switch"), "-hub", "-sock", f"{directory}/switch", "-tap", "vde0", "-tap", "vde1"],
        stdin=subprocess.PIPE,  # at the end of its input it would end
        stdout=subprocess.DEVNULL,
        stderr=log,
    )
    deadline = time.monotonic() + FORWARDING_SECONDS
    while not all(middle.routes.link_lookup(ifname=ifname) for ifname in ("vde0", "vde1")):
        if switch.poll() is not None or time.monotonic() > deadline:
            raise Unavailable("vde_switch did not open its taps")
        time.sleep(0.01)
    shutil.rmtree(directory, ignore_errors=True)
    for ifname, end in ("vde0", a), ("vde1", b):
        middle.move(ifname, end)
        end.routes.link("set", index=end.index(ifname), ifname=IFNAME)


def bridge(lab: Lab, a: Namespace, b: Namespace, _: IO[str]) -> None:
    """No program at all: veths on a kernel bridge."""
    middle = lab.namespace("bridge")
    middle.bridge("br0")
    for number, end in enumerate((a, b)):
        lab.veth(middle, f"veth{number}", end, IFNAME)
        middle.configure(f"veth{number}", master="br0")
    middle.configure("br0")


SIDES: dict[str, Side] = {
    "etherloom": etherloom,
    "qemu": qemu,
    "vde": vde,
    "c-loop": relay,
    "c-loop-vnet": relay_vnet,
    "python-loop": relay_python,
    "bridge": bridge,
}


def serve(namespace: Namespace, arguments: Sequence[str], fd: int) -> tuple[subprocess.Popen[str], IO[str]]:
    """`etherloom run` with a tap's descriptor, once it is ready: the process, and its events, a JSON object a line."""
    command = [*etherloom_command(), "--json", *arguments]
    run = namespace.start(command, pass_fds=[fd], stdout=subprocess.PIPE, stderr=sys.stderr)
    assert run.stdout is not None
    await_line(run.stdout, '"ready"')
    return run, run.stdout


def await_line(stream: IO[str], words: str) -> None:
    """Read lines until one has these words.

    Raises:
        Unavailable: There is none: the program has ended.
    """
    for line in stream:
        if words in line:
            return
    raise Unavailable(f"a program ended before it said {words!r}")


def tool(name: str) -> str:
    """The path of a program.

    Raises:
        Unavailable: It is not installed.
    """
    path = shutil.which(name)
    if path is None:
        raise Unavailable(f"{name} is not installed")
    return path


def compiled(name: str) -> str:
    """The path of a C program of this directory, compiled when its source is newer."""
    source = Path(__file__).with_name(f"{name}.c")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "etherloom-bench")
    program = cache / name
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        cache.mkdir(parents=True, exist_ok=True)
        subprocess.run([tool("cc"), "-O2", "-Wall", "-Wextra", "-o", program, source], check=True)
    return str(program)


def _with_taps(
    a: Namespace,
    b: Namespace,
    log: IO[str],
    command: Callable[[list[int]], list[str]],
    *,
    vnet_hdr: bool = True,
    offload: bool = False,
) -> None:
    fds = [end.tap(IFNAME, vnet_hdr=vnet_hdr) for end in (a, b)]
    try:
        if offload:
            for fd in fds:
                fcntl.ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6)
        a.start(command(fds), pass_fds=fds, stdout=log, stderr=log)
    finally:
        for fd in fds:
            os.close(fd)


# linux/if_tun.h
TUNSETOFFLOAD = 0x400454D0
TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6 = 1, 2, 4
