"""This process's side of the live table: what is shown goes to a process of its own, which draws it.

So a slow terminal, or one held by Ctrl-S, never keeps a frame waiting, rich is neither imported nor run here, and the
table costs the network one snapshot per refresh. What the pipe cannot take at once is not shown.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, cast

from etherloom.cli.events import Event
from etherloom.cli.snapshot import snapshot

if TYPE_CHECKING:
    from etherloom.net.network import Network

__all__ = ["Screen"]

REFRESH_S = 0.5
ROWS_MAX = 100  # more than a terminal shows; 1,000 clients would cost 10 ms per refresh
EVENTS_SHOWN = 5
GOODBYE_S = 2.0  # how long the drawing process may take to show the end before it is left alone


class Screen:
    """The live table of a network, as an event sink."""

    def __init__(self) -> None:
        self._events: list[str] = []
        self._network: Network | None = None
        self._unsent = b""

    def __call__(self, event: Event) -> None:
        self._events = [*self._events, event.line][-EVENTS_SHOWN:]

    def show(self, network: Network) -> None:
        """Start drawing, until `close`."""
        program = Path(__file__).with_name("table.py")
        # -P: the program's directory is not to shadow modules. Started by its path, it imports nothing of this package.
        self._process = subprocess.Popen([sys.executable, "-P", str(program)], stdin=subprocess.PIPE, bufsize=0)
        self._pipe = cast(FileIO, self._process.stdin)
        os.set_blocking(self._pipe.fileno(), False)
        self._network = network
        self._tick()

    def close(self) -> None:
        """Show the last state and give the terminal back."""
        if self._network is None:
            return
        self._timer.cancel()
        self._refresh(self._network)
        self._network = None
        self._pipe.close()
        try:
            self._process.wait(GOODBYE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _tick(self) -> None:
        if self._network is not None:
            self._timer = self._network.loop.call_later(REFRESH_S, self._tick)
            self._refresh(self._network)

    def _refresh(self, network: Network) -> None:
        """Send the present state, unless an earlier one still waits for the terminal."""
        if not self._unsent:
            state = {
                "at_s": network.context.clock.now_ns() / 1e9,
                "rows": snapshot(network, ROWS_MAX),
                "more": max(0, len(network.clients) - ROWS_MAX),
                "events": self._events,
            }
            self._unsent = json.dumps(state).encode() + b"\n"
        try:
            sent = self._pipe.write(self._unsent) or 0  # None: the pipe is full, the terminal slow
        except BrokenPipeError:  # somebody killed the drawing process; the network goes on
            sent = len(self._unsent)
        self._unsent = self._unsent[sent:]
