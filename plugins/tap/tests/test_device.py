"""Attaching: names, flags, inherited descriptors, and what each refusal of the kernel means."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from etherloom import ConfigError, HostError, Network
from etherloom.config.options import Fd
from etherloom.owner import Mark
from etherloom_tap import TapOptions, init
from etherloom_tap._kernel import IFREQ, Kernel, Request, TunFlag
from etherloom_tap.testing import FakeHost, FakeKernel, Host, RealHost


@pytest.fixture
def pipe() -> Iterator[int]:
    ends = os.pipe()
    yield ends[0]
    for end in ends:
        os.close(end)


def open_descriptors() -> list[str]:
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


def opened(kernel: Kernel, ifname: str = "t0", flags: TunFlag = TunFlag.TAP | TunFlag.NO_PI) -> Fd:
    """What a launcher does before it starts us."""
    fd = kernel.open()
    kernel.ioctl(fd, Request.SETIFF, IFREQ.pack(ifname.encode(), flags))
    return Fd(fd)


def test_the_kernel_picks_a_name(network: Network, host: Host) -> None:
    """O-80."""
    assert ["tap0", "tap1"] == [host.tap(network, name).device.ifname for name in ("a", "b")]


def test_a_name_may_be_a_pattern(network: Network, host: Host) -> None:
    assert "lab0" == host.tap(network, "a", ifname="lab%d").device.ifname


@pytest.mark.parametrize("name", ["", "sixteen-bytes-it", "a/b", "a b"])
def test_what_is_no_interface_name_is_refused_and_not_cut_off(name: str) -> None:
    """Differs from QEMU (O-80)."""
    with pytest.raises(ConfigError, match="is no interface name"):
        TapOptions(ifname=name)


def test_a_name_in_use_says_so(network: Network, host: Host) -> None:
    """U-12."""
    host.tap(network, "a", ifname="t0")
    with pytest.raises(HostError, match=r"\(t0\): Device or resource busy; another process has it open"):
        host.tap(network, "b", ifname="t0")


def test_a_virtio_net_header_is_used_where_the_kernel_has_it(network: Network, host: Host) -> None:
    """O-88."""
    vnet = [host.tap(network, str(wanted), vnet_hdr=wanted).vnet for wanted in (None, True, False)]
    assert [True, True, False] == vnet


def test_a_header_that_is_required_and_lacking_names_the_flag(network: Network) -> None:
    host = FakeHost(FakeKernel(features=TunFlag.TAP | TunFlag.NO_PI))
    assert not host.tap(network, "auto").vnet
    with pytest.raises(HostError, match="IFF_VNET_HDR"):
        host.tap(network, "required", vnet_hdr=True)
    host.close()


@pytest.mark.parametrize(
    ("refusal", "advice"),
    [
        (errno.ENOENT, "No such file or directory; load the module (modprobe tun)"),
        (errno.EACCES, "Permission denied; give this user access to the device, or inherit a tap by fd="),
        (errno.EPERM, "Operation not permitted; allow the device in the container's device list"),
        (errno.ENODEV, "No such device; this kernel has no TUN/TAP driver (CONFIG_TUN)"),
    ],
)
def test_a_device_that_cannot_be_opened_says_what_to_do(
    network: Network, fake_host: FakeHost, refusal: int, advice: str
) -> None:
    """U-12."""
    fake_host.kernel.refusal = refusal
    with pytest.raises(HostError) as caught:
        fake_host.tap(network, "a")
    assert str(caught.value).startswith(f"cannot open (/dev/net/tun): {advice}")


def test_a_lacking_privilege_is_named(network: Network) -> None:
    """U-12."""
    host = FakeHost(FakeKernel(privileged=False))
    with pytest.raises(HostError, match=r"Operation not permitted; run with CAP_NET_ADMIN.*or inherit fd="):
        host.tap(network, "a")


@pytest.mark.root
def test_a_real_kernel_refuses_a_user_without_privilege(real_host: RealHost) -> None:
    """In a child, which gives its capabilities up; fd= is what still works."""
    child = """if True:
        import asyncio, os, sys
        from etherloom import HostError, Network
        from etherloom_tap import TapOptions, init
        from etherloom_tap._kernel import Kernel
        kernel = Kernel()
        device = kernel.open()
        kernel.open = lambda: os.dup(device)  # the device itself is root's on some machines
        os.setuid(65534)
        loop = asyncio.new_event_loop()
        network = Network(loop)
        try:
            init(TapOptions(ifname="t1"), "a", None, network.context, kernel=kernel)
        except HostError as error:
            print(error)
        tap = init(TapOptions(fd=int(sys.argv[1])), "b", None, network.context)
        print(tap.info)
        tap.context.network.release(tap)
        tap.close()
        loop.close()
    """
    fd = opened(real_host.kernel)
    ran = subprocess.run(
        [sys.executable, "-c", child, str(fd)], pass_fds=(fd,), capture_output=True, text=True, check=True
    )
    os.close(fd)
    refusal, info = ran.stdout.splitlines()
    assert refusal.startswith("cannot attach to tap (t1): Operation not permitted; run with CAP_NET_ADMIN")
    assert "ifname=t0" == info


@pytest.mark.root
@pytest.mark.parametrize(
    ("make", "ifname", "advice"),
    [
        ("true", "lo", "an interface of that name exists and is no tap (not virtual); pick another ifname="),
        ("ip link add br7 type bridge", "br7", "an interface of that name exists and is no tap (bridge); pick"),
        ("ip tuntap add t7 mode tun", "t7", "it is a tun interface (mode tun); make it with mode tap"),
        ("ip tuntap add t7 mode tap multi_queue", "t7", "it was made with multi_queue (IFF_MULTI_QUEUE)"),
        ("true", "..", "the kernel does not accept the name"),
    ],
)
def test_an_invalid_argument_is_explained(
    network: Network, real_host: RealHost, make: str, ifname: str, advice: str
) -> None:
    """U-12: EINVAL alone says nothing; microvm-nix #300."""
    subprocess.run(make.split(), check=True)
    with pytest.raises(HostError) as caught:
        real_host.tap(network, "a", ifname=ifname)
    assert str(caught.value).startswith(f"cannot attach to tap ({ifname}): Invalid argument; {advice}")


def test_an_interface_that_we_made_bears_our_mark(network: Network, fake_host: FakeHost) -> None:
    fake_host.tap(network, "a", ifname="t0")
    assert str(Mark.mine()) == fake_host.kernel.interfaces["t0"].alias


@pytest.mark.root
def test_a_real_interface_bears_our_mark_only_if_we_made_it(network: Network, real_host: RealHost) -> None:
    subprocess.run(["ip", "tuntap", "add", "t1", "mode", "tap"], check=True)
    for ifname in ("t0", "t1"):
        real_host.tap(network, ifname, ifname=ifname)
    links = [real_host.namespace.routes.link("get", ifname=name)[0] for name in ("t0", "t1")]
    assert [str(Mark.mine()), None] == [link.get_attr("IFLA_IFALIAS") for link in links]


def test_the_interface_goes_with_the_client(network: Network, host: Host) -> None:
    network.remove(host.tap(network, "a", ifname="t0"))
    assert "t0" == host.tap(network, "a", ifname="t0").device.ifname


def test_an_inherited_descriptor_is_taken_over_as_it_is(network: Network, host: Host) -> None:
    """O-81: its flags say whether there is a header."""
    plain = host.tap(network, "a", fd=opened(host.kernel, "t0"))
    headed = host.tap(network, "b", fd=opened(host.kernel, "t1", TunFlag.TAP | TunFlag.NO_PI | TunFlag.VNET_HDR))
    assert [("t0", False), ("t1", True)] == [(tap.device.ifname, tap.vnet) for tap in (plain, headed)]


def test_an_inherited_descriptor_is_closed_with_the_client(network: Network, host: Host) -> None:
    fd = opened(host.kernel)
    network.remove(host.tap(network, "a", fd=fd))
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_a_number_that_is_no_open_descriptor_is_refused(network: Network, host: Host) -> None:
    """O-13."""
    with pytest.raises(ConfigError, match="fd: 987 is not an open file descriptor"):
        host.tap(network, "a", fd=987)


def test_a_descriptor_of_something_else_is_refused_and_stays_open(network: Network, host: Host, pipe: int) -> None:
    with pytest.raises(ConfigError, match=f"fd: file descriptor {pipe} is no tap: Inappropriate ioctl for device"):
        host.tap(network, "a", fd=pipe)
    os.fstat(pipe)


def test_a_descriptor_without_an_interface_is_refused(network: Network, host: Host) -> None:
    fd = host.kernel.open()
    with pytest.raises(ConfigError, match="is no tap: it is not attached to an interface"):
        host.tap(network, "a", fd=fd)
    os.close(fd)


def test_a_descriptor_of_a_tun_interface_names_the_flag(network: Network, host: Host) -> None:
    """U-12."""
    fd = opened(host.kernel, flags=TunFlag.TUN | TunFlag.NO_PI)
    with pytest.raises(ConfigError, match="fd: t0 was opened with IFF_TUN and has no Ethernet"):
        host.tap(network, "a", fd=fd)
    os.close(fd)


def test_sndbuf_is_set_and_zero_means_no_limit(network: Network, fake_host: FakeHost) -> None:
    """O-87."""
    limits = []
    for number, sndbuf in enumerate((None, 0, 1 << 20, 1 << 40)):
        tap = fake_host.tap(network, str(number), sndbuf=sndbuf)
        limits.append(fake_host.interface(tap).sndbuf)
    assert [2**31 - 1, 2**31 - 1, 1 << 20, 2**31 - 1] == limits


def test_a_refused_tap_leaves_no_descriptor_behind(network: Network, host: Host) -> None:
    host.tap(network, "a", ifname="t0")
    before = open_descriptors()
    with pytest.raises(HostError):
        init(TapOptions(ifname="t0"), "b", None, network.context, kernel=host.kernel)
    assert before == open_descriptors()
