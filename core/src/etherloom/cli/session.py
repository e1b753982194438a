"""One run of a network: the loop, the signals, who is told, and the tear-down whatever happens."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
import select
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol, TextIO

from etherloom.cli import signals
from etherloom.cli.events import DropWatch, Event, EventLog, Lines
from etherloom.cli.screen import Screen
from etherloom.cli.snapshot import snapshot, summary
from etherloom.cli.source import load, names_file
from etherloom.config.apply import Loom
from etherloom.errors import ConfigError, EtherloomError, HostError

if TYPE_CHECKING:
    from etherloom.config.model import NetworkConfig
    from etherloom.plugins.registry import Registry

__all__ = ["Companion", "Session"]


class Companion(Protocol):
    """What runs beside a network and has the terminal: a virtual machine on its NICs."""

    async def start(self, stop: Callable[[str], None]) -> None:
        """Begin; the network is up. `stop(why)` ends the session.

        Raises:
            EtherloomError: It cannot, and left nothing behind.
        """

    async def close(self) -> None:
        """End; the network is still up. Called also when `start` failed or was not called."""


class Session:
    """A network on its own loop, from the first client to the last.

    Args:
        registry: Where its kinds are found.
        arguments: What `load` made its configuration from, to be read again at SIGHUP if that was a file.
        show_table: Draw a live table on the terminal instead of writing lines.
        as_json: Write JSON lines.
        loop: `direct`, `asyncio`, `uvloop`, or `auto` for the first that the system has.
        report: Where the counters and what was done to each NIC go at the end, as JSON; None for nowhere.
        trace: Where every access to a NIC goes, as JSON lines; None for nowhere. Either traces every NIC.
        companion: What runs as long as the network does. The terminal is the companion's: events go to `log`, and what
            is logged for a terminal waits for its end.
        log: Where the events go if there is a companion; None for nowhere.
    """

    def __init__(
        self,
        registry: Registry,
        arguments: Sequence[str],
        *,
        show_table: bool,
        as_json: bool,
        loop: str = "auto",
        report: Path | None = None,
        trace: Path | None = None,
        companion: Companion | None = None,
        log: Path | None = None,
    ) -> None:
        self._registry, self._arguments = registry, arguments
        self._show_table, self._as_json = show_table, as_json
        self._loop_factory = _loop_factory(loop)
        self._report, self._trace = report, trace
        self._companion, self._log = companion, log

    def run(self, config: NetworkConfig, seconds: float | None) -> None:
        """Run until SIGINT, SIGTERM, or for `seconds`; then, or on an exception, everything is torn down.

        Raises:
            EtherloomError: The network could not be made; nothing is left of it.
        """
        with _opened(self._report) as report, _opened(self._trace) as trace, _opened(self._log) as log:
            events = log if self._companion is not None else sys.stdout
            with asyncio.Runner(loop_factory=self._loop_factory) as runner:
                rows, devices = runner.run(self._main(config, seconds, trace, events))
            if report is not None:
                json.dump({"clients": rows, "devices": devices}, report, indent=1)

    async def _main(
        self, config: NetworkConfig, seconds: float | None, trace: IO[str] | None, events: TextIO | None
    ) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
        loop = asyncio.get_running_loop()
        stopped: asyncio.Future[str] = loop.create_future()

        def stop(why: str) -> None:
            if not stopped.done():
                stopped.set_result(why)

        loom = Loom(self._registry, loop)
        devices = None
        if self._report is not None or trace is not None:
            from etherloom.cli.devices import Devices, accesses  # only a network with a NIC needs the device kit

            devices = Devices(trace)
            loom.network.observers.append(devices)
        screen = Screen() if self._show_table else None
        lines = Lines(events, as_json=self._as_json, broken=lambda: stop("nobody reads")) if events else _nowhere
        sink = screen or lines
        log = EventLog(sink, loom.network.context.clock.now_ns)
        held_back = screen is not None or (self._companion is not None and sys.stderr.isatty())
        reload = partial(self._reload, loom, log) if names_file(self._arguments) else None
        with signals.handled(loop, stop, reload), _logging(held_back=held_back):
            drops = None
            try:
                log.say("start", _count(len(config.clients), "net client"), clients=len(config.clients))
                for warning in config.warnings:
                    log.say("warning", warning)
                loom.network.observers.append(log)
                loom.apply(config)
                log.begin()
                log.say("ready", _size(loom), clients=len(loom.network.clients))
                drops = DropWatch(loom.network, log)
                if screen is not None:
                    screen.show(loom.network)
                if seconds is not None:
                    loop.call_later(seconds, stop, f"{seconds:g} s are over")
                if self._companion is not None:
                    await self._companion.start(stop)
                why = await stopped
                log.say("stop", why, reason=why)
            finally:
                log.quiet = True
                if drops is not None:
                    drops.close()
                if screen is not None:
                    screen.close()
                if self._companion is not None:
                    await self._companion.close()
                rows = snapshot(loom.network)
                loom.close()
            done = devices.report() if devices is not None else {}
            if self._as_json:
                log.say("end", "all is torn down", clients=rows, devices=done)
            elif rows:
                print(summary(rows), file=sys.stderr)
                if done:
                    print(accesses(done, rows), file=sys.stderr)
            return rows, done

    def _reload(self, loom: Loom, log: EventLog) -> None:
        """SIGHUP: make the network what its file says now. A mistake in it changes nothing."""
        try:
            loom.apply(load(self._arguments, self._registry))
        except EtherloomError as error:
            log.say("refused", str(error), error=str(error))
        else:
            log.say("reloaded", _size(loom), clients=len(loom.network.clients))


def _nowhere(_: Event) -> None:
    """A sink for events that nobody wants."""


def _size(loom: Loom) -> str:
    hubs = sum(1 for segment in loom.network.segments.values() if segment.ports)
    return f"{_count(len(loom.network.clients), 'net client')}, {_count(hubs, 'hub')}"


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}" + ("" if number == 1 else "s")


def _loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    """The loop to run on. The same code runs on each; docs/benchmarks.md compares them.

    Raises:
        ConfigError: A loop that this machine does not have is asked for by name.
    """
    if name == "uvloop":
        if importlib.util.find_spec("uvloop") is None:
            allowed = "direct, asyncio, or pip install etherloom[uvloop]"
            raise ConfigError("uvloop is not installed", origin="--loop", allowed=allowed)
        factory: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module("uvloop").new_event_loop
        return factory
    if name == "direct" or (name == "auto" and hasattr(select, "epoll")):
        from etherloom.loop.direct import DirectLoop

        return DirectLoop
    return asyncio.new_event_loop


@contextmanager
def _opened(path: Path | None) -> Iterator[TextIO | None]:
    """A file to write, opened before anything is made.

    Raises:
        HostError: It cannot be written.
    """
    if path is None:
        yield None
        return
    try:
        file = path.open("w")
    except OSError as error:
        raise HostError("write", error.errno or 0, device=str(path)) from error
    with file:
        yield file


@contextmanager
def _logging(*, held_back: bool) -> Iterator[None]:
    """Put what is logged on stderr; while the table or a guest has the terminal, keep it until that is over."""
    handler: logging.Handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("etherloom: %(message)s"))
    if held_back:
        from logging.handlers import MemoryHandler

        handler = MemoryHandler(capacity=1000, flushLevel=logging.CRITICAL + 1, target=handler)
    logger = logging.getLogger("etherloom")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()
