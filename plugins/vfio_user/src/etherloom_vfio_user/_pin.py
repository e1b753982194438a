"""The interrupt of one client's device: `Intx` with its eventfd and its timer, and SET_IRQS."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Protocol

from etherloom_vfio_user._intx import PATIENCE_NS, Action, Intx
from etherloom_vfio_user._wire import IRQS, SET_IRQS, Irq, IrqAction, IrqData, Refusal

__all__ = ["Pin"]

# The flags that make sense. Built once: QEMU says UNMASK after each interrupt, and the guest waits meanwhile.
FLAGS = {int(data | action): (int(data), int(action)) for data in IrqData for action in IrqAction}


class OneShot(Protocol):
    """A timer, as of `Context.timer`; its callback is the pin's `timer`."""

    def arm_in(self, delay_ns: int) -> None: ...
    def cancel(self) -> None: ...


class Pin:
    """INTx as the client sees it.

    Args:
        timer: See `OneShot`.
    """

    def __init__(self, timer: OneShot) -> None:
        self._intx = Intx()
        self._timer = timer
        self._trigger = -1

    def line(self, asserted: bool) -> None:
        """An edge, from the device."""
        self._do(self._intx.rise() if asserted else self._intx.fall())

    def timer(self) -> None:
        """The timer has fired."""
        self._do(self._intx.timer())

    def close(self) -> None:
        """Let go of the eventfd."""
        self._disconnect()

    def set_irqs(self, payload: bytes, fds: list[int]) -> None:
        """Obey SET_IRQS.

        Args:
            payload: Of the message.
            fds: That came with it. Those that are kept are taken out.

        Raises:
            Refusal: Nothing has changed.
        """
        if len(payload) < SET_IRQS.size:
            raise Refusal(errno.EINVAL)
        argsz, flags, index, start, count = SET_IRQS.unpack_from(payload)
        if argsz < SET_IRQS.size or index >= IRQS or flags not in FLAGS:
            raise Refusal(errno.EINVAL)
        data, action = FLAGS[flags]
        if fds and data != IrqData.EVENTFD:
            raise Refusal(errno.EINVAL)
        if not count:
            if start or fds or (data, action) != (IrqData.NONE, IrqAction.TRIGGER):
                raise Refusal(errno.EINVAL)
            if index == Irq.INTX:
                self._disconnect()
            return
        if index != Irq.INTX or (start, count) != (0, 1):
            raise Refusal(errno.EINVAL)
        if data == IrqData.EVENTFD:
            self._set_eventfd(action, fds)
        elif data == IrqData.NONE:
            self._obey(action)
        elif len(payload) != SET_IRQS.size + 1:
            raise Refusal(errno.EINVAL)
        elif payload[-1]:
            self._obey(action)

    def _set_eventfd(self, action: int, fds: list[int]) -> None:
        if len(fds) > 1 or action == IrqAction.MASK:
            raise Refusal(errno.EINVAL)
        if action == IrqAction.UNMASK:
            # From KVM, so that a guest's end of interrupt costs no message. QEMU copes without: it warns, and says
            # UNMASK by message as it does without KVM.
            if fds:
                raise Refusal(errno.EINVAL)
        elif fds:
            self._connect(fds)
        else:
            self._disconnect()

    def _connect(self, fds: list[int]) -> None:
        # Writing to anything else could block, and this process with it. (A client that clears O_NONBLOCK later and
        # fills the counter to its end would get there.)
        if not _is_eventfd(fds[0]):
            raise Refusal(errno.EINVAL, "a trigger that is no eventfd")
        os.set_blocking(fds[0], False)
        self._drop_trigger()
        self._trigger = fds.pop()
        self._do(self._intx.connect())

    def _disconnect(self) -> None:
        self._drop_trigger()
        self._do(self._intx.disconnect())

    def _drop_trigger(self) -> None:
        if self._trigger != -1:
            os.close(self._trigger)
            self._trigger = -1

    def _obey(self, action: int) -> None:
        if action == IrqAction.UNMASK:
            self._do(self._intx.unmask())
        elif action == IrqAction.MASK:
            self._do(self._intx.mask())
        elif self._trigger != -1:
            self._fire()

    def _do(self, action: Action) -> None:
        if action is Action.FIRE:
            self._fire()
        elif action is Action.ARM:
            self._timer.arm_in(PATIENCE_NS)
        elif action is Action.CANCEL:
            self._timer.cancel()

    def _fire(self) -> None:
        try:
            os.eventfd_write(self._trigger, 1)
            os.sched_yield()  # to who waits for it: on few CPUs QEMU's thread may be queued behind us
        except BlockingIOError:
            pass  # the counter is at its end: the client has enough signals to look at


def _is_eventfd(fd: int) -> bool:
    try:
        return str(Path(f"/proc/self/fd/{fd}").readlink()) == "anon_inode:[eventfd]"
    except OSError:
        return False
