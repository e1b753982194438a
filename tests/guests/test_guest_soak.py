"""A guest under load for long: nothing is lost, and nothing gets stuck."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from .conftest import HOST, MEGABYTE, Stand

pytestmark = [pytest.mark.qemu, pytest.mark.root, pytest.mark.slow]

SOAK_S = 600
BLOCK = bytes(100_000)
WINDOW_S = 5  # Linux's transmit watchdog bites after 5 s without progress


def test_a_gigabyte_arrives_from_the_guest(stand: Stand) -> None:
    stand.run(stand.from_guest(1000))


def test_a_gigabyte_arrives_in_the_guest(stand: Stand) -> None:
    stand.run(stand.to_guest(1000))


def test_ten_minutes_of_load_both_ways_never_stand_still(stand: Stand) -> None:
    moved: Counter[str] = Counter()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The guest says first what it wants to do, and at the end it is killed."""
        direction = (await reader.readline()).decode().strip()
        try:
            if direction == "send":
                while data := await reader.read(MEGABYTE):
                    moved[direction] += len(data)
            else:
                while True:
                    writer.write(BLOCK)
                    await writer.drain()
                    moved[direction] += len(BLOCK)
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def scenario() -> None:
        async with await stand.serve(serve) as server:
            port = server.sockets[0].getsockname()[1]
            await stand.guest.check(
                "mkfifo /tmp/never;"  # a pipe that its reader keeps open has no end at which nc would give up
                f" {{ echo send; cat /dev/zero; }} | nc {HOST} {port} >/dev/null 2>&1 &"
                f" {{ echo receive; cat <>/tmp/never; }} | nc {HOST} {port} >/dev/null 2>&1 &"
            )
            for _ in range(SOAK_S // WINDOW_S):
                before = moved.copy()
                await asyncio.sleep(WINDOW_S)
                assert moved["send"] > before["send"]
                assert moved["receive"] > before["receive"]
            await stand.guest.check("killall nc")
        assert "WATCHDOG" not in await stand.guest.check("dmesg")

    stand.run(scenario())
