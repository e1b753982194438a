"""SET_IRQS in every form, with real eventfds; when to signal is `test_intx`'s."""

from __future__ import annotations

import os

import pytest

from etherloom_vfio_user._intx import PATIENCE_NS
from etherloom_vfio_user._wire import SET_IRQS, Command, IrqAction, IrqData
from etherloom_vfio_user.testing import Rig, Style, open_fds

NONE, BOOL, EVENTFD = IrqData.NONE, IrqData.BOOL, IrqData.EVENTFD
MASK, UNMASK, TRIGGER = IrqAction.MASK, IrqAction.UNMASK, IrqAction.TRIGGER
EINVAL = 22


def test_rise_is_signalled_once(rig: Rig, style: Style) -> None:
    guest = rig.guest(style)
    rig.nic.raise_interrupt()
    rig.nic.raise_interrupt()
    assert [1, 0] == [guest.signals, guest.signals]


def test_line_still_high_after_unmask_is_signalled_again_in_a_while(rig: Rig) -> None:
    guest = rig.guest()
    rig.nic.raise_interrupt()
    assert 1 == guest.signals
    guest.unmask()
    assert 0 == guest.signals
    rig.loop.advance(PATIENCE_NS)
    assert 1 == guest.signals


def test_line_that_falls_after_unmask_is_not_signalled(rig: Rig) -> None:
    guest = rig.guest()
    rig.nic.raise_interrupt()
    assert 1 == guest.signals
    guest.unmask()
    guest.write(1, 0x3E, b"\x01\x00")
    rig.loop.advance(10 * PATIENCE_NS)
    assert 0 == guest.signals


@pytest.mark.parametrize(("data", "rest"), [(NONE, b""), (BOOL, b"\x01")])
def test_mask_holds_a_rise_back_until_unmask(rig: Rig, data: IrqData, rest: bytes) -> None:
    guest = rig.guest()
    assert not guest.set_irqs(data, MASK, rest=rest).failed
    rig.nic.raise_interrupt()
    assert 0 == guest.signals
    assert not guest.set_irqs(data, UNMASK, rest=rest).failed
    assert 1 == guest.signals


def test_false_means_leave_it(rig: Rig) -> None:
    guest = rig.guest()
    assert not guest.set_irqs(BOOL, MASK, rest=b"\0").failed
    assert not guest.set_irqs(BOOL, TRIGGER, rest=b"\0").failed
    assert 0 == guest.signals
    rig.nic.raise_interrupt()
    assert 1 == guest.signals


@pytest.mark.parametrize(("data", "rest"), [(NONE, b""), (BOOL, b"\x01")])
def test_client_can_trigger(rig: Rig, data: IrqData, rest: bytes) -> None:
    guest = rig.guest()
    assert not guest.set_irqs(data, TRIGGER, rest=rest).failed
    assert 1 == guest.signals


def test_intx_disable_in_configuration_space_takes_the_line_down(rig: Rig) -> None:
    guest = rig.guest()
    guest.write(7, 4, b"\x07\x04")
    rig.nic.raise_interrupt()
    assert 0 == guest.signals
    assert 0x08 == guest.read(7, 6, 1)[0] & 0x08, "STATUS shows it all the same"
    guest.write(7, 4, b"\x07\x00")
    assert 1 == guest.signals


@pytest.mark.parametrize("how", ["disable", "no eventfd"])
def test_disabled_interrupt_is_silent_and_its_eventfd_closed(rig: Rig, how: str) -> None:
    guest = rig.guest()
    before = len(open_fds())
    if how == "disable":
        assert not guest.set_irqs(NONE, TRIGGER, count=0).failed
    else:
        assert not guest.set_irqs(EVENTFD, TRIGGER).failed
    assert before - 1 == len(open_fds())
    rig.nic.raise_interrupt()
    assert not guest.set_irqs(NONE, TRIGGER).failed
    guest.unmask()
    rig.loop.advance(10 * PATIENCE_NS)
    assert 0 == guest.signals


def test_new_eventfd_replaces_the_old_and_hears_of_a_high_line(rig: Rig) -> None:
    """Twice in a row at a guest's reboot."""
    guest = rig.guest()
    rig.nic.raise_interrupt()
    assert 1 == guest.signals
    before = len(open_fds())
    with os.fdopen(os.eventfd(0, os.EFD_NONBLOCK), "rb", buffering=0) as new:
        assert not guest.set_irqs(EVENTFD, TRIGGER, fds=[new.fileno()]).failed
        assert (1, 0) == (os.eventfd_read(new.fileno()), guest.signals)
    assert before == len(open_fds())


def test_trailing_descriptor_numbers_are_tolerated(rig: Rig) -> None:
    """alioth sends them."""
    guest = rig.guest()
    assert not guest.set_irqs(EVENTFD, TRIGGER, rest=(0).to_bytes(4, "little"), fds=[guest.irq_fd], argsz=24).failed
    rig.nic.raise_interrupt()
    assert 1 == guest.signals


def test_unmasking_by_eventfd_is_refused_and_its_removal_is_not(rig: Rig) -> None:
    """QEMU with KVM then unmasks by message; taking the eventfd without polling it would lose interrupts."""
    guest = rig.guest()
    assert EINVAL == guest.set_irqs(EVENTFD, UNMASK, fds=[guest.irq_fd]).error
    assert not guest.set_irqs(EVENTFD, UNMASK).failed


def test_full_counter_keeps_nobody_waiting(rig: Rig) -> None:
    guest = rig.guest()
    os.set_blocking(guest.irq_fd, True)
    assert not guest.set_irqs(EVENTFD, TRIGGER, fds=[guest.irq_fd]).failed
    os.eventfd_write(guest.irq_fd, 2**64 - 2)
    rig.nic.raise_interrupt()
    assert 2**64 - 2 == guest.signals


@pytest.mark.parametrize("kind", ["pipe", "memfd"])
def test_trigger_that_is_no_eventfd_is_refused(rig: Rig, kind: str) -> None:
    """Writing to a pipe could block."""
    guest = rig.guest()
    fds = list(os.pipe()) if kind == "pipe" else [guest.ram_fd]
    assert EINVAL == guest.set_irqs(EVENTFD, TRIGGER, fds=[fds[-1]]).error
    rig.nic.raise_interrupt()
    assert 1 == guest.signals, "the old one is still in place"
    for fd in fds if kind == "pipe" else ():
        os.close(fd)


@pytest.mark.parametrize("index", [0, 1, 2, 3, 4])
def test_disabling_any_interrupt_is_fine(rig: Rig, index: int) -> None:
    assert not rig.guest().set_irqs(NONE, TRIGGER, index=index, count=0).failed


@pytest.mark.parametrize(
    ("flags", "index", "start", "count", "rest", "argsz"),
    [
        (NONE | TRIGGER, 0, 0, 1, b"", 3),
        (NONE | TRIGGER, 5, 0, 1, b"", 20),
        (NONE | TRIGGER, 5, 0, 0, b"", 20),
        (NONE | MASK | UNMASK, 0, 0, 1, b"", 20),
        (NONE | BOOL | MASK, 0, 0, 1, b"\x01", 21),
        (MASK, 0, 0, 1, b"", 20),
        (NONE, 0, 0, 1, b"", 20),
        (NONE | TRIGGER | 0x40, 0, 0, 1, b"", 20),
        (NONE | TRIGGER, 0, 0, 2, b"", 20),
        (NONE | TRIGGER, 0, 1, 1, b"", 20),
        (NONE | TRIGGER, 0, 1, 2**32 - 1, b"", 20),
        (NONE | TRIGGER, 0, 0, 2**32 - 1, b"", 20),
        (NONE | TRIGGER, 0, 1, 0, b"", 20),
        (NONE | MASK, 0, 0, 0, b"", 20),
        (BOOL | TRIGGER, 0, 0, 0, b"", 20),
        (EVENTFD | TRIGGER, 0, 0, 0, b"", 20),
        (NONE | MASK, 3, 0, 1, b"", 20),
        (NONE | TRIGGER, 3, 0, 1, b"", 20),
        (NONE | TRIGGER, 4, 0, 2, b"", 20),
        (NONE | TRIGGER, 1, 0, 1, b"", 20),
        (EVENTFD | MASK, 0, 0, 1, b"", 20),
        (BOOL | TRIGGER, 0, 0, 1, b"", 20),
        (BOOL | TRIGGER, 0, 0, 1, b"\x01\x01", 22),
    ],
)
def test_request_that_is_wrong_is_refused_and_changes_nothing(
    rig: Rig, flags: int, index: int, start: int, count: int, rest: bytes, argsz: int
) -> None:
    guest = rig.guest()
    reply = guest.request(Command.DEVICE_SET_IRQS, SET_IRQS.pack(argsz, flags, index, start, count) + rest)
    assert (True, EINVAL, 0) == (reply.failed, reply.error, guest.signals)
    rig.nic.raise_interrupt()
    assert 1 == guest.signals


@pytest.mark.parametrize("payload", [b"", bytes(19)])
def test_short_request_is_refused(rig: Rig, payload: bytes) -> None:
    assert EINVAL == rig.guest().request(Command.DEVICE_SET_IRQS, payload).error


@pytest.mark.parametrize(("data", "rest", "fds"), [(NONE, b"", 1), (BOOL, b"\x01", 1), (EVENTFD, b"", 2)])
def test_descriptors_that_do_not_belong_there_are_refused_and_closed(
    rig: Rig, data: IrqData, rest: bytes, fds: int
) -> None:
    guest = rig.guest()
    before = len(open_fds())
    assert EINVAL == guest.set_irqs(data, TRIGGER, rest=rest, fds=[guest.irq_fd] * fds).error
    assert (before, 0) == (len(open_fds()), guest.signals)
