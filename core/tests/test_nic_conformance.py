"""`check_nic_model` passes a device that keeps the contract, and catches each way to break it.

The device is a mailbox: one buffer each way and no rings, so that the check cannot take rings for granted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import pytest

from etherloom import Context, Drop, Frame, Network
from etherloom.device import Access, Bar, Dma, DmaError, NicModel, PciIdentity, Register
from etherloom.guest import InlineGuest, NicDriver
from etherloom.guest.inline import RAM_BASE
from etherloom.testing import ConformanceError, MemoryPeer, check_nic_model, nic_promises, promises
from etherloom.testing.conformance import Report
from etherloom.testing.nic_promises import NIC_PROMISES
from etherloom.testing.promises import PROMISES

STATION = bytes.fromhex("525400123456")
RUN, RESET = 1, 2
RX, TX, TIMER, ERROR = 1, 2, 4, 8
FRAME_LONGEST = 1514


class Mailbox(NicModel):
    """The device."""

    identity = PciIdentity(vendor=0x1234, device=0x0001)
    bars = (Bar(64),)
    haste_ns = 0

    CONTROL = Register(0x00, 4, "run, reset", writable=RUN | RESET)
    STATUS = Register(0x04, 4, "events", access=Access.W1C)
    MASK = Register(0x08, 4, "which events interrupt")
    TX_ADDRESS = Register(0x10, 8, "buffer to send")
    TX_SIZE = Register(0x18, 4, "its size; a write sends it", access=Access.WO)
    TX_BUSY = Register(0x1C, 4, "1 while the wire pauses", access=Access.RO)
    RX_ADDRESS = Register(0x20, 8, "buffer for one frame, of 1,514 bytes")
    RX_SIZE = Register(0x28, 4, "the frame's size; a write of 0 asks for the next", writable=0)
    MAC = Register(0x30, 8, "station address", writable=0xFFFF_FFFF_FFFF)
    TIMER = Register(0x38, 4, "interrupt in so many ns", access=Access.WO)

    def __init__(self, name: str, context: Context) -> None:
        super().__init__(name, context, mac=STATION)
        self._timer = context.timer(self, lambda: self.report(TIMER))
        self._paused = False
        self.reset()

    def reset(self) -> None:
        self.MAC = int.from_bytes(self.mac, "little")
        self.TX_BUSY = int(self._paused)
        self._timer.cancel()
        self.update_line()
        self.flush()

    def report(self, event: int) -> None:
        self.STATUS |= event
        self.update_line()

    @CONTROL.on_write
    def control(self, value: int) -> None:
        if value & RESET:
            self.registers.reset()
            self.reset()

    @STATUS.on_write
    @MASK.on_write
    def update_line(self, _: int = 0) -> None:
        self.irq.set(self.level())

    def level(self) -> bool:
        return self.STATUS & self.MASK != 0

    @TX_SIZE.on_write
    def transmit(self, size: int) -> None:
        if not self.CONTROL & RUN or self.TX_BUSY or not 14 <= size <= FRAME_LONGEST:
            self.drop(Drop.MALFORMED)
            return
        try:
            frame = self.dma.read(self.TX_ADDRESS, size)
        except DmaError:
            self.report(ERROR)
            return
        self._paused = self.is_pause(self.send(self.padded(frame)))
        self.TX_BUSY = int(self._paused)
        self.end_burst()
        self.report(TX)

    def resume(self) -> None:
        self._paused = False
        self.TX_BUSY = 0
        self.report(TX)

    def receive(self, frame: Frame) -> bool:
        if not self.CONTROL & RUN or not self.wants(bytes(frame[:6])) or len(frame) > FRAME_LONGEST:
            self.drop(Drop.REFUSED)
            return True
        if self.RX_SIZE:
            return False
        data = self.padded(bytes(frame))
        try:
            self.dma.write(self.RX_ADDRESS, data)
        except DmaError:
            self.drop(Drop.HOST_ERROR)
            self.report(ERROR)
            return True
        self.RX_SIZE = len(data)
        self.report(RX)
        return True

    def is_pause(self, answer: bool) -> bool:
        return not answer

    def padded(self, frame: bytes) -> bytes:
        return frame.ljust(60, b"\0")

    def wants(self, target: bytes) -> bool:
        return bool(target[0] & 1) or target == self.MAC.to_bytes(6, "little")

    @RX_SIZE.on_write
    def next_frame(self, _: int) -> None:
        self.RX_SIZE = 0
        self.flush()

    @TIMER.on_write
    def aim(self, delay_ns: int) -> None:
        self._timer.arm_in(delay_ns - self.haste_ns)


class MailboxDriver(NicDriver):
    """Its driver."""

    def __init__(self, guest: InlineGuest) -> None:
        super().__init__(guest)
        self.rx, self.tx = guest.allocate(FRAME_LONGEST), guest.allocate(FRAME_LONGEST)

    def open(self) -> None:
        self.write(Mailbox.CONTROL, RESET)
        self.mac = self.read(Mailbox.MAC).to_bytes(6, "little")
        self.write(Mailbox.TX_ADDRESS, self.tx)
        self.write(Mailbox.RX_ADDRESS, self.rx)
        self.write(Mailbox.MASK, RX | TX | TIMER | ERROR)
        self.write(Mailbox.CONTROL, RUN)

    def close(self) -> None:
        self.write(Mailbox.CONTROL, RESET)

    def transmit(self, frames: Sequence[bytes]) -> int:
        for number, frame in enumerate(frames):
            if self.read(Mailbox.TX_BUSY):
                return number
            self.guest.ram[self.tx - RAM_BASE : self.tx - RAM_BASE + len(frame)] = frame
            self.write(Mailbox.TX_SIZE, len(frame))
        return len(frames)

    def interrupt(self) -> None:
        status = self.read(Mailbox.STATUS)
        self.write(Mailbox.STATUS, status)
        if size := self.read(Mailbox.RX_SIZE):
            self.deliver(self.guest.ram[self.rx - RAM_BASE : self.rx - RAM_BASE + size])
            self.write(Mailbox.RX_SIZE, 0)

    def read(self, register: Register) -> int:
        return self.guest.read(register.offset, register.width)

    def write(self, register: Register, value: int) -> None:
        self.guest.write(register.offset, value, register.width)


def set_timer(guest: InlineGuest, delay_ns: int) -> None:
    guest.write(Mailbox.TIMER.offset, delay_ns, Mailbox.TIMER.width)


def made_by(make: Callable[[str, Context], NicModel]) -> Callable[[Context, str], NicModel]:
    return lambda context, name: make(name, context)


def test_a_device_that_keeps_the_contract_passes() -> None:
    report = check_nic_model(made_by(Mailbox), MailboxDriver, mask=Mailbox.MASK, timer=set_timer)
    assert ((), 36) == (report.inapplicable, len(report.kept))


@pytest.fixture(scope="module")
def report() -> Report:
    """Of a device of which neither mask nor timer was named."""
    return check_nic_model(made_by(Mailbox), MailboxDriver, storm_steps=100)


def test_what_needs_a_mask_or_a_timer_is_reported_as_inapplicable(report: Report) -> None:
    starts = tuple(sentence.split(",")[0].split(" when")[0] for sentence in report.inapplicable)
    assert ("Masked", "The timer interrupts") == starts


def test_a_report_names_each_promise_once_and_in_one_line(report: Report) -> None:
    sentences = [*report.kept, *report.inapplicable]
    assert len(set(sentences)) == len(sentences)
    assert all(sentence.endswith(".") and "\n" not in sentence for sentence in sentences)


def test_what_is_no_nic_model_is_refused() -> None:
    with pytest.raises(ConformanceError, match="MemoryPeer is no NicModel"):
        check_nic_model(made_by(MemoryPeer), MailboxDriver)  # type: ignore[arg-type]


def test_a_driver_that_opens_before_the_device_is_wired_loses_frames_and_nothing_else(network: Network) -> None:
    peer, nic = MemoryPeer("peer", network.context), Mailbox("nic", network.context)
    network.add(peer)
    with network.burst():  # as when a whole configuration is applied
        network.add(nic, peer)
        driver = MailboxDriver(InlineGuest(nic))
        driver.open()
        assert 1 == driver.transmit([bytes(60)])
    assert {Drop.NO_PEER: 1} == nic.counters.drops
    assert 1 == driver.transmit([bytes(60)])
    assert [bytes(60)] == peer.received


# Breakers: each class breaks one promise ---------------------------------------------------------------------------


@pytest.fixture
def check_only(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Report]:
    """`check_only(promise, ...)`: `check_nic_model` with just the promises that begin so; all of them take seconds."""

    def check(
        promise: str, make: Callable[[str, Context], NicModel], *, storm_steps: int = 500, storm_seed: int = 0
    ) -> Report:
        monkeypatch.setattr(promises, "PROMISES", [each for each in PROMISES if each.text.startswith(promise)])
        chosen = [each for each in NIC_PROMISES if each.promise.text.startswith(promise)]
        monkeypatch.setattr(nic_promises, "NIC_PROMISES", chosen)
        return check_nic_model(
            made_by(make),
            MailboxDriver,
            mask=Mailbox.MASK,
            timer=set_timer,
            storm_steps=storm_steps,
            storm_seed=storm_seed,
        )

    return check


class ForgetsRegisters(Mailbox):
    def bus_reset(self) -> None:
        kept = self.MASK
        super().bus_reset()
        self.MASK = kept


class CountsNothing(Mailbox):
    def drop(self, reason: Drop, frames: int = 1) -> None:
        pass


class IgnoresPause(Mailbox):
    def is_pause(self, answer: bool) -> bool:
        return False


class NeverPads(Mailbox):
    def padded(self, frame: bytes) -> bytes:
        return frame


class OnlyBroadcast(Mailbox):
    def wants(self, target: bytes) -> bool:
        return bool(target[0] & 1)


class Promiscuous(Mailbox):
    def wants(self, target: bytes) -> bool:
        return True


class Overwrites(Mailbox):
    def receive(self, frame: Frame) -> bool:
        return bool(self.RX_SIZE) or super().receive(frame)


class Hoards(Mailbox):
    def reset(self) -> None:
        self.hoard: deque[bytes] = deque()
        super().reset()

    def receive(self, frame: Frame) -> bool:
        if self.RX_SIZE:
            self.hoard.append(bytes(frame))
            return True
        return super().receive(frame)

    def flush(self) -> None:
        if self.hoard:
            super().receive(self.hoard.popleft())


class IgnoresTheMask(Mailbox):
    def level(self) -> bool:
        return self.STATUS != 0


class Chatters(Mailbox):
    def link_changed(self) -> None:
        self.irq.set(True)


class Hasty(Mailbox):
    haste_ns = 1


class AnswersInWords(Mailbox):
    def bar_read(self, offset: int, size: int) -> bytes:
        data = super().bar_read(offset, size)
        return data[:4] if offset >= 0x38 else data


class MastersAlways(Mailbox):
    def __init__(self, name: str, context: Context) -> None:
        super().__init__(name, context)
        self.dma = Dma(lambda: True)


class RaisesOnDma(Mailbox):
    def report(self, event: int) -> None:
        if event == ERROR:
            raise RuntimeError("no such memory")
        super().report(event)


class RaisesOnLength(Mailbox):
    def drop(self, reason: Drop, frames: int = 1) -> None:
        if reason is Drop.MALFORMED:
            raise ValueError("what a length")
        super().drop(reason, frames)


class WorksAsTold(Mailbox):
    """The guest says how long, in a register that drivers set to 15."""

    def report(self, event: int) -> None:
        for _ in range(self.MASK):
            self.look()
        super().report(event)

    def look(self) -> None:
        try:
            self.dma.read(RAM_BASE, 1)
        except DmaError:
            pass


@pytest.mark.parametrize(
    ("make", "promise", "found"),
    [
        (ForgetsRegisters, "A bus reset", r"these register bytes differ .*: 0x08 \(0x00\)"),
        (CountsNothing, "A device that is taken out", "of 20 frames 0 were counted"),
        (IgnoresPause, "A client stops its burst", "frames to a peer that takes none"),
        (NeverPads, "Frames of 14 to 1,514 bytes leave", "frame 0, 14 bytes, came as 14"),
        (OnlyBroadcast, "Frames of 14 to 1,514 bytes to the station", "0 of 1501 frames came"),
        (Promiscuous, "Frames to the station address", "frames to these arrived"),
        (Overwrites, "Frames of 14 to 1,514 bytes to the station", "frame .* came as"),
        (Hoards, "With a guest that does not look", "the guest's RAM has no room"),
        (IgnoresTheMask, "Masked, the line falls", "with its mask closed the line was"),
        (Chatters, "Once its driver has closed it", "its line rose"),
        (Hasty, "The timer interrupts", r"interrupts came \[-1\] ns"),
        (AnswersInWords, "A read of 1, 2, 4 or 8 bytes", "8 bytes at 0x38 gave 4"),
        (MastersAlways, "Without the bus-master bit", "it read .* and wrote .* bytes"),
        (RaisesOnDma, "Without the bus-master bit", "no such memory"),
        (RaisesOnLength, "Whatever a guest writes", "raised ValueError: what a length"),
        (WorksAsTold, "Whatever a guest writes", "made it access memory without end"),
    ],
)
def test_a_broken_promise_is_named_with_what_was_seen(
    check_only: Callable[..., Report], make: Callable[[str, Context], NicModel], promise: str, found: str
) -> None:
    assert 1 == len(check_only(promise, Mailbox).kept)
    with pytest.raises(ConformanceError, match=f"{promise}.* But .*{found}"):
        check_only(promise, make)


def test_a_storm_is_repeated_by_its_seed(check_only: Callable[..., Report]) -> None:
    found = []
    for seed in (7, 7, 8):
        with pytest.raises(ConformanceError) as raised:
            check_only("Whatever a guest writes", RaisesOnLength, storm_seed=seed)
        found.append(raised.value.found)
    assert found[0] == found[1] != found[2]
