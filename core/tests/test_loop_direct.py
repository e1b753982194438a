"""`etherloom.loop.direct`: what asyncio promises of `add_reader` and `add_writer`, and what is faster."""

from __future__ import annotations

import asyncio
import os
import select
import socket
from collections.abc import Iterator

import pytest

if not hasattr(select, "epoll"):
    pytest.skip("epoll is Linux's", allow_module_level=True)

from etherloom.loop.direct import DirectLoop


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
