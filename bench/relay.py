"""The floor of what a Python program pays for a frame between two taps: epoll, one read, one write, nothing else.

Usage: python relay.py FD FD, both non-blocking. What the other side does not take is lost.
"""

from __future__ import annotations

import io
import select
import sys

FRAME_MAX = 69632 + 10


def main() -> None:
    """Forward until killed."""
    files = [io.FileIO(int(fd), "r+", closefd=False) for fd in sys.argv[1:3]]
    ways = {files[end].fileno(): (files[end].readinto, files[1 - end].write) for end in (0, 1)}
    epoll = select.epoll()
    for fd in ways:
        epoll.register(fd, select.EPOLLIN)
    buffer = memoryview(bytearray(FRAME_MAX))
    timeout = -1
    while True:
        events = epoll.poll(timeout, len(ways))
        timeout = -1
        for fd, _ in events:
            read, write = ways[fd]
            size = read(buffer)
            if size:
                timeout = 0
                try:
                    write(buffer[:size])
                except OSError:  # the other interface is down
                    pass


if __name__ == "__main__":
    main()
