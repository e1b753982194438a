"""The lab: real namespaces, and nothing of them left."""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from etherloom import HostError
from etherloom.owner import Mark
from etherloom_tap.lab import BR_STATE_FORWARDING, RTMGRP_LINK, InterfaceCounters, Lab, Namespace

pytestmark = pytest.mark.root

PATIENCE_S = 10.0
PROBE = bytes.fromhex("02000000000b 02000000000a 88b5").ljust(60, b"\0")

# A process with a lab of its own: a cable from its namespace to the one it was started in, and a command in it.
# It says the command's pid, and raises when it is told to.
LAB_PROCESS = """
import os, signal, sys
from etherloom_tap.lab import Lab
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
home = os.open("/proc/self/ns/net", os.O_RDONLY)
with Lab() as lab:
    inner = lab.namespace("inner")
    inner.routes.link("add", ifname="near0", kind="veth", peer={"ifname": "far0", "net_ns_fd": home})
    print(inner.start(["sleep", "600"]).pid, flush=True)
    sys.stdin.readline()
    raise RuntimeError("on purpose")
"""


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


def here() -> int:
    return Path("/proc/thread-self/ns/net").stat().st_ino


def await_gone(namespace: Namespace, ifname: str, events: socket.socket) -> None:
    """Return when the interface is gone; `events` has been listening since before it could go."""
    while namespace.routes.link_lookup(ifname=ifname):
        assert select.select([events], [], [], PATIENCE_S)[0], f"{ifname} is still there"
        events.recv(65536)


def await_end(pid_fd: int) -> None:
    """Return when the process has ended."""
    assert select.select([pid_fd], [], [], PATIENCE_S)[0], "the process is still there"


def packet_socket(namespace: Namespace, ifname: str) -> socket.socket:
    packets = namespace.socket(socket.AF_PACKET, socket.SOCK_RAW)
    packets.bind((ifname, 0x88B5))
    packets.settimeout(PATIENCE_S)
    return packets


@pytest.mark.parametrize("end", ["SIGKILL", "SIGTERM", "SIGINT", "raise"])
def test_nothing_is_left_when_the_process_ends(lab: Lab, end: str) -> None:
    outer = lab.namespace("outer")
    with outer.socket(socket.AF_NETLINK, socket.SOCK_RAW) as events:
        events.bind((0, RTMGRP_LINK))
        child = outer.start(
            [sys.executable, "-c", LAB_PROCESS, end],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert child.stdout is not None
        pid_fd = os.pidfd_open(int(child.stdout.readline()))
        try:
            if end == "raise":
                child.communicate("\n")
            else:
                child.send_signal(signal.Signals[end])
            child.wait(PATIENCE_S)
            await_end(pid_fd)
            await_gone(outer, "far0", events)
        finally:
            os.close(pid_fd)


def test_what_a_command_writes_and_how_it_ends_is_returned(lab: Lab) -> None:
    namespace = lab.namespace("a")

    done = namespace.run(["sh", "-c", "echo out; echo err >&2; exit 3"])

    assert (3, "out\n", "err\n") == (done.returncode, done.stdout, done.stderr)


def test_a_failed_command_raises_where_it_is_checked(lab: Lab) -> None:
    namespace = lab.namespace("a")

    with pytest.raises(subprocess.CalledProcessError):
        namespace.run(["false"], check=True)


def test_closing_ends_commands_by_sigterm() -> None:
    with Lab() as lab:
        child = lab.namespace("a").start(["sleep", "600"])

    assert -signal.SIGTERM == child.returncode


def test_the_thread_is_back_where_it_was_after_an_exception(lab: Lab) -> None:
    namespace, before = lab.namespace("a"), here()

    def fail_inside() -> None:
        with namespace.entered():
            assert os.fstat(namespace.fd).st_ino == here()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_inside()

    assert before == here()


def test_making_a_namespace_leaves_the_thread_where_it_was(lab: Lab) -> None:
    before = here()

    namespace = lab.namespace("a")

    assert before == here() != os.fstat(namespace.fd).st_ino


def test_frames_cross_veths_and_a_bridge_and_are_counted(lab: Lab) -> None:
    a, b, middle = lab.namespace("a"), lab.namespace("b"), lab.namespace("middle")
    middle.bridge("br0")
    middle.configure("br0")
    for end, ifname in (a, "toa"), (b, "tob"):
        lab.veth(middle, ifname, end, "eth0")
        middle.configure(ifname, master="br0")
        end.configure("eth0")

    with packet_socket(a, "eth0") as sender, packet_socket(b, "eth0") as receiver:
        for _ in range(3):
            sender.send(PROBE)
        received = [receiver.recv(2048) for _ in range(3)]

    assert [PROBE] * 3 == received
    assert InterfaceCounters(180, 3, 0, 0, 0, 0) == b.counters("eth0")
    assert InterfaceCounters(0, 0, 0, 180, 3, 0) == a.counters("eth0")


def test_configured_hosts_reach_each_other(lab: Lab) -> None:
    a, b = lab.namespace("a"), lab.namespace("b")
    lab.veth(a, "eth0", b, "eth0")
    macs = ("02:00:00:00:00:0a", "02:00:00:00:00:0b")
    a.configure("eth0", address="10.0.0.1/24", mac=macs[0], mtu=9000, neighbours={"10.0.0.2": macs[1]})
    b.configure("eth0", address="10.0.0.2/24", mac=macs[1], mtu=9000, neighbours={"10.0.0.1": macs[0]})

    with b.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver, a.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        receiver.bind(("10.0.0.2", 7))
        receiver.settimeout(PATIENCE_S)
        sender.sendto(bytes(8000), ("10.0.0.2", 7))
        payload, (source, _) = receiver.recvfrom(9000)

    assert (bytes(8000), "10.0.0.1") == (payload, source)
    assert 1 == b.counters("eth0").rx_packets  # neither fragments nor ARP


def test_a_tap_carries_frames_between_its_descriptor_and_its_namespace(lab: Lab) -> None:
    a = lab.namespace("a")
    fd = a.tap("tap0", vnet_hdr=False)
    try:
        a.configure("tap0")
        with packet_socket(a, "tap0") as packets:
            os.write(fd, PROBE)
            received = packets.recv(2048)
            packets.send(PROBE)
            sent = os.read(fd, 2048)
    finally:
        os.close(fd)

    assert (PROBE, PROBE) == (received, sent)


def test_what_is_configured_passes_frames_at_once(lab: Lab) -> None:
    """The carrier of the first end comes with the second end; queue and bridge port follow some time after it."""
    a, middle = lab.namespace("a"), lab.namespace("middle")
    middle.bridge("br0")
    middle.configure("br0")
    seen = []
    for number in range(20):
        near, far = f"near{number}", f"far{number}"
        lab.veth(middle, near, a, far)
        middle.configure(near, master="br0")
        a.configure(far)
        end, port = a.routes.get_links(a.index(far))[0], middle.routes.get_links(middle.index(near))[0]
        state = port.get_nested("IFLA_LINKINFO", "IFLA_INFO_SLAVE_DATA").get_attr("IFLA_BRPORT_STATE")
        seen.append((end.get_attr("IFLA_OPERSTATE"), port.get_attr("IFLA_OPERSTATE"), state))

    assert [("UP", "UP", BR_STATE_FORWARDING)] * 20 == seen


def test_a_bridge_that_is_down_keeps_nobody_waiting(lab: Lab) -> None:
    a, middle = lab.namespace("a"), lab.namespace("middle")
    middle.bridge("br0")
    lab.veth(middle, "toa", a, "eth0")
    a.configure("eth0")
    middle.configure("toa", master="br0")

    port = middle.routes.get_links(middle.index("toa"))[0]

    assert 0 == port.get_nested("IFLA_LINKINFO", "IFLA_INFO_SLAVE_DATA").get_attr("IFLA_BRPORT_STATE")


def test_a_moved_end_of_a_veth_is_found_by_the_other(lab: Lab) -> None:
    a, b, c = lab.namespace("a"), lab.namespace("b"), lab.namespace("c")
    lab.veth(a, "eth0", b, "eth1")
    b.move("eth1", c)
    for end, ifname in (c, "eth1"), (a, "eth0"):
        end.configure(ifname)

    assert ["UP", "UP"] == [
        end.routes.get_links(end.index(ifname))[0].get_attr("IFLA_OPERSTATE")
        for end, ifname in ((a, "eth0"), (c, "eth1"))
    ]


def test_a_moved_tap_keeps_its_descriptor(lab: Lab) -> None:
    a, b = lab.namespace("a"), lab.namespace("b")
    fd = a.tap("tap0", vnet_hdr=False)
    try:
        a.move("tap0", b)
        b.configure("tap0")
        with packet_socket(b, "tap0") as packets:
            os.write(fd, PROBE)
            received = packets.recv(2048)
    finally:
        os.close(fd)

    assert PROBE == received


@pytest.mark.parametrize("ifname", ["br0", "tap0", "veth0"])
def test_interfaces_bear_the_owners_mark(lab: Lab, ifname: str) -> None:
    a, b = lab.namespace("a"), lab.namespace("b")
    a.bridge("br0")
    fd = a.tap("tap0")
    lab.veth(a, "veth0", b, "veth0")
    try:
        (link,) = a.routes.get_links(a.index(ifname))
    finally:
        os.close(fd)

    assert Mark.mine() == Mark.parse(link.get_attr("IFLA_IFALIAS"))


def test_a_missing_interface_is_named(lab: Lab) -> None:
    namespace = lab.namespace("a")

    with pytest.raises(HostError, match=r"cannot find the interface in namespace a \(eth7\)"):
        namespace.configure("eth7")


def in_a_user_namespace(statements: str) -> str:
    """What a process prints that made itself root of a user namespace."""
    program = (
        "from pathlib import Path\n"
        "from etherloom import HostError\n"
        "from etherloom_tap.lab import *\n"
        f"become_root_of_a_user_namespace()\n{statements}\n"
    )
    return subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.PIPE, text=True).stdout


def test_a_user_namespace_is_enough() -> None:
    said = in_a_user_namespace(
        "with Lab() as lab:\n"
        "    a, b = lab.namespace('a'), lab.namespace('b')\n"
        "    lab.veth(a, 'eth0', b, 'eth0')\n"
        "    a.configure('eth0', address='10.0.0.1/24')\n"
        "    print(can_make_namespaces(), a.counters('eth0').tx_packets)\n"
    )

    assert "True 0\n" == said


def test_a_refused_namespace_says_so() -> None:
    said = in_a_user_namespace(
        "Path('/proc/sys/user/max_net_namespaces').write_text('0')\n"  # of this user namespace alone
        "try:\n"
        "    Lab().namespace('a')\n"
        "except HostError as error:\n"
        "    print(error.errno, error)\n"
    )

    assert (
        f"{errno.ENOSPC} cannot make a network namespace (a): {os.strerror(errno.ENOSPC)}; raise sysctl "
        "user.max_net_namespaces\n" == said
    )
