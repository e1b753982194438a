"""Chaos: generated accesses, descriptors, frames, resets, time and links; what must hold whatever happens.

`Chaos` makes one step after another. Hypothesis picks the steps that are worth picking and starts bursts of random
ones, over 50,000 in all; the slow tier makes a million and looks at time and memory too.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from mmap import mmap
from random import Random
from selectors import SelectorKey

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from etherloom import Frame, NetClient, Network
from etherloom.device import GuestMemory, registers_of
from etherloom.net.offload import GsoType, VnetHeader
from etherloom.testing import VirtualLoop
from etherloom_rtl8139.model import Rtl8139
from etherloom_rtl8139.receive import Overflow
from etherloom_rtl8139.registers import Registers as Reg

MAC = bytes.fromhex("525400123456")
RAM, RAM_BYTES = 0x5A_0000_0000, 1 << 20
NEIGHBOUR = RAM + RAM_BYTES  # a mapping of its own, and guest-visible as one range with the first
ROM, BAR = 0x7E_0000_0000, 0xFE00_0000
CANARY, CANARY_BYTES = 0x80000, 0x40000  # offset in RAM; further from every place than any DMA is long
RINGS = [RAM + 0x1000 * index for index in range(3)]
BUFFERS = [RAM + 0x10000 + 0x2000 * index for index in range(8)]
PLACES = [*RINGS, *BUFFERS, BUFFERS[0] + 1, NEIGHBOUR - 8, NEIGHBOUR, NEIGHBOUR + 0xFFF0, ROM, BAR, BAR + 0xD9]
PLACES += [0, RAM - 8, (1 << 64) - 16, (1 << 32) - 4]
ADDRESSES = ((0x10, 0x18), (0x20, 0x30), (0xE4, 0xEC))  # registers that hold one
FRAME_SIZES = [0, 1, 13, 14, 59, 60, 64, 1514, 1518, 4092, 4093, 9000, 65535, 70000]
MAX_STEP_S = 0.010


class Sink(NetClient):
    """The wire's far end: takes frames, or not; sends what chaos wants."""

    def __init__(self, name: str, network: Network, vnet: bool) -> None:
        super().__init__(name, network.context)
        self.vnet = vnet
        self.busy = False

    def receive(self, frame: Frame) -> bool:
        return not self.busy


class Chaos:
    """One device and all that can be done to it."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.loop = VirtualLoop()
        self.network = Network(self.loop, clock=self.loop.clock)
        context = self.network.context
        self.nic = Rtl8139("nic", context, mac=MAC, overflow=random.choice(list(Overflow)))
        self.wire = Sink("wire", self.network, random.random() < 0.5)
        self.network.add(self.nic)
        self.network.add(self.wire, self.nic)
        self.ram = mmap(-1, RAM_BYTES)
        self.canary = random.randbytes(CANARY_BYTES)
        self.ram[CANARY : CANARY + CANARY_BYTES] = self.canary
        self.memory = GuestMemory()
        self.memory.map(RAM, self.ram)
        self.memory.map(NEIGHBOUR, mmap(-1, 0x10000))
        self.memory.map(ROM, mmap(-1, 0x10000), writable=False)
        self.nic.attach(self.memory, lambda _: None)
        self.nic.pci.write(4, b"\x07\x00")
        self.nic.pci.write(0x14, BAR.to_bytes(4, "little"))
        self.registers = [r for r in registers_of(Rtl8139) if r.width <= 8]
        self.steps: list[Callable[[], None]] = []
        weights = {self.write_any: 2, self.write_known: 2, self.read: 2, self.configure: 1, self.describe: 10}
        weights |= {self.fill: 10, self.poll: 12, self.hear: 12, self.wait: 3, self.link: 1, self.reset: 1}
        weights |= {self.set_up: 6, self.block: 1, self.hear_large: 3}
        for step, weight in weights.items():
            self.steps += [step] * weight

    def close(self) -> None:
        self.network.close()
        self.loop.run_until_idle()
        self.loop.close()

    def step(self) -> None:
        self.random.choice(self.steps)()

    def write_any(self) -> None:
        """Any width at any offset; but addresses are chosen, so that the canary means something."""
        offset, size = self.random.randrange(256), self.random.choice((1, 2, 4, 8))
        if any(low < offset + size and offset < high for low, high in ADDRESSES):
            return self.aim()
        return self.nic.bar_write(offset, self.random.randbytes(size))

    def aim(self) -> None:
        register = self.random.choice((Reg.RDSAR, Reg.TNPDS, Reg.THPDS, Reg.DTCCR))
        place = self.random.choice(PLACES) | (8 if register is Reg.DTCCR else 0)
        self.nic.bar_write(register.offset, place.to_bytes(8, "little"))

    def write_known(self) -> None:
        register = self.random.choice(self.registers)
        if any(low <= register.offset < high for low, high in ADDRESSES):
            return self.aim()
        bits = 8 * register.width
        value = self.random.choice((0, (1 << bits) - 1, self.random.getrandbits(bits), self.random.choice(PLACES)))
        return self.nic.bar_write(register.offset, (value & (1 << bits) - 1).to_bytes(register.width, "little"))

    def read(self) -> None:
        self.nic.bar_read(self.random.randrange(256), self.random.choice((1, 2, 4, 8)))

    def configure(self) -> None:
        offset = self.random.choice((4, 4, 6, 0x10, 0x14, 0x54, 0x54, self.random.randrange(256)))
        self.nic.pci.write(offset, self.random.randbytes(self.random.choice((1, 2, 4))))
        if self.random.random() < 0.7:  # mostly back to where DMA and engines work
            self.nic.pci.write(4, b"\x07\x00")
            self.nic.pci.write(0x54, b"\x00\x00")

    def describe(self) -> None:
        """A descriptor, somewhere in a ring."""
        command = self.random.getrandbits(32) | self.random.choice((0, 1 << 31, 0xB000_0000, 0xB000_0000))
        size = self.random.choice((command & 0xFFFF, 0, 7, 64, 1514, 2048, 8191))
        words = (command & 0xFFFF0000 | size, self.random.getrandbits(32))
        data = b"".join(word.to_bytes(4, "little") for word in words) + self.random.choice(PLACES).to_bytes(8, "little")
        at = self.random.choice(RINGS) - RAM + 16 * self.random.choice((0, 0, 1, 2, self.random.randrange(64)))
        self.ram[at : at + 16] = data

    def fill(self) -> None:
        """Sane descriptors, and something like TCP to send in their buffers."""
        base = self.random.choice(RINGS) - RAM
        offloads = self.random.choice((0, 7 << 16, 1 << 27 | self.random.choice((1, 100, 1448)) << 16))
        for index in range(16):
            buffer = self.random.choice(BUFFERS)
            size = self.random.choice((60, 1514, 2048, 8191))
            words = (0xB000_0000 | offloads | size, self.random.choice((0, 0, 1 << 17)))
            data = b"".join(word.to_bytes(4, "little") for word in words) + buffer.to_bytes(8, "little")
            self.ram[base + 16 * index : base + 16 * index + 16] = data
            total = self.random.choice((46, size - 14, 0xFFFF)).to_bytes(2, "big")
            packet = b"\x08\x00\x45\x00" + total + b"\0\0\0\0\x40\x06" + bytes(22) + b"\x50\x19" + bytes(6)
            self.ram[buffer - RAM : buffer - RAM + 54] = MAC + MAC + packet

    def poll(self) -> None:
        self.nic.bar_write(0xD9, bytes([self.random.choice((0x40, 0x80, 0xC0, 0xC1))]))

    def hear(self) -> None:
        size = self.random.choice((*FRAME_SIZES, self.random.randrange(70000)))
        target = self.random.choice((MAC, b"\xff" * 6, b"\x01\x00\x5e\0\0\1", self.random.randbytes(6)))
        kind = self.random.choice((b"\x08\x00\x45\x00", b"\x81\x00\x00\x07\x08\x00", b"\x86\xdd\x60", b"\x88\xb5"))
        frame = (target + MAC + kind + self.random.randbytes(40)).ljust(size, b"\x5a")[:size]
        frames = [self.header() + frame if self.wire.vnet else frame] * self.random.choice((1, 1, 20))
        self.send_burst(frames)

    def hear_large(self) -> None:
        """Frames that are cut on their way in, mixed with others."""
        if not self.wire.vnet:
            return
        frames = []
        for _ in range(self.random.choice((1, 3))):
            mss, size = self.random.choice((64, 536, 1448, 5000)), self.random.choice((1, 3000, 65000))
            total = (40 + size).to_bytes(2, "big")
            packet = b"\x08\x00\x45\x00" + total + b"\0\0\0\0\x40\x06" + bytes(22) + b"\x50\x19" + bytes(6 + size)
            header = VnetHeader(gso_type=GsoType.TCPV4, gso_size=mss).pack()
            frames += [header + MAC + MAC + packet, bytes(10) + MAC + MAC + bytes(100)]
        self.send_burst(frames)

    def header(self) -> bytes:
        """Mostly none; else one that fits its frame by chance."""
        if self.random.random() < 0.8:
            return bytes(10)
        words = (self.random.choice((0, 1448, self.random.randrange(1 << 16))) for _ in range(4))
        kind = bytes((self.random.randrange(4), self.random.choice((0, 1, 3, 4, 5, 0x81, self.random.randrange(256)))))
        return kind + b"".join(word.to_bytes(2, "little") for word in words)

    def send_burst(self, frames: list[bytes]) -> None:
        with self.network.burst():
            for data in frames:
                self.wire.send(data)
            self.wire.end_burst()

    def wait(self) -> None:
        self.loop.advance(self.random.choice((0, 1, 100_000, 11_000_000)))

    def link(self) -> None:
        self.network.set_link(self.wire, self.random.random() < 0.8)

    def block(self) -> None:
        self.wire.busy = self.random.random() < 0.3
        self.wire.flush()

    def reset(self) -> None:
        self.random.choice((self.nic.bus_reset, lambda: self.nic.bar_write(0x37, b"\x10")))()
        self.nic.pci.write(4, b"\x07\x00")

    def set_up(self) -> None:
        """What a driver would do, so that what follows reaches the engines."""
        for register, base in zip((Reg.RDSAR, Reg.TNPDS, Reg.THPDS), RINGS, strict=True):
            self.nic.bar_write(register.offset, base.to_bytes(8, "little"))
        self.nic.bar_write(Reg.CPCR.offset, bytes([self.random.choice((0x03, 0x63)), 0]))
        self.nic.bar_write(Reg.CR.offset, b"\x0c")
        self.nic.bar_write(Reg.RCR.offset, b"\x0f\0\0\0")
        self.nic.bar_write(Reg.TCR.offset, self.random.choice((b"\0\0\0\3", b"\0\0\6\3")))

    def check(self) -> None:
        """What must always hold."""
        assert self.nic.failure is None
        assert self.wire.failure is None
        engine = self.nic.transmitter
        for ring in (engine.high, engine.normal):
            assert len(ring.chain or b"") <= 65536
            assert 0 <= ring.left <= 64
            assert ring.next - ring.base in range(0, 1024, 16)
        assert len(self.nic._looped) <= 64
        assert self.nic.MPC <= 0xFFFFFF

    def check_rest(self) -> None:
        """When nothing has happened for long, nothing is held back, whatever there was and whoever is to blame."""
        self.loop.advance(1_000_000_000)
        self.check()
        assert not self.nic.receiver.behind
        assert self.nic._inlet is not None
        assert (False, 0) == (self.nic._inlet.busy, len(self.nic._inlet.queue))

    def check_canary(self) -> None:
        """No byte that was never given to the device has changed."""
        assert self.canary == self.ram[CANARY : CANARY + CANARY_BYTES]


class ChaosMachine(RuleBasedStateMachine):
    """Single steps, which shrink well, between bursts, which get far."""

    BURST = 150

    def __init__(self) -> None:
        super().__init__()
        self.chaos: Chaos | None = None

    @initialize(seed=st.integers(0, 1 << 32))
    def begin(self, seed: int) -> None:
        self.chaos = Chaos(Random(seed))

    @rule(seed=st.integers(0, 1 << 32))
    def burst(self, seed: int) -> None:
        assert self.chaos is not None
        self.chaos.random.seed(seed)
        for _ in range(self.BURST):
            self.chaos.step()
            self.chaos.check()

    @rule(
        offset=st.integers(0, 255),
        data=st.sampled_from([1, 2, 4, 8]).flatmap(lambda n: st.binary(min_size=n, max_size=n)),
    )
    def write(self, offset: int, data: bytes) -> None:
        assert self.chaos is not None
        if not any(low < offset + len(data) and offset < high for low, high in ADDRESSES):
            self.chaos.nic.bar_write(offset, data)

    @rule(
        header=st.sampled_from([b"", b"\0\1", b"\1\1", b"\0\4", b"\1\5"]) | st.binary(max_size=10),
        frame=st.binary(max_size=200),
        pad=st.integers(0, 70000),
    )
    def hear(self, header: bytes, frame: bytes, pad: int) -> None:
        assert self.chaos is not None
        self.chaos.nic.receive(header.ljust(10, b"\0") + frame.ljust(pad, b"\0"))

    @rule()
    def hear_large(self) -> None:
        assert self.chaos is not None
        self.chaos.hear_large()

    @rule(
        body=st.binary(min_size=14, max_size=100), command=st.integers(0, (1 << 32) - 1), vlan=st.integers(0, 1 << 18)
    )
    def send(self, body: bytes, command: int, vlan: int) -> None:
        """A frame of hypothesis's making, through every offload."""
        assert self.chaos is not None
        chaos = self.chaos
        chaos.set_up()
        data = MAC + MAC + b"\x08\x00\x45\x00" + body
        chaos.ram[0x10000 : 0x10000 + len(data)] = data
        words = (command & 0x0FFF0000 | 0xB0000000 | len(data), vlan)
        descriptor = b"".join(word.to_bytes(4, "little") for word in words) + BUFFERS[0].to_bytes(8, "little")
        chaos.ram[0x1000:0x1010] = descriptor
        chaos.poll()

    @rule(delay_ns=st.integers(0, 20_000_000))
    def wait(self, delay_ns: int) -> None:
        assert self.chaos is not None
        self.chaos.loop.advance(delay_ns)

    @invariant()
    def holds(self) -> None:
        if self.chaos is not None:
            self.chaos.check()
            self.chaos.check_canary()

    def teardown(self) -> None:
        if self.chaos is not None:
            self.chaos.check_rest()
            self.chaos.close()


ChaosMachine.TestCase.settings = settings(
    max_examples=60, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
)
TestChaos = ChaosMachine.TestCase


def times_of(seed: int) -> list[float]:
    """Seconds of processor time that each of 1,000 steps, which are the same for the same seed, took at a stretch.

    A step that waits has the loop turn many times, and between two turns everybody else gets in.
    """
    chaos = Chaos(Random(seed))
    turns, times = [], []
    select = chaos.loop._polls.select

    def turn(timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        turns.append(time.process_time())
        return select(timeout)

    chaos.loop._polls.select = turn  # type: ignore[method-assign]
    for _ in range(1000):
        turns[:] = [time.process_time()]
        chaos.step()
        turns.append(time.process_time())
        times.append(max(end - start for start, end in pairwise(turns)))
        chaos.check()
    chaos.check_canary()
    chaos.check_rest()
    chaos.close()
    return times


@pytest.mark.slow
def test_a_million_steps_take_under_10_ms_each() -> None:
    """A step that took longer is measured again: what counts is the best of three, for other work gets in between."""
    for seed in range(1000):
        times = times_of(seed)
        if max(times) >= MAX_STEP_S:
            times = [min(same) for same in zip(times, times_of(seed), times_of(seed), strict=True)]
        assert max(times) < MAX_STEP_S, f"seed {seed}, step {times.index(max(times))}"


@pytest.mark.slow
def test_a_guest_of_100_000_steps_leaves_no_memory_behind() -> None:
    """Looked at when the device is at rest: reset, with nothing held back and nothing in a queue."""
    chaos = Chaos(Random(0))
    for offset in range(256):  # what an access does is worked out once and remembered
        for size in (1, 2, 4, 8):
            chaos.nic.bar_write(offset, bytes(size))
    blocks: list[int] = []
    for _ in range(20):
        for _ in range(5000):
            chaos.step()
        chaos.wire.busy = False
        chaos.wire.flush()
        chaos.nic.bus_reset()
        chaos.loop.advance(1_000_000_000)
        gc.collect()
        blocks.append(sys.getallocatedblocks())
    chaos.close()
    assert max(blocks[2:]) - blocks[1] < 1000
