"""A hostile guest: everything a driver does, bent, and everything it would not do, at random.

Blind random writes seldom get a device to move a frame. So the storm first listens to what the device's own driver
writes when it opens the device and moves frames, and then does the same with other values and in another order; again
and again it has the driver open the device and transmit, with descriptors changed just before each of its writes. All
the while frames come, links fall and bus mastering is taken away.
"""

from __future__ import annotations

import random
from mmap import mmap
from typing import TYPE_CHECKING

from etherloom.client import FRAME_MAX, FRAME_MIN
from etherloom.device import Command
from etherloom.device.pci import COMMAND
from etherloom.device.trace import Event, Trace
from etherloom.guest import DriverError
from etherloom.guest.inline import RAM_BASE
from etherloom.testing.conformance import Bench, Broken, frame_of

if TYPE_CHECKING:
    from etherloom.testing.nic import Machine

__all__ = ["Storm"]

# Accesses to memory that one access to a register, or one frame, may give rise to. A device that works off a ring of
# 256 descriptors, each read, its buffer read, and given back, makes 768; one that lets a guest say when the work ends
# can be kept busy for ever.
DMA_MAX = 1024
BURST_MAX = 64

PAGE = 4096
DESCRIPTOR_BYTES = 16  # of the scribbles: two words of 64 bits, or four of 32
WIDTHS = (1, 2, 4, 8)


class Storm:
    """One hostile guest.

    Args:
        bench: With the device's wire.
        machine: With the device, its driver open. The storm ends the driver's interrupts.
        seed: Of everything that is random.
    """

    def __init__(self, bench: Bench, machine: Machine, seed: int) -> None:
        self._bench, self._machine = bench, machine
        self._nic, self._guest = machine.nic, machine.guest
        self._dice, self._seed = random.Random(seed), seed
        self._dma_left = 0
        self._bar_bytes = max(bar.size for bar in machine.nic.bars)
        self._habits = self._listen()
        self._sane = self._guest.ram[:]
        end = RAM_BASE + len(self._guest.ram)
        self._rom = mmap(-1, PAGE)
        self._guest.memory.map(end, mmap(-1, PAGE))
        self._guest.memory.map(end + PAGE, self._rom, writable=False)
        self._pages = sorted({value & -PAGE for _, _, value in self._habits if RAM_BASE <= value < end} | {RAM_BASE})
        self._edges = (0, end - 8, end + PAGE - 8, end + PAGE, 0xFEB0_0000, (1 << 32) - 8, (1 << 64) - 8)
        self._deeds = (
            *(self._open, self._transmit, self._transmit_bent, self._write_as_a_driver, self._frames) * 6,
            *(self._write_bent, self._write_anything, self._scribble, self._bend, self._turn) * 3,
            *(self._read, self._config, self._link, self._wire, self._reset),
        )

    def rage(self, steps: int) -> None:
        """Do so many things.

        Raises:
            Broken: The device did not take one of them well.
        """
        trace = Trace(self._nic, self._count)
        for step in range(steps):
            deed = self._dice.choice(self._deeds)
            self._dma_left = DMA_MAX * BURST_MAX
            where = f"step {step} of seed {self._seed}, {deed.__name__.strip('_')},"
            try:
                with self._bench.network.burst():
                    deed()
            except Broken as broken:
                raise Broken(f"{where} {broken}") from broken
            except Exception as error:
                raise Broken(f"{where} raised {type(error).__name__}: {error}") from error
            if self._nic.failure is not None:
                raise Broken(f"{where} took it down: {self._nic.failure!r}.") from self._nic.failure
        trace.stop()
        if self._rom[:] != bytes(PAGE):
            raise Broken("it wrote into read-only memory.")

    def _listen(self) -> list[tuple[int, int, int]]:
        """What the driver writes: offset, width, value. From then on nobody answers interrupts."""
        habits: dict[tuple[int, int, int], None] = {}

        def note(event: Event) -> None:
            if event.what == "write" and event.value is not None:
                habits[event.address, event.size, event.value] = None

        trace = Trace(self._nic, note)
        with self._bench.network.burst():
            self._machine.driver.open()
        for number in range(8):
            self._machine.transmit([frame_of(number)] * 8)
            self._bench.near.send_all([self._bench.framed(frame_of(number))] * 8)
            self._bench.loop.run_until_idle()
        trace.stop()
        self._nic.irq.connect(None)
        return list(habits)

    def _count(self, event: Event) -> None:
        if event.what in ("read", "write"):
            self._dma_left = DMA_MAX
        elif event.what in ("dma-read", "dma-write"):
            self._dma_left -= 1
            if self._dma_left < 0:  # from within the device, so that even endless work ends
                raise Broken("made it access memory without end.")

    # Deeds ---------------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        self._guest.config_write(COMMAND, Command.IO | Command.MEMORY | Command.MASTER, 2)
        try:
            self._machine.driver.open()
        except DriverError:  # the device sleeps
            pass

    def _transmit(self) -> None:
        self._machine.driver.transmit([frame_of(0, self._dice.randint(18, 1514))] * self._dice.randint(1, BURST_MAX))

    def _transmit_bent(self) -> None:
        """Transmit, with memory changed behind the driver's back."""
        write = self._guest.write

        def bend_and_write(offset: int, value: int, size: int) -> None:
            self._bend()
            write(offset, value, size)

        self._guest.__dict__["write"] = bend_and_write
        try:
            self._transmit()
        finally:
            del self._guest.__dict__["write"]

    def _write_as_a_driver(self) -> None:
        offset, width, value = self._dice.choice(self._habits)
        self._guest.write(offset, value, width)

    def _write_bent(self) -> None:
        offset, width, value = self._dice.choice(self._habits)
        value = self._dice.choice((value ^ 1 << self._dice.randrange(8 * width), self._address()))
        self._guest.write(offset, value & (1 << 8 * width) - 1, width)

    def _write_anything(self) -> None:
        width = self._dice.choice(WIDTHS)
        value = self._dice.choice((0, (1 << 8 * width) - 1, self._dice.getrandbits(8 * width)))
        self._guest.write(self._dice.randrange(self._bar_bytes), value, width)

    def _read(self) -> None:
        self._guest.read(self._dice.randrange(self._bar_bytes), self._dice.choice(WIDTHS))

    def _scribble(self) -> None:
        """Fill a page with eight descriptors over and over."""
        words = [
            self._dice.choice((self._address(), self._dice.getrandbits(64), self._dice.getrandbits(11)))
            for _ in range(16)
        ]
        entries = b"".join(word.to_bytes(8, "little") for word in words)
        start = self._dice.choice(self._pages) - RAM_BASE
        self._guest.ram[start : start + PAGE] = entries * (PAGE // len(entries))

    def _bend(self) -> None:
        """Change a few bytes of a page, or of what the driver once had there."""
        start = self._dice.choice(self._pages) - RAM_BASE
        page = bytearray(self._dice.choice((self._sane, self._guest.ram))[start : start + PAGE])
        for _ in range(self._dice.choice((0, 1, 16))):
            page[self._dice.randrange(PAGE)] = self._dice.choice((0, 0xFF, self._dice.getrandbits(8)))
        self._guest.ram[start : start + PAGE] = bytes(page)

    def _frames(self) -> None:
        """A burst from the wire, unless the device has paused it."""
        near = self._bench.near
        near.received.clear()
        if near.pausing:
            return
        size = self._dice.choice((FRAME_MIN, 60, self._dice.randint(18, 1600), FRAME_MAX))
        frame = self._dice.choice((b"\xff" * 6, self._machine.driver.mac)) + frame_of(0, FRAME_MAX)[6:size]
        near.send_all([self._bench.framed(frame)] * self._dice.randint(1, BURST_MAX))

    def _turn(self) -> None:
        self._bench.loop.advance(self._dice.choice((0, 1_000, 1_000_000)))

    def _config(self) -> None:
        width = self._dice.choice(WIDTHS)
        self._guest.config_write(self._dice.randrange(256), self._dice.getrandbits(8 * width), width)

    def _link(self) -> None:
        self._bench.network.set_link(self._bench.near, self._dice.random() < 0.7)

    def _wire(self) -> None:
        self._dice.choice((self._bench.near.block, self._bench.near.unblock, self._bench.near.unblock))()

    def _reset(self) -> None:
        self._nic.bus_reset()

    def _address(self) -> int:
        """Where a buffer or a ring might be: in RAM, across one of its borders, or nowhere."""
        ring = self._dice.choice(self._pages) + self._dice.randrange(PAGE)
        within = RAM_BASE + self._dice.randrange(len(self._sane))
        return self._dice.choice((ring, ring & -256, within, self._dice.choice(self._edges)))
