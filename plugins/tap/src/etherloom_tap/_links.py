"""Interfaces of the host by netlink: bridges, what is known of an interface, and cleaning up.

Everything here uses pyroute2 and imports it when called. Its `IPRoute` runs an event loop of its own and refuses to in
a thread where one is running, so the work is done in a thread of its own; a thread starts in the network namespace of
the thread that starts it.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import attrs

from etherloom import ConfigError, HostError
from etherloom.owner import Mark
from etherloom_tap._kernel import make_bridge

__all__ = ["BridgePort", "join_bridge", "remove_marked", "tun_mismatch"]

Result = TypeVar("Result")

TUN_TYPE_TAP = 2  # IFLA_TUN_TYPE: IFF_TUN is 1


def netlink(action: str, device: str, work: Callable[[Any], Result]) -> Result:
    """Run `work(iproute)`.

    Args:
        action: For the message when the kernel refuses.
        device: The interface it is about.
        work: Gets an `IPRoute`; its result is this function's.

    Raises:
        HostError: The kernel refused.
    """

    def run() -> Result:
        from pyroute2 import IPRoute
        from pyroute2.netlink.exceptions import NetlinkError

        try:
            with IPRoute() as iproute:
                return work(iproute)
        except (NetlinkError, OSError) as error:
            code = error.code if isinstance(error, NetlinkError) else error.errno or 0
            remedy = "run with CAP_NET_ADMIN" if code in (errno.EPERM, errno.EACCES) else ""
            raise HostError(action, code, device=device, remedy=remedy) from error

    with ThreadPoolExecutor(1, "etherloom-netlink") as thread:
        return thread.submit(run).result()


def links(iproute: Any) -> dict[str, Any]:
    """All interfaces of the namespace by name."""
    return {link.get_attr("IFLA_IFNAME"): link for link in iproute.get_links()}


def kind_of(link: Any) -> str:
    """`bridge`, `veth`, `tun` and so on; empty for hardware and loopback."""
    return (link.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND") or "") if link is not None else ""


def mark_of(link: Any) -> Mark | None:
    """Whose interface it is, if it says so."""
    return Mark.parse(link.get_attr("IFLA_IFALIAS") or "")


# Bridges ----------------------------------------------------------------------------------------------------------


@attrs.define(eq=False)
class BridgePort:
    """A tap that was put into a bridge.

    Attributes:
        bridge: The bridge's name.
        ifname: The tap's name.
        temporary: The tap goes with its fd, and leaves the bridge by that.
        owns_bridge: This port's client is to remove the bridge, unless it hands that over.
    """

    bridge: str
    ifname: str
    temporary: bool
    owns_bridge: bool

    def leave(self, heir: BridgePort | None) -> None:
        """Undo `join_bridge`.

        Args:
            heir: Another port of the same bridge that lives on; it inherits the duty to remove the bridge.

        Raises:
            HostError: The kernel refused.
        """
        if heir is not None and self.owns_bridge:
            heir.owns_bridge, self.owns_bridge = True, False
        if self.temporary and not self.owns_bridge:
            return

        def work(iproute: Any) -> None:
            here = links(iproute)
            port, bridge = here.get(self.ifname), here.get(self.bridge)
            if bridge is None:
                return
            if not self.temporary and port is not None and port.get_attr("IFLA_MASTER") == bridge["index"]:
                iproute.link("set", index=port["index"], master=0)
            if self.owns_bridge and mark_of(bridge) == Mark.mine():
                iproute.link("del", index=bridge["index"])

        netlink("leave the bridge", self.bridge, work)


def join_bridge(bridge: str, ifname: str, *, create: bool, temporary: bool) -> BridgePort:
    """Put a tap into a bridge and set it up.

    A tap that this process made gets the bridge's MTU, which it would lower otherwise, and a hardware address that
    starts with fe, so that the bridge, which takes the lowest of its ports, does not take this one (C-95).

    Args:
        bridge: The bridge's name.
        ifname: The tap's name.
        create: Make the bridge if there is none. One whose maker is dead (`etherloom.owner`) is taken over.
        temporary: The tap was made by this process and goes with its fd.

    Raises:
        ConfigError: There is no such bridge, or it is none.
        HostError: The kernel refused; what was made is removed again.
    """

    def work(iproute: Any) -> BridgePort:
        here = links(iproute)
        found = here.get(bridge)
        if found is not None and kind_of(found) != "bridge":
            bridges = _bridges(here)
            raise ConfigError(
                f"{bridge} is no bridge" + ("" if bridges else ", and there is none"),
                key="br",
                allowed=", ".join(bridges),
            )
        if found is None and not create:
            choices = [", ".join(_bridges(here)), "one made by br-create=on"]
            raise ConfigError(f"there is no bridge {bridge}", key="br", allowed=", or ".join(filter(None, choices)))
        owned = found is None or (create and _orphaned(found))
        if found is None:
            index = _free_index(here)
            make_bridge(bridge, index, str(Mark.mine()))
        else:
            index = found["index"]
        try:
            if owned:
                iproute.link("set", index=index, ifalias=str(Mark.mine()), state="up")
            found = links(iproute)[bridge]
            port = here[ifname]
            iproute.link("set", index=port["index"], master=index, state="up", **_manners(port, found, temporary))
        except BaseException:
            if owned:
                iproute.link("del", index=index)
            raise
        return BridgePort(bridge, ifname, temporary, owned)

    return netlink(f"join {ifname} to the bridge", bridge, work)


def _manners(port: Any, bridge: Any, temporary: bool) -> dict[str, object]:
    if not temporary:
        return {}
    return {"mtu": bridge.get_attr("IFLA_MTU"), "address": "fe" + port.get_attr("IFLA_ADDRESS")[2:]}


def _orphaned(link: Any) -> bool:
    mark = mark_of(link)
    return mark is not None and mark.dead


def _free_index(here: dict[str, Any]) -> int:
    """A number that no interface has, nor gets in the meantime: far above those that the kernel counts up."""
    return max(int(link["index"]) for link in here.values()) + random.randrange(100_000, 1_000_000)


def _bridges(here: dict[str, Any]) -> list[str]:
    return sorted(name for name, link in here.items() if kind_of(link) == "bridge")


# What is known of an interface, and cleaning up -------------------------------------------------------------------


def tun_mismatch(ifname: str) -> str:
    """Why the kernel calls attaching to `ifname` invalid, as a hint; empty if that cannot be seen."""

    def work(iproute: Any) -> str:
        link = links(iproute).get(ifname)
        if link is None:
            return "the kernel does not accept the name"
        kind = kind_of(link)
        if kind == "macvtap":
            return f"it is a macvtap: open /dev/tap{link['index']} and pass it by fd="
        if kind != "tun":
            return f"an interface of that name exists and is no tap ({kind or 'not virtual'}); pick another ifname="
        details = link.get_nested("IFLA_LINKINFO", "IFLA_INFO_DATA")
        if details.get_attr("IFLA_TUN_TYPE") != TUN_TYPE_TAP:
            return "it is a tun interface (mode tun); make it with mode tap"
        if details.get_attr("IFLA_TUN_MULTI_QUEUE"):
            return "it was made with multi_queue (IFF_MULTI_QUEUE), which is not supported yet; make it without"
        return "its flags differ from IFF_TAP | IFF_NO_PI"

    return netlink("look at", ifname, work)


def remove_marked() -> list[str]:
    """Remove what bears the mark of a dead process in this network namespace; a line for each."""

    def work(iproute: Any) -> list[str]:
        from pyroute2.netlink.exceptions import NetlinkError

        removed = []
        for name, link in links(iproute).items():
            if not _orphaned(link):
                continue
            try:
                iproute.link("del", index=link["index"])
            except NetlinkError as error:
                if error.code != errno.ENODEV:  # the other end of a veth, gone with the first
                    raise
            removed.append(f"{kind_of(link) or 'interface'} {name} ({link.get_attr('IFLA_IFALIAS')})")
        return removed

    return netlink("remove", "interfaces of dead processes", work)
