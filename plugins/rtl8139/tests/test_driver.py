"""The reference driver on the model, and the options that make one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from etherloom import Network
from etherloom.config.mac import Mac
from etherloom.guest import DriverError, InlineGuest
from etherloom_rtl8139 import KIND, Overflow, Rtl8139, Rtl8139Driver, Rtl8139Options
from etherloom_rtl8139.registers import Command
from etherloom_rtl8139.registers import Registers as Reg
from etherloom_rtl8139.rings import RING_MAX

if TYPE_CHECKING:
    from plugins.rtl8139.tests.conftest import Machine

MAC = bytes.fromhex("525400123456")


def frame(number: int, size: int = 60) -> bytes:
    return (MAC + b"\x52\x54\0\0\0\xaa\x88\xb5" + number.to_bytes(4, "big")).ljust(size, b"\x5a")


class Host:
    """The driver, with what it delivered."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.driver = Rtl8139Driver(machine.guest)
        self.received: list[bytes] = []
        self.driver.deliver = self.received.append
        machine.guest.interrupt = self.driver.interrupt
        self.driver.open()


@pytest.fixture
def host(machine: Machine) -> Host:
    return Host(machine)


def test_open_finds_the_address(host: Host) -> None:
    assert MAC == host.driver.mac


def test_frames_pass_both_ways_through_many_turns_of_the_rings(host: Host) -> None:
    frames = [frame(number, 60 + number % 1455) for number in range(500)]
    for first in range(0, 500, 50):
        assert 50 == host.driver.transmit(frames[first : first + 50])
        host.machine.hear(*frames[first : first + 50])
    assert frames == host.machine.sent
    assert frames == host.received


def test_a_full_transmit_ring_takes_what_fits_and_the_rest_later(host: Host) -> None:
    host.machine.wire.block()
    frames = [frame(number) for number in range(100)]
    assert RING_MAX - 1 == host.driver.transmit(frames)
    assert 1 == host.driver.transmit(frames[RING_MAX - 1 :])  # the one that the wire has in its queue
    host.machine.wire.unblock()
    host.machine.loop.run_until_idle()
    assert 36 == host.driver.transmit(frames[RING_MAX:])
    host.machine.loop.run_until_idle()
    assert frames == host.machine.sent


def test_damaged_frames_are_not_delivered(host: Host) -> None:
    host.machine.nic.receiver.ring.give_back(host.machine.nic.receiver.ring.base, 0x3000_0000 | 1 << 20 | 64, 0)
    host.machine.nic.raise_now(1)
    host.machine.loop.run_until_idle()
    assert [] == host.received


def test_the_link_is_followed(host: Host) -> None:
    for up in (False, True):
        host.machine.network.set_link(host.machine.nic, up)
        host.machine.loop.run_until_idle()
        assert up is host.driver.link_up


def test_an_interrupt_that_is_not_ours_is_left_alone(host: Host) -> None:
    host.driver.interrupt()
    assert [] == host.received


def test_closed_it_neither_sends_nor_receives_and_opens_again(host: Host) -> None:
    host.driver.close()
    host.machine.hear(frame(1))
    host.driver.open()
    host.machine.hear(frame(2))
    host.driver.transmit([frame(3)])
    assert ([frame(2)], [frame(3)]) == (host.received, host.machine.sent)


def test_a_reset_that_does_not_end_is_the_devices_fault(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.guest, "read", lambda offset, size: Command.RST if offset == Reg.CR.offset else 0)
    with pytest.raises(DriverError):
        Rtl8139Driver(machine.guest).open()


def test_options_make_a_device(network: Network) -> None:
    options = Rtl8139Options(mac=Mac(MAC), overflow=Overflow.DROP, vpd=True)
    nic = KIND.init(options, "nic", None, network.context)
    assert isinstance(nic, Rtl8139)
    network.add(nic)
    assert (MAC, 0x4F) == (nic.mac, InlineGuest(nic).read(Reg.CONFIG1.offset, 1))
