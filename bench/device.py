"""A NIC model with its reference driver: `python -m bench.device FUNCTION ARGUMENTS` prints one number."""

from __future__ import annotations

import asyncio
import sys
import time
import timeit
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import attrs

from etherloom import Frame, NetClient, Network
from etherloom.client import VNET_HEADER_BYTES
from etherloom.guest import InlineGuest, NicDriver
from etherloom.guest.inline import RAM_BASE
from etherloom_rtl8139 import Rtl8139, Rtl8139Driver
from etherloom_rtl8139.registers import Poll, Registers
from etherloom_rtl8139.rings import DESCRIPTOR, EOR, FS, LS, OWN

FRAMES = 60_000
BURST_FRAMES = 32
ACCESSES = 100_000
MAC = bytes.fromhex("525400123456")
LARGE_BYTES = 65_000
LARGE_SENDS = 4_000


class Wire(NetClient):
    """The other end: counts frames and bytes."""

    def __init__(self, name: str, network: Network, *, vnet: bool) -> None:
        super().__init__(name, network.context)
        self.vnet = vnet
        self.frames = self.octets = 0

    def receive(self, frame: Frame) -> bool:
        self.frames += 1
        self.octets += len(frame)
        return True


@attrs.define
class Bench:
    """A device, its driver, and the wire."""

    loop: asyncio.AbstractEventLoop
    network: Network
    nic: Rtl8139
    guest: InlineGuest
    driver: NicDriver
    wire: Wire

    def turn(self) -> None:
        """One turn of the loop: bottom halves, and with them interrupts."""
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()


@contextmanager
def bench(*, vnet: bool) -> Iterator[Bench]:
    """An RTL8139 in an inline guest."""
    loop = asyncio.new_event_loop()
    network = Network(loop)
    nic, wire = Rtl8139("nic", network.context, mac=MAC), Wire("wire", network, vnet=vnet)
    network.add(nic)
    network.add(wire, nic)
    guest = InlineGuest(nic)
    driver = Rtl8139Driver(guest)
    driver.open()
    guest.interrupt = driver.interrupt
    yield Bench(loop, network, nic, guest, driver, wire)
    network.close()
    loop.close()


def register_read_ns() -> float:
    """Nanoseconds of a 32-bit read without side effect, through the kit."""
    with bench(vnet=False) as on:
        return _access_ns("read(offset, 4)", read=on.nic.bar_read)


def register_write_ns() -> float:
    """Nanoseconds of a 32-bit write without side effect, through the kit."""
    with bench(vnet=False) as on:
        return _access_ns("write(offset, data)", write=on.nic.bar_write, data=b"\1\2\3\4")


def _access_ns(statement: str, **names: object) -> float:
    names["offset"] = Registers.RBSTART.offset
    return min(timeit.repeat(statement, globals=names, number=ACCESSES, repeat=5)) / ACCESSES * 1e9


def transmit_fps(size: int) -> float:
    """Frames per second from the driver through the model to the wire, 32 for each poll demand."""
    frames = [b"\xff" * 6 + MAC + b"\x88\xb5" + bytes(size - 14)] * BURST_FRAMES
    with bench(vnet=False) as on:
        start, sent = time.perf_counter(), 0
        while sent < FRAMES:
            with on.network.burst():
                sent += on.driver.transmit(frames)
            on.turn()
            on.turn()
        elapsed = time.perf_counter() - start
        return _exactly(on.wire.frames, sent) / elapsed


def receive_fps(size: int) -> float:
    """Frames per second from the wire through the model to the driver, 32 for each interrupt."""
    frame = MAC + b"\x02" + bytes(5) + b"\x88\xb5" + bytes(size - 14)
    got = 0

    def deliver(_: bytes) -> None:
        nonlocal got
        got += 1

    with bench(vnet=False) as on:
        on.driver.deliver = deliver
        start, sent = time.perf_counter(), 0
        while sent < FRAMES:
            with on.network.burst():
                for _ in range(BURST_FRAMES):
                    on.wire.send(frame)
                on.wire.end_burst()
            sent += BURST_FRAMES
            on.turn()
            on.turn()
        elapsed = time.perf_counter() - start
        return _exactly(got, sent) / elapsed


def large_send_gbytes() -> float:
    """Gigabytes per second of guest data that leave as large sends of 65,000 bytes to a peer that takes them whole.

    The driver here is three lines over the ring: the reference driver's buffers hold one frame.
    """
    header = bytes.fromhex("020000000001") + MAC + b"\x08\x00"
    ip = bytes.fromhex("4500fdda000040004006000001020304 05060708")
    tcp = bytes.fromhex("1000 2000 00000001 00000002 5010 ffff 0000 0000")
    with bench(vnet=True) as on:
        frame = (header + ip + tcp).ljust(LARGE_BYTES, b"x")
        ring, buffer = on.guest.allocate(16), on.guest.allocate(LARGE_BYTES)
        on.guest.ram[buffer - RAM_BASE : buffer - RAM_BASE + LARGE_BYTES] = frame
        command = OWN | EOR | FS | LS | 1 << 27 | 1448 << 16 | LARGE_BYTES
        descriptor = DESCRIPTOR.pack(command, 0, buffer)
        on.guest.write(Registers.TNPDS.offset, ring, 4)
        start = time.perf_counter()
        for _ in range(LARGE_SENDS):
            on.guest.ram[ring - RAM_BASE : ring - RAM_BASE + 16] = descriptor
            on.guest.write(Registers.TPPOLL.offset, Poll.NPQ, 1)
            if on.wire.frames % 8 == 0:
                on.turn()
        elapsed = time.perf_counter() - start
        on.turn()
        _exactly(on.wire.octets, LARGE_SENDS * (LARGE_BYTES + VNET_HEADER_BYTES))
        return LARGE_SENDS * LARGE_BYTES / elapsed / 1e9


def _exactly(counted: int, expected: int) -> int:
    """Refuse to give a speed for what did not arrive."""
    if counted != expected:
        raise SystemExit(f"{counted} arrived of {expected}")
    return counted


FUNCTIONS: dict[str, Callable[..., float]] = {
    function.__name__: function
    for function in (register_read_ns, register_write_ns, transmit_fps, receive_fps, large_send_gbytes)
}

if __name__ == "__main__":
    print(FUNCTIONS[sys.argv[1]](*map(int, sys.argv[2:])))
