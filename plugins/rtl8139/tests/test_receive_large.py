"""Large frames from the wire: cut on their way into the ring, a few segments a turn, none lost or out of order."""

from __future__ import annotations

import struct
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING
from zlib import crc32

import pytest

from etherloom import Drop
from etherloom.net.offload import GsoType, VnetFlag, VnetHeader, complete
from etherloom_rtl8139.checksums import verdict
from etherloom_rtl8139.receive import Overflow
from etherloom_rtl8139.registers import Command, CpCommand, Interrupt
from etherloom_rtl8139.registers import Registers as Reg
from etherloom_rtl8139.rings import FS, LS, OWN

if TYPE_CHECKING:
    from plugins.rtl8139.tests.conftest import Machine

MAC = bytes.fromhex("525400123456")
OTHER = bytes.fromhex("5254000000aa")
STATION = 1 << 25
VERDICT = 0x3E000
TAG = b"\x81\x00\x0a\x05"
MS = 1_000_000
MSS = 1000

MakeMachine = Callable[..., "Machine"]


def large(
    segments: int, *, version: int = 4, tag: bytes = b"", udp: bool = False, mss: int = MSS, fill: int = 0
) -> bytes:
    """A frame that becomes so many segments, with its header; the last one is short."""
    payload = bytes((fill + index) & 0xFF for index in range((segments - 1) * mss + 5))
    if udp:
        transport = struct.pack(">HHHH", 1, 2, 8 + len(payload), 0)
    else:
        transport = struct.pack(">HHIIBBHHH", 1, 2, fill, 4, 0x50, 0x18, 500, 0, 0)
    protocol, size = 17 if udp else 6, len(transport) + len(payload)
    if version == 4:
        network = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + size, 7, 0, 64, protocol, 0, b"\x0a\0\0\1", b"\x0a\0\0\2")
    else:
        network = struct.pack(">IHBB", 0x6000_0000, size, protocol, 64) + bytes(15) + b"\1" + bytes(15) + b"\2"
    ethernet = MAC + OTHER + tag + (b"\x08\x00" if version == 4 else b"\x86\xdd")
    header = VnetHeader(
        flags=VnetFlag.NEEDS_CSUM,
        gso_type=GsoType.UDP_L4 if udp else GsoType.TCPV4 if version == 4 else GsoType.TCPV6,
        gso_size=mss,
        csum_start=len(ethernet) + len(network),
        csum_offset=6 if udp else 16,
    )
    return header.pack() + ethernet + network + transport + payload


def small(fill: int) -> bytes:
    return bytes(10) + (MAC + OTHER + b"\x88\xb5").ljust(60, bytes([fill]))


def stored(*frames: bytes) -> list[bytes]:
    """What a driver finds of frames from the wire, in order."""
    padded = (data.ljust(60, b"\0") for frame in frames for data in complete(frame))
    return [data + crc32(data).to_bytes(4, "little") for data in padded]


@pytest.fixture
def held(make_machine: MakeMachine) -> Machine:
    """One whose ring of four has taken four of six segments; two small frames wait behind them."""
    machine = make_machine(vnet=True, overflow=Overflow.HOLD)
    machine.start(4)
    machine.wire.send_all([large(6), small(1), small(2), small(3)])
    machine.loop.run_until_idle()
    assert (4, True, True) == (machine.nic.tally.rx_ok, machine.nic.receiver.behind, machine.wire.pausing)
    return machine


def lost(machine: Machine) -> dict[Drop, int]:
    machine.network.settle()
    return machine.nic.counters.drops


def test_segments_arrive_whole_and_in_order(make_machine: MakeMachine) -> None:
    machine = make_machine(vnet=True)
    machine.start(64)
    machine.wire.send_all([large(40), small(1)])
    machine.loop.run_until_idle()
    expected = stored(large(40), small(1))
    assert expected == [machine.frame_at(index) for index in range(41)]
    states = [machine.descriptor(machine.rx, index) for index in range(41)]
    assert [(FS | LS | STATION | len(data), 0) for data in expected] == states
    assert (41, {}) == (machine.nic.tally.rx_ok, lost(machine))


def test_a_turn_stores_sixteen_and_costs_one_interrupt(make_machine: MakeMachine) -> None:
    """A guest may wait for the answer to a register read."""
    machine = make_machine(vnet=True)
    machine.start(64)
    machine.listen()
    machine.wire.send_all([large(40)])
    assert 16 == machine.nic.tally.rx_ok
    machine.loop.run_until_idle()
    assert (40, [(0, Interrupt.ROK)]) == (machine.nic.tally.rx_ok, list(dict.fromkeys(machine.told)))
    assert len(machine.told) <= 3


@pytest.mark.parametrize("segments", [2, 15, 16, 17, 32, 33, 63])
def test_what_follows_waits_for_the_last_segment(make_machine: MakeMachine, segments: int) -> None:
    machine = make_machine(vnet=True)
    machine.start(64)
    machine.wire.send_all([large(segments), small(1)])
    machine.loop.run_until_idle()
    assert stored(large(segments), small(1)) == [machine.frame_at(index) for index in range(segments + 1)]
    assert not machine.wire.pausing


@pytest.mark.parametrize("features", [0, CpCommand.RX_CHECKSUM, CpCommand.RX_VLAN, 0x60])
@pytest.mark.parametrize(
    "frame",
    [large(3), large(3, udp=True), large(3, version=6), large(3, tag=TAG), large(3, tag=TAG, version=6)],
    ids=["tcp", "udp", "ipv6", "tag", "tag-ipv6"],
)
def test_each_segment_is_judged_as_if_it_had_come_alone(make_machine: MakeMachine, frame: bytes, features: int) -> None:
    machine = make_machine(vnet=True)
    machine.start(8, features=features)
    machine.wire.send_all([frame])
    machine.loop.run_until_idle()
    together = [(machine.descriptor(machine.rx, index), machine.frame_at(index)) for index in range(3)]
    for index in range(8):
        machine.give(index, 8)
    machine.write(Reg.RDSAR, machine.rx)
    machine.hear(*complete(frame))
    assert [(machine.descriptor(machine.rx, index), machine.frame_at(index)) for index in range(3)] == together


@pytest.mark.parametrize(
    ("frame", "features", "bits", "tag"),
    [
        (large(3), CpCommand.RX_CHECKSUM, 0x10000, 0),
        (large(3, udp=True), CpCommand.RX_CHECKSUM, 0x20000, 0),
        (large(3, version=6), CpCommand.RX_CHECKSUM, 0, 0),
        (large(3, tag=TAG), CpCommand.RX_CHECKSUM, 0, 0),
        (large(3, tag=TAG), CpCommand.RX_CHECKSUM | CpCommand.RX_VLAN, 0x10000, 0x1050A),
        (large(3, tag=TAG), CpCommand.RX_VLAN, 0, 0x1050A),
        (large(3), 0, 0, 0),
    ],
)
def test_verdicts_on_segments(make_machine: MakeMachine, frame: bytes, features: int, bits: int, tag: int) -> None:
    """R-57."""
    machine = make_machine(vnet=True)
    machine.start(8, features=features)
    machine.wire.send_all([frame])
    machine.loop.run_until_idle()
    found = [machine.descriptor(machine.rx, index) for index in range(3)]
    assert [(bits, tag)] * 3 == [(status & VERDICT, word) for status, word in found]
    if bits:
        assert [bits] * 3 == [verdict(machine.frame_at(index)[:-4]) for index in range(3)]


def test_segments_too_long_for_the_chip_are_refused(make_machine: MakeMachine) -> None:
    machine = make_machine(vnet=True)
    machine.start(64)
    machine.wire.send_all([large(3, mss=5000), small(1)])
    machine.loop.run_until_idle()
    assert (stored(large(3, mss=5000))[-1:], {Drop.REFUSED: 2}) == ([machine.frame_at(0)], lost(machine))
    assert stored(small(1)) == [machine.frame_at(1)]


def test_a_malformed_large_frame_is_counted_and_nothing_else(make_machine: MakeMachine) -> None:
    machine = make_machine(vnet=True)
    machine.start()
    machine.wire.send_all([VnetHeader(gso_type=GsoType.TCPV6, gso_size=MSS).pack() + large(3)[10:], small(1)])
    machine.loop.run_until_idle()
    assert ({Drop.MALFORMED: 1}, stored(small(1))) == (lost(machine), [machine.frame_at(0)])


def test_a_ring_that_fills_in_the_middle_holds_the_rest(held: Machine) -> None:
    frames = [held.frame_at(index) for index in range(4)]
    for index in range(4):
        held.give(index)
    held.loop.advance(MS // 5)
    frames += [held.frame_at(index) for index in range(4)]
    for index in range(4):
        held.give(index)
    held.loop.advance(MS // 5)
    assert stored(large(6), small(1), small(2), small(3)) == [*frames, held.frame_at(0)]
    assert ({}, False, 0) == (lost(held), held.wire.pausing, held.nic.tally.missed)


def test_an_access_brings_the_rest_at_once(held: Machine) -> None:
    for index in range(4):
        held.give(index)
    held.read(Reg.ISR)
    assert stored(large(6))[4:] == [held.frame_at(index) for index in range(2)]


def test_a_driver_that_stands_still_misses_the_rest(held: Machine) -> None:
    held.loop.advance(100 * MS - 1)
    assert ({}, True) == (lost(held), held.wire.pausing)
    held.loop.advance(1)
    assert ({Drop.QUEUE_FULL: 5}, 5, False) == (lost(held), held.read(Reg.MPC), held.wire.pausing)
    held.give(0)
    held.wire.send_all([small(9)])
    held.loop.run_until_idle()
    assert stored(small(9)) == [held.frame_at(0)]


@pytest.mark.parametrize("how", ["reset", "RE off", "asleep", "bus reset", "detached"])
def test_a_receiver_that_is_switched_off_drops_the_rest_and_frees_the_wire(held: Machine, how: str) -> None:
    held.switch_off(how)
    assert not held.nic.receiver.behind
    held.loop.run_until_idle()
    assert ({Drop.REFUSED: 5}, False) == (lost(held), held.wire.pausing)


@pytest.mark.parametrize("again", [[small(1), small(2)], [large(40)]], ids=["small", "large"])
def test_a_reset_between_turns_starts_over_cleanly(make_machine: MakeMachine, again: list[bytes]) -> None:
    machine = make_machine(vnet=True)
    machine.start(64)
    machine.wire.send_all([large(40)])
    machine.write(Reg.CR, Command.RST)
    machine.start(64)
    machine.wire.send_all(again)
    machine.loop.run_until_idle()
    expected = stored(*again)
    assert expected == [machine.frame_at(index) for index in range(len(expected))]
    assert {Drop.REFUSED: 24} == lost(machine)


def test_dropping_counts_each_missed_segment(make_machine: MakeMachine) -> None:
    """R-55, with `overflow=drop`: also where that takes several turns."""
    machine = make_machine(vnet=True)
    machine.start(4)
    machine.wire.send_all([large(50), small(1)])
    machine.loop.run_until_idle()
    assert (4, {Drop.QUEUE_FULL: 47}, 47) == (machine.nic.tally.rx_ok, lost(machine), machine.read(Reg.MPC))
    assert (Interrupt.ROK | Interrupt.RDU, False) == (machine.take_interrupts(), machine.wire.pausing)


def test_segments_without_memory_behind_the_ring_are_counted(held: Machine) -> None:
    held.guest.config_write(4, 3, 2)
    held.loop.advance(MS // 5)
    assert ({Drop.HOST_ERROR: 5}, False) == (lost(held), held.wire.pausing)


def test_a_filter_that_changes_in_the_middle_drops_the_rest(held: Machine) -> None:
    held.write(Reg.RCR, 0)
    for index in range(4):
        held.give(index)
    held.loop.advance(MS // 5)
    assert ({Drop.REFUSED: 5}, False, False) == (lost(held), held.wire.pausing, held.nic.receiver.behind)


def test_features_that_change_in_the_middle_hold_for_the_rest(make_machine: MakeMachine) -> None:
    machine = make_machine(vnet=True, overflow=Overflow.HOLD)
    machine.start(4)
    machine.wire.send_all([large(6, tag=TAG)])
    machine.loop.run_until_idle()
    tagged = stored(large(6, tag=TAG))
    assert tagged[:4] == [machine.frame_at(index) for index in range(4)]
    machine.write(Reg.CPCR, CpCommand.RX | CpCommand.TX | CpCommand.RX_VLAN | CpCommand.RX_CHECKSUM)
    for index in range(4):
        machine.give(index)
    machine.loop.advance(MS // 5)
    # The FCS is that of the frame on the wire.
    plain = [(data[:12] + data[16:-4]).ljust(60, b"\0") + data[-4:] for data in tagged[4:]]
    assert plain == [machine.frame_at(index) for index in range(2)]
    assert all(machine.descriptor(machine.rx, index)[1] == 0x10000 | 0x050A for index in range(2))
    assert all(machine.descriptor(machine.rx, index)[0] & VERDICT == 0x10000 for index in range(2))


@pytest.mark.parametrize("seed", range(20))
def test_a_driver_at_its_own_pace_gets_everything_in_order(make_machine: MakeMachine, seed: int) -> None:
    """Large frames and small ones; it takes a few descriptors now and then, silently or with an access."""
    random = Random(seed)
    machine = make_machine(vnet=True, overflow=Overflow.HOLD)
    size = random.choice((2, 5, 16, 64))
    machine.start(size)
    frames = [
        large(random.randint(2, 45), fill=index, mss=random.choice((100, 1448)))
        if random.random() < 0.5
        else small(index)
        for index in range(20)
    ]
    machine.wire.send_all(frames)
    expected, found = stored(*frames), []
    for at in range(len(expected)):
        index = at % size
        for _ in range(10):
            if not machine.descriptor(machine.rx, index)[0] & OWN:
                break
            machine.loop.advance(random.randrange(100_000, 9_000_000))
        found.append(machine.frame_at(index))
        machine.give(index, size)
        if random.random() < 0.1:
            machine.write(Reg.ISR, machine.read(Reg.ISR))
    assert expected == found
    machine.loop.advance(1000 * MS)
    assert ({}, False, len(expected)) == (lost(machine), machine.wire.pausing, machine.nic.tally.rx_ok)
