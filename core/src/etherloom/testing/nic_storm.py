"""A hostile guest: everything a driver does, bent, and everything it would not do, at random.

Blind random writes seldom get a device to move a frame. So the storm first listens to what the device's own driver writes
when it opens the device and sends, and then does the same with other values, in another order, with descriptors
scribbled over, while frames come, links fall and the bus takes mastering away.
"""

from __future__ import annotations

import random
from mmap import mmap
from typing import TYPE_CHECKING

from etherloom.client import FRAME_MAX
from etherloom.device import Command
from etherloom.device.pci import COMMAND
from etherloom.device.trace import Event, Summary, Trace
from etherloom.errors import UsageError
from etherloom.guest.inline import RAM_BASE
from etherloom.testing.conformance import Bench, Broken, frame_of

if TYPE_CHECKING:
    from etherloom.testing.nic import Machine

__all__ = ["Storm"]

# DMA accesses in one step. A device that works off a ring of 256 descriptors, each fetched, read or written, and given
# back, needs 768; one that trusts a guest to end its work needs no end.
DMA_MAX = 1024

PAGE = 4096
WIDTHS = (1, 2, 4, 8)


class Storm:
    """One hostile guest.

    Args:
        bench: With the device's wire.
        machine: With the device, its driver open.
        seed: Of everything that is random.
    """

    def __init__(self, bench: Bench, machine: Machine, seed: int) -> None:
        self._bench, self._nic, self._guest = bench, machine.nic, machine.guest
        self._dice = random.Random(seed)
        self._seed = seed
        self._bar_bytes = max(bar.size for bar in machine.nic.bars)
        self._habits = self._listen(machine)
        self._sane = machine.guest.ram[:]
        self._summary = Summary()
        self._dma = 0
        ram_end = RAM_BASE + len(machine.guest.ram)
        machine.guest.memory.map(ram_end, mmap(-1, PAGE))
        machine.guest.memory.map(ram_end + PAGE, mmap(-1, PAGE), writable=False)
        self._pages = sorted({value & -PAGE for _, _, value in self._habits if RAM_BASE <= value < ram_end} | {RAM_BASE})
        self._places = (0, ram_end - 16, ram_end - 1, ram_end + PAGE - 8, 0xFEB0_0000, (1 << 32) - 16, (1 << 64) - 16)
        self._deeds = (
            *(self._write_as_a_driver,) * 8,
            *(self._write_bent,) * 4,
            *(self._write_anything,) * 4,
            *(self._scribble,) * 4,
            *(self._restore,) * 4,
            *(self._frames,) * 4,
            *(self._turn,) * 4,
            self._read,
            self._config,
            self._link,
            self._wire,
            self._reset,
        )

    def rage(self, steps: int) -> None:
        """Do so many things.

        Raises:
            Broken: The device did not take one of them well.
        """
        trace = Trace(self._nic, self._watch)
        try:
            for step in range(steps):
                self._dma = 0
                deed = self._dice.choice(self._deeds)
                where = f"at step {step} of seed {self._seed} ({deed.__name__.strip('_')})"
                try:
                    with self._bench.network.burst():
                        deed()
                except Exception as error:
                    raise Broken(f"{where} it raised {type(error).__name__}: {error}") from error
                if self._nic.failure is not None:
                    raise Broken(f"{where} it was taken down by {self._nic.failure!r}.") from self._nic.failure
                if self._dma > DMA_MAX:
                    raise Broken(f"{where} it accessed memory {self._dma} times.")
        finally:
            trace.stop()

    def _listen(self, machine: Machine) -> list[tuple[int, int, int]]:
        """What the driver writes: offset, width, value."""
        habits: dict[tuple[int, int, int], None] = {}

        def sink(event: Event) -> None:
            if event.what == "write" and event.value is not None:
                habits[event.address, event.size, event.value] = None

        trace = Trace(machine.nic, sink)
        machine.driver.close()
        machine.driver.open()
        for number in range(8):
            machine.transmit([frame_of(number)] * 8)
            self._bench.near.send_all([self._bench.framed(frame_of(number))] * 8)
            self._bench.loop.run_until_idle()
        trace.stop()
        machine.nic.irq.connect(None)  # from now on nobody answers
        return list(habits)

    def _watch(self, event: Event) -> None:
        self._dma += event.what.startswith("dma")

    # Deeds ---------------------------------------------------------------------------------------------------------

    def _write_as_a_driver(self) -> None:
        offset, width, value = self._dice.choice(self._habits)
        self._guest.write(offset, value, width)

    def _write_bent(self) -> None:
        offset, width, value = self._dice.choice(self._habits)
        bits = 8 * width
        bent = self._dice.choice((value ^ 1 << self._dice.randrange(bits), self._address(), self._dice.getrandbits(bits)))
        self._guest.write(offset, bent & (1 << bits) - 1, width)

    def _write_anything(self) -> None:
        width = self._dice.choice(WIDTHS)
        value = self._dice.choice((0, (1 << 8 * width) - 1, self._dice.getrandbits(8 * width)))
        self._guest.write(self._dice.randrange(self._bar_bytes), value, width)

    def _read(self) -> None:
        for width in WIDTHS:
            self._guest.read(self._dice.randrange(self._bar_bytes), width)

    def _scribble(self) -> None:
        """Fill a page with descriptors of random words, one in two of them an address."""
        entry = b"".join(
            self._dice.choice((self._address(), self._dice.getrandbits(64)))
            .to_bytes(8, "little")[:: self._dice.choice((1, -1))]
            for _ in range(2)
        )
        start = self._dice.choice(self._pages) - RAM_BASE
        self._guest.ram[start : start + PAGE] = self._dice.choice((entry, b"\xff", self._dice.randbytes(16))) * (
            PAGE // 16
        ) if False else (entry * PAGE)[:PAGE]

    def _restore(self) -> None:
        """Make a page what the driver made it, but for some bytes."""
        start = self._dice.choice(self._pages) - RAM_BASE
        page = bytearray(self._sane[start : start + PAGE])
        for _ in range(self._dice.choice((0, 1, 64))):
            page[self._dice.randrange(len(page))] = self._dice.getrandbits(8)
        self._guest.ram[start : start + len(page)] = bytes(page)

    def _frames(self) -> None:
        near = self._bench.near
        if not near.pausing:
            size = self._dice.choice((14, 60, self._dice.randint(14, 1600), FRAME_MAX))
            near.send_all([self._bench.framed(frame_of(0, FRAME_MAX)[:size])] * self._dice.randint(1, 64))
        near.received.clear()

    def _turn(self) -> None:
        self._bench.loop.advance(self._dice.choice((0, 1_000, 1_000_000)))

    def _config(self) -> None:
        ...
