"""Linux's own driver on our RTL8139, against the host's kernel on a tap."""

from __future__ import annotations

import asyncio

import pytest

from .conftest import GUEST, HOST, Stand

pytestmark = [pytest.mark.qemu, pytest.mark.root]

OFFLOADS = {"tx-checksumming": "tx", "rx-checksumming": "rx", "scatter-gather": "sg", "tcp-segmentation-offload": "tso"}


async def offloads(stand: Stand) -> dict[str, str]:
    """What ethtool says of each of OFFLOADS: on or off."""
    lines = (await stand.guest.check("ethtool -k eth0")).splitlines()
    features = dict(line.split(": ", 1) for line in lines[1:])
    return {name: features[name].split()[0] for name in OFFLOADS}


def test_linux_takes_the_device_for_an_8139c_plus(stand: Stand) -> None:
    driver = stand.run(stand.guest.check("ethtool -i eth0"))
    assert "driver: 8139cp" in driver.splitlines()


def test_each_side_answers_the_other_s_ping(stand: Stand) -> None:
    stand.run(stand.guest.check(f"ping -c 3 -i 0.1 {HOST}"))
    with stand.lan.entered():
        ping = stand.run(exit_status("ping", "-c", "3", "-i", "0.1", GUEST))
    assert ping == 0


async def exit_status(*command: str) -> int:
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
    return await process.wait()


def test_ten_megabytes_arrive_from_the_guest(stand: Stand) -> None:
    stand.run(stand.from_guest(10))


def test_ten_megabytes_arrive_in_the_guest(stand: Stand) -> None:
    stand.run(stand.to_guest(10))


@pytest.mark.parametrize("state", ["off", "on"])
def test_data_arrives_with_offloads(stand: Stand, state: str) -> None:
    async def scenario() -> None:
        switches = " ".join(f"{name} {state}" for name in OFFLOADS.values())
        await stand.guest.check(f"ethtool -K eth0 {switches}")
        assert dict.fromkeys(OFFLOADS, state) == await offloads(stand)
        await stand.from_guest(2)
        await stand.to_guest(2)

    stand.run(scenario())


def test_the_guest_sees_our_link_go_down_and_up(stand: Stand) -> None:
    """C-50, C-54."""
    nic = stand.network.clients["nic"]

    async def scenario() -> None:
        for up in (False, True):
            stand.network.set_link(nic, up)
            await stand.guest.check(f"until [ $(cat /sys/class/net/eth0/carrier) = {up:d} ]; do usleep 10000; done")
        await stand.guest.check(f"ping -c 1 {HOST}")

    stand.run(scenario())


def test_a_guest_that_reboots_twice_has_its_network_again(stand: Stand) -> None:
    async def scenario() -> None:
        for _ in range(2):
            await stand.guest.reboot()
            await stand.from_guest(1)
            await stand.to_guest(1)

    stand.run(scenario())


def test_a_device_unplugged_while_the_guest_runs_comes_back_with_its_network(stand: Stand) -> None:
    async def scenario() -> None:
        await stand.tell_qemu("device_del", id=stand.device["id"])
        await stand.guest.check("while [ -e /sys/class/net/eth0 ]; do sleep 0.1; done")
        while ",connected" in stand.network.clients["nic"].info:
            await asyncio.sleep(0)
        await stand.tell_qemu("device_add", **stand.device)
        await stand.guest.check("until [ -e /sys/class/net/eth0 ]; do sleep 0.1; done")
        await stand.guest.check(f"ip address add {GUEST}/24 dev eth0; ip link set eth0 up")
        await stand.from_guest(1)
        await stand.to_guest(1)

    stand.run(scenario())


def test_a_qemu_killed_in_mid_traffic_leaves_room_for_the_next(stand: Stand) -> None:
    """vfio-user.md 2.6: nothing but the end of the stream tells us."""

    async def scenario() -> None:
        endless = asyncio.create_task(stand.from_guest(1000))
        nic = stand.network.clients["nic"]
        while nic.counters.tx_frames < 1000:
            await asyncio.sleep(0)
            stand.network.settle()
        await stand.guest.kill()
        await asyncio.wait([endless])
        await stand.guest.close()
        await stand.boot()
        await stand.from_guest(10)
        await stand.to_guest(10)

    stand.run(scenario())
