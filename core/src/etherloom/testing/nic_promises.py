"""What a NIC model promises beyond what every net client does, one function each.

A promise's text is its function's docstring. A function gets a `Bench` whose client is the device, and the `Machine` in
which the device's driver is open.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import attrs

from etherloom.client import FRAME_MIN, FRAME_PAD, VNET_HEADER_BYTES
from etherloom.device import Command, Status
from etherloom.device.pci import STATUS
from etherloom.device.trace import Event, Trace
from etherloom.net.inlet import inlet_of
from etherloom.testing.conformance import Bench, frame_of
from etherloom.testing.loop import SECOND_NS
from etherloom.testing.nic import ENABLE, Machine, bar_bytes, contents
from etherloom.testing.nic_storm import Storm
from etherloom.testing.promises import Promise, expect_in_order, passes

__all__ = ["NIC_PROMISES", "NicPromise"]

WIDTHS = (1, 2, 4, 8)
TYPE = b"\x88\xb5"  # IEEE 802 local experimental: nothing that an offload would look into
OTHER = bytes.fromhex("020000000001")
BROADCAST = b"\xff" * 6
ROUNDS = 5  # several times around every ring
DEPTH_MAX = 256  # a driver that takes as many frames at once has no ring to speak of
FEW = 16  # frames that any ring has room for: a device may drop what comes faster than its driver looks
FLOOD_FRAMES = 2_000  # of 1,514 bytes: more than the guest has RAM
TIMER_NS = 5_000_000
TIMER_SLACK_NS = 1_000

Check = Callable[[Bench, Machine], None]


@attrs.frozen
class NicPromise:
    """A promise, and which of `check_nic_model`'s hooks it needs, if any."""

    promise: Promise
    hook: str


NIC_PROMISES: list[NicPromise] = []


def promise(hook: str = "") -> Callable[[Check], Check]:
    """Add to `NIC_PROMISES`."""

    def add(check: Check) -> Check:
        def run(bench: Bench) -> None:
            assert isinstance(bench.far, Machine)
            check(bench, bench.far)

        NIC_PROMISES.append(NicPromise(Promise(check.__doc__ or "", run, needs_far_end=True), hook))
        return check

    return add


# Reset and place ---------------------------------------------------------------------------------------------------


@promise()
def a_reset_is_power_on(bench: Bench, machine: Machine) -> None:
    """A bus reset makes registers and configuration space what they were at power-on, with frames on their way too."""
    machine.transmit([frame_of(number) for number in range(5)])
    bench.near.send_all([bench.framed(frame_of(number)) for number in range(5)])
    machine.nic.bus_reset()
    for what, expected, actual in zip(("register", "config"), machine.power_on, contents(machine.nic), strict=True):
        wrong = [
            f"{at:#04x} ({old:#04x})" for at, (old, new) in enumerate(zip(expected, actual, strict=True)) if old != new
        ]
        bench.expect(not wrong, f"these {what} bytes differ (in brackets what they were): {', '.join(wrong)}.")
    bench.expect(not machine.nic.irq.asserted, "its interrupt line stayed up.")
    bench.loop.advance(SECOND_NS)
    machine.command(ENABLE)
    reopen(bench, machine)


@promise()
def a_driver_can_open_again(bench: Bench, machine: Machine) -> None:
    """A driver can open the device again at any time, whether it closed it or not, with frames on their way too."""
    for close in (True, False):
        machine.transmit([frame_of(number) for number in range(5)])
        bench.near.send_all([bench.framed(frame_of(number)) for number in range(5)])
        if close:
            machine.driver.close()
        reopen(bench, machine)


@promise()
def a_device_can_move(bench: Bench, machine: Machine) -> None:
    """A device that is taken out of a guest leaves its memory alone, counts what is lost, and fits the next."""
    bench.loop.advance(SECOND_NS)
    machine.guest.unplug()
    before = machine.guest.ram[:]
    bench.near.send_all([bench.framed(frame_of(number)) for number in range(20)])
    bench.loop.advance(SECOND_NS)
    bench.expect(machine.guest.ram[:] == before, "it wrote into the memory of the guest it was taken from.")
    bench.expect(
        bench.client.counters.dropped == 20, f"of 20 frames {bench.client.counters.dropped} were counted lost."
    )
    machine.plug()
    passes(bench)


@promise()
def accesses_are_those_of_a_bus(bench: Bench, machine: Machine) -> None:
    """A driver accesses registers by 1, 2, 4 or 8 bytes, within the BAR, as any bus can carry out."""
    accesses: list[tuple[int, int]] = []

    def note(event: Event) -> None:
        if event.what in ("read", "write"):
            accesses.append((event.address, event.size))

    trace = Trace(machine.nic, note)
    reopen(bench, machine)
    machine.driver.close()
    trace.stop()
    for offset, size in accesses:
        bench.expect(size in WIDTHS, f"it accesses {size} bytes at {offset:#x}.")
        bench.expect(0 <= offset <= bar_bytes(machine.nic) - size, f"it accesses {size} bytes at {offset:#x}, outside.")


# Frames ------------------------------------------------------------------------------------------------------------


@promise()
def frames_leave_whole(bench: Bench, machine: Machine) -> None:
    """Frames of 14 to 1,514 bytes leave whole and in order, padded to 60 (C-43)."""
    frames = every_length(BROADCAST, machine.driver.mac)
    transmit_all(bench, machine, frames)
    expect_all(bench, frames, on_the_wire(bench))


@promise()
def frames_arrive_whole(bench: Bench, machine: Machine) -> None:
    """Frames of 14 to 1,514 bytes to the station address arrive whole and in order, padded to 60 (A-11)."""
    frames = every_length(machine.driver.mac, OTHER)
    for start in range(0, len(frames), FEW):
        bench.near.send_all([bench.framed(frame) for frame in frames[start : start + FEW]])
        bench.loop.advance(0)
    bench.loop.advance(SECOND_NS)
    expect_all(bench, frames, machine.take())


@promise()
def rings_wrap(bench: Bench, machine: Machine) -> None:
    """Nothing is lost or reordered when the rings wrap, several times, in both directions at once."""
    depth = machine.transmit([frame_of(0)] * DEPTH_MAX)
    bench.loop.advance(SECOND_NS)
    bench.near.received.clear()
    out: list[bytes] = []
    back: list[bytes] = []
    dice = random.Random(0)
    while len(out) < ROUNDS * depth:
        some = [frame_of(len(out) + number, dice.randint(18, 1514)) for number in range(dice.randint(1, FEW))]
        out += some
        back += some
        bench.near.send_all([bench.framed(frame) for frame in some])
        transmit_all(bench, machine, some)
    bench.loop.advance(SECOND_NS)
    expect_all(bench, out, on_the_wire(bench))
    expect_all(bench, back, machine.take())


@promise()
def a_paused_wire_stops_a_batch(bench: Bench, machine: Machine) -> None:
    """When the wire pauses in the middle of a batch the device stops there, and goes on with nothing lost."""
    bench.near.block()
    sent = [frame_of(number) for number in range(DEPTH_MAX)]
    del sent[machine.transmit(sent) :]
    bench.loop.advance(SECOND_NS)
    queued = len(inlet_of(bench.near).queue)
    bench.expect(queued == 1, f"it sent {queued} frames, and the first was answered with a pause.")
    bench.near.unblock()
    bench.alive()
    expect_all(bench, sent, on_the_wire(bench))


@promise()
def a_full_ring_is_bounded(bench: Bench, machine: Machine) -> None:
    """With a guest that does not look, frames wait or are dropped and counted, in bounded memory, and then go on."""
    sent = [frame_of(number, 1514) for number in range(FLOOD_FRAMES)]
    machine.command(ENABLE | Command.INTX_DISABLE)
    bench.near.send_all([bench.framed(frame) for frame in sent])
    bench.loop.advance(SECOND_NS)
    outside = len(bench.near.unsent) + len(inlet_of(bench.client).queue) + bench.client.counters.dropped
    room = len(machine.guest.ram) // 1514
    bench.expect(len(sent) - outside < room, f"it keeps {len(sent) - outside} frames; the guest's RAM has no room.")
    machine.command(ENABLE)
    for _ in sent:
        bench.loop.advance(SECOND_NS)
        if not bench.near.unsent and not inlet_of(bench.client).queue:
            break
    bench.alive()
    came = machine.take()
    bench.expect(bool(came), "nothing of it ever arrived.")
    expect_in_order(bench, sent, came, bench.client.counters.dropped)
    passes(bench)


@promise()
def addresses_are_filtered(bench: Bench, machine: Machine) -> None:
    """Frames to the station address and to all arrive; those to another station, one bit different, do not."""
    station = int.from_bytes(machine.driver.mac, "big")
    others = [(station ^ 1 << bit).to_bytes(6, "big") for bit in range(48) if bit != 40]  # bit 40 makes it a group's
    wanted = [target + OTHER + TYPE + bytes(46) for target in (machine.driver.mac, BROADCAST)]
    foreign = [target + OTHER + TYPE + bytes(46) for target in others]
    bench.near.send_all([bench.framed(frame) for frame in (wanted[0], *foreign, wanted[1])])
    bench.loop.advance(SECOND_NS)
    targets = [frame[:6].hex(":") for frame in machine.take()]
    expected = [frame[:6].hex(":") for frame in wanted]
    bench.expect(targets == expected, f"with the address {expected[0]} frames to these arrived: {targets}.")
    dropped = bench.client.counters.dropped
    bench.expect(dropped == len(foreign), f"of {len(foreign)} frames to others {dropped} were counted as dropped.")


@promise()
def links_are_followed(bench: Bench, machine: Machine) -> None:
    """While the link is down nothing passes and the driver lives; when it is up again frames pass both ways."""
    for _ in range(2):
        bench.network.set_link(bench.near, False)
        machine.transmit([frame_of(0)])
        bench.near.send_all([bench.framed(frame_of(0))])
        bench.loop.advance(SECOND_NS)
        came = len(machine.take()) + len(bench.near.received)
        bench.expect(not came, f"{came} frames passed a link that was down.")
        bench.network.set_link(bench.near, True)
        bench.loop.advance(SECOND_NS)
        passes(bench)
        bench.near.received.clear()


# Interrupts --------------------------------------------------------------------------------------------------------


@promise()
def intx_can_be_disabled(bench: Bench, machine: Machine) -> None:
    """With INTx disabled the line never rises and STATUS tells; enabled again, it rises and falls (PCI 3.0, 6.2.2)."""
    edges: list[bool] = []
    bench.loop.advance(SECOND_NS)
    machine.nic.irq.watch(edges.append)
    machine.command(ENABLE | Command.INTX_DISABLE)
    bench.near.send_all([bench.framed(frame_of(0))])
    bench.loop.advance(SECOND_NS)
    bench.expect(not edges, "the line rose.")
    status = machine.guest.config_read(STATUS, 2)
    bench.expect(bool(status & Status.INTERRUPT), f"a frame is waiting, and STATUS reads {status:#06x}.")
    machine.command(ENABLE)
    bench.loop.advance(SECOND_NS)
    bench.expect(edges[:1] == [True], "the line did not rise once INTx was enabled again.")
    bench.expect(not edges[-1], "the line is still up although the driver has looked.")
    bench.expect(machine.take() == [frame_of(0)], "the frame did not arrive.")


@promise("mask")
def the_line_follows_the_mask(bench: Bench, machine: Machine) -> None:
    """Masked, the line falls and stays low; what happened meanwhile raises it when the mask is opened."""
    guest = machine.guest
    assert machine.hooks.mask is not None
    offset, width = machine.hooks.mask
    wanted = guest.read(offset, width)
    edges: list[bool] = []
    masked: list[bool] = []

    def mask() -> None:
        guest.write(offset, 0, width)
        masked.append(machine.nic.irq.asserted)
        if masked[-1]:  # it would be called for ever
            machine.command(ENABLE | Command.INTX_DISABLE)

    bench.loop.advance(SECOND_NS)
    guest.interrupt = mask
    for number in range(2):
        bench.near.send_all([bench.framed(frame_of(number))])
        bench.loop.advance(SECOND_NS)
    bench.expect(bool(masked), "the line did not rise when a frame came.")
    bench.expect(masked == [False], f"with its mask closed the line was {masked} after each interrupt, not [False].")
    machine.nic.irq.watch(edges.append)
    guest.interrupt = machine.driver.interrupt
    guest.write(offset, wanted, width)
    bench.loop.advance(SECOND_NS)
    bench.expect(edges[:1] == [True], "the line did not rise when the mask was opened.")
    bench.expect(not edges[-1], "the line is still up although the driver has looked.")
    bench.expect(machine.take() == [frame_of(0), frame_of(1)], "the frames did not arrive.")


@promise()
def a_closed_device_is_silent(bench: Bench, machine: Machine) -> None:
    """Once its driver has closed it a device neither interrupts nor writes into memory."""
    edges: list[bool] = []
    bench.loop.advance(SECOND_NS)
    machine.driver.close()
    machine.nic.irq.watch(edges.append)
    before = machine.guest.ram[:]
    bench.near.send_all([bench.framed(frame_of(number)) for number in range(20)])
    for up in (False, True):
        bench.network.set_link(bench.near, up)
    bench.loop.advance(SECOND_NS)
    bench.expect(not edges, "its line rose.")
    bench.expect(machine.guest.ram[:] == before, "it wrote into memory.")


@promise("timer")
def the_timer_is_on_time(bench: Bench, machine: Machine) -> None:
    """The timer interrupts when it is due, not before and not again."""
    times: list[int] = []

    def interrupt() -> None:
        times.append(bench.loop.clock.now_ns())
        machine.driver.interrupt()

    bench.loop.advance(SECOND_NS)
    machine.guest.interrupt = interrupt
    due = bench.loop.clock.now_ns() + TIMER_NS
    assert machine.hooks.timer is not None
    machine.hooks.timer(machine.guest, TIMER_NS)
    bench.loop.advance(SECOND_NS)
    late = [at - due for at in times]
    bench.expect(len(late) == 1 and 0 <= late[0] <= TIMER_SLACK_NS, f"interrupts came {late} ns after it was due.")


# Hostile guests ----------------------------------------------------------------------------------------------------


@promise()
def every_read_is_answered(bench: Bench, machine: Machine) -> None:
    """A read of 1, 2, 4 or 8 bytes anywhere in a BAR or in configuration space gives as many bytes."""
    for read, size in ((machine.nic.bar_read, bar_bytes(machine.nic)), (machine.nic.pci.read, 256)):
        for width in WIDTHS:
            for offset in range(size):
                data = read(offset, width)
                bench.expect(len(data) == width, f"{width} bytes at {offset:#x} gave {len(data)}.")
    passes(bench)


@promise()
def no_dma_without_bus_mastering(bench: Bench, machine: Machine) -> None:
    """Without the bus-master bit a device touches no memory, whatever it is told; with it again a driver can go on."""
    bench.loop.advance(SECOND_NS)
    machine.command(ENABLE & ~Command.MASTER)
    before = machine.nic.dma.bytes_read, machine.nic.dma.bytes_written
    machine.transmit([frame_of(number) for number in range(20)])
    bench.near.send_all([bench.framed(frame_of(number)) for number in range(20)])
    bench.loop.advance(SECOND_NS)
    after = machine.nic.dma.bytes_read, machine.nic.dma.bytes_written
    bench.expect(after == before, f"it read {after[0] - before[0]} and wrote {after[1] - before[1]} bytes.")
    bench.expect(not bench.near.received, "it sent a frame that it could not have read.")
    machine.command(ENABLE)
    reopen(bench, machine)


@promise()
def memory_may_be_nonsense(bench: Bench, machine: Machine) -> None:
    """Descriptors of any content, with buffers anywhere, do a device no harm."""
    ram, dice = machine.guest.ram, random.Random(0)
    for fill in (b"\0", b"\xff", b"\x80", None):
        machine.command(ENABLE | Command.INTX_DISABLE)  # the driver need not understand it
        ram[:] = dice.randbytes(len(ram)) if fill is None else fill * len(ram)
        machine.transmit([frame_of(number) for number in range(20)])
        ram[:] = dice.randbytes(len(ram)) if fill is None else fill * len(ram)
        bench.near.send_all([bench.framed(frame_of(number)) for number in range(20)])
        bench.loop.advance(SECOND_NS)
        with bench.network.burst():
            machine.driver.open()
        machine.command(ENABLE)
        bench.loop.advance(SECOND_NS)
        passes(bench)


@promise()
def a_storm_passes(bench: Bench, machine: Machine) -> None:
    """Whatever a guest writes, a device never raises, does a bounded amount of work at a time, and can be reset."""
    Storm(bench, machine, machine.hooks.storm_seed).rage(machine.hooks.storm_steps)
    machine.guest.unplug()
    bench.near.unblock()
    bench.network.set_link(bench.near, True)
    bench.loop.advance(SECOND_NS)
    machine.plug()
    passes(bench)


# What several need -------------------------------------------------------------------------------------------------


def every_length(target: bytes, source: bytes) -> list[bytes]:
    """A frame of each length, with content of its own."""
    dice = random.Random(0)
    return [target + source + TYPE + dice.randbytes(length - FRAME_MIN) for length in range(FRAME_MIN, 1515)]


def transmit_all(bench: Bench, machine: Machine, frames: list[bytes]) -> None:
    """Have the driver transmit all frames, as it finds room."""
    waiting, refused = list(frames), 0
    while waiting:
        taken = machine.transmit(waiting)
        refused = 0 if taken else refused + 1
        bench.expect(refused < 2, f"its driver finds no room for {len(waiting)} frames although the wire takes all.")
        del waiting[:taken]
        bench.loop.advance(SECOND_NS if refused else 0)


def on_the_wire(bench: Bench) -> list[bytes]:
    """What the device has sent, without headers."""
    start = VNET_HEADER_BYTES if bench.near.vnet else 0
    return [frame[start:] for frame in bench.near.received]


def expect_all(bench: Bench, sent: list[bytes], came: list[bytes]) -> None:
    """`came` is `sent`, padded to 60 bytes."""
    for number, (expected, actual) in enumerate(zip(sent, came, strict=False)):
        whole = expected.ljust(FRAME_PAD, b"\0")
        bench.expect(
            actual == whole, f"frame {number}, {len(expected)} bytes, came as {len(actual)}: {actual[:64].hex()}."
        )
    bench.expect(len(came) == len(sent), f"{len(came)} of {len(sent)} frames came.")


def reopen(bench: Bench, machine: Machine) -> None:
    """Open the driver again, let go what was on its way, and see frames pass."""
    with bench.network.burst():
        machine.driver.open()
    bench.loop.advance(SECOND_NS)
    passes(bench)
