"""Two guests, of two kernels, on two RTL8139s of one process, joined by our hub. Needs no privilege."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from etherloom.config import qemu
from etherloom.config.apply import Loom
from etherloom.guest.qemu import devices
from etherloom.plugins.registry import Registry
from etherloom.testing.guest import LinuxGuest

from .conftest import SUITES

pytestmark = pytest.mark.qemu

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(scope="module")
def guests_on_a_hub(
    guests: None, run: Run, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[LinuxGuest, LinuxGuest]]:
    """At 10.0.0.1 and 10.0.0.2."""
    folder = tmp_path_factory.mktemp("sockets")
    registry = Registry.discover()
    arguments: list[str] = []
    for number in (1, 2):
        nic = f"rtl8139,id=nic{number},netdev=port{number},bus=vfio-user,socket={folder}/nic{number}"
        arguments += ["-netdev", f"hubport,id=port{number},hubid=0", "-device", nic]
    config = qemu.parse(arguments, registry)

    async def make() -> Loom:
        return Loom(registry, asyncio.get_running_loop())

    loom = run(make())
    loom.apply(config)
    one, other = (
        LinuxGuest([device], suite=suite, append=f"ip=10.0.0.{number}/24")
        for number, (device, suite) in enumerate(zip(devices(config, registry), SUITES, strict=True), 1)
    )
    run(all_of(one.start(), other.start()))
    yield one, other
    run(all_of(one.close(), other.close()))
    loom.close()


async def all_of(*tasks: Coroutine[Any, Any, Any]) -> None:
    """Run them at once; one that fails ends the others."""
    async with asyncio.TaskGroup() as group:
        for task in tasks:
            group.create_task(task)


async def send(sender: LinuxGuest, receiver: LinuxGuest, address: str, size_bytes: int) -> None:
    """Send that much over TCP; all of it has to arrive as it was."""
    # Reading a pipe that it keeps open itself, nc never has an end to pass on, at which the sender's would give up.
    await receiver.check(
        "rm -f /tmp/never && mkfifo /tmp/never && { nc -l -p 5000 <>/tmp/never >/tmp/got & } &&"
        " until netstat -ltn | grep -q :5000; do usleep 10000; done"
    )
    made = f"head -c {size_bytes} /dev/urandom >/tmp/sent; nc {address} 5000 </tmp/sent; sha256sum </tmp/sent"
    sent = await sender.check(made)
    got = await receiver.check("while pidof nc >/dev/null; do usleep 10000; done; sha256sum </tmp/got")
    assert sent == got


def test_ten_megabytes_arrive_each_way(run: Run, guests_on_a_hub: tuple[LinuxGuest, LinuxGuest]) -> None:
    one, other = guests_on_a_hub

    async def scenario() -> None:
        await send(one, other, "10.0.0.2", 10_000_000)
        await send(other, one, "10.0.0.1", 10_000_000)

    run(scenario())


@pytest.mark.parametrize("by_device", [(True, True), (True, False), (False, False)], ids=["both", "one", "none"])
def test_data_arrives_on_a_vlan_whose_tags_devices_do_in(
    run: Run, guests_on_a_hub: tuple[LinuxGuest, LinuxGuest], by_device: tuple[bool, bool]
) -> None:
    """Where the device does not put tags in and take them out, Linux does; nobody else must notice."""
    one, other = guests_on_a_hub

    async def join(guest: LinuxGuest, address: str, in_device: bool) -> None:
        state = "on" if in_device else "off"
        await guest.check(
            f"ethtool -K eth0 rxvlan {state} txvlan {state} && ip link add link eth0 name vlan5 type vlan id 5 &&"
            f" ip address add {address}/24 dev vlan5 && ip link set vlan5 up"
        )

    async def scenario() -> None:
        await all_of(join(one, "10.0.5.1", by_device[0]), join(other, "10.0.5.2", by_device[1]))
        await send(one, other, "10.0.5.2", 1_000_000)
        await send(other, one, "10.0.5.1", 1_000_000)
        await all_of(*(guest.check("ip link delete vlan5") for guest in guests_on_a_hub))

    run(scenario())


def test_iperf3_runs_both_ways_at_once(run: Run, guests_on_a_hub: tuple[LinuxGuest, LinuxGuest]) -> None:
    one, other = guests_on_a_hub

    async def scenario() -> dict[str, Any]:
        await other.check("iperf3 --server --one-off --daemon --pidfile /tmp/iperf3")
        report: dict[str, Any] = json.loads(await one.check("iperf3 --client 10.0.0.2 --bidir --time 1 --json"))
        return report

    end = run(scenario())["end"]
    assert min(end["sum_received"]["bytes"], end["sum_received_bidir_reverse"]["bytes"]) > 1 << 20
