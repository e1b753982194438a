"""Bottom halves, timers, fd watches and `keep_polling` (L-02 to L-04, L-08, L-09)."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from etherloom import Network
from etherloom import context as context_module
from etherloom.loop.clock import Clock
from etherloom.loop.events import BottomHalf, FdWatch, Timer
from etherloom.testing import VirtualLoop


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    readable, writable = os.pipe()
    os.set_blocking(readable, False)
    os.set_blocking(writable, False)
    yield readable, writable
    os.close(readable)
    os.close(writable)


# Bottom halves -----------------------------------------------------------------------------------------------------


def test_a_half_runs_once_however_often_it_is_scheduled(virtual_loop: VirtualLoop) -> None:
    """L-09."""
    ran: list[int] = []
    half = BottomHalf(virtual_loop, lambda: ran.append(1))
    for _ in range(3):
        half.schedule()
    assert half.scheduled
    assert [] == ran
    virtual_loop.run_until_idle()
    assert [1] == ran
    assert not half.scheduled


def test_a_half_scheduled_while_halves_run_waits_for_the_next_turn(virtual_loop: VirtualLoop) -> None:
    """L-09."""
    ran: list[str] = []
    second = BottomHalf(virtual_loop, lambda: ran.append("second"))

    def run_first() -> None:
        ran.append("first")
        second.schedule()
        virtual_loop.call_soon(ran.append, "later in the same next turn")

    first = BottomHalf(virtual_loop, run_first)
    third = BottomHalf(virtual_loop, lambda: ran.append("third"))
    first.schedule()
    third.schedule()
    virtual_loop.run_until_idle()
    assert ["first", "third", "second", "later in the same next turn"] == ran


def test_a_half_may_schedule_itself(virtual_loop: VirtualLoop) -> None:
    left = [3]

    def run() -> None:
        left[0] -= 1
        if left[0]:
            half.schedule()

    half = BottomHalf(virtual_loop, run)
    half.schedule()
    virtual_loop.run_until_idle()
    assert [0] == left


def test_a_cancelled_half_does_not_run_until_scheduled_again(virtual_loop: VirtualLoop) -> None:
    ran: list[int] = []
    half = BottomHalf(virtual_loop, lambda: ran.append(1))
    half.schedule()
    half.cancel()
    virtual_loop.run_until_idle()
    assert [] == ran
    half.schedule()
    virtual_loop.run_until_idle()
    assert [1] == ran


def test_a_half_may_close_itself(virtual_loop: VirtualLoop) -> None:
    ran: list[int] = []

    def run() -> None:
        ran.append(1)
        half.close()
        half.schedule()

    half = BottomHalf(virtual_loop, run)
    half.schedule()
    virtual_loop.run_until_idle()
    half.schedule()
    half.close()
    virtual_loop.run_until_idle()
    assert [1] == ran


# Timers ------------------------------------------------------------------------------------------------------------


def test_a_timer_fires_once_and_at_its_time(virtual_loop: VirtualLoop) -> None:
    """L-08."""
    fired: list[int] = []
    timer = Timer(virtual_loop, virtual_loop.clock, lambda: fired.append(virtual_loop.clock.now_ns()))
    timer.arm(1_000_000_007)
    virtual_loop.advance(1_000_000_006)
    assert ([], True) == (fired, timer.armed)
    virtual_loop.advance(1)
    assert ([1_000_000_007], False) == (fired, timer.armed)
    virtual_loop.advance(10_000_000_000)
    assert [1_000_000_007] == fired


@pytest.mark.parametrize("delay_ns", [1, 2, 3, 7, 999, 1_000_003, 86_400_000_000_001])
def test_a_timer_is_exact_to_the_nanosecond(virtual_loop: VirtualLoop, delay_ns: int) -> None:
    fired: list[int] = []
    virtual_loop.advance(123_456_789)
    timer = Timer(virtual_loop, virtual_loop.clock, lambda: fired.append(virtual_loop.clock.now_ns()))
    timer.arm_in(delay_ns)
    virtual_loop.advance(delay_ns)
    assert [123_456_789 + delay_ns] == fired


def test_arming_again_replaces_the_earlier_time(virtual_loop: VirtualLoop) -> None:
    """L-08: mod."""
    fired: list[int] = []
    timer = Timer(virtual_loop, virtual_loop.clock, lambda: fired.append(virtual_loop.clock.now_ns()))
    timer.arm(10)
    timer.arm(30)
    virtual_loop.advance(20)
    timer.arm(25)
    virtual_loop.advance(20)
    assert [25] == fired


def test_a_time_that_is_past_fires_from_the_next_turn(virtual_loop: VirtualLoop) -> None:
    fired: list[int] = []
    virtual_loop.advance(100)
    timer = Timer(virtual_loop, virtual_loop.clock, lambda: fired.append(virtual_loop.clock.now_ns()))
    timer.arm(50)
    assert [] == fired
    virtual_loop.run_until_idle()
    assert [100] == fired


def test_a_timer_may_arm_itself_again(virtual_loop: VirtualLoop) -> None:
    fired: list[int] = []

    def fire() -> None:
        fired.append(virtual_loop.clock.now_ns())
        timer.arm_in(1000)

    timer = Timer(virtual_loop, virtual_loop.clock, fire)
    timer.arm(500)
    virtual_loop.advance(2600)
    assert [500, 1500, 2500] == fired


def test_a_timer_may_close_itself(virtual_loop: VirtualLoop) -> None:
    fired: list[int] = []

    def fire() -> None:
        fired.append(1)
        timer.close()
        timer.arm_in(1)

    timer = Timer(virtual_loop, virtual_loop.clock, fire)
    timer.arm(1)
    virtual_loop.advance(10)
    assert [1] == fired
    assert not timer.armed


def count_handles(loop: VirtualLoop, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Has the loop note the delay of each timer that is put on it."""
    delays: list[float] = []
    call_later = loop.call_later

    def noted(delay: float, *args: Any, **kwargs: Any) -> asyncio.TimerHandle:
        delays.append(delay)
        return call_later(delay, *args, **kwargs)

    monkeypatch.setattr(loop, "call_later", noted)
    return delays


@pytest.mark.parametrize("cancel", [True, False])
def test_a_timer_that_is_armed_all_the_time_is_put_on_the_loop_once_a_period(
    virtual_loop: VirtualLoop, monkeypatch: pytest.MonkeyPatch, cancel: bool
) -> None:
    delays = count_handles(virtual_loop, monkeypatch)
    fired: list[int] = []
    timer = Timer(virtual_loop, virtual_loop.clock, lambda: fired.append(virtual_loop.clock.now_ns()))
    for _ in range(3000):
        timer.arm_in(1_000_000)
        if cancel:
            timer.cancel()
        virtual_loop.advance(1000)
    assert ([], cancel) == (fired, not timer.armed)
    assert 3 == len(delays) if cancel else len(delays) <= 4
    virtual_loop.advance(1_000_000)
    assert ([] if cancel else [3_999_000]) == fired


def test_a_cancelled_timer_does_not_fire(virtual_loop: VirtualLoop) -> None:
    """L-08: del."""
    fired: list[int] = []
    timer = Timer(virtual_loop, virtual_loop.clock, lambda: fired.append(1))
    timer.arm(10)
    timer.cancel()
    assert not timer.armed
    virtual_loop.advance(100)
    assert [] == fired


@pytest.mark.parametrize(("first", "second"), [(10, 30), (30, 10), (10, 10)])
@pytest.mark.parametrize("cancel", [True, False])
def test_a_timer_with_a_handle_on_the_loop_fires_once_at_its_new_time(
    virtual_loop: VirtualLoop, first: int, second: int, cancel: bool
) -> None:
    fired: list[int] = []
    timer = Timer(virtual_loop, virtual_loop.clock, lambda: fired.append(virtual_loop.clock.now_ns()))
    timer.arm(first)
    if cancel:
        timer.cancel()
    virtual_loop.advance(5)
    timer.arm(second)
    virtual_loop.advance(100)
    assert ([second], False) == (fired, timer.armed)


def test_a_timer_can_be_armed_between_its_old_time_and_its_new_one(virtual_loop: VirtualLoop) -> None:
    """The handle has moved on to the later time; an earlier one takes its place, and the later is forgotten."""
    fired: list[int] = []
    timer = Timer(virtual_loop, virtual_loop.clock, lambda: fired.append(virtual_loop.clock.now_ns()))
    timer.arm(10)
    timer.arm(100)
    virtual_loop.advance(50)
    timer.arm(60)
    virtual_loop.advance(200)
    assert [60] == fired


def test_a_closed_timer_leaves_nothing_on_the_loop(virtual_loop: VirtualLoop) -> None:
    timer = Timer(virtual_loop, virtual_loop.clock, lambda: None)
    timer.arm(1_000_000)
    timer.cancel()
    timer.close()
    timer.arm(10)
    virtual_loop.run_until_idle()
    assert (None, False) == (virtual_loop.next_timer_ns, timer.armed)


# Fd watches --------------------------------------------------------------------------------------------------------


def test_a_watch_is_off_until_switched_on(virtual_loop: VirtualLoop, pipe: tuple[int, int]) -> None:
    """L-03."""
    readable, writable = pipe
    seen: list[bytes] = []
    watch = FdWatch(virtual_loop, readable, lambda: seen.append(os.read(readable, 100)), None)
    os.write(writable, b"one")
    virtual_loop.run_until_idle()
    assert [] == seen
    watch.readable(True)
    virtual_loop.run_until_idle()
    assert [b"one"] == seen
    watch.close()


def test_a_watch_is_called_again_while_data_remains(virtual_loop: VirtualLoop, pipe: tuple[int, int]) -> None:
    """L-04: level-triggered."""
    readable, writable = pipe
    seen: list[bytes] = []
    watch = FdWatch(virtual_loop, readable, lambda: seen.append(os.read(readable, 1)), None)
    watch.readable(True)
    os.write(writable, b"abc")
    virtual_loop.run_until_idle()
    assert [b"a", b"b", b"c"] == seen
    watch.close()


def test_reading_switched_off_leaves_the_data_in_the_kernel(virtual_loop: VirtualLoop, pipe: tuple[int, int]) -> None:
    """L-03: back-pressure."""
    readable, writable = pipe
    seen: list[bytes] = []

    def read() -> None:
        seen.append(os.read(readable, 1))
        watch.readable(False)

    watch = FdWatch(virtual_loop, readable, read, None)
    watch.readable(True)
    os.write(writable, b"ab")
    virtual_loop.run_until_idle()
    assert [b"a"] == seen
    watch.readable(True)
    virtual_loop.run_until_idle()
    assert [b"a", b"b"] == seen


def test_writing_is_offered_while_there_is_room(virtual_loop: VirtualLoop, pipe: tuple[int, int]) -> None:
    """L-03."""
    readable, writable = pipe
    rooms: list[int] = []

    def write() -> None:
        try:
            rooms.append(os.write(writable, bytes(1 << 16)))
        except BlockingIOError:
            watch.writable(False)

    watch = FdWatch(virtual_loop, writable, None, write)
    watch.writable(True)
    virtual_loop.run_until_idle()
    full = len(rooms)
    assert full > 0
    os.read(readable, 1 << 16)
    watch.writable(True)
    virtual_loop.run_until_idle()
    assert len(rooms) > full
    watch.close()


def test_both_switches_of_one_fd_are_independent(virtual_loop: VirtualLoop) -> None:
    """L-02."""
    one, other = socket.socketpair()
    with one, other:
        called: list[str] = []

        def read() -> None:
            called.append("read")
            watch.readable(False)

        def write() -> None:
            called.append("write")
            watch.writable(False)

        watch = FdWatch(virtual_loop, one.fileno(), read, write)
        watch.readable(True)
        watch.writable(True)
        virtual_loop.run_until_idle()
        assert ["write"] == called
        other.send(b"x")
        virtual_loop.run_until_idle()
        assert ["write", "read"] == called
        watch.close()


def test_a_watch_may_close_itself(virtual_loop: VirtualLoop, pipe: tuple[int, int]) -> None:
    readable, writable = pipe
    seen: list[int] = []

    def read() -> None:
        seen.append(1)
        watch.close()
        watch.readable(True)

    watch = FdWatch(virtual_loop, readable, read, None)
    watch.readable(True)
    os.write(writable, b"x")
    virtual_loop.run_until_idle()
    assert [1] == seen


def test_a_watch_closed_by_another_callback_of_the_same_turn_does_not_run(
    virtual_loop: VirtualLoop, pipe: tuple[int, int]
) -> None:
    readable, writable = pipe
    second = os.dup(readable)
    try:
        seen: list[str] = []
        watches: list[FdWatch] = []

        def read(name: str) -> None:
            seen.append(name)
            for watch in watches:
                watch.close()

        watches += [
            FdWatch(virtual_loop, readable, lambda: read("first"), None),
            FdWatch(virtual_loop, second, lambda: read("second"), None),
        ]
        for watch in watches:
            watch.readable(True)
        os.write(writable, b"x")
        virtual_loop.run_until_idle()
        assert 1 == len(seen)
    finally:
        os.close(second)


def test_a_switch_without_its_callback_is_of_no_effect(virtual_loop: VirtualLoop, pipe: tuple[int, int]) -> None:
    readable, writable = pipe
    watch = FdWatch(virtual_loop, readable, None, None)
    os.write(writable, b"x")
    watch.readable(True)
    watch.writable(True)
    virtual_loop.run_until_idle()
    watch.close()
    watch.close()


# Polling -----------------------------------------------------------------------------------------------------------


def turns_of(network: Network, loop: VirtualLoop) -> int:
    loop.run_until_idle()
    return loop._polls.turns


@pytest.fixture
def polling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context_module, "POLLING_HELPS", True)


@pytest.mark.usefixtures("polling")
def test_polling_ends_although_the_clock_stands_still(network: Network, virtual_loop: VirtualLoop) -> None:
    """At most 1,000 turns, so that virtual time, or a clock that was set back, cannot make it spin for ever."""
    network.context.keep_polling(1 << 62)
    assert 1_000 <= turns_of(network, virtual_loop) <= 1_010


@pytest.mark.usefixtures("polling")
def test_polling_is_over_when_its_time_is(network: Network, virtual_loop: VirtualLoop) -> None:
    network.context.keep_polling(0)
    assert turns_of(network, virtual_loop) < 10


@pytest.mark.usefixtures("polling")
def test_polling_is_bounded_by_a_millisecond() -> None:
    loop = VirtualLoop()
    try:
        network = Network(loop)  # on the real clock
        network.context.keep_polling(time.monotonic_ns() + 3_600_000_000_000)
        assert network.context._polling_until_ns <= time.monotonic_ns() + 1_000_000
        loop.run_until_idle()
    finally:
        loop.close()


@pytest.mark.usefixtures("polling")
def test_polling_again_extends_it_and_does_not_double_it(network: Network, virtual_loop: VirtualLoop) -> None:
    for _ in range(5):
        network.context.keep_polling(1 << 62)
    assert 1_000 <= turns_of(network, virtual_loop) <= 1_010


def test_polling_does_nothing_on_one_cpu(
    network: Network, virtual_loop: VirtualLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context_module, "POLLING_HELPS", False)
    network.context.keep_polling(1 << 62)
    assert turns_of(network, virtual_loop) < 10


class PollingLoop(VirtualLoop):
    """One with a way of its own to poll."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []

    def keep_polling(self, until_ns: int) -> None:
        self.asked.append(until_ns)


@pytest.mark.usefixtures("polling")
def test_a_loop_that_can_poll_is_asked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Clock, "now_ns", lambda _: 0)
    loop = PollingLoop()
    try:
        context = Network(loop).context
        for until_ns in (50_000, 20_000, 1 << 62):
            context.keep_polling(until_ns)
        loop.run_until_idle()
        assert ([50_000, 50_000, 1_000_000], True) == (loop.asked, loop._polls.turns < 10)
    finally:
        loop.close()


@pytest.mark.usefixtures("polling")
def test_a_loop_whose_time_is_another_is_not_asked_to() -> None:
    loop = PollingLoop()
    try:
        Network(loop, clock=loop.clock).context.keep_polling(1 << 62)
        loop.run_until_idle()
        assert ([], True) == (loop.asked, loop._polls.turns >= 1_000)
    finally:
        loop.close()


def test_a_loop_that_can_poll_is_not_asked_to_on_one_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context_module, "POLLING_HELPS", False)
    loop = PollingLoop()
    try:
        Network(loop).context.keep_polling(1 << 62)
        assert [] == loop.asked
    finally:
        loop.close()
