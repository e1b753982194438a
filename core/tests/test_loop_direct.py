"""`etherloom.loop.direct`: what asyncio promises of `add_reader` and `add_writer`, and what is faster."""

from __future__ import annotations

import asyncio
import os
import select
import socket
import time
from collections.abc import Iterator

import pytest

if not hasattr(select, "epoll"):
    pytest.skip("epoll is Linux's", allow_module_level=True)

from etherloom.loop import direct
from etherloom.loop.direct import DirectLoop, DirectSelector


@pytest.fixture
def loop() -> Iterator[DirectLoop]:
    made = DirectLoop()
    yield made
    made.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    one.setblocking(False)
    other.setblocking(False)
    with one, other:
        yield one, other


def turn(loop: DirectLoop) -> None:
    """One turn of the loop."""
    loop.call_soon(loop.stop)
    loop.run_forever()


def test_a_reader_is_called_while_there_is_something_to_read(
    loop: DirectLoop, pair: tuple[socket.socket, socket.socket]
) -> None:
    """L-04."""
    one, other = pair
    calls: list[int] = []
    loop.add_reader(one, calls.append, 1)
    other.send(b"x")
    turn(loop)
    assert calls
    one.recv(1)
    calls.clear()
    turn(loop)
    assert calls == []


def test_what_a_callback_caused_is_served_in_the_same_turn(
    loop: DirectLoop, pair: tuple[socket.socket, socket.socket]
) -> None:
    one, other = pair
    order: list[str] = []

    def echo() -> None:
        one.recv(1)
        order.append("request")
        one.send(b"y")

    def answer() -> None:
        other.recv(1)
        order.append("answer")
        loop.call_soon(order.append, "turn")

    loop.add_reader(one, echo)
    loop.add_reader(other, answer)
    other.send(b"x")
    turn(loop)
    assert ["request", "answer", "turn"] == order


def test_a_writer_beside_a_reader_is_told_apart(loop: DirectLoop, pair: tuple[socket.socket, socket.socket]) -> None:
    one, _ = pair
    calls: list[str] = []
    loop.add_reader(one, calls.append, "read")

    def write() -> None:
        calls.append("write")
        loop.remove_writer(one)

    loop.add_writer(one, write)
    turn(loop)
    turn(loop)
    assert calls == ["write"]


def test_a_reader_that_removes_the_writer_keeps_it_from_being_called(
    loop: DirectLoop, pair: tuple[socket.socket, socket.socket]
) -> None:
    one, other = pair
    calls: list[str] = []

    def read() -> None:
        calls.append(one.recv(1).decode())
        loop.remove_writer(one)

    loop.add_reader(one, read)
    loop.add_writer(one, calls.append, "write")
    other.send(b"r")
    turn(loop)
    assert ["r"] == calls


def test_removing_says_whether_there_was_one(loop: DirectLoop, pair: tuple[socket.socket, socket.socket]) -> None:
    one, _ = pair
    loop.add_reader(one, print)
    assert [True, False, False] == [loop.remove_reader(one), loop.remove_reader(one), loop.remove_writer(one)]


def test_an_fd_closed_before_its_watch_is_forgotten(loop: DirectLoop) -> None:
    reading, writing = os.pipe()
    loop.add_reader(reading, print)
    os.close(reading)
    assert loop.remove_reader(reading)
    os.close(writing)
    turn(loop)


def test_a_callback_that_raises_goes_to_the_exception_handler(
    loop: DirectLoop, pair: tuple[socket.socket, socket.socket]
) -> None:
    one, other = pair
    seen: list[object] = []
    loop.set_exception_handler(lambda _, context: seen.append(context["exception"]))
    error = RuntimeError("no")

    def fail() -> None:
        one.recv(1)
        raise error

    loop.add_reader(one, fail)
    other.send(b"x")
    turn(loop)
    assert [error] == seen


def test_asyncios_own_transports_and_subprocesses_work(loop: DirectLoop) -> None:
    async def main() -> tuple[bytes, bytes | None]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.readline())
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
            writer.write(b"hello\n")
            line = await reader.readline()
            writer.close()
            await writer.wait_closed()
        child = await asyncio.create_subprocess_exec("echo", "there", stdout=asyncio.subprocess.PIPE)
        return line, (await child.communicate())[0]

    assert (b"hello\n", b"there\n") == loop.run_until_complete(main())


# How long it sleeps ------------------------------------------------------------------------------------------------


class Sleeps:
    """A selector on a clock of its own, which a look at it moves by a microsecond, and an epoll that sleeps on it.

    Attributes:
        now_ns: The clock.
        polls: The time-out of each call of epoll, in seconds.
        short: That of each sleep in microseconds.
        events: What epoll has to report, and from when on.
        fd: Of epoll.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.selector = DirectSelector()
        self._epoll, self.selector._epoll = self.selector._epoll, self  # type: ignore[assignment]
        self.now_ns = 1_000_000_000
        self.polls: list[float] = []
        self.short: list[float] = []
        self.events: tuple[int, list[tuple[int, int]]] = (1 << 62, [])
        self.fd = 1023
        monkeypatch.setattr(direct, "monotonic_ns", self.look)
        monkeypatch.setattr(select, "select", self.sleep)

    def look(self) -> int:
        self.now_ns += 1000
        return self.now_ns

    def poll(self, timeout: float, _: int) -> list[tuple[int, int]]:
        self.polls.append(timeout)
        self.now_ns += int(max(timeout, 0) * 1e9)
        due_ns, events = self.events
        return events if self.now_ns >= due_ns else []

    def sleep(self, reading: tuple[object, ...], _: object, __: object, timeout: float) -> None:
        assert (self,) == reading
        self.short.append(timeout)
        self.now_ns += int(timeout * 1e9)

    def fileno(self) -> int:
        return self.fd

    def close(self) -> None:
        self._epoll.close()


@pytest.fixture
def sleeps(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sleeps]:
    made = Sleeps(monkeypatch)
    yield made
    made.selector.close()


def test_polling_does_not_sleep_before_its_time_and_does_then(sleeps: Sleeps) -> None:
    sleeps.selector.spin_until_ns = until_ns = sleeps.now_ns + 50_000
    sleeps.selector.select(None)
    *polling, last = sleeps.polls
    assert ({0}, -1, []) == (set(polling), last, sleeps.short)
    assert sleeps.now_ns >= until_ns


def test_polling_ends_with_an_event(sleeps: Sleeps) -> None:
    sleeps.selector.spin_until_ns = sleeps.now_ns + 1_000_000
    sleeps.events = (sleeps.now_ns + 10_000, [(99, select.EPOLLIN)])
    sleeps.selector.select(None)
    assert {0} == set(sleeps.polls)
    assert sleeps.now_ns < sleeps.selector.spin_until_ns


def test_polling_ends_with_a_timer_that_is_due(sleeps: Sleeps) -> None:
    start_ns = sleeps.now_ns
    sleeps.selector.spin_until_ns = start_ns + 1_000_000_000
    sleeps.selector.select(0.000_02)
    assert ({0}, []) == (set(sleeps.polls), sleeps.short)
    assert start_ns + 20_000 <= sleeps.now_ns < start_ns + 100_000


def test_a_timer_after_the_polling_is_slept_for(sleeps: Sleeps) -> None:
    start_ns = sleeps.now_ns
    sleeps.selector.spin_until_ns = start_ns + 100_000
    sleeps.selector.select(0.001)
    assert ({0}, 1) == (set(sleeps.polls), len(sleeps.short))
    assert 0.000_85 < sleeps.short[0] < 0.001
    assert sleeps.now_ns >= start_ns + 1_000_000


def test_polling_that_is_over_costs_nothing(sleeps: Sleeps) -> None:
    sleeps.selector.spin_until_ns = sleeps.now_ns - 1
    sleeps.selector.select(None)
    assert [-1] == sleeps.polls


@pytest.mark.parametrize(
    ("timeout", "polls", "short"),
    [
        (None, [-1], []),
        (0, [0], []),
        (0.000_2, [0], [0.000_2]),
        (0.004_9, [0], [0.004_9]),
        (0.005, [0.005], []),
        (60.0, [60.0], []),
    ],
)
def test_short_time_outs_are_slept_to_the_microsecond(
    sleeps: Sleeps, timeout: float | None, polls: list[float], short: list[float]
) -> None:
    """epoll rounds up to whole milliseconds."""
    sleeps.selector.select(timeout)
    assert (polls, short) == (sleeps.polls, sleeps.short)


def test_an_fd_that_is_too_great_for_short_sleeps_sleeps_longer(sleeps: Sleeps) -> None:
    """select(2) takes none from 1024 on."""
    sleeps.fd = 1024
    sleeps.selector.select(0.000_2)
    assert ([0.000_2], []) == (sleeps.polls, sleeps.short)


def test_a_short_sleep_ends_with_an_event(loop: DirectLoop, pair: tuple[socket.socket, socket.socket]) -> None:
    one, other = pair
    loop.add_reader(one, loop.stop)
    other.send(b"x")
    loop.call_later(0.004, pytest.fail, "the event was there before")
    loop.run_forever()


def test_a_loop_that_keeps_polling_fires_its_timers(loop: DirectLoop) -> None:
    until_ns = time.monotonic_ns() + 60_000_000_000
    loop.keep_polling(until_ns)
    loop.call_later(0.001, loop.stop)
    loop.run_forever()
    assert time.monotonic_ns() < until_ns
