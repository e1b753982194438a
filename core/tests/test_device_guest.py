"""A device in a guest: the model's base class, bus `inline`, the trace, the echo host (`etherloom.guest`)."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Sequence
from ipaddress import IPv4Interface

import pytest

from etherloom import Frame, Network
from etherloom.device import Bar, NicModel, PciIdentity, PowerManagement, Register
from etherloom.device.trace import Event, Summary, Trace, to_json_lines
from etherloom.guest import InlineGuest, NicDriver
from etherloom.guest.host import BACKLOG_MAX, EchoHost
from etherloom.guest.inline import RAM_BASE
from etherloom.net.offload.checksum import checksum, word_sum
from etherloom.testing import VirtualLoop

MAC = bytes.fromhex("525400123456")
PEER = bytes.fromhex("5254000000aa")


class Toy(NicModel):
    """Stores each frame at ADDRESS and interrupts; a write to GO sends LENGTH bytes from there."""

    identity = PciIdentity(vendor=0x1AF4, device=0xBEEF)
    bars = (Bar(256),)

    ADDRESS = Register(0x00, 8, "address")
    LENGTH = Register(0x08, 4, "length")
    GO = Register(0x0C, 1, "go")
    STATUS = Register(0x10, 1, "status")

    def __init__(self, name: str, network: Network) -> None:
        super().__init__(name, network.context, mac=MAC, capabilities=[PowerManagement.of(0xF7C2)])
        self.log: list[str] = []

    @GO.on_write
    def _go(self, _: int) -> None:
        self.send(self.dma.read(self.ADDRESS, self.LENGTH))

    @STATUS.on_write
    def _acknowledge(self, value: int) -> None:
        self.irq.set(value != 0)

    def receive(self, frame: Frame) -> bool:
        self.dma.write(self.ADDRESS, bytes(frame))
        self.LENGTH = len(frame)
        self.STATUS = 1
        self.irq.set(True)
        return True

    def reset(self) -> None:
        self.log.append("reset")

    def woken(self) -> None:
        self.log.append("woken")

    def pci_changed(self) -> None:
        self.log.append("pci")


@pytest.fixture
def toy(network: Network) -> Toy:
    nic = Toy("nic", network)
    network.add(nic)
    return nic


def test_a_guest_finds_memory_registers_and_configuration(toy: Toy) -> None:
    guest = InlineGuest(toy)
    guest.write(0, 0x1122334455667788, 8)
    assert (0x1122334455667788, 0x11223344) == (guest.read(0, 8), guest.read(4, 4))
    guest.config_write(0x3C, 0x0B, 1)
    assert (0x0B, 0xBEEF1AF4) == (guest.config_read(0x3C, 1), guest.config_read(0, 4))


def test_allocations_are_aligned_apart_and_end(toy: Toy) -> None:
    guest = InlineGuest(toy, ram_bytes=8192)
    places = [guest.allocate(100), guest.allocate(100), guest.allocate(8, align=8)]
    assert [RAM_BASE, RAM_BASE + 256, RAM_BASE + 360] == places
    with pytest.raises(MemoryError):
        guest.allocate(8192)


def test_an_interrupt_comes_from_the_loop_again_and_again_until_it_is_acknowledged(
    toy: Toy, virtual_loop: VirtualLoop
) -> None:
    guest = InlineGuest(toy)
    guest.write(0, RAM_BASE, 8)
    calls: list[int] = []

    def interrupt() -> None:
        calls.append(guest.read(0x10, 1))
        if len(calls) == 3:
            guest.write(0x10, 0, 1)

    guest.interrupt = interrupt
    toy.receive(bytes(60))
    assert calls == []
    virtual_loop.run_until_idle()
    assert [1, 1, 1] == calls


def test_an_unplugged_device_is_reset_and_has_no_memory(toy: Toy, virtual_loop: VirtualLoop) -> None:
    guest = InlineGuest(toy)
    guest.write(0, RAM_BASE, 8)
    calls: list[int] = []
    guest.interrupt = lambda: calls.append(1)
    toy.receive(bytes(60))
    guest.unplug()
    virtual_loop.run_until_idle()
    assert ([], None, 0, False) == (calls, toy.dma.memory, toy.ADDRESS, toy.irq.level)
    assert toy.log[-1] == "reset"


def test_asleep_the_kit_keeps_accesses_away_and_tells_of_waking(toy: Toy) -> None:
    guest = InlineGuest(toy)
    guest.write(0x08, 77, 4)
    guest.config_write(0x54, 3, 2)
    guest.write(0x08, 5, 4)
    assert (0, True) == (guest.read(0x08, 4), toy.sleeping)
    toy.log.clear()
    guest.config_write(0x54, 0, 2)
    assert (77, ["woken", "pci"]) == (guest.read(0x08, 4), toy.log)


def test_the_next_access_is_told_once_after_it_happened(toy: Toy) -> None:
    guest = InlineGuest(toy)
    seen: list[int] = []
    toy.on_next_access(lambda: seen.append(toy.LENGTH))
    toy.on_next_access(lambda: seen.append(-1))  # asked for already
    guest.write(8, 5, 4)
    guest.write(8, 6, 4)
    toy.on_next_access(lambda: seen.append(toy.LENGTH))
    guest.read(8, 4)
    assert [5, 6] == seen


def test_a_trace_tells_what_a_driver_does_and_goes_without_trace(toy: Toy) -> None:
    guest = InlineGuest(toy)
    events: list[Event] = []
    trace = Trace(toy, events.append)
    guest.write(0, RAM_BASE, 8)
    guest.write(9, 0, 1)
    toy.receive(bytes(60))
    toy.send(bytes(61))
    guest.read(0x20, 1)
    toy.dma.read(RAM_BASE, 4)
    trace.stop()
    guest.read(0, 4)
    toy.receive(bytes(60))
    toy.send(bytes(61))
    expected = [
        ("write", "ADDRESS", 0, 8, RAM_BASE),
        ("write", "LENGTH+1", 9, 1, 0),
        ("dma-write", "", RAM_BASE, 60, None),
        ("interrupt", "", 0, 0, 1),
        ("frame-received", "", 0, 60, None),
        ("frame-sent", "", 0, 61, None),
        ("read", "", 0x20, 1, 0),
        ("dma-read", "", RAM_BASE, 4, None),
    ]
    assert expected == [(e.what, e.name, e.address, e.size, e.value) for e in events if e.what != "reset"]
    assert ["trace" in part.__dict__ for part in (toy.registers, toy.dma)] == [False, False]


def test_a_summary_counts_by_name_and_json_has_one_object_a_line(toy: Toy) -> None:
    guest = InlineGuest(toy)
    summary, file = Summary(), io.StringIO()
    lines = to_json_lines(file)

    def both(event: Event) -> None:
        summary(event)
        lines(event)

    trace = Trace(toy, both)
    guest.write(0, RAM_BASE, 8)
    guest.read(0x10, 1)
    guest.read(0x10, 1)
    toy.receive(bytes(60))
    toy.dma.read(RAM_BASE, 4)
    toy.irq.set(False)
    trace.stop()
    assert {"reads": {"STATUS": 2}, "writes": {"ADDRESS": 1}} | {
        "dma_read_bytes": 4,
        "dma_written_bytes": 60,
        "interrupts": 1,
    } == summary.as_dict()
    parsed = [json.loads(line) for line in file.getvalue().splitlines()]
    said = ["write", "read", "read", "dma-write", "interrupt", "frame-received", "dma-read", "interrupt"]
    assert said == [event["what"] for event in parsed]


class Line(NicDriver):
    """A driver whose device is a list; it takes `room` frames at a time."""

    def __init__(self, guest: InlineGuest) -> None:
        super().__init__(guest)
        self.mac, self.room = MAC, 1000
        self.sent: list[bytes] = []
        self.arrived: list[bytes] = []

    def transmit(self, frames: Sequence[bytes]) -> int:
        taken = list(frames)[: self.room]
        self.sent += taken
        return len(taken)

    def interrupt(self) -> None:
        arrived, self.arrived = self.arrived, []
        for frame in arrived:
            self.deliver(frame)


class Talk:
    """A host, and what is said to it."""

    def __init__(self, toy: Toy) -> None:
        self.driver = Line(InlineGuest(toy))
        self.host = EchoHost(self.driver, IPv4Interface("10.0.2.15/24"))

    def hear(self, *frames: bytes) -> list[bytes]:
        self.driver.sent = []
        self.driver.arrived = list(frames)
        self.host.interrupt()
        return self.driver.sent


US, THEM = bytes([10, 0, 2, 15]), bytes([10, 0, 2, 2])


def ipv4(protocol: int, body: bytes, *, target: bytes = US, fragment: int = 0, source: bytes = THEM) -> bytes:
    header = struct.pack(">BBHHHBB2x4s4s", 0x45, 0, 20 + len(body), 9, fragment, 64, protocol, source, target)
    header = header[:10] + checksum(word_sum(header)).to_bytes(2, "big") + header[12:]
    return MAC + PEER + b"\x08\0" + header + body


def answered(data: bytes) -> bytes:
    """The same in the other direction, from the host."""
    return PEER + MAC + data[12:]


def icmp(kind: int, body: bytes = b"payload!") -> bytes:
    data = bytes([kind, 0, 0, 0]) + b"\0\1\0\2" + body
    return data[:2] + checksum(word_sum(data)).to_bytes(2, "big") + data[4:]


def udp(source: int, target: int, body: bytes, addresses: bytes) -> bytes:
    data = struct.pack(">HHHH", source, target, 8 + len(body), 0) + body
    pseudo = word_sum(addresses) + 17 + len(data)
    return data[:6] + (checksum(word_sum(data) + pseudo) or 0xFFFF).to_bytes(2, "big") + data[8:]


ARP = struct.pack(">HHBBH", 1, 0x0800, 6, 4, 1) + PEER + THEM + bytes(6) + US


@pytest.fixture
def talk(toy: Toy) -> Talk:
    return Talk(toy)


def test_host_answers_arp(talk: Talk) -> None:
    reply = PEER + MAC + b"\x08\x06" + struct.pack(">HHBBH", 1, 0x0800, 6, 4, 2) + MAC + US + PEER + THEM
    assert [reply] == talk.hear(b"\xff" * 6 + PEER + b"\x08\x06" + ARP)


@pytest.mark.parametrize(
    "arp",
    [ARP[:-1] + b"\x63", ARP[:6] + b"\0\2" + ARP[8:], b"\0\6" + ARP[2:], ARP[:20]],
    ids=["other", "reply", "kind", "cut"],
)
def test_host_ignores_arp_for_others(talk: Talk, arp: bytes) -> None:
    assert [] == talk.hear(b"\xff" * 6 + PEER + b"\x08\x06" + arp)


def test_host_answers_ping(talk: Talk) -> None:
    header = bytearray(ipv4(1, icmp(0), target=THEM, source=US))
    assert [answered(bytes(header))] == talk.hear(ipv4(1, icmp(8)))


def test_host_answers_udp_echo_with_and_without_checksum(talk: Talk) -> None:
    reply = answered(ipv4(17, udp(7, 999, b"hi", US + THEM), target=THEM, source=US))
    request = udp(999, 7, b"hi", THEM + US)
    assert [reply] == talk.hear(ipv4(17, request))
    assert [reply] == talk.hear(ipv4(17, request[:6] + b"\0\0" + request[8:]))


def test_host_ignores_padding(talk: Talk) -> None:
    (reply,) = talk.hear(ipv4(1, icmp(8, b"")).ljust(60, b"\xee"))
    assert len(reply) == 42


@pytest.mark.parametrize(
    "data",
    [
        ipv4(1, icmp(8), target=THEM),
        ipv4(1, icmp(0)),
        ipv4(1, icmp(8)[:-1] + b"?"),
        ipv4(1, icmp(8), fragment=0x2000),
        ipv4(17, udp(999, 8, b"hi", THEM + US)),
        ipv4(17, udp(999, 7, b"hi", THEM + US)[:-1] + b"?"),
        ipv4(6, bytes(20)),
        ipv4(1, icmp(8))[:24] + b"\xff\xff" + ipv4(1, icmp(8))[26:],
        ipv4(1, icmp(8))[:40],
        ipv4(1, icmp(8))[:30],
        ipv4(1, b"\x08\0"),
        MAC + PEER + b"\x88\xb5" + bytes(46),
        b"",
    ],
    ids=lambda data: f"{len(data)} bytes",
)
def test_host_ignores_everything_else(talk: Talk, data: bytes) -> None:
    assert ([], 0) == (talk.hear(data), talk.host.answered)


def test_host_keeps_what_the_ring_has_no_room_for_and_loses_what_is_too_much(talk: Talk) -> None:
    talk.driver.room = 100
    ping = ipv4(1, icmp(8))
    assert [100, 100, 56] == [len(talk.hear(*frames)) for frames in ([ping] * 300, [], [])]
    assert (BACKLOG_MAX, 300 - BACKLOG_MAX) == (talk.host.answered, talk.host.lost)
