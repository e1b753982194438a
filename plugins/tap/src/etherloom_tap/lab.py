"""A network of the kernel's own stacks to try things on: namespaces, veths, bridges, taps' far ends.

The demo, the benchmarks and the tests that need a real kernel use it::

    with Lab() as lab:
        lan, guest = lab.namespace("lan"), lab.namespace("guest")
        lab.veth(lan, "eth0", guest, "eth0")
        lan.configure("eth0", address="10.0.0.1/24")
        guest.configure("eth0", address="10.0.0.2/24")
        lan.run(["ping", "-c1", "10.0.0.2"], check=True)

**Nothing is left behind, however the process ends.** Namespaces have no name: each is held by a descriptor of this
process, and the kernel takes it away, with every interface in it, when the last holder is gone: also after kill -9.
Commands started in one are told to end when this process does (PR_SET_PDEATHSIG), so they hold it no longer either.
The interfaces bear the owner's mark as their alias all the same, for whoever finds one with `ip link` and wonders.

A named namespace (`ip netns`) would need a record and a cleaner, and a mount namespace where one is not root.

Sources: namespaces(7), network_namespaces(7), user_namespaces(7), linux/if_tun.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import attrs

from etherloom.errors import HostError
from etherloom.owner import Mark

if TYPE_CHECKING:
    from pyroute2 import IPRoute

__all__ = ["InterfaceCounters", "Lab", "Namespace", "become_root_of_a_user_namespace", "can_make_namespaces"]

_libc = ctypes.CDLL(None, use_errno=True)  # os.setns and os.unshare are there from Python 3.12 on

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
PR_SET_PDEATHSIG = 1
CAP_SYS_ADMIN = 21
IFF_UP = 1  # linux/if.h
RTMGRP_LINK = 1  # linux/rtnetlink.h: tell me of interfaces
BR_STATE_FORWARDING = 3  # linux/if_bridge.h

# How long a command may take over SIGTERM before it is killed. `etherloom run` needs some 50 ms.
TERMINATE_SECONDS = 3.0

# How long a carrier may take to show. The kernel looks once a second at those that are not urgent.
CARRIER_SECONDS = 10.0

# Each of these may forbid it: Debian's patch, the kernel's own limit, Ubuntu's AppArmor policy.
ALLOW_USER_NAMESPACES = (
    "be root, or let users make them: sysctl kernel.unprivileged_userns_clone=1, user.max_user_namespaces=10000, "
    "kernel.apparmor_restrict_unprivileged_userns=0"
)

_THIS_NAMESPACE = "/proc/thread-self/ns/net"


@attrs.frozen
class InterfaceCounters:
    """What the kernel has counted on one interface, as seen by the kernel: `rx` came in through the interface."""

    rx_bytes: int
    rx_packets: int
    rx_dropped: int
    tx_bytes: int
    tx_packets: int
    tx_dropped: int


class Namespace:
    """One network namespace. Made by `Lab.namespace`, and closed with the lab.

    Attributes:
        name: What messages call it; the kernel does not know it.
        fd: Holds the namespace; the lab's.
    """

    def __init__(self, name: str, mark: Mark) -> None:
        self.name = name
        self._mark = str(mark)
        self._routes: IPRoute | None = None
        self._children: list[subprocess.Popen[Any]] = []
        self._cables: dict[str, tuple[Namespace, str]] = {}  # by this end of a veth, where the other is
        home = os.open(_THIS_NAMESPACE, os.O_RDONLY)
        try:
            if _libc.unshare(CLONE_NEWNET):
                refusal = ctypes.get_errno()
                remedy = {errno.EPERM: "be root", errno.ENOSPC: "raise sysctl user.max_net_namespaces"}
                raise HostError("make a network namespace", refusal, device=name, remedy=remedy.get(refusal, ""))
            try:
                self.fd = os.open(_THIS_NAMESPACE, os.O_RDONLY)
            finally:
                _enter(home)
        finally:
            os.close(home)
        # Router solicitations and multicast reports are frames that nobody sent on purpose; counters shall be exact.
        for scope in ("all", "default"):
            self.sysctl(f"net.ipv6.conf.{scope}.disable_ipv6", "1")
        self.configure("lo")

    @contextmanager
    def entered(self) -> Iterator[None]:
        """The calling thread is in the namespace: sockets, taps and processes made here belong to it."""
        home = os.open(_THIS_NAMESPACE, os.O_RDONLY)
        try:
            _enter(self.fd)
            try:
                yield
            finally:
                _enter(home)
        finally:
            os.close(home)

    # Interfaces --------------------------------------------------------------------------------------------------

    @property
    def routes(self) -> IPRoute:
        """The namespace's rtnetlink, for whatever the methods below do not cover."""
        if self._routes is None:
            from pyroute2 import IPRoute  # 0.2 s to import: not before it is needed

            with self.entered():
                self._routes = IPRoute()
        return self._routes

    def bridge(self, ifname: str) -> None:
        """Make a Linux bridge, down, without ports. A snooping one would send IGMP reports of its own."""
        self.routes.link("add", ifname=ifname, kind="bridge", br_mcast_snooping=0)
        self._sign(ifname)

    def tap(self, ifname: str, *, vnet_hdr: bool = True) -> int:
        """Make a tap interface, down; it lives until its descriptor is closed.

        Returns:
            The descriptor, non-blocking and inheritable: the caller's.

        Raises:
            HostError: The kernel refused.
        """
        from etherloom_tap._device import TunDevice
        from etherloom_tap._kernel import Kernel

        with self.entered():
            fd = TunDevice.attach(Kernel(), ifname, vnet_hdr).fd
        os.set_inheritable(fd, True)
        return fd

    def configure(
        self,
        ifname: str,
        *,
        address: str = "",
        mac: str = "",
        mtu: int = 0,
        master: str = "",
        neighbours: dict[str, str] | None = None,
    ) -> None:
        """Set up an interface and bring it up.

        When this returns, it passes frames if it has a carrier, and so do its bridge and the other end of its veth: the
        kernel starts an interface's queue, and forwards through a bridge's port, some time after the carrier came.

        Args:
            ifname: The interface.
            address: An IPv4 address with its prefix length: `10.0.0.1/24`.
            mac: A MAC address.
            mtu: Layer 3, in bytes; 0 leaves it.
            master: The bridge to enslave it to.
            neighbours: Permanent entries, IPv4 address to MAC address: no ARP between the frames that are counted.

        Raises:
            HostError: There is no such interface, or the kernel refused.
        """
        index = self.index(ifname)
        changes: dict[str, object] = {"state": "up"}
        if mac:
            changes["address"] = mac
        if mtu:
            changes["mtu"] = mtu
        if master:
            changes["master"] = self.index(master)
        self.routes.link("set", index=index, **changes)
        if address:
            self.routes.addr("add", index=index, address=address)
        for host, station in (neighbours or {}).items():
            self.routes.neigh("replace", ifindex=index, dst=host, lladdr=station, state="permanent")
        self._await_passing(index)
        if ifname in self._cables:
            other, peer_ifname = self._cables[ifname]
            other._await_passing(other.index(peer_ifname))

    def index(self, ifname: str) -> int:
        """The interface's number.

        Raises:
            HostError: There is none of that name.
        """
        found = self.routes.link_lookup(ifname=ifname)
        if not found:
            raise HostError(f"find the interface in namespace {self.name}", device=ifname)
        return int(found[0])

    def counters(self, ifname: str) -> InterfaceCounters:
        """Read an interface's counters; some 30 us."""
        with self.entered():
            table = Path("/proc/thread-self/net/dev").read_text()
        for line in table.splitlines():
            name, _, numbers = line.partition(":")
            if name.strip() == ifname:
                values = [int(number) for number in numbers.split()]
                return InterfaceCounters(values[0], values[1], values[3], values[8], values[9], values[11])
        raise HostError(f"find the interface in namespace {self.name}", device=ifname)

    def sysctl(self, key: str, value: str) -> None:
        """Set one of the namespace's own `net.` settings."""
        with self.entered():
            Path("/proc/sys", *key.split(".")).write_text(value)

    def move(self, ifname: str, target: Namespace) -> None:
        """Give an interface to another namespace. It goes down on the way, and a tap keeps its descriptor."""
        self.routes.link("set", index=self.index(ifname), net_ns_fd=target.fd)
        if ifname in self._cables:
            other, peer_ifname = target._cables[ifname] = self._cables.pop(ifname)
            other._cables[peer_ifname] = (target, ifname)

    def _await_passing(self, index: int) -> None:
        """Wait until an interface, and the bridge it is in, pass frames, unless they are down or have no carrier."""
        with self.socket(socket.AF_NETLINK, socket.SOCK_RAW) as events:
            events.bind((0, RTMGRP_LINK))
            while True:
                link = self.routes.get_links(index)[0]
                master = link.get_attr("IFLA_MASTER")
                if _passes(link, bridge_is_up=bool(master and _is_up(self.routes.get_links(master)[0]))):
                    break
                if not select.select([events], [], [], CARRIER_SECONDS)[0]:
                    raise HostError("see the interface pass frames", device=link.get_attr("IFLA_IFNAME"))
                events.recv(65536)
        if master:
            self._await_passing(master)

    def _sign(self, ifname: str) -> None:
        self.routes.link("set", index=self.index(ifname), ifalias=self._mark)

    # Processes and sockets ---------------------------------------------------------------------------------------

    def socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """A socket of this namespace, usable from anywhere in the process: the caller's to close."""
        with self.entered():
            return socket.socket(family, kind, protocol)

    def start(
        self,
        command: Sequence[str | os.PathLike[str]],
        *,
        pass_fds: Sequence[int] = (),
        stdin: int | IO[Any] | None = subprocess.DEVNULL,
        stdout: int | IO[Any] | None = None,
        stderr: int | IO[Any] | None = None,
    ) -> subprocess.Popen[str]:
        """Start a command in the namespace. It ends with the lab at the latest, by SIGTERM."""
        with self.entered():
            child = subprocess.Popen(
                command,
                text=True,
                pass_fds=pass_fds,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                process_group=0,  # Ctrl-C is for the lab's process, which ends its children in order
                preexec_fn=_end_with_parent,
            )
        self._children.append(child)
        return child

    def run(
        self, command: Sequence[str | os.PathLike[str]], *, check: bool = False, timeout: float | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the namespace to its end and capture what it writes."""
        child = self.start(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            output, errors = child.communicate(timeout=timeout)
        finally:
            self.stop(child)
        done = subprocess.CompletedProcess(command, child.returncode, output, errors)
        if check:
            done.check_returncode()
        return done

    def stop(self, child: subprocess.Popen[str]) -> None:
        """End a command that `start` started and wait for it; no matter if it has ended."""
        if child in self._children:
            self._children.remove(child)
        child.terminate()
        try:
            child.wait(TERMINATE_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        for stream in (child.stdin, child.stdout, child.stderr):
            if stream is not None:
                stream.close()

    def close(self) -> None:
        """End the commands and let go of the namespace."""
        for child in list(self._children):
            self.stop(child)
        if self._routes is not None:
            self._routes.close()
        os.close(self.fd)


class Lab:
    """Holds namespaces, and takes everything down in `__exit__`.

    Raises:
        HostError: From `namespace`, when the kernel refuses one; `become_root_of_a_user_namespace` may help.
    """

    def __init__(self) -> None:
        self.mark = Mark.mine()
        self.namespaces: list[Namespace] = []

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def namespace(self, name: str) -> Namespace:
        """Make an empty namespace: `lo` is up, IPv6 is off."""
        namespace = Namespace(name, self.mark)
        self.namespaces.append(namespace)
        return namespace

    def veth(self, one: Namespace, ifname: str, other: Namespace, peer_ifname: str) -> None:
        """Lay a cable between two namespaces; both ends are down."""
        one.routes.link("add", ifname=ifname, kind="veth", peer={"ifname": peer_ifname, "net_ns_fd": other.fd})
        one._sign(ifname)
        other._sign(peer_ifname)
        one._cables[ifname], other._cables[peer_ifname] = (other, peer_ifname), (one, ifname)

    def close(self) -> None:
        """Take everything down, the newest namespace first."""
        while self.namespaces:
            self.namespaces.pop().close()


def can_make_namespaces() -> bool:
    """Whether this process has the privilege (CAP_SYS_ADMIN) as it is."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> CAP_SYS_ADMIN & 1)
    return False


def become_root_of_a_user_namespace() -> None:
    """Move this process into a user namespace of its own where it is root, for good (`unshare -Urn`).

    A program calls it at its start, before it has threads, when it cannot make network namespaces as it is. It leaves
    the host's network too: a thread that has been in a namespace of the lab's would not be let in there again.

    Raises:
        HostError: The kernel refused.
    """
    uid, gid = os.geteuid(), os.getegid()
    if _libc.unshare(CLONE_NEWUSER | CLONE_NEWNET):
        raise HostError(
            "make a user namespace and a network namespace in it", ctypes.get_errno(), remedy=ALLOW_USER_NAMESPACES
        )
    try:
        Path("/proc/self/setgroups").write_text("deny")  # user_namespaces(7): before gid_map, where one is not root
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    except OSError as error:
        raise HostError("map root in a user namespace", error.errno or 0, remedy=ALLOW_USER_NAMESPACES) from error


def _is_up(link: Any) -> bool:
    return bool(link["flags"] & IFF_UP)


def _passes(link: Any, *, bridge_is_up: bool) -> bool:
    """Whether an interface does what its carrier lets it do, as far as netlink shows it."""
    if not _is_up(link) or not link.get_attr("IFLA_CARRIER"):
        return True
    if link.get_attr("IFLA_OPERSTATE") not in ("UP", "UNKNOWN"):  # RFC 2863; it lags behind the carrier
        return False
    port = link.get_nested("IFLA_LINKINFO", "IFLA_INFO_SLAVE_DATA")
    return not bridge_is_up or port is None or port.get_attr("IFLA_BRPORT_STATE") == BR_STATE_FORWARDING


def _enter(fd: int) -> None:
    if _libc.setns(fd, CLONE_NEWNET):
        raise HostError("enter a network namespace", ctypes.get_errno())


def _end_with_parent() -> None:
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
