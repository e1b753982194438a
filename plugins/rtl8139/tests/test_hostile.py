"""Guests and wires that attack: the published holes of emulated 8139s, each with its attacker (S-1 to S-11)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from itertools import product
from mmap import mmap
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etherloom import Drop, Frame
from etherloom.net.offload import VnetHeader
from etherloom_rtl8139.registers import CpCommand, Interrupt, Poll
from etherloom_rtl8139.registers import Registers as Reg
from etherloom_rtl8139.rings import EOR, FS, LS, OWN

if TYPE_CHECKING:
    from plugins.rtl8139.tests.conftest import Machine

MAC = bytes.fromhex("525400123456")
OTHER = bytes.fromhex("5254000000aa")
LGSEN, IPCS, UDPCS, TCPCS = 1 << 27, 1 << 18, 1 << 17, 1 << 16
POISON = b"\xd1\x5e\xa5\xed"

MakeMachine = Callable[..., "Machine"]


def ipv4(version: int, total: int, protocol: int, body: bytes) -> bytes:
    header = struct.pack(">BBHHHBBH4s4s", version, 0, total, 7, 0, 64, protocol, 0, b"\x0a\0\0\1", b"\x0a\0\0\2")
    return OTHER + MAC + b"\x08\0" + header + body


def tcp(payload: int, offset: int = 5) -> bytes:
    return struct.pack(">HHIIBBHHH", 1, 2, 3, 4, offset << 4, 0x19, 500, 0, 0) + b"p" * payload


LIES = {
    "short Ethernet": (OTHER + MAC + b"\x08\0").ljust(60, b"\0"),
    "IHL 0": ipv4(0x40, 80, 6, tcp(40)),
    "IHL 4": ipv4(0x44, 80, 6, tcp(40)),
    "IHL beyond frame": ipv4(0x4F, 80, 6, tcp(6)),
    "total below IHL": ipv4(0x45, 19, 6, tcp(40)),
    "total beyond frame": ipv4(0x45, 65535, 6, tcp(40)),
    "not version 4": ipv4(0x65, 80, 6, tcp(40)),
    "TCP below 20": ipv4(0x45, 39, 6, tcp(40)),
    "data offset 4": ipv4(0x45, 80, 6, tcp(40, offset=4)),
    "data offset beyond": ipv4(0x45, 40, 6, tcp(40, offset=15)),
    "UDP below 8": ipv4(0x45, 27, 17, tcp(40)),
}


@pytest.mark.parametrize("vnet", [False, True])
@pytest.mark.parametrize("lie", LIES)
def test_s_1_a_frame_that_lies_about_its_lengths_leaves_as_it_is(
    make_machine: MakeMachine, lie: str, vnet: bool
) -> None:
    """CVE-2015-5165: bytes behind the frame went out. RAM around it is poisoned here."""
    machine = make_machine(vnet=vnet)
    machine.start()
    frame = LIES[lie]
    combinations = [sum(flags) for flags in product((0, LGSEN | 100 << 16), (0, IPCS), (0, UDPCS), (0, TCPCS))]
    for command in combinations:
        machine.poke(machine.buffers, POISON * 2048)
        machine.poke(machine.buffers + 1000, frame)
        machine.write(Reg.TNPDS, machine.tx)
        machine.put(machine.tx, 0, OWN | FS | LS | command | len(frame), 0, machine.buffers + 1000)
        machine.write(Reg.TPPOLL, Poll.NPQ)
    machine.loop.run_until_idle()
    assert [frame] * len(combinations) == machine.sent


class DeafRam:
    """RAM that ignores writes: a descriptor in it belongs to the device for ever."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, key: slice) -> bytes:
        return self._data[key]

    def __setitem__(self, key: slice, value: bytes) -> None:
        pass


def test_s_2_descriptors_that_always_belong_to_the_chip_end_after_64(machine: Machine) -> None:
    """CVE-2016-8910: the transmit loop ran for ever."""
    machine.start()
    descriptor = struct.pack("<IIQ", OWN | FS | LS | EOR | 60, 0, machine.buffers)
    machine.guest.memory.map(0x8000_0000, DeafRam(descriptor * 64))
    machine.write(Reg.TNPDS, 0x8000_0000)
    machine.write(Reg.TPPOLL, Poll.NPQ)
    assert len(machine.sent) == 64
    machine.loop.run_until_idle()
    assert len(machine.sent) == 64


def test_s_2_both_rings_at_once_end_as_well(machine: Machine) -> None:
    machine.start()
    descriptor = struct.pack("<IIQ", OWN | FS | LS | EOR | 60, 0, machine.buffers)
    machine.guest.memory.map(0x8000_0000, DeafRam(descriptor * 64))
    machine.write(Reg.TNPDS, 0x8000_0000)
    machine.write(Reg.THPDS, 0x8000_0000)
    machine.write(Reg.TPPOLL, Poll.NPQ | Poll.HPQ)
    machine.loop.run_until_idle()
    assert len(machine.sent) == 128


@pytest.mark.parametrize("size", [0, 1, 5, 6, 13, 14, 59, 60, 4092, 4093, 65535, 65536, 1 << 20])
def test_s_3_frames_of_any_size_are_stored_or_dropped_by_rule(machine: Machine, size: int) -> None:
    """CVE-2018-17958: a size that turned negative. Straight into the model, past the network's own limits."""
    machine.start(accept=0x0F, features=CpCommand.RX_VLAN | CpCommand.RX_CHECKSUM)
    assert machine.nic.receive(bytes(10 + size)) is True
    assert (1 if 14 <= size <= 4092 else 0) == machine.nic.tally.rx_ok


@pytest.mark.parametrize("what", ["buffer", "ring", "transmit buffer", "transmit ring", "tally"])
def test_s_4_dma_into_the_own_registers_is_refused(machine: Machine, what: str) -> None:
    """CVE-2021-3416, with loopback so that a write to TPPOLL would transmit again: there is no way but an error."""
    machine.start()
    machine.write(Reg.TCR, 0x60000)
    bar = 0xFE00_0000
    machine.guest.config_write(0x14, bar, 4)
    frame = MAC + b"\xc0" * 54
    machine.poke(machine.buffers + 0x8000, frame)
    machine.put(machine.tx, 0, OWN | FS | LS | 60, 0, machine.buffers + 0x8000)
    if what == "buffer":
        machine.put(machine.rx, 0, OWN | EOR | 2048, 0, bar + 0xD9)
    elif what == "ring":
        machine.write(Reg.RDSAR, bar)
    elif what == "transmit buffer":
        machine.put(machine.tx, 0, OWN | FS | LS | 60, 0, bar)
    elif what == "transmit ring":
        machine.write(Reg.TNPDS, bar)
    else:
        machine.write(Reg.DTCCR, bar | 0x08)
    machine.write(Reg.TPPOLL, Poll.NPQ)
    assert Interrupt.SERR & machine.take_interrupts()
    assert (0, []) == (machine.nic.tally.rx_ok if what != "tally" else 0, machine.sent)


@pytest.mark.parametrize("replies", [1, 3])
def test_s_5_a_backend_that_answers_from_within_transmit_never_nests_receive(machine: Machine, replies: int) -> None:
    """CVE-2023-3019: the engines know nothing of each other, and neither is entered twice."""
    machine.start()
    depth, deepest = 0, 0
    receive = machine.nic.receive

    def watched(frame: Frame) -> bool:
        nonlocal depth, deepest
        depth += 1
        deepest = max(deepest, depth)
        taken = receive(frame)
        depth -= 1
        return taken

    machine.nic.__dict__["receive"] = watched
    machine.network.remove(machine.wire)
    machine.network.add(machine.wire, machine.nic)  # wires `watched` in

    def answer(frame: Frame) -> bool:
        for _ in range(replies):
            machine.wire.send(MAC + bytes(54))
        return True

    machine.wire.on_receive = answer
    machine.send(bytes(60))
    machine.loop.run_until_idle()
    assert (1, replies) == (deepest, machine.nic.tally.rx_ok)


@pytest.mark.parametrize("vnet", [False, True])
@pytest.mark.parametrize(("mss", "payload"), [(0, 60000), (1, 65481), (54, 2000), (2047, 1000), (64, 65481)])
def test_s_6_any_mss_gives_a_bounded_number_of_frames(
    make_machine: MakeMachine, mss: int, payload: int, vnet: bool
) -> None:
    """A division by zero, and 64 Ki frames of one byte."""
    machine = make_machine(vnet=vnet)
    machine.start()
    frame = ipv4(0x45, 40 + payload, 6, tcp(payload))
    head, rest = frame[:20000], frame[20000:]
    machine.poke(machine.buffers, frame)
    machine.put(machine.tx, 0, OWN | FS | LGSEN | mss << 16 | len(head), 0, machine.buffers)
    machine.put(machine.tx, 1, OWN | LS | LGSEN | mss << 16 | len(rest), 0, machine.buffers + 20000)
    machine.write(Reg.TPPOLL, Poll.NPQ)
    machine.loop.run_until_idle()
    assert 1 <= len(machine.sent) <= 1024
    if vnet:
        assert VnetHeader.unpack(machine.wire.received[0]).gso_size in (0, 64)


def test_s_7_a_chain_without_end_needs_no_memory(machine: Machine) -> None:
    machine.start()
    for index in range(64):
        command = OWN | (FS if index == 0 else 0) | (EOR if index == 63 else 0) | 0xFFFF
        machine.put(machine.tx, index, command, 0, machine.buffers)
    longest = 0
    for turn in range(160):  # 10,240 descriptors
        for index in range(64):
            command, _ = machine.descriptor(machine.tx, index)
            machine.put(machine.tx, index, (command | OWN) & ~FS if turn else command | OWN, 0, machine.buffers)
        machine.write(Reg.TPPOLL, Poll.NPQ)
        longest = max(longest, len(machine.nic.transmitter.normal.chain or b""))
    machine.put(machine.tx, 0, OWN | LS | 60, 0, machine.buffers)
    machine.write(Reg.TPPOLL, Poll.NPQ)
    assert (True, [], 1) == (longest <= 65536, machine.sent, machine.nic.tally.tx_err)


def test_s_7_a_chain_of_empty_descriptors_needs_none_either(machine: Machine) -> None:
    machine.start()
    for index in range(64):
        machine.put(machine.tx, index, OWN | (FS if index == 0 else 0) | (EOR if index == 63 else 0), 0, 0)
    machine.write(Reg.TPPOLL, Poll.NPQ)
    assert bytearray() == machine.nic.transmitter.normal.chain


EXPECTED_SUMS = {  # flags: which of the two sums are completed, for TCP and for UDP
    (tcp_flag, udp_flag, ip_flag): ((ip_flag, tcp_flag), (ip_flag, udp_flag))
    for tcp_flag, udp_flag, ip_flag in product((False, True), repeat=3)
}


@pytest.mark.parametrize("flags", EXPECTED_SUMS, ids=lambda flags: "".join(str(int(flag)) for flag in flags))
@pytest.mark.parametrize("protocol", [6, 17])
def test_s_8_each_combination_of_flags_does_what_each_says(
    machine: Machine, flags: tuple[bool, bool, bool], protocol: int
) -> None:
    """R-87: flags were read from a descriptor that was written back already."""
    machine.start()
    body = tcp(40) if protocol == 6 else struct.pack(">HHHH", 1, 2, 48, 0) + b"u" * 40
    frame = ipv4(0x45, 20 + len(body), protocol, body)
    command = sum(bit for bit, on in zip((TCPCS, UDPCS, IPCS), flags, strict=True) if on)
    machine.send(frame, command=command)
    at = 34 + (16 if protocol == 6 else 6)
    done = machine.sent[0][24:26] != b"\0\0", machine.sent[0][at : at + 2] != b"\0\0"
    assert EXPECTED_SUMS[flags][0 if protocol == 6 else 1] == done


@given(
    sizes=st.lists(st.integers(1, 8191), min_size=1, max_size=64),
    frames=st.lists(st.integers(14, 4092), min_size=1, max_size=8),
    features=st.sampled_from([0, CpCommand.RX_VLAN, CpCommand.RX_CHECKSUM]),
)
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_s_9_no_byte_outside_the_buffers_ever_changes(
    machine: Machine, sizes: list[int], frames: list[int], features: int
) -> None:
    machine.nic.bus_reset()
    machine.guest.config_write(4, 7, 2)
    ram = machine.guest.ram
    ram[:] = POISON * (len(ram) // 4)
    machine.start(0, features=features)
    given, at = [], machine.buffers
    for index, size in enumerate(sizes):
        machine.put(machine.rx, index, OWN | (EOR if index == len(sizes) - 1 else 0) | size, 0, at)
        given.append((at, size))
        given.append((machine.rx + 16 * index, 8))
        at += size + 13  # a gap of poison
    before = ram[:]
    for size in frames:
        machine.nic.receive(bytes(10) + (MAC + OTHER + b"\x81\x00").ljust(size, b"\x11"))
    for address, size in given:
        start = address - 0x10_0000
        ram[start : start + size] = before[start : start + size]
    assert before == ram[:]


@pytest.mark.parametrize("which", ["receive", "transmit"])
def test_s_10_a_ring_without_end_stays_within_64_descriptors(machine: Machine, which: str) -> None:
    machine.start(0)
    ring = machine.rx if which == "receive" else machine.tx
    for index in range(70):
        machine.put(ring, index, OWN | FS | LS | 64, 0, machine.buffers)
    behind = machine.peek(ring + 1024, 96)
    if which == "receive":
        machine.hear(*[MAC + bytes(54)] * 70)
    else:
        machine.write(Reg.TPPOLL, Poll.NPQ)
        machine.write(Reg.TPPOLL, Poll.NPQ)
    assert behind == machine.peek(ring + 1024, 96)
    assert 64 == (machine.nic.tally.rx_ok if which == "receive" else machine.nic.tally.tx_ok)


def test_s_11_chains_over_64_kib_are_dropped_and_counted(machine: Machine) -> None:
    machine.start()
    for index in range(4):
        command = OWN | (FS if index == 0 else LS if index == 3 else 0) | 0xFFFF
        machine.put(machine.tx, index, command, 0, machine.buffers)
    machine.write(Reg.TPPOLL, Poll.NPQ)
    assert ([], {Drop.MALFORMED: 1}) == (machine.sent, machine.nic.counters.drops)
    assert Interrupt.TER & machine.take_interrupts()


def test_a_frame_of_exactly_64_kib_passes(machine: Machine) -> None:
    machine.start()
    machine.put(machine.tx, 0, OWN | FS | 0x8000, 0, machine.buffers)
    machine.put(machine.tx, 1, OWN | LS | 0x8000, 0, machine.buffers)
    machine.write(Reg.TPPOLL, Poll.NPQ)
    assert [65536] == [len(frame) for frame in machine.sent]


def test_one_demand_for_much_segmentation_spreads_over_turns(machine: Machine) -> None:
    """A bounded number of frames from within the guest's write, the rest from the loop."""
    machine.start()
    frame = ipv4(0x45, 40 + 60000, 6, tcp(60000))
    machine.poke(machine.buffers, frame)
    for index in range(8):
        machine.put(machine.tx, index, OWN | FS | LS | LGSEN | 64 << 16 | len(frame), 0, machine.buffers)
    machine.write(Reg.TPPOLL, Poll.NPQ)
    assert 938 == len(machine.sent)
    machine.loop.run_until_idle()
    assert 8 * 938 == len(machine.sent)


def test_a_read_only_ring_is_a_system_error(machine: Machine) -> None:
    machine.start()
    rom = mmap(-1, 4096)
    rom[:16] = struct.pack("<IIQ", OWN | FS | LS | 2048, 0, machine.buffers)
    machine.guest.memory.map(0x9000_0000, rom, writable=False)
    machine.write(Reg.RDSAR, 0x9000_0000)
    machine.write(Reg.TNPDS, 0x9000_0000)
    machine.write(Reg.TPPOLL, Poll.NPQ)
    machine.hear(MAC + bytes(54))
    assert Interrupt.SERR == machine.take_interrupts()
    assert (0, []) == (machine.nic.tally.rx_ok, machine.sent)


def test_looped_frames_do_not_pile_up(machine: Machine) -> None:
    machine.start()
    machine.write(Reg.TCR, 0x60000)
    frame = MAC + ipv4(0x45, 40 + 60000, 6, tcp(60000))[6:]
    machine.poke(machine.buffers, frame)
    for index in range(64):
        machine.put(machine.tx, index, OWN | FS | LS | LGSEN | 1000 << 16 | len(frame), 0, machine.buffers)
    machine.write(Reg.TPPOLL, Poll.NPQ)
    assert machine.nic.counters.drops[Drop.QUEUE_FULL] > 0
    machine.loop.run_until_idle()
    assert machine.nic.tally.rx_ok == 4
