"""A machine with one 8139C+, driven register by register."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

import pytest

from etherloom import VNET_HEADER_BYTES, Network
from etherloom.device import Register
from etherloom.guest import InlineGuest
from etherloom.testing import MemoryPeer, VirtualLoop
from etherloom_rtl8139.model import Rtl8139
from etherloom_rtl8139.receive import Overflow
from etherloom_rtl8139.registers import Command, CpCommand, Poll, Registers
from etherloom_rtl8139.rings import DESCRIPTOR_BYTES, EOR, FS, LS, OWN, RING_MAX

MAC = bytes.fromhex("525400123456")
STRANGER = bytes.fromhex("5254000000aa")
NO_OFFLOAD = bytes(VNET_HEADER_BYTES)
CRC_BYTES = 4


class Machine:
    """The device, its wire, its guest; rings of `size` descriptors with 2 KiB buffers, as the test asks for them.

    Attributes:
        nic, wire, guest: The parts; `wire` collects what the device sends.
        rx, tx, high: Guest addresses of the rings.
        told: When `listen` heard an interrupt, in ns, and what ISR showed.
    """

    def __init__(
        self, loop: VirtualLoop, network: Network, *, vnet: bool, overflow: Overflow, mitigation: bool
    ) -> None:
        self.loop, self.network = loop, network
        self.nic = Rtl8139("nic", network.context, mac=MAC, overflow=overflow, mitigation=mitigation)
        self.wire = MemoryPeer("wire", network.context, vnet=vnet)
        network.add(self.nic)
        network.add(self.wire, self.nic)
        self.guest = InlineGuest(self.nic)
        self.rx, self.tx, self.high = (self.guest.allocate(RING_MAX * DESCRIPTOR_BYTES) for _ in range(3))
        self.buffers = self.guest.allocate(RING_MAX * 2048)
        self.told: list[tuple[int, int]] = []

    # Registers and memory

    def read(self, register: Register) -> int:
        return self.guest.read(register.offset, register.width)

    def write(self, register: Register, value: int) -> None:
        self.guest.write(register.offset, value, register.width)

    def poke(self, address: int, data: bytes) -> None:
        start = address - 0x10_0000
        self.guest.ram[start : start + len(data)] = data

    def peek(self, address: int, size: int) -> bytes:
        start = address - 0x10_0000
        return self.guest.ram[start : start + size]

    def descriptor(self, ring: int, index: int) -> tuple[int, int]:
        """Both status words."""
        first, second = struct.unpack("<II", self.peek(ring + index * DESCRIPTOR_BYTES, 8))
        return first, second

    def put(self, ring: int, index: int, command: int, vlan: int = 0, buffer: int = 0) -> None:
        """Write a descriptor."""
        self.poke(ring + index * DESCRIPTOR_BYTES, struct.pack("<IIQ", command, vlan, buffer))

    def take_interrupts(self) -> int:
        """What ISR shows, acknowledged."""
        self.loop.run_until_idle()
        status = self.read(Registers.ISR)
        self.write(Registers.ISR, status)
        return status

    def listen(self, mask: int = 0xFFFF) -> None:
        """Unmask, and from now on acknowledge what comes."""

        def interrupt() -> None:
            status = self.read(Registers.ISR)
            self.told.append((self.loop.clock.now_ns(), status))
            self.write(Registers.ISR, status)

        self.guest.interrupt = interrupt
        self.write(Registers.IMR, mask)

    # Both directions

    def start(self, size: int = 4, *, accept: int = 0x0F, features: int = 0, buffer_bytes: int = 2048) -> None:
        """Enable both directions, with receive descriptors given to the device."""
        self.write(Registers.CPCR, CpCommand.RX | CpCommand.TX | features)
        self.write(Registers.RDSAR, self.rx)
        self.write(Registers.TNPDS, self.tx)
        self.write(Registers.THPDS, self.high)
        for index in range(size):
            self.give(index, size, buffer_bytes)
        self.write(Registers.CR, Command.RE | Command.TE)
        self.write(Registers.RCR, accept)

    def give(self, index: int, size: int = 4, buffer_bytes: int = 2048) -> None:
        """Give a receive descriptor to the device."""
        command = OWN | buffer_bytes | (EOR if index == size - 1 else 0)
        self.put(self.rx, index, command, 0, self.buffers + 2048 * index)

    def frame_at(self, index: int) -> bytes:
        """What a receive descriptor returned, with CRC; the device must not own it."""
        status, _ = self.descriptor(self.rx, index)
        assert not status & OWN
        return self.peek(self.buffers + 2048 * index, status & 0x1FFF)

    def hear(self, *frames: bytes) -> None:
        """Frames from the wire, as one burst."""
        self.wire.send_all([NO_OFFLOAD + frame if self.wire.vnet else frame for frame in frames])
        self.loop.run_until_idle()

    def send(self, *frames: bytes, command: int = 0, vlan: int = 0, ring: int | None = None) -> None:
        """Put whole frames into the first descriptors and demand a poll; the buffers are those of reception."""
        at = self.buffers
        for index, frame in enumerate(frames):
            self.poke(at, frame)
            end = EOR if index == RING_MAX - 1 else 0
            self.put(self.tx if ring is None else ring, index, OWN | FS | LS | end | len(frame) | command, vlan, at)
            at += len(frame)
        self.write(Registers.TPPOLL, Poll.NPQ if ring is None or ring == self.tx else Poll.HPQ)
        self.loop.run_until_idle()

    def switch_off(self, how: str) -> None:
        """Stop the receiver: `reset`, `RE off`, `asleep`, `bus reset` or `detached`."""
        if how == "reset":
            self.write(Registers.CR, Command.RST)
        elif how == "RE off":
            self.write(Registers.CR, 0)
        elif how == "asleep":
            self.guest.config_write(0x54, 3, 2)
        elif how == "bus reset":
            self.nic.bus_reset()
        elif how == "detached":
            self.guest.unplug()
        else:
            raise ValueError(how)

    @property
    def sent(self) -> list[bytes]:
        """What left, without virtio-net headers."""
        return [frame[VNET_HEADER_BYTES if self.wire.vnet else 0 :] for frame in self.wire.received]


def make_frame(destination: bytes = MAC, size: int = 60, fill: int = 0x5A) -> bytes:
    """A frame of an experimental EtherType."""
    return (destination + STRANGER + b"\x88\xb5").ljust(size, bytes([fill]))


@pytest.fixture
def make_machine(virtual_loop: VirtualLoop, network: Network) -> Iterator[Callable[..., Machine]]:
    """`make_machine(vnet=True)`; whatever a test does to the device must not take it down."""
    made: list[Machine] = []

    def make(*, vnet: bool = False, overflow: Overflow = Overflow.DROP, mitigation: bool = True) -> Machine:
        made.append(Machine(virtual_loop, network, vnet=vnet, overflow=overflow, mitigation=mitigation))
        return made[-1]

    yield make
    for machine in made:
        virtual_loop.run_until_idle()
        assert machine.nic.failure is None


@pytest.fixture
def machine(make_machine: Callable[..., Machine]) -> Machine:
    """One on a plain wire that drops what finds no descriptor."""
    return make_machine()
