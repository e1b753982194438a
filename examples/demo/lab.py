"""What the kernel's part of every demo has: a LAN, and a host whose bridge its cable ends in."""

from __future__ import annotations

import time

from etherloom_tap.lab import InterfaceCounters, Lab, Namespace

__all__ = ["LAN", "TCP_PORT", "counted", "lan_and_host"]

LAN = "10.77.0.1"
TCP_PORT = 7777

QUIET_S, QUIET_TRIES = 0.05, 20


def lan_and_host(lab: Lab) -> tuple[Namespace, Namespace]:
    """Namespaces with a cable from the LAN's `eth0` to the host's, which is in the host's `br0`."""
    lan, host = lab.namespace("LAN"), lab.namespace("host")
    lab.veth(lan, "eth0", host, "eth0")
    host.bridge("br0")
    host.configure("br0")
    host.configure("eth0", master="br0")
    lan.configure("eth0", address=f"{LAN}/24")
    # The first to ask for a NIC asks before it is there, and shall not wait a second to ask again.
    lan.sysctl("net.ipv4.neigh.eth0.retrans_time_ms", "100")
    return lan, host


def counted(*wanted: tuple[Namespace, str]) -> dict[str, InterfaceCounters]:
    """The kernel's counters by `namespace/interface`, once what a stream left in the queues has arrived."""
    before: dict[str, InterfaceCounters] = {}
    for _ in range(QUIET_TRIES):
        now = {f"{where.name}/{ifname}": where.counters(ifname) for where, ifname in wanted}
        if now == before:
            break
        before = now
        time.sleep(QUIET_S)
    return before
