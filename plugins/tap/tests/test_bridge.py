"""`br=` and `br-create=`, and cleaning up after the dead."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from etherloom import ConfigError, HostError, Network
from etherloom.owner import Mark
from etherloom_tap import KIND
from etherloom_tap.testing import RealHost

pytestmark = pytest.mark.root


def ip(command: str) -> None:
    subprocess.run(["ip", *command.split()], check=True)


def links(host: RealHost) -> dict[str, dict[str, object]]:
    """What the tests look at, by interface name."""
    here = list(host.namespace.routes.get_links())
    names = {link["index"]: link.get_attr("IFLA_IFNAME") for link in here}
    return {
        link.get_attr("IFLA_IFNAME"): {
            "master": names.get(link.get_attr("IFLA_MASTER")),
            "up": bool(link["flags"] & 1),
            "mtu": link.get_attr("IFLA_MTU"),
            "alias": link.get_attr("IFLA_IFALIAS"),
            "mac": link.get_attr("IFLA_ADDRESS"),
        }
        for link in here
        if link.get_attr("IFLA_IFNAME") != "lo"
    }


def test_the_tap_joins_the_bridge_and_is_set_up(network: Network, real_host: RealHost) -> None:
    """C-95: its MTU is the bridge's, its address one that the bridge does not take for its own."""
    ip("link add br7 mtu 9000 type bridge")
    tap = real_host.tap(network, "a", ifname="t0", br="br7")
    port = links(real_host)["t0"]
    assert ("br7", True, 9000, "fe") == (port["master"], port["up"], port["mtu"], str(port["mac"])[:2])
    assert "ifname=t0,br=br7" == tap.info


def test_a_bridge_that_was_there_stays(network: Network, real_host: RealHost) -> None:
    ip("link add br7 type bridge")
    network.remove(real_host.tap(network, "a", br="br7", br_create=True))
    bridge = links(real_host)["br7"]
    assert (False, None) == (bridge["up"], bridge["alias"])


def test_a_bridge_is_made_if_wanted_and_removed_with_the_tap(network: Network, real_host: RealHost) -> None:
    tap = real_host.tap(network, "a", br="br7", br_create=True)
    bridge = links(real_host)["br7"]
    assert (True, str(Mark.mine())) == (bridge["up"], bridge["alias"])
    network.remove(tap)
    assert {} == links(real_host)


def test_the_last_tap_removes_the_bridge_that_the_first_has_made(network: Network, real_host: RealHost) -> None:
    first, second = (real_host.tap(network, name, ifname=name, br="br7", br_create=True) for name in ("t0", "t1"))
    network.remove(first)
    assert {"br7", "t1"} == links(real_host).keys()
    network.remove(second)
    assert {} == links(real_host)


def test_other_ports_do_not_keep_a_bridge_that_we_made(network: Network, real_host: RealHost) -> None:
    """An uplink that somebody put in goes on without."""
    tap = real_host.tap(network, "a", br="br7", br_create=True)
    ip("link add eth7 master br7 type veth peer far7")
    network.remove(tap)
    assert {"eth7": None, "far7": None} == {name: link["master"] for name, link in links(real_host).items()}


def test_a_lasting_tap_leaves_the_bridge_and_keeps_what_it_has(network: Network, real_host: RealHost) -> None:
    ip("link add br7 mtu 9000 type bridge")
    ip("tuntap add t0 mode tap")
    before = links(real_host)["t0"]
    tap = real_host.tap(network, "a", ifname="t0", br="br7")
    assert before | {"master": "br7", "up": True} == links(real_host)["t0"]
    network.remove(tap)
    assert before | {"up": True} == links(real_host)["t0"]


def test_a_bridge_that_does_not_exist_is_refused_with_what_there_is(network: Network, real_host: RealHost) -> None:
    """U-12."""
    ip("link add br7 type bridge")
    ip("link add br8 type bridge")
    before = links(real_host)
    with pytest.raises(ConfigError) as caught:
        real_host.tap(network, "a", br="br9")
    assert "br: there is no bridge br9 (allowed: br7, br8, or one made by br-create=on)" == str(caught.value)
    assert before == links(real_host)


def test_without_any_bridge_the_refusal_names_the_way_to_make_one(network: Network, real_host: RealHost) -> None:
    """U-12."""
    with pytest.raises(ConfigError) as caught:
        real_host.tap(network, "a", br="br9")
    assert "br: there is no bridge br9 (allowed: one made by br-create=on)" == str(caught.value)


@pytest.mark.parametrize(
    ("bridges", "refusal"),
    [((), "eth7 is no bridge, and there is none"), (("br7", "br8"), "eth7 is no bridge (allowed: br7, br8)")],
)
def test_what_is_no_bridge_is_refused(
    network: Network, real_host: RealHost, bridges: tuple[str, ...], refusal: str
) -> None:
    ip("link add eth7 type veth peer far7")
    for bridge in bridges:
        ip(f"link add {bridge} type bridge")
    before = links(real_host)
    with pytest.raises(ConfigError) as caught:
        real_host.tap(network, "a", br="eth7", br_create=True)
    assert f"br: {refusal}" == str(caught.value)
    assert before == links(real_host)


def test_a_bridge_that_cannot_be_made_is_the_host_s_refusal(network: Network, real_host: RealHost) -> None:
    with pytest.raises(HostError, match=r"join tap0 to the bridge \(a:b\): Invalid argument"):
        real_host.tap(network, "a", br="a:b", br_create=True)
    assert {} == links(real_host)


def a_dead_mark() -> Mark:
    """Of a process that has just ended."""
    child = "from etherloom.owner import Mark; print(Mark.mine())"
    text = subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, check=True).stdout
    mark = Mark.parse(text)
    assert mark is not None
    return mark


def test_a_bridge_whose_maker_is_dead_is_taken_over(network: Network, real_host: RealHost) -> None:
    ip("link add br7 type bridge")
    subprocess.run(["ip", "link", "set", "br7", "alias", str(a_dead_mark())], check=True)
    tap = real_host.tap(network, "a", br="br7", br_create=True)
    assert str(Mark.mine()) == links(real_host)["br7"]["alias"]
    network.remove(tap)
    assert {} == links(real_host)


def test_clean_removes_what_bears_a_dead_mark_and_nothing_else(real_host: RealHost) -> None:
    dead, living = a_dead_mark(), Mark.mine()
    for name, alias in (("br1", str(dead)), ("br2", str(living)), ("br3", "etherloom"), ("br4", "")):
        ip(f"link add {name} type bridge")
        if alias:
            subprocess.run(["ip", "link", "set", name, "alias", alias], check=True)
    ip("link add eth1 type veth peer eth2")
    for name in ("eth1", "eth2"):
        subprocess.run(["ip", "link", "set", name, "alias", str(dead)], check=True)
    hooks = KIND.hooks
    assert [f"bridge br1 ({dead})", f"veth eth1 ({dead})", f"veth eth2 ({dead})"] == sorted(hooks.clean_host())  # type: ignore[attr-defined]
    assert {"br2", "br3", "br4"} == links(real_host).keys()


def test_clean_finds_a_bridge_whose_maker_was_killed_right_after_making_it(real_host: RealHost) -> None:
    child = (
        "import os, signal\n"
        "from etherloom_tap import _links\n"
        "def work(iproute):\n"
        "    def link(command, *_, make=iproute.link, **what):\n"
        "        return make(command, **what) if command == 'add' else os.kill(os.getpid(), signal.SIGKILL)\n"
        "    iproute.link = link\n"
        "    return joining(iproute)\n"
        "def netlink(action, device, given, real=_links.netlink):\n"
        "    global joining\n"
        "    joining = given\n"
        "    return real(action, device, work)\n"
        "_links.netlink = netlink\n"
        "_links.join_bridge('br7', 'lo', create=True, temporary=False)\n"
    )
    assert -signal.SIGKILL == subprocess.run([sys.executable, "-c", child], check=False).returncode
    (alias,) = (link["alias"] for link in links(real_host).values())
    assert [f"bridge br7 ({alias})"] == KIND.hooks.clean_host()  # type: ignore[attr-defined]
    assert {} == links(real_host)


@pytest.mark.parametrize("unshare", ["unshare --pid --fork --mount-proc", "unshare --pid --fork"])
def test_clean_in_another_pid_namespace_leaves_what_it_cannot_judge(
    network: Network, real_host: RealHost, unshare: str
) -> None:
    """A container in the host's network sees its interfaces and not its processes."""
    real_host.tap(network, "a", ifname="t0", br="br7", br_create=True)
    etherloom = Path(sys.executable).with_name("etherloom")
    done = subprocess.run([*unshare.split(), etherloom, "clean"], capture_output=True, text=True, check=True)
    assert ("nothing to remove\n", {"br7", "t0"}) == (done.stdout, set(links(real_host)))


def test_clean_leaves_its_own_namespace_s_marks_where_proc_shows_another_one(real_host: RealHost) -> None:
    """`unshare --pid` alone: the ids of /proc are those of the namespace that was left."""
    child = (
        "import subprocess\n"
        "from etherloom.owner import Mark\n"
        "from etherloom_tap import KIND\n"
        "subprocess.run(['ip', 'link', 'add', 'br7', 'type', 'bridge'], check=True)\n"
        "subprocess.run(['ip', 'link', 'set', 'br7', 'alias', str(Mark.mine())], check=True)\n"
        "print(KIND.hooks.clean_host())\n"
    )
    command = ["unshare", "--pid", "--fork", sys.executable, "-c", child]
    assert "[]\n" == subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert {"br7"} == links(real_host).keys()
