"""`VirtualLoop`: time that moves when told, fds that are real, and nothing that escapes unseen."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading

import pytest

from etherloom.testing import SECOND_NS, VirtualLoop


def test_time_stands_still_until_it_is_moved(virtual_loop: VirtualLoop) -> None:
    virtual_loop.run_until_idle()
    assert (0, 0.0) == (virtual_loop.clock.now_ns(), virtual_loop.time())
    virtual_loop.advance(1_500_000_000)
    assert (1_500_000_000, 1.5) == (virtual_loop.clock.now_ns(), virtual_loop.time())


def test_timers_fire_in_order_and_at_their_time(virtual_loop: VirtualLoop) -> None:
    fired: list[tuple[str, int]] = []

    def fire(name: str) -> None:
        fired.append((name, virtual_loop.clock.now_ns()))

    virtual_loop.call_later(3, fire, "c")
    virtual_loop.call_later(1, fire, "a")
    virtual_loop.call_later(2, fire, "b")
    virtual_loop.call_later(5, fire, "not yet")
    virtual_loop.advance(4 * SECOND_NS)
    assert [("a", SECOND_NS), ("b", 2 * SECOND_NS), ("c", 3 * SECOND_NS)] == fired
    assert 5 * SECOND_NS == virtual_loop.next_timer_ns


def test_what_a_timer_sets_going_is_done_before_the_next_one(virtual_loop: VirtualLoop) -> None:
    done: list[str] = []
    virtual_loop.call_later(1, lambda: virtual_loop.call_soon(virtual_loop.call_soon, done.append, "first"))
    virtual_loop.call_later(1.000000001, done.append, "second")
    virtual_loop.advance(2 * SECOND_NS)
    assert ["first", "second"] == done


def test_coroutines_sleep_in_virtual_time(virtual_loop: VirtualLoop) -> None:
    woken: list[int] = []

    async def sleep() -> None:
        for _ in range(3):
            await asyncio.sleep(3600)
            woken.append(virtual_loop.clock.now_ns())

    task = virtual_loop.create_task(sleep())
    virtual_loop.advance(10_800 * SECOND_NS)
    assert [3600 * SECOND_NS, 7200 * SECOND_NS, 10_800 * SECOND_NS] == woken
    assert task.done()


def test_more_than_a_day_can_be_slept(virtual_loop: VirtualLoop) -> None:
    """asyncio never asks to wait for longer."""
    fired: list[int] = []
    virtual_loop.call_later(3 * 86_400, lambda: fired.append(virtual_loop.clock.now_ns()))
    virtual_loop.advance(4 * 86_400 * SECOND_NS)
    assert [3 * 86_400 * SECOND_NS] == fired


def test_a_cancelled_timer_is_none(virtual_loop: VirtualLoop) -> None:
    virtual_loop.call_later(1, print).cancel()
    virtual_loop.run_until_idle()
    assert virtual_loop.next_timer_ns is None


def test_ready_fds_are_served_until_nothing_is_left(virtual_loop: VirtualLoop) -> None:
    one, other = socket.socketpair()
    with one, other:
        one.setblocking(False)
        seen: list[bytes] = []
        virtual_loop.add_reader(one, lambda: seen.append(one.recv(1)))
        other.send(b"abc")
        virtual_loop.run_until_idle()
        virtual_loop.remove_reader(one)
    assert [b"a", b"b", b"c"] == seen


def test_what_escapes_into_the_loop_is_raised(virtual_loop: VirtualLoop) -> None:
    virtual_loop.call_soon(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        virtual_loop.run_until_idle()
    virtual_loop.run_until_idle()


def test_what_escapes_from_a_timer_is_raised(virtual_loop: VirtualLoop) -> None:
    virtual_loop.call_later(1, lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        virtual_loop.advance(SECOND_NS)


def test_what_never_ends_is_reported() -> None:
    loop = VirtualLoop()

    def again() -> None:
        loop.call_soon(again)

    again()
    with pytest.raises(RuntimeError, match="did not become idle in 100000 turns"):
        loop.run_until_idle()
    loop.close()


def test_another_process_is_waited_for(virtual_loop: VirtualLoop) -> None:
    async def run() -> int:
        process = await asyncio.create_subprocess_exec(sys.executable, "-S", "-c", "raise SystemExit(3)")
        return await process.wait()

    assert 3 == virtual_loop.run_until_complete(run())
    assert 0 == virtual_loop.clock.now_ns()


def test_another_thread_is_waited_for(virtual_loop: VirtualLoop) -> None:
    went = threading.Event()
    arrived: list[int] = []

    def work() -> None:
        went.wait()
        virtual_loop.call_soon_threadsafe(arrived.append, 1)

    thread = threading.Thread(target=work)
    thread.start()
    virtual_loop.run_until_idle()
    assert [] == arrived
    went.set()
    virtual_loop.run_until(lambda: bool(arrived))
    thread.join()
    assert [1] == arrived


def test_what_never_happens_is_not_waited_for_for_ever(
    virtual_loop: VirtualLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("etherloom.testing.loop.WAIT_S", 0.001)
    with pytest.raises(TimeoutError, match=r"nothing happened for 0.001 s"):
        virtual_loop.run_until(lambda: False)
    with pytest.raises(RuntimeError, match="before Future completed"):
        virtual_loop.run_until_complete(virtual_loop.create_future())


def test_a_timer_does_not_fire_while_real_events_are_waited_for(virtual_loop: VirtualLoop) -> None:
    fired: list[int] = []
    virtual_loop.call_later(1e-6, fired.append, 1)
    virtual_loop.run_until_complete(asyncio.sleep(0))
    virtual_loop.run_until(lambda: True)
    assert [] == fired
