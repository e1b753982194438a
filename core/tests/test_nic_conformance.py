"""`check_nic_model` passes a device that keeps the contract, and catches each way to break it.

The device is a mailbox: one buffer each way and no rings, so that the check cannot take rings for granted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from etherloom import Context, Drop, Frame
from etherloom.device import Access, Bar, DmaError, NicModel, PciIdentity, Register
from etherloom.guest import InlineGuest, NicDriver
from etherloom.guest.inline import RAM_BASE
from etherloom.testing import ConformanceError, MemoryPeer, check_nic_model

STATION = bytes.fromhex("525400123456")
RUN, RESET = 1, 2
RX, TX, TIMER, ERROR = 1, 2, 4, 8
FRAME_LONGEST = 1514


class Mailbox(NicModel):
    """The device."""

    identity = PciIdentity(vendor=0x1234, device=0x0001)
    bars = (Bar(64),)
    register_bytes = 64

    CONTROL = Register(0x00, 4, "run, reset", writable=RUN | RESET)
    STATUS = Register(0x04, 4, "events", access=Access.W1C)
    MASK = Register(0x08, 4, "which events interrupt")
    TX_ADDRESS = Register(0x10, 8, "buffer to send")
    TX_SIZE = Register(0x18, 4, "its size; a write sends it", access=Access.WO)
    TX_BUSY = Register(0x1C, 4, "1 while the wire pauses", access=Access.RO)
    RX_ADDRESS = Register(0x20, 8, "buffer for one frame, of 1,514 bytes")
    RX_SIZE = Register(0x28, 4, "the frame's size; a write of 0 asks for the next", writable=0)
    MAC = Register(0x30, 6, "station address")
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
        self.irq.set(self.STATUS & self.MASK != 0)

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
        self._paused = not self.send(self.padded(frame))
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
        self._timer.arm_in(delay_ns)


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
    assert ((), 35) == (report.inapplicable, len(report.kept))


def test_what_needs_a_mask_or_a_timer_is_reported_as_inapplicable() -> None:
    report = check_nic_model(made_by(Mailbox), MailboxDriver, storm_steps=100)
    starts = tuple(sentence.split(",")[0].split(" when")[0] for sentence in report.inapplicable)
    assert ("Masked", "The timer interrupts") == starts


def test_a_report_names_each_promise_once_and_in_one_line() -> None:
    report = check_nic_model(made_by(Mailbox), MailboxDriver, storm_steps=100)
    sentences = [*report.kept, *report.inapplicable]
    assert len(set(sentences)) == len(sentences)
    assert all(sentence.endswith(".") and "\n" not in sentence for sentence in sentences)


def test_what_is_no_nic_model_is_refused() -> None:
    with pytest.raises(ConformanceError, match="MemoryPeer is no NicModel"):
        check_nic_model(made_by(MemoryPeer), MailboxDriver)  # type: ignore[arg-type]


# Breakers: each class breaks one promise ---------------------------------------------------------------------------


class KeepsItsAddress(Mailbox):
    """A reset forgets one register."""

    def reset(self) -> None:
        kept = self.guest_address if hasattr(self, "guest_address") else 0
        super().reset()
        self.RX_ADDRESS = kept

    @property
    def guest_address(self) -> int:
        return 0x1234 if self._timer.when_ns or self.rises_seen() else 0

    def rises_seen(self) -> bool:
        return self.irq.rises > 0
